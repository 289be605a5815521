"""record_trajectories.py: behavior policies, the script run for real, a person's actions replayed in the game."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import record_trajectories
import torch
from dream.data.trajectories import open_trajectories
from player.common.errors import InputError
from player.envs.vector_env import make_env
from player.games.registry import find_game
from player.rl.behavior import BehaviorPolicies, assign_envs
from record_trajectories import PERSON_STEPS, RecordingSession, make_writer, parse_args

SCRIPT = Path(record_trajectories.__file__)
NUM_ACTIONS = 6
AGENTS_CHOICE = 7  # no key of the stranger's


def pressed_by(kind: str, num_games: int = 32, num_steps: int = 2000) -> np.ndarray:
    """(N, T): what is pressed where the agent would always choose AGENTS_CHOICE."""
    behaviors, generator = BehaviorPolicies([kind] * num_games, NUM_ACTIONS), torch.Generator().manual_seed(0)
    chosen = torch.full((num_games,), AGENTS_CHOICE)
    return torch.stack([behaviors.act(chosen, generator) for _ in range(num_steps)], dim=1).numpy()


@pytest.mark.parametrize(
    ("kind", "stranger", "mean_run"),
    # A turn of 3 to 150 decisions, log-uniform: 147 / ln 50 = 37.6 on average. Two in a row are one run where both are
    # the agent's (1/2) or the same key of the stranger's.
    [("agent", 0, 2000), ("noisy", 0.2, None), ("random", 1, 1 / (1 - 1 / 6)), ("sticky", 1, 37.6 / (1 - 1 / 6)),
     ("wander", 0.5, 37.6 / (1 - 1 / 4 - 1 / 24))],
)  # fmt: skip
def test_whose_hands(kind, stranger, mean_run):
    keys = pressed_by(kind)
    assert (keys != AGENTS_CHOICE).mean() == pytest.approx(stranger, abs=0.06)
    if stranger:
        counts = np.bincount(keys[keys != AGENTS_CHOICE], minlength=NUM_ACTIONS)
        np.testing.assert_allclose(counts / counts.sum(), 1 / NUM_ACTIONS, atol=0.06)
    if mean_run:
        runs = keys.size / (1 + (np.diff(keys, axis=1) != 0).sum(axis=1)).sum()
        assert runs == pytest.approx(mean_run, rel=0.12)


def test_long_and_short_turns_are_both_common():
    keys = pressed_by("sticky")
    lengths = np.diff(np.flatnonzero(np.diff(keys.ravel()) != 0))
    shares = [np.mean((lengths >= low) & (lengths < high)) for low, high in ((3, 10), (10, 40), (40, 200))]
    assert min(shares) > 0.2


def test_hands_go_on_where_they_were():
    generator = torch.Generator().manual_seed(3)
    behaviors = BehaviorPolicies(["wander", "noisy", "sticky"], NUM_ACTIONS)
    chosen = torch.full((3,), AGENTS_CHOICE)
    for _ in range(10):
        behaviors.act(chosen, generator)
    state, chance = behaviors.state_dict(), generator.get_state()
    wanted = [behaviors.act(chosen, generator) for _ in range(50)]
    other = BehaviorPolicies(["wander", "noisy", "sticky"], NUM_ACTIONS)
    other.load_state_dict(state)
    generator.set_state(chance)
    assert all(torch.equal(other.act(chosen, generator), one) for one in wanted)


def test_games_are_shared_out():
    assert assign_envs({"agent": 1, "wander": 7}, 16) == ["agent"] * 2 + ["wander"] * 14
    assert assign_envs({"agent": 1, "noisy": 1, "random": 1}, 4).count("agent") == 2
    assert assign_envs({"random": 0.3}, 3) == ["random"] * 3
    with pytest.raises(InputError, match="'random' gets none of 4 environments"):
        assign_envs({"agent": 99, "random": 1}, 4)


# ---------------------------------------------------------------------------------------------------- the script


def run(*options, wrong: str = "") -> str:
    command = [sys.executable, str(SCRIPT), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)
    if wrong:
        assert done.returncode != 0 and wrong in done.stderr and "Traceback" not in done.stderr, done.stderr
    else:
        assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_mixed_recording(tmp_path):
    options = ["--policy", "agent,wander=2,random", "--n-envs", 4, "--frames", 90, "--seed", 5]
    said = run(*options, "--output", tmp_path / "a.npz")
    assert "seed 5" in said and [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    data = open_trajectories(tmp_path / "a.npz")
    assert data.frames.shape == (4, 23, 3, 112, 256) and data.fps == 15  # whole decisions of all games: 92
    assert data.episode_starts[:, 0].all() and not data.episode_starts[:, 1:].any()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        meta = json.loads(str(arrays["meta"]))
        assert {"truth/speed", "truth/heading", "truth/place"} <= set(arrays)
    assert meta["drivers"] == ["agent", "wander", "wander", "random"] and meta["seed"] == 5

    run(*options, "--output", tmp_path / "again.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()
    run(*options[:-1], 6, "--output", tmp_path / "other.npz")
    assert (open_trajectories(tmp_path / "other.npz").actions != data.actions).any()
    run(*options, "--output", tmp_path / "a.npz", wrong="a recording exists at")


def test_a_recording_of_several_courses(tmp_path):
    """The games take the courses in turn, and each row says which: frames at the start are told apart by it alone."""
    options = ["--policy", "agent=2,wander", "--n-envs", 3, "--frames", 15, "--track", 0, 2]
    said = run(*options, "--output", tmp_path / "a.npz")
    assert "assumed: the pretrained agent, trained on track 0, can drive [0, 2]" in said
    data = open_trajectories(tmp_path / "a.npz")
    assert data.extras["track"].tolist() == [[0] * 5, [2] * 5, [0] * 5]
    skies = [tuple(data.frames[row, 0, :, 20, 0]) for row in range(3)]
    assert skies[0] == skies[2] != skies[1]
    run(
        "--policy",
        "person",
        "--track",
        0,
        2,
        "--frames",
        9,
        "--output",
        tmp_path / "b.npz",
        wrong="one --track",
    )
    run(
        "--game",
        "Airstriker-Genesis-v0",
        *options,
        "--output",
        tmp_path / "c.npz",
        wrong="are for Mode7Kart-v0",
    )


def test_an_agent_drives_at_another_frame_rate(tmp_path):
    """How a dream of 30 frames a second gets its recording; said, for an agent may not stand it."""
    options = ["--policy", "agent", "--n-envs", 2, "--frames", 10, "--frame-skip", 2]
    assert "assumed: an agent trained with a step of 4" in run(*options, "--output", tmp_path / "a.npz")
    data = open_trajectories(tmp_path / "a.npz")
    assert data.fps == 30 and len(set(data.actions.flat)) >= 1


def test_chance_needs_no_agent(tmp_path):
    chance = ["--n-envs", 2, "--frames", 10, "--agent", tmp_path / "none.pt"]
    run(*chance, "--policy", "random,sticky", "--output", tmp_path / "a.npz")
    run(*chance, "--policy", "noisy", "--output", tmp_path / "b.npz", wrong="no checkpoint at")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_an_interrupt_keeps_what_is_recorded(tmp_path):
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), "--policy", "random", "--n-envs", "1", "--frames", "20480",
         "--output", str(tmp_path / "a.npz")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )  # fmt: skip
    parts = tmp_path / "a.recording" / "trajectories.partial"
    deadline = time.monotonic() + 3600
    while not (parts / "epoch_000000").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=3600)
    assert process.returncode == 0 and "keeping the finished rows" in said
    assert len(open_trajectories(tmp_path / "a.npz").frames) >= 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (["--policy", "ghost"], "--policy ghost: wanted KIND"),
        (["--policy", "agent=0"], "--policy agent=0: wanted KIND"),
        (["--policy", "agent=some"], "--policy agent=some: wanted KIND"),
        (["--policy", "random=inf"], "wanted KIND"),
        (["--frames", 0], "--frames, --n-envs and --frame-skip must be at least 1"),
        (["--output", "recording.txt"], "must end in .npz"),
        (["--policy", "random", "--frames", 10**12], "GB are free"),
    ],
)
def test_bad_input(tmp_path, options, wrong):
    run("--frames", 10, "--n-envs", 1, "--output", tmp_path / "a.npz", *options, wrong=wrong)
    assert not list(tmp_path.iterdir())


def test_what_a_kill_left_is_pointed_at(tmp_path):
    (tmp_path / "a.recording").mkdir()
    run("--frames", 10, "--output", tmp_path / "a.npz", wrong="--pack-only --output-dir")


# ---------------------------------------------------------------------------------------------------- a person


def person_race(tmp_path, num_frames: int) -> RecordingSession:
    race = RecordingSession(num_frames, decision_frames=4, seed=3)
    args = parse_args(
        ["--policy", "person", "--frames", "1", "--output", str(tmp_path / "a.npz"), "--seed", "3"]
    )
    race.writer = make_writer(args, race.game, 1, ["person"], tmp_path / "parts")
    return race


def test_what_a_person_did_leads_to_the_same_frames_again(tmp_path):
    """Recorded action by action; the game itself, stepped by those actions, shows the recorded frames."""
    race = person_race(tmp_path, 2 * PERSON_STEPS)
    rng, held = np.random.default_rng(0), frozenset()
    while not race.finished:
        if rng.random() < 0.1:  # keys go up and down between decisions, too
            held = frozenset(key for key in ("up", "left", "right") if rng.random() < 0.6)
        race.step(held)
    race.write_row()
    race.env.close()
    path = race.writer.pack()
    data = open_trajectories(path)
    assert data.frames.shape[:2] == (2, PERSON_STEPS) and len(np.unique(data.actions)) > 3
    env = make_env(find_game("Mode7Kart-v0"), 4, start="line", stall_seconds=0.0, max_seconds=600.0)
    frame, _ = env.reset(seed=3)
    rewards = []
    for t, action in enumerate(data.actions.ravel()):
        np.testing.assert_array_equal(
            data.frames[t // PERSON_STEPS, t % PERSON_STEPS], frame.transpose(2, 0, 1)
        )
        frame, reward, *_ = env.step(int(action))
        rewards.append(reward)
    with np.load(path, allow_pickle=False) as arrays:
        np.testing.assert_allclose(arrays["rewards"].ravel(), rewards, atol=1e-4)
    assert data.episode_starts.ravel().nonzero()[0].tolist() == [0]


def test_a_tap_between_two_decisions_counts_for_the_next(tmp_path):
    race = person_race(tmp_path, PERSON_STEPS)
    for frame in range(12):
        race.step(frozenset({"up"}) if frame == 2 else frozenset())
    assert [seen["actions"] for seen in race.row] == [0, 1, 0]
    race.env.close()


def test_a_restart_begins_an_episode(tmp_path):
    race = person_race(tmp_path, PERSON_STEPS)
    for _ in range(10):  # two decisions, and half of the third
        race.step(frozenset({"up"}))
    race.restart()
    while not race.finished:
        race.step()
    starts = [seen["episode_starts"] for seen in race.row]
    assert [t for t, first in enumerate(starts) if first] == [0, 3]
    assert [seen["actions"] for seen in race.row[:4]] == [1, 1, 1, 0]
    race.env.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere there is always a screen")
def test_a_person_without_a_screen_and_with_one(tmp_path, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    person = ["--policy", "person", "--frames", 20, "--output", tmp_path / "a.npz"]
    run(*person, wrong="no screen")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    said = run(*person)
    assert "recorded" in said and open_trajectories(tmp_path / "a.npz").actions.shape == (1, PERSON_STEPS)
