"""The dataset viewer: keys, the mouse, and a window on a virtual X display."""

from pathlib import Path

import inspect_trajectories
import numpy as np
import pytest
from dream.window.dataset_commands import COMMANDS
from dream.window.dataset_index import timeline_column
from viewer_helpers import N, T, mouse, pygame, save_recording, shade
from window_helpers import send, wait_until


@pytest.fixture
def path(tmp_path):
    return save_recording(tmp_path / "mine.npz")


SCRIPT = Path(inspect_trajectories.__file__)


def test_each_command_has_keys_of_its_own_and_can_be_called(make_viewer, path):
    window = make_viewer(path)
    assert len(window.command_of_key) == sum(len(command.keys) for command in COMMANDS.values())
    for command in COMMANDS.values():
        command.function(window)
        window.draw()
    send(window, "escape")  # "quit" has closed the help
    assert not window.running


def test_next_and_previous_episode(make_viewer, path):
    window = make_viewer(path)
    positions = []
    for name in "eeeeewww":
        send(window, name)
        positions.append(window.position)
    assert positions == [12, 30, 45, 45, 45, 30, 12, 0]
    window.go_to(31)
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_e, mod=pygame.KMOD_LSHIFT))
    window.handle_events(0)
    assert window.position == 30


def test_runs_of_the_rarest_action_and_of_others(make_viewer, path):
    window = make_viewer(path)
    assert window.selected_name == "forward+left"  # "nothing" is rarer: it does not occur
    send(window, "n")
    assert window.position == 27
    send(window, "n")
    assert window.position == 27 and "no run of forward+left" in window.message
    send(window, "tab", "n")
    assert (window.selected_name, window.position) == ("left", 50)
    send(window, "b")
    assert window.position == 12  # an episode start cuts the run 10 .. 14
    send(window, "b", "tab")
    assert (window.selected_name, window.position) == ("forward", 10)
    send(window, "tab")
    assert window.selected_name == "forward+left"
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_TAB, mod=pygame.KMOD_RSHIFT))
    window.handle_events(0)
    assert window.selected_name == "forward"


def test_the_mouse_drags_through_the_recording(make_viewer, path):
    window = make_viewer(path)
    line = window.timeline()
    x = [line.left + timeline_column(position, line.width, N * T) for position in (20, 40)]
    mouse(window, pygame.MOUSEMOTION, x[0], line.centery, buttons=(0, 0, 0))
    mouse(window, pygame.MOUSEBUTTONDOWN, x[0], line.top - 100, button=1)  # on the picture
    mouse(window, pygame.MOUSEMOTION, x[0], line.centery, buttons=(1, 0, 0))
    assert window.position == 0
    mouse(window, pygame.MOUSEBUTTONUP, x[0], line.centery, button=1)
    mouse(window, pygame.MOUSEBUTTONDOWN, x[0], line.centery, button=1)
    assert window.position == 20
    # While it drags, the mouse may leave the timeline.
    mouse(window, pygame.MOUSEMOTION, x[1], line.top - 200, buttons=(1, 0, 0))
    assert window.position == 40
    mouse(window, pygame.MOUSEMOTION, 9999, 0, buttons=(1, 0, 0))
    assert window.position == N * T - 1
    mouse(window, pygame.MOUSEBUTTONUP, x[1], line.centery, button=1)
    mouse(window, pygame.MOUSEMOTION, x[0], line.centery, buttons=(0, 0, 0))
    assert window.position == N * T - 1


def test_playing_goes_on_after_a_drag(make_viewer, path):
    window = make_viewer(path)
    line = window.timeline()
    send(window, "space")
    window.play_frame()
    mouse(
        window,
        pygame.MOUSEBUTTONDOWN,
        line.left + timeline_column(20, line.width, N * T),
        line.centery,
        button=1,
    )
    window.play_frame()
    assert window.position == 20 and window.playing
    mouse(window, pygame.MOUSEBUTTONUP, 0, 0, button=1)
    window.play_frame()
    assert window.position == 21
    send(window, "end", "space", "space")
    assert not window.playing  # there is nothing left to play


def test_a_real_window(screen, path):
    screen.start(SCRIPT, "--trajectories", path)  # in the middle of 800x500
    wait_until(lambda: screen.shows([shade(0)] * 3))
    screen.press("mousemove", "400", "200", "key", "Right", "key", "Right")
    wait_until(lambda: screen.shows([shade(2)] * 3))
    screen.press("key", "shift+e")
    wait_until(lambda: screen.shows([shade(0)] * 3))
    screen.press("key", "n")
    wait_until(lambda: screen.shows([shade(27)] * 3))
    from dream.window.draw import ACCENT

    lower = screen.picture()[410:]  # the end of the bar: nothing else is of this color there
    y, x = (int(where.mean()) for where in np.nonzero((lower == ACCENT).all(axis=2)))
    y += 410
    screen.press("mousemove", str(x), str(y), "mousedown", "1", "mousemove", "790", str(y))
    wait_until(lambda: screen.shows([shade(N * T - 1)] * 3))
    screen.press("mousemove", "2", str(y), "mouseup", "1")
    wait_until(lambda: screen.shows([shade(0)] * 3))
    screen.press("key", "h")  # over all of the picture
    wait_until(lambda: not screen.shows([shade(0)] * 3))
    screen.press("key", "h", "key", "q")
    output, _ = screen.window.communicate(timeout=3600)
    assert screen.window.returncode == 0 and "mine.npz" in output
