"""Replays of recordings: invalid files, and play_sd.py --replay."""

import json

import numpy as np
import play_sd
import pytest
from dream.common.errors import InputError
from dream.play.recording import Replay
from session_helpers import record_session

CORRUPTIONS = {  # arrays that replace those of a recording, and values that replace those of its first event
    "latents of another shape": ({"replay/latents": np.zeros((2, 4, 4, 28, 64), np.float32)}, {}),
    "not a number": ({"replay/latents": np.full((2, 4, 4, 8, 12), np.nan, np.float32)}, {}),
    "an unknown action": ({"actions": np.full((1, 11), 9)}, {}),
    "an action below 0": ({"actions": np.full((1, 11), -1)}, {}),
    "actions of another type": ({"actions": np.zeros((1, 11))}, {}),
    "no frames": ({"actions": np.zeros((1, 0), int), "frames": np.zeros((1, 0, 3, 32, 48), np.uint8)}, {}),
    "unknown start actions": ({"replay/actions": np.full((2, 4), 7)}, {}),
    "too few start actions": ({"replay/actions": np.zeros((2, 3), int)}, {}),
    "steps": ({}, {"steps": 10**9}),
    "no steps": ({}, {"steps": 0}),
    "steps are text": ({}, {"steps": "x"}),
    "a seed below 0": ({}, {"seed": -1}),
    "an age below 0": ({}, {"age": -1}),
    "first event too late": ({}, {"t": 3}),
}


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_a_corrupt_recording_is_refused(env, tmp_path, corruption):
    path = tmp_path / "session.npz"
    record_session(env, path)
    contents, (arrays, event) = dict(np.load(path)), CORRUPTIONS[corruption]
    meta = json.loads(str(contents["meta"]))
    meta["replay"][0].update(event)
    np.savez(path, **{**contents, **arrays, "meta": json.dumps(meta)})
    with pytest.raises(InputError, match=r"session\.npz cannot be replayed") as caught:
        Replay.load(path, env)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("corruption", ["no recording", "another program's", "cut off", "another model's"])
def test_a_file_that_is_no_recording_is_refused(env, tmp_path, corruption):
    path = tmp_path / "session.npz"
    record_session(env, path)
    contents = dict(np.load(path))
    if corruption == "no recording":
        path.unlink()
    elif corruption == "another program's":
        np.savez(path, frames=contents["frames"], actions=contents["actions"])
    elif corruption == "cut off":
        path.write_bytes(path.read_bytes()[:3000])
    else:
        meta = {**json.loads(str(contents["meta"])), "dream": "another"}
        np.savez(path, **{**contents, "meta": json.dumps(meta)})
    with pytest.raises(InputError, match=r"session\.npz") as caught:
        Replay.load(path, env)
    assert "\n" not in str(caught.value)


def test_play_sd_replays_a_recording(paths, tmp_path, capsys):
    def play(*argv):
        words = [f"--{name.replace('_', '-')}={path}" for name, path in paths.items()]
        play_sd.main(play_sd.parse_args([*words, "--backend", "torch", "--headless", *map(str, argv)]))

    (tmp_path / "keys.txt").write_text("left 5\nright 4\n")
    recording = tmp_path / "session.npz"
    play("--keys", tmp_path / "keys.txt", "--steps", 2, "--seed", 3, "--start", 1, "--record", recording)
    capsys.readouterr()
    play("--replay", recording)
    assert "9 of 9 frames are equal to the recording" in capsys.readouterr().out
    contents = dict(np.load(recording))
    contents["frames"][0, 4] = 0
    np.savez(recording, **contents)
    with pytest.raises(InputError, match="rounds differently"):
        play("--replay", recording)
    assert "8 of 9" in capsys.readouterr().out
