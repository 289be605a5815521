"""The play window on a fake environment, with SDL's dummy driver: keys, the loop, commands, rewinding, settings."""

import os

import numpy as np
import pytest
from dream.window import dataset_commands
from dream.window.commands import COMMANDS, SPEEDS, Command, command_keys
from dream.window.gamepad import BUTTON_COMMANDS
from fakes import COLORS, FakeClock, FakeEnv
from window_helpers import run_for, send


def test_held_keys_reach_the_env(make_window):
    env = FakeEnv()
    window = make_window(env)
    window.step()
    send(window, "up", "left")
    window.step()
    window.step()
    send(window, "left", up=True)
    window.step()
    send(window, "up", up=True)
    window.step()
    assert env.actions == [0, 4, 4, 1, 0]
    send(window, "right")
    send(window, "right", up=True)
    window.step()  # a press between two frames is not lost
    window.step()
    assert env.actions[5:] == [3, 0] and window.session.num_frames == window.times.num_frames == 7


def test_latency_from_key_press_to_frame(make_window):
    """It includes the wait until the frame is due and the time to generate and draw it."""
    clock, env = FakeClock(), FakeEnv()
    env.fps = 10.0
    window = make_window(env, now=clock)
    wait, step = window.handle_events, env.step

    def press_half_way(wait_s):
        if wait_s > 0:
            clock.time_s += wait_s / 2
            send(window, "up")
            clock.time_s += wait_s / 2
        wait(0)

    def step_for_20_ms(action):
        clock.time_s += 0.02
        if len(env.actions) == 5:
            window.running = False
        return step(action)

    window.handle_events, env.step = press_half_way, step_for_20_ms
    window.run()
    np.testing.assert_allclose(window.times.key_to_frame_s[1:], (0.1 - 0.02) / 2 + 0.02)
    assert len(window.times.key_to_frame_s) >= 4
    window = make_window(env)
    send(window, "up", "p")
    assert window.paused and window.pressed_at is None  # a pause is no latency


def test_no_key_stays_down_when_the_window_loses_the_keyboard(make_window):
    import pygame

    env = FakeEnv()
    window = make_window(env)
    send(window, "up")
    window.step()
    pygame.event.post(pygame.event.Event(pygame.WINDOWFOCUSLOST))
    window.handle_events(0)
    window.step()
    assert env.actions == [1, 0]


def test_restart_and_next_start_state(make_window):
    env = FakeEnv()
    window = make_window(env, start=1)
    window.step()
    send(window, "r")
    assert window.session.num_frames == 0
    send(window, "return", "n", "n")
    assert env.starts == [1, 1, 1, 2, 0]


def test_loop_pauses_steps_and_quits(make_window):
    env = FakeEnv()
    env.fps = 500.0
    window = make_window(env)
    frames = run_for(window, 10, {2: ["space"], 4: ["p"], 6: ["."], 8: ["space", "up"]})
    # Frames generated before each draw; at the start, the window waits for a key.
    assert frames == [0, 0, 1, 2, 2, 2, 3, 3, 4, 5]
    assert env.actions == [0, 0, 0, 1, 1] and not window.running


def test_a_restart_waits_for_a_key_unless_one_is_held(make_window):
    """A key that was held through a restart once left the window at "press a key" until it was released."""
    env = FakeEnv()
    env.fps = 500.0
    window = make_window(env)
    frames = run_for(window, 8, {2: ["left"], 3: ["n"], 5: ["up"], 6: ["r"]})
    assert frames == [0, 0, 1, 2, 3, 4, 5, 6]
    assert env.actions == [2, 2, 2, 4, 4, 4] and env.starts == [0, 1, 1]
    window.keyboard.clear()
    COMMANDS["restart"].function(window)
    assert window.waiting


def test_a_key_of_the_game_is_no_command(make_window):
    env = FakeEnv()
    env.action_names, env.action_keys = ("nothing", "shoot"), ((), ("space",))
    window = make_window(env)
    send(window, "space")
    window.step()
    window.draw()
    assert env.actions == [1] and not window.paused
    send(window, "p")
    assert window.paused


def test_unknown_commands_raise_key_error():
    """Commands were once looked up in globals(), which also contains imported names such as Callable."""
    assert all(isinstance(command, Command) and callable(command.function) for command in COMMANDS.values())
    from dream.window.bar import COMMAND_WORDS

    assert set(COMMAND_WORDS) | set(BUTTON_COMMANDS.values()) <= set(COMMANDS)
    for table in (COMMANDS, dataset_commands.COMMANDS):
        for name in ("Callable", "toggle_recording", "fewer steps"):
            with pytest.raises(KeyError):
                table[name]


def test_the_game_s_keys_are_no_commands():
    keys = command_keys((("o",), ("p",), ("space",), ()))
    assert keys["picture"] == ("f12",) and keys["pause"] == () and keys["restart"] == ("r", "return")


def test_each_command_has_keys_of_its_own_and_can_be_called(make_window):
    window = make_window(FakeEnv())
    assert all(window.command_keys.values())
    num_keys = sum(len(command.keys) for command in COMMANDS.values())
    assert len(window.command_of_key) == num_keys  # no key is used twice
    for command in COMMANDS.values():
        command.function(window)
        window.draw()
    assert not window.running


def test_rewind_while_held_and_continue(make_window):
    env = FakeEnv()
    env.fps = 500.0
    window = make_window(env)
    send(window, "up")
    for _ in range(6):
        window.step()
    send(window, "up", up=True)
    send(window, "right", "backspace")
    assert window.rewinding
    for _ in range(4):
        window.rewind_frame()
    assert window.session.num_frames == 2 and (window.session.frame_u8[0, 0] == COLORS[1]).all()
    send(window, "backspace", up=True)
    assert not window.rewinding
    window.step()
    assert env.actions[6:] == [3] and window.session.num_frames == 3
    send(window, "z")
    for _ in range(9):  # to the start state and no further, while the key is held
        window.rewind_frame()
    assert window.session.num_frames == 0 and window.rewinding
    assert (window.session.frame_u8[0, 0] == COLORS[0]).all()


def test_rewinding_gains_speed_while_the_key_is_held(make_window):
    """Thirteen seconds at a fence took thirteen seconds to get back from."""
    env = FakeEnv()
    env.fps = 10.0
    window = make_window(env)
    for _ in range(100):
        window.session.step()
    numbers = []
    for _ in range(2):
        send(window, "z")
        for _ in range(16):
            window.rewind_frame()
        numbers.append(window.session.num_frames)
        send(window, "z", up=True)
    assert numbers == [
        100 - 14 - 2 * 2,
        100 - 2 * (14 + 2 * 2),
    ]  # twice as fast after 1.5 s, and from the start again


def test_rewinding_ends_when_the_keyboard_focus_is_lost(make_window):
    import pygame

    window = make_window(FakeEnv())
    window.step()
    send(window, "z")
    pygame.event.post(pygame.event.Event(pygame.WINDOWFOCUSLOST))
    window.handle_events(0)
    assert not window.rewinding


def test_the_driver_is_switched_and_its_keys_are_highlighted(make_window):
    env = FakeEnv()
    window = make_window(env, keys=("my list", [4, 4, 2, 1]))
    window.step()
    send(window, "tab")
    window.step()  # the list counts from the start state, so its first action is past
    window.step()
    assert window.shown_keys == {"left"}
    send(window, "right")  # a person's key changes nothing now
    window.step()
    window.step()
    send(window, "tab")
    window.step()
    assert env.actions == [0, 4, 2, 1, 0, 3]


def test_saved_start_states(make_window, tmp_path):
    env = FakeEnv()
    window = make_window(env)
    send(window, "k", "b")
    assert (tmp_path / "output/start_states_001.npz").exists() and env.starts[-1] == 3
    send(window, "k")
    assert os.listdir(tmp_path / "output") == ["start_states_001.npz"]  # one file per window
    again = make_window(env)
    send(again, "k")  # the first file is not overwritten
    assert sorted(os.listdir(tmp_path / "output")) == ["start_states_001.npz", "start_states_002.npz"]
    other = make_window(env)
    other.output_dir = tmp_path / "output/start_states_001.npz"  # a file, no folder
    send(other, "k")
    assert "not saved" in other.message


def test_seed_and_speed_change_within_bounds(make_window):
    env = FakeEnv()
    window = make_window(env)
    send(window, "x", "-", "-", "=")
    assert env.seed == 1 and "seed 1, speed 0.5x" in window.message
    assert window.speed == 0.5 and window.limiter.period_s == pytest.approx(1 / 30)
    send(window, *["="] * 9)
    assert window.speed == SPEEDS[-1]
    send(window, *["-"] * 12)
    assert window.speed == SPEEDS[0]
    window.draw()


def test_in_a_pause_a_new_seed_shows_at_once(make_window):
    env = FakeEnv()
    window = make_window(env)
    send(window, "left")
    window.step()
    send(window, "x")
    assert env.actions == [2]
    send(window, "p", "x")
    assert env.actions == [2, 2] and window.session.num_frames == 1
