"""view_mario_kart_env.py without a window: the random policy, the agent, videos."""

from pathlib import Path

import numpy as np
import pytest
import torch
import view_mario_kart_env as view
from agent_helpers import save_forward_agent
from player.common.agent_view import preprocess_frame
from player.common.errors import InputError
from player.common.runs import save_checkpoint
from player.games.registry import find_game
from player.rl.agent import Agent, AgentConfig, FrameStack, agent_checkpoint, load_agent
from player.window.controllers import GameSession


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return save_forward_agent(tmp_path_factory.mktemp("agent") / "best.pt")


def num_video_frames(path: Path) -> tuple[int, float]:
    import cv2

    video = cv2.VideoCapture(str(path))
    count, rate = 0, video.get(cv2.CAP_PROP_FPS)
    while video.read()[0]:
        count += 1
    video.release()
    return count, rate


@pytest.mark.parametrize("policy", ["random", "agent", None])
def test_headless_video(policy, checkpoint, tmp_path, capsys):
    pytest.importorskip("cv2")
    flags = ["--policy", str(checkpoint) if policy == "agent" else policy] if policy else []
    path = tmp_path / "videos" / "play.mp4"
    view.main(view.parse_args([*flags, "--headless", "--frames", "50", "--record", str(path)]))
    assert num_video_frames(path) == (50, 60.0)
    assert "50 frames" in capsys.readouterr().out


def test_agent_acts_as_in_training(checkpoint):
    """At frame_skip=1 it observes every fourth frame and repeats its action four times, as with frame_skip=4."""
    session = GameSession(policy=str(checkpoint), seed=7)
    env = find_game("Mode7Kart-v0").make(frame_skip=4, start="line", stall_seconds=0.0)
    agent, generator = load_agent(checkpoint), torch.Generator().manual_seed(7)
    stack, (frame, _) = FrameStack(1, torch.device("cpu")), env.reset(seed=7)
    for step in range(12):
        np.testing.assert_array_equal(session.frame_u8, frame)
        views = stack.push(preprocess_frame(frame)[None], np.array([step == 0]))
        frame = env.step(int(agent.act(views, generator)[0][0]))[0]
        for _ in range(4):
            session.step()
    assert session.truth["speed"] > 1


def test_seed_determines_the_session(checkpoint):
    def play(seed: int) -> np.ndarray:
        session = GameSession(policy="random", seed=seed, rivals=1)
        return np.stack(list(view.play_frames(session, 40)))

    np.testing.assert_array_equal(play(1), play(1))
    assert (play(1) != play(2)).any()


def test_headless_starts_a_new_episode():
    session = GameSession(policy="random")
    frames = view.play_frames(session, 3)
    next(frames)
    session.env.unwrapped.state["progress"] = 1e9
    next(frames)
    next(frames)
    assert session.num_frames == 1 and session.ended == ""


def test_agent_of_another_game_is_refused(tmp_path):
    other = agent_checkpoint(Agent(AgentConfig(2, ("a", "b"), "Other-v0", 4)))
    save_checkpoint(other, tmp_path / "other.pt")
    with pytest.raises(InputError, match="choose --game Other-v0"):
        GameSession(policy=str(tmp_path / "other.pt"))
    with pytest.raises(InputError, match="no checkpoint at"):
        GameSession(policy=str(tmp_path / "none.pt"))


@pytest.mark.parametrize(
    "flags",
    [["--record", "a.mp4"], ["--headless", "--record", "a.avi"], ["--rivals", "13"], ["--scale", "0"]],
)
def test_invalid_options_are_refused(flags):
    with pytest.raises(SystemExit) as stopped:
        view.parse_args(flags)
    assert stopped.value.code == 2
