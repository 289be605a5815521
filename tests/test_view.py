"""The window on the game, on a screen that is not there; and how well an agent is said to drive."""

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
    """An agent that nearly always drives forward."""
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


def turns(window, number: int) -> None:
    for _ in range(number):
        window.turn()


# -- a person ------------------------------------------------------------------------------------------------


def test_a_person_drives(window, pygame):
    x, y = window.race.truth["x"], window.race.truth["y"]
    turns(window, 5)
    assert (window.race.truth["x"], window.race.truth["y"]) == (x, y)
    post(pygame, "KEYDOWN", "up")
    turns(window, 60)
    assert np.hypot(window.race.truth["x"] - x, window.race.truth["y"] - y) > 30
    heading = window.race.truth["heading"]
    post(pygame, "KEYDOWN", "right")
    turns(window, 10)
    assert 0.1 < window.race.truth["heading"] - heading < 0.5
    post(pygame, "KEYUP", "up", "right")
    post(pygame, "KEYDOWN", "down")
    turns(window, 120)
    assert window.race.truth["speed"] < 0  # the brake backs up


def test_a_tap_shorter_than_a_frame_counts(window, pygame):
    post(pygame, "KEYDOWN", "space")
    post(pygame, "KEYUP", "space")
    turns(window, 3)
    assert window.race.env.unwrapped.s["hop"] > 0 and not window.held


def test_pause_restart_and_next_track(window, pygame):
    post(pygame, "KEYDOWN", "up")
    turns(window, 10)
    post(pygame, "KEYDOWN", "p")
    turns(window, 10)
    assert window.race.num_frames == 10
    post(pygame, "KEYDOWN", "p")
    turns(window, 5)
    assert window.race.num_frames == 15
    post(pygame, "KEYDOWN", "r")
    turns(window, 1)
    assert window.race.num_frames == 1
    post(pygame, "KEYDOWN", "t")
    turns(window, 1)
    assert window.race.name == "Coral Cove" and window.race.num_frames == 1


def test_the_frame_is_shown_whole_and_in_the_middle(window, pygame):
    screen = pygame.display.set_mode((700, 400))
    turns(window, 1)
    shown = pygame.surfarray.array3d(screen).transpose(1, 0, 2)  # (W, H, 3) -> (H, W, 3)
    frame = window.race.frame_u8.repeat(2, axis=0).repeat(2, axis=1)  # the largest whole scale that fits
    top, left = (400 - 30 - 224) // 2, (700 - 512) // 2
    np.testing.assert_array_equal(shown[top : top + 224, left : left + 512], frame)
    assert len(np.unique(shown[:top])) <= 3  # nothing above
    assert shown[370:].max() > 150  # the status line


def test_the_end_of_a_race_waits_for_r(window, pygame):
    turns(window, 1)
    plain = pygame.surfarray.array3d(pygame.display.get_surface())
    window.race.env.unwrapped.s["progress"] = 4 * window.race.env.unwrapped.track.length
    turns(window, 5)
    assert (window.race.ended, window.race.num_frames) == ("finished", 2)
    title, words = window.result()
    assert title == "FINISH!" and words.startswith("0:00.03")
    with_banner = pygame.surfarray.array3d(pygame.display.get_surface())
    assert (plain != with_banner).any(axis=2).mean() > 0.1
    post(pygame, "KEYDOWN", "r")
    turns(window, 1)
    assert window.race.ended == "" and window.race.num_frames == 1


def test_place_in_the_field(pygame):
    race = GameSession(rivals=3)
    assert race.position() == (4, 4)  # they start ahead
    for rival in race.env.unwrapped.s["rivals"][:2]:
        rival[0] -= 500
    assert race.position() == (2, 4)
    assert GameSession().position() is None


@pytest.mark.parametrize("close", ["q", "escape", None])
def test_closes_at_the_game_s_pace(pygame, close):
    """The whole script: 60 frames a second of the game pass in a second of the clock."""
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

    def counted(race, held=frozenset()):
        frames.append(time.perf_counter())
        step(race, held)

    closer = threading.Thread(target=close_later)
    closer.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GameSession, "step", counted)
        view.main(view.parse_args(["--rivals", "0"]))
    closer.join()
    # No more than the game's pace; a busy machine may show fewer.
    assert 5 <= len(frames) <= 1 + 60 * (frames[-1] - frames[0]) + 7


def test_keys_mean_the_console_s_buttons():
    def down(driver: ButtonController, *keys: str) -> set:
        bits = driver.choose(np.zeros((1, 1, 3), np.uint8), False, frozenset(keys))
        return {button for button, bit in zip(driver.buttons, bits, strict=True) if bit}

    pad = ("B", "Y", "SELECT", "START", "UP", "DOWN", "LEFT", "RIGHT", "A", "X", "L", "R")
    kart = ButtonController(find_game("Mode7Kart-v0"), pad)
    assert down(kart, "up", "left", "space") == {"B", "LEFT", "R"}
    assert down(kart, "down", "return", "f5") == {"Y", "START"}
    assert down(kart, "left", "right", "up") == {"B"}
    actions = (Action("nothing"), Action("fire", ("B",), ("space",)), Action("left", ("LEFT",), ("left",)))
    shooter = ButtonController(Game("Shooter", actions, 60, GameSession), ("B", None, "LEFT", "UP"))
    assert down(shooter, "space", "up", "s") == {"B", "UP"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems always have a screen")
def test_without_a_screen_one_clear_line():
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    bare = {name: value for name, value in os.environ.items() if name not in screens}
    done = subprocess.run([sys.executable, view.__file__], env=bare, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "--headless" in done.stderr


# -- watching ------------------------------------------------------------------------------------------------


def num_video_frames(path: Path) -> tuple[int, float]:
    import cv2

    video = cv2.VideoCapture(str(path))
    count, rate = 0, video.get(cv2.CAP_PROP_FPS)
    while video.read()[0]:
        count += 1
    video.release()
    return count, rate


@pytest.mark.parametrize("policy", ["random", "agent", None])
def test_headless_play_is_recorded(policy, checkpoint, tmp_path, capsys):
    pytest.importorskip("cv2")
    flags = ["--policy", str(checkpoint) if policy == "agent" else policy] if policy else []
    path = tmp_path / "videos" / "play.mp4"
    view.main(view.parse_args([*flags, "--headless", "--frames", "50", "--record", str(path)]))
    assert num_video_frames(path) == (50, 60.0)
    assert "50 frames" in capsys.readouterr().out


def test_the_agent_sees_and_acts_as_in_training(checkpoint):
    """Shown at 60 frames a second, it sees every fourth frame and its choice lasts four: the same as with skip 4."""
    race = GameSession(policy=str(checkpoint), seed=7)
    env = find_game("Mode7Kart-v0").make(frame_skip=4, start="line", stall_seconds=0.0)
    agent, generator = load_agent(checkpoint), torch.Generator().manual_seed(7)
    stack, (frame, _) = FrameStack(1, torch.device("cpu")), env.reset(seed=7)
    for step in range(12):
        np.testing.assert_array_equal(race.frame_u8, frame)
        views = stack.push(preprocess_frame(frame)[None], np.array([step == 0]))
        frame = env.step(int(agent.act(views, generator)[0][0]))[0]
        for _ in range(4):
            race.step()
    assert race.truth["speed"] > 1


def test_same_seed_same_play(checkpoint):
    def play(seed: int) -> np.ndarray:
        race = GameSession(policy="random", seed=seed, rivals=1)
        return np.stack(list(view.play_frames(race, 40)))

    np.testing.assert_array_equal(play(1), play(1))
    assert (play(1) != play(2)).any()


def test_a_race_that_ends_headless_is_followed_by_the_next():
    race = GameSession(policy="random")
    frames = view.play_frames(race, 3)
    next(frames)
    race.env.unwrapped.s["progress"] = 1e9
    next(frames)
    next(frames)
    assert race.num_frames == 1 and race.ended == ""


def test_an_agent_of_another_game_is_refused(tmp_path):
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
def test_flags_that_make_no_sense_are_refused(flags):
    with pytest.raises(SystemExit) as stopped:
        view.parse_args(flags)
    assert stopped.value.code == 2


# -- evaluate_ppo.py -----------------------------------------------------------------------------------------


def test_evaluation_tells_an_agent_from_chance(checkpoint, tmp_path, capsys):
    flags = ["--episodes", "3", "--max-seconds", "8", "--seed", "5", "--json", str(tmp_path / "found.json")]
    evaluate_ppo.main(evaluate_ppo.parse_args(["--agent", str(checkpoint), *flags]))
    told = capsys.readouterr().out
    assert "seeds 5 to 7" in told and "0 of 3" in told
    found = json.loads((tmp_path / "found.json").read_text())
    agent, random = found["summary"]["agent"], found["summary"]["random"]
    assert agent["episodes"] == random["episodes"] == 3 and agent["finished"] == 0
    assert agent["mean_laps"] > 0 and agent["mean_seconds_a_lap"] is None
    assert [episode["seed"] for episode in found["episodes"]["agent"]] == [5, 6, 7]


def test_evaluation_counts_what_happened():
    """A driver that knows the way: finished and clean; in two batches the same as in one."""
    from test_mode7_kart import look_ahead_action

    game = find_game("Mode7Kart-v0")
    envs = [game.make(laps=1, frame_skip=4) for _ in range(2)]

    def choose(views: torch.Tensor) -> np.ndarray:
        going = [env for env in envs if env.s["progress"] < env.track.length]
        return np.array([look_ahead_action(env) for env in going[: len(views)]])

    together = evaluate_ppo.play(envs, choose, [3, 4], game)
    assert [episode["finished"] for episode in together] == [True, True]
    assert all(episode["clean"] and episode["wall_contacts"] == 0 for episode in together)
    assert all(1 <= episode["laps"] < 2.1 and 15 < episode["seconds_a_lap"] < 25 for episode in together)
    envs = envs[:1]
    assert evaluate_ppo.play(envs, choose, [3, 4], game) == together


def test_evaluation_knows_only_the_return_of_a_game_without_truth():
    class Short:
        frame_skip = 4
        unwrapped = None

        def reset(self, seed):
            self.steps = 0
            return np.zeros((12, 16, 3), np.uint8), {}

        def step(self, action):
            self.steps += 1
            return np.zeros((12, 16, 3), np.uint8), 2.0, self.steps == 5, False, {}

    game = Game("Other-v0", DRIVING_ACTIONS, 60, Short)
    episodes = evaluate_ppo.play([Short()], evaluate_ppo.at_random(6, 0), [1, 2], game)
    assert episodes == [{"seed": seed, "return": 10.0, "steps": 5} for seed in (1, 2)]
    found = evaluate_ppo.summary(episodes)
    assert found == {"episodes": 2, "mean_return": 10.0, "mean_steps": 5.0}
    evaluate_ppo.print_table({"agent": found, "random": found})
