"""train_cloning.py: what an agent sees in a recording, and that it imitates it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import train_cloning
from player.common.agent_view import OBS_SIZE, preprocess_frame
from player.common.errors import InputError
from player.rl.agent import FrameStack, load_agent

META = {"game": "Test-v0", "frame_skip": 4, "fps": 15.0}


def save_recording(path: Path, rows: int = 6, steps: int = 40, **arrays) -> Path:
    """The shade of a frame says which action is recorded there."""
    actions = np.random.default_rng(0).integers(3, size=(rows, steps))
    frames = np.zeros((rows, steps, 3, 16, 24), np.uint8) + (actions * 100)[:, :, None, None, None]
    starts = np.zeros((rows, steps), bool)
    starts[:, 0] = starts[:, steps // 3] = True
    known = {"frames": frames.astype(np.uint8), "actions": actions, "episode_starts": starts,
             "action_names": np.array(["nothing", "left", "right"]), "meta": json.dumps(META)}  # fmt: skip
    np.savez(path, **{**known, **arrays})
    return path


def run(*flags) -> None:
    train_cloning.main(train_cloning.parse_args([*map(str, flags), "--device", "cpu"]))


def test_an_agent_learns_to_do_what_was_recorded(tmp_path, capsys):
    path = save_recording(tmp_path / "a.npz")
    run(
        "--trajectories", path, "--output", tmp_path / "out" / "cloned.pt", "--epochs", 12, "--batch-size", 16
    )
    agent = load_agent(tmp_path / "out" / "cloned.pt")
    assert agent.config.action_names == ("nothing", "left", "right") and agent.config.frame_skip == 4
    views, actions, first_steps, _ = train_cloning.load_recording(path)
    logits, _ = agent(train_cloning.stack_views(views, first_steps, torch.arange(actions.numel())))
    assert (logits.argmax(dim=1) == actions.flatten()).float().mean() > 0.9
    assert "most frequent action" in capsys.readouterr().out
    run("--trajectories", path, "--output", tmp_path / "again.pt", "--epochs", 12, "--batch-size", 16)
    again = load_agent(tmp_path / "again.pt")
    assert all(map(torch.equal, agent.state_dict().values(), again.state_dict().values()))


def test_the_agent_sees_what_it_sees_in_play(tmp_path):
    """At an episode's beginning the stack holds the first frame four times, as FrameStack makes it."""
    frames = np.random.default_rng(1).integers(256, size=(2, 20, 3, 16, 24)).astype(np.uint8)
    starts = np.zeros((2, 20), bool)
    starts[0, [0, 7]] = True  # row 1 goes on from an earlier one: its first frame is all that is known
    path = save_recording(
        tmp_path / "a.npz", 2, 20, frames=frames, episode_starts=starts, actions=np.zeros((2, 20), int)
    )
    views, _, first_steps, _ = train_cloning.load_recording(path)
    stacks = train_cloning.stack_views(views, first_steps, torch.arange(40)).view(
        2, 20, 4, OBS_SIZE, OBS_SIZE
    )
    stack, starts[:, 0] = FrameStack(2, torch.device("cpu")), True
    for t in range(20):
        seen = np.stack([preprocess_frame(frame.transpose(1, 2, 0)) for frame in frames[:, t]])
        assert torch.equal(stack.push(seen, starts[:, t]), stacks[:, t])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"actions": np.full((6, 40), 3)}, "actions up to 3"),
        ({"frames": np.zeros((6, 40, 16, 24, 3), np.uint8)}, "frames uint8"),
        ({"meta": "{"}, "copy or record it again"),
        ({"meta": json.dumps({"game": "Test-v0"})}, "copy or record it again"),
        ({"actions": np.zeros((6, 39), int)}, "copy or record it again"),
    ],
)
def test_damaged_recordings_are_refused(arrays, message, tmp_path):
    with pytest.raises(InputError, match=message):
        train_cloning.load_recording(save_recording(tmp_path / "a.npz", **arrays))


def test_a_recording_of_four_steps_is_too_short(tmp_path):
    with pytest.raises(InputError, match="too few to hold some of them out"):
        run("--trajectories", save_recording(tmp_path / "a.npz", 1, 4, episode_starts=np.zeros((1, 4), bool)))


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no recording at"):
        train_cloning.load_recording(tmp_path / "none.npz")
    np.savez(tmp_path / "b.npz", frames=np.zeros(3))
    with pytest.raises(InputError, match="is not a recording of"):
        train_cloning.load_recording(tmp_path / "b.npz")
    (tmp_path / "c.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(InputError, match="copy or record it again"):
        train_cloning.load_recording(tmp_path / "c.npz")
