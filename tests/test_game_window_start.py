"""The game's window before and around the game: the wait for a key, the countdown, help, full screen, text, WASD."""

from dataclasses import replace

import numpy as np
import pytest
from player.games.game import Action
from player.games.registry import find_game
from player.window.controllers import ActionController, GameSession, RandomController
from player.window.recording_session import RecordingSession
from test_game_window import post, pygame, run_frames  # noqa: F401  pygame: a fixture


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def open_window(session, clock):
    from player.window.window import Window

    return Window(session, 2, now=clock)


def test_waits_for_a_key_and_counts_down(pygame, clock):  # noqa: F811
    window = open_window(GameSession(), clock)
    run_frames(window, 3)
    assert window.waiting and window.session.num_frames == 0
    post(pygame, "KEYDOWN", "up")
    numbers = []
    for _ in range(8):
        run_frames(window, 1)
        numbers.append(window.countdown() and window.countdown()[0])
        clock.seconds += 0.3
    assert numbers == [3, 3, 2, 2, 1, 1, None, None]
    assert window.session.num_frames == 2 and window.held == {
        "up"
    }  # it is still held: the kart starts at once


def test_any_key_skips_the_countdown_and_counts_for_the_game(pygame, clock):  # noqa: F811
    window = open_window(GameSession(), clock)
    post(pygame, "KEYDOWN", "up", "space")
    post(pygame, "KEYUP", "up", "space")
    run_frames(window, 2)
    assert not window.countdown() and window.session.env.unwrapped.state["hop"] > 0


@pytest.mark.parametrize("policy", ["random", None])
def test_only_a_person_is_waited_for(pygame, clock, policy):  # noqa: F811
    window = open_window(GameSession(policy=policy), clock)
    run_frames(window, 2)
    assert window.session.num_frames == (2 if policy else 0)


def test_a_turn_based_game_has_no_countdown(pygame, clock):  # noqa: F811
    session = GameSession()
    session.game = replace(session.game, frame_rate=4.0)
    assert not session.has_countdown


def test_help_pauses_the_game(pygame, clock):  # noqa: F811
    window = open_window(GameSession(), clock)
    window.waiting = False
    run_frames(window, 1)
    picture = pygame.surfarray.array3d(pygame.display.get_surface())
    for key in ("h", "f1"):
        post(pygame, "KEYDOWN", key)
        run_frames(window, 5)
        assert window.show_help and window.session.num_frames == 1
        assert (picture != pygame.surfarray.array3d(pygame.display.get_surface())).any(axis=2).mean() > 0.3
        post(pygame, "KEYDOWN", key)
        run_frames(window, 0)
        for event in pygame.event.get():
            window.press(pygame.key.name(event.key))
        assert not window.show_help
    post(pygame, "KEYDOWN", "h", "up")  # a key of the game closes it
    run_frames(window, 1)
    assert not window.show_help and window.session.num_frames == 2


def test_f11_goes_to_full_screen_and_back(pygame, clock):  # noqa: F811
    window = open_window(GameSession(), clock)
    size = pygame.display.get_surface().get_size()
    post(pygame, "KEYDOWN", "f11")
    run_frames(window, 1)
    assert pygame.display.get_surface().get_flags() & pygame.FULLSCREEN and window.waiting
    post(pygame, "KEYDOWN", "f11")
    run_frames(window, 1)
    assert pygame.display.get_surface().get_size() == size


def test_keys_of_the_game_are_none_of_the_window(pygame, clock):  # noqa: F811
    session = GameSession(decision_frames=4)
    actions = (Action("nothing"), Action("hit", ("B",), ("h",)), Action("run", ("Y",), ("q",)))
    session.controller = ActionController(replace(session.game, actions=actions), 4)
    window = open_window(session, clock)
    assert window.keys_of("help") == ("f1",) and window.keys_of("quit") == ("escape",)
    post(pygame, "KEYDOWN", "q")
    run_frames(window, 1)
    assert window.running and window.held == {"q"}


@pytest.mark.parametrize("size", [(300, 160), (512, 254), (1920, 1080), (400, 900)])
def test_panels_stay_inside_and_text_grows(pygame, clock, size, monkeypatch):  # noqa: F811
    from player.window import draw, hud

    window = open_window(RecordingSession(100, decision_frames=4), clock)
    screen, rects = pygame.Surface(size), []
    monkeypatch.setattr(draw, "write", lambda surface, *rest, write=draw.write, **position: rects.append(
        (surface.get_rect(), write(surface, *rest, **position))) or rects[-1][1])  # fmt: skip
    for window.show_help in (False, True):
        hud.draw_window(window, screen)
    assert len(rects) > 20 and all(outer.contains(text) for outer, text in rects)
    assert draw.text_scale((1920, 1080)) == pytest.approx(1.875) and draw.text_scale((300, 160)) == 1


def test_no_minus_zero(pygame, clock):  # noqa: F811
    from player.window import hud

    session = GameSession()
    session.truth.update(speed=np.float32(-0.001), lap=np.float32(-0.1))
    window = open_window(session, clock)
    session.game = replace(session.game, name="Other-v0")
    session.total_reward = -0.2
    texts = [text for text, _ in hud.status_texts(window)] + list(hud.result(window))
    assert "speed 0" in texts and not any("-0" in text for text in texts)


def test_wasd_are_arrows_unless_an_action_uses_them():
    def choose(actions, *held: str) -> str:
        controller = ActionController(replace(find_game("Mode7Kart-v0"), actions=actions), 4)
        return actions[controller.choose(np.zeros((1, 1, 3), np.uint8), False, frozenset(held))].name

    actions = find_game("Mode7Kart-v0").actions
    assert choose(actions, "w", "a") == choose(actions, "up", "left") == "forward+left"
    assert choose(actions, "a", "right") == "nothing"  # they cancel each other
    with_a = (*actions, Action("fire", ("A",), ("a",)))
    assert choose(with_a, "w") == "nothing" and choose(with_a, "a") == "fire"


def test_nothing_is_recorded_before_the_first_key(pygame, clock):  # noqa: F811
    session = RecordingSession(None, decision_frames=4)
    window = open_window(session, clock)
    run_frames(window, 20)
    post(pygame, "KEYDOWN", "w")
    run_frames(window, 20)  # in the countdown
    assert session.row == [] and window.countdown()
    clock.seconds += 5
    run_frames(window, 8)
    assert [step["actions"] for step in session.row] == [1, 1] and session.row[0]["episode_starts"]
    lines = session.describe_actions()
    assert "  nothing          no key" in lines and "  forward+left     up + left" in lines


def test_the_random_policy_uses_no_keys(pygame, clock):  # noqa: F811
    window = open_window(GameSession(policy="random"), clock)
    assert isinstance(window.session.controller, RandomController) and window.keys_of("help") == ("h", "f1")
    window.show_help = True
    run_frames(window, 1)
    assert window.session.num_frames == 0
