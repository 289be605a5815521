"""view_mario_kart_env.py: window (with SDL's dummy driver), keyboard and controllers; evaluate_ppo.py."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import evaluate_ppo
import numpy as np
import pytest
import torch
import view_mario_kart_env as view
from player.common.agent_view import preprocess_frame
from player.common.errors import InputError
from player.common.runs import save_checkpoint
from player.games.game import DRIVING_ACTIONS, Action, Game
from player.games.registry import find_game
from player.rl.agent import Agent, AgentConfig, FrameStack, agent_checkpoint, load_agent
from player.window.controllers import ButtonController, GameSession

NAMES = tuple(action.name for action in DRIVING_ACTIONS)


@pytest.fixture
def pygame(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    module = pytest.importorskip("pygame")
    yield module
    module.quit()


@pytest.fixture
def window(pygame):
    from player.window.window import Window

    return Window(GameSession(), scale=2)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """An agent that almost always chooses forward."""
    torch.manual_seed(0)
    agent = Agent(AgentConfig(6, NAMES, "Mode7Kart-v0", 4))
    with torch.no_grad():
        agent.policy.bias[1] = 8.0
    path = tmp_path_factory.mktemp("agent") / "best.pt"
    save_checkpoint(agent_checkpoint(agent), path)
    return path


def post(pygame, kind: str, *keys: str) -> None:
    for key in keys:
        pygame.event.post(pygame.event.Event(getattr(pygame, kind), key=pygame.key.key_code(key)))


def run_frames(window, number: int) -> None:
    for _ in range(number):
        window.run_frame()


# -- keyboard ------------------------------------------------------------------------------------------------


def test_keyboard_drives_the_kart(window, pygame):
    x, y = window.session.truth["x"], window.session.truth["y"]
    run_frames(window, 5)
    assert (window.session.truth["x"], window.session.truth["y"]) == (x, y)
    post(pygame, "KEYDOWN", "up")
    run_frames(window, 60)
    assert np.hypot(window.session.truth["x"] - x, window.session.truth["y"] - y) > 30
    heading = window.session.truth["heading"]
    post(pygame, "KEYDOWN", "right")
    run_frames(window, 10)
    assert 0.1 < window.session.truth["heading"] - heading < 0.5
    post(pygame, "KEYUP", "up", "right")
    post(pygame, "KEYDOWN", "down")
    run_frames(window, 120)
    assert window.session.truth["speed"] < 0  # braking reverses


def test_press_shorter_than_a_frame_counts(window, pygame):
    post(pygame, "KEYDOWN", "space")
    post(pygame, "KEYUP", "space")
    run_frames(window, 3)
    assert window.session.env.unwrapped.state["hop"] > 0 and not window.held


def test_pause_restart_and_next_track(window, pygame):
    post(pygame, "KEYDOWN", "up")
    run_frames(window, 10)
    post(pygame, "KEYDOWN", "p")
    run_frames(window, 10)
    assert window.session.num_frames == 10
    post(pygame, "KEYDOWN", "p")
    run_frames(window, 5)
    assert window.session.num_frames == 15
    post(pygame, "KEYDOWN", "r")
    run_frames(window, 1)
    assert window.session.num_frames == 1
    post(pygame, "KEYDOWN", "t")
    run_frames(window, 1)
    assert window.session.name == "Coral Cove" and window.session.num_frames == 1


def test_frame_is_scaled_and_centered(window, pygame):
    screen = pygame.display.set_mode((700, 400))
    run_frames(window, 1)
    pixels = pygame.surfarray.array3d(screen).transpose(1, 0, 2)  # (W, H, 3) -> (H, W, 3)
    frame = window.session.frame_u8.repeat(2, axis=0).repeat(2, axis=1)  # the largest integer scale that fits
    top, left = (400 - 30 - 224) // 2, (700 - 512) // 2
    np.testing.assert_array_equal(pixels[top : top + 224, left : left + 512], frame)
    assert len(np.unique(pixels[:top])) <= 3  # only background above
    assert pixels[370:].max() > 150  # the status bar


def test_finished_race_waits_for_restart(window, pygame):
    run_frames(window, 1)
    without_banner = pygame.surfarray.array3d(pygame.display.get_surface())
    window.session.env.unwrapped.state["progress"] = 4 * window.session.env.unwrapped.track.length
    run_frames(window, 5)
    assert (window.session.ended, window.session.num_frames) == ("finished", 2)
    title, text = window.result()
    assert title == "FINISH!" and text.startswith("0:00.03")
    with_banner = pygame.surfarray.array3d(pygame.display.get_surface())
    assert (without_banner != with_banner).any(axis=2).mean() > 0.1
    post(pygame, "KEYDOWN", "r")
    run_frames(window, 1)
    assert window.session.ended == "" and window.session.num_frames == 1


def test_position_among_rivals(pygame):
    session = GameSession(rivals=3)
    assert session.position() == (4, 4)  # the rivals start ahead
    for rival in session.env.unwrapped.state["rivals"][:2]:
        rival[0] -= 500
    assert session.position() == (2, 4)
    assert GameSession().position() is None


@pytest.mark.parametrize("close", ["q", "escape", None])
def test_window_closes_and_keeps_the_frame_rate(pygame, close):
    """Runs the whole script: it plays at most 60 frames per second."""
    frames = []

    def close_later() -> None:
        while not pygame.display.get_init() or pygame.display.get_surface() is None:
            time.sleep(0.01)
        time.sleep(0.7)
        if close:
            post(pygame, "KEYDOWN", close)
        else:
            pygame.event.post(pygame.event.Event(pygame.QUIT))

    step = GameSession.step

    def counted_step(session, held=frozenset()):
        frames.append(time.perf_counter())
        step(session, held)

    closer = threading.Thread(target=close_later)
    closer.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GameSession, "step", counted_step)
        view.main(view.parse_args(["--rivals", "0"]))
    closer.join()
    # No faster than the game's frame rate; a busy machine may be slower.
    assert 5 <= len(frames) <= 1 + 60 * (frames[-1] - frames[0]) + 7


def test_keys_press_the_console_s_buttons():
    def down(controller: ButtonController, *keys: str) -> set:
        bits = controller.choose(np.zeros((1, 1, 3), np.uint8), False, frozenset(keys))
        return {button for button, bit in zip(controller.buttons, bits, strict=True) if bit}

    pad = ("B", "Y", "SELECT", "START", "UP", "DOWN", "LEFT", "RIGHT", "A", "X", "L", "R")
    kart = ButtonController(find_game("Mode7Kart-v0"), pad)
    assert down(kart, "up", "left", "space") == {"B", "LEFT", "R"}
    assert down(kart, "down", "return", "f5") == {"Y", "START"}
    assert down(kart, "left", "right", "up") == {"B"}
    actions = (Action("nothing"), Action("fire", ("B",), ("space",)), Action("left", ("LEFT",), ("left",)))
    shooter = ButtonController(Game("Shooter", actions, 60, GameSession), ("B", None, "LEFT", "UP"))
    assert down(shooter, "space", "up", "s") == {"B", "UP"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems always have a display")
def test_missing_display_is_one_line():
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    bare = {name: value for name, value in os.environ.items() if name not in screens}
    done = subprocess.run([sys.executable, view.__file__], env=bare, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "--headless" in done.stderr


# -- random policy and agent ---------------------------------------------------------------------------------


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


# -- evaluate_ppo.py -----------------------------------------------------------------------------------------


def test_evaluation_compares_agent_and_random_policy(checkpoint, tmp_path, capsys):
    flags = ["--episodes", "3", "--max-seconds", "8", "--seed", "5", "--json", str(tmp_path / "results.json")]
    evaluate_ppo.main(evaluate_ppo.parse_args(["--agent", str(checkpoint), *flags]))
    output = capsys.readouterr().out
    assert "seeds 5 to 7" in output and "0 of 3" in output
    results = json.loads((tmp_path / "results.json").read_text())
    agent, random = results["summary"]["agent"], results["summary"]["random"]
    assert agent["episodes"] == random["episodes"] == 3 and agent["finished"] == 0
    assert agent["mean_laps"] > 0 and agent["mean_seconds_a_lap"] is None
    assert [episode["seed"] for episode in results["episodes"]["agent"]] == [5, 6, 7]


def test_evaluation_statistics():
    """A scripted policy finishes without penalties; the results do not depend on the batch size."""
    from mode7_helpers import look_ahead_action

    game = find_game("Mode7Kart-v0")
    envs = [game.make(laps=1, frame_skip=4) for _ in range(2)]

    def choose(views: torch.Tensor) -> np.ndarray:
        running = [env for env in envs if env.state["progress"] < env.track.length]
        return np.array([look_ahead_action(env) for env in running[: len(views)]])

    batched = evaluate_ppo.run_episodes(envs, choose, [3, 4], game)
    assert [episode["finished"] for episode in batched] == [True, True]
    assert all(episode["clean"] and episode["wall_contacts"] == 0 for episode in batched)
    assert all(1 <= episode["laps"] < 2.1 and 15 < episode["seconds_a_lap"] < 25 for episode in batched)
    envs = envs[:1]
    assert evaluate_ppo.run_episodes(envs, choose, [3, 4], game) == batched


def test_evaluation_without_game_state_has_only_the_return():
    class ShortGame:
        frame_skip = 4
        unwrapped = None

        def reset(self, seed):
            self.steps = 0
            return np.zeros((12, 16, 3), np.uint8), {}

        def step(self, action):
            self.steps += 1
            return np.zeros((12, 16, 3), np.uint8), 2.0, self.steps == 5, False, {}

    game = Game("Other-v0", DRIVING_ACTIONS, 60, ShortGame)
    episodes = evaluate_ppo.run_episodes([ShortGame()], evaluate_ppo.random_policy(6, 0), [1, 2], game)
    assert episodes == [{"seed": seed, "return": 10.0, "steps": 5} for seed in (1, 2)]
    summary = evaluate_ppo.summarize(episodes)
    assert summary == {"episodes": 2, "mean_return": 10.0, "mean_steps": 5.0}
    evaluate_ppo.print_table({"agent": summary, "random": summary})
