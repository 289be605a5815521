"""The dataset viewer: computations, keys, mouse, drawing, and a window on an X display."""

import json
import os
from pathlib import Path

import inspect_trajectories
import numpy as np
import pytest
from dream.data.trajectories import open_trajectories
from dream.window.dataset_commands import COMMANDS
from dream.window.dataset_index import (
    column_fractions,
    format_time,
    format_value,
    frame_values,
    nearest,
    position_at,
    prefix_counts,
    rarest_first,
    run_starts,
    timeline_column,
)
from PIL import Image
from test_window import screen, send, wait_until  # noqa: F401 (screen is a fixture)

pygame = pytest.importorskip("pygame")

SCRIPT = Path(inspect_trajectories.__file__)
N, T, H, W = 2, 30, 56, 128
ACTIONS = np.repeat([1, 2, 1, 3, 1, 2], [10, 5, 12, 1, 22, 10]).reshape(
    N, T
)  # 44 of 1, 15 of 2, 1 of 3, none of 0


def shade(position: int) -> int:
    return 10 + 4 * position  # never black like an empty screen


@pytest.fixture
def path(tmp_path):
    """Frame i of 60 is of one color, shade(i); the episodes start at 0, 12, 30 and 45."""
    shades = shade(np.arange(N * T)).astype(np.uint8).reshape(N, T, 1, 1, 1)
    meta = {"fps": 500.0, "action_keys": [[], ["up"], ["left"], ["up", "left"]], "game": "Test-v0"}
    path = tmp_path / "mine.npz"
    np.savez(
        path,
        frames=shades * np.ones((1, 1, 3, H, W), np.uint8),
        actions=ACTIONS,
        episode_starts=np.isin(np.arange(N * T), (0, 12, 30, 45)).reshape(N, T),
        rewards=np.arange(N * T, dtype=np.float32).reshape(N, T) / 7,
        action_names=np.array(["nothing", "forward", "left", "forward+left"]),
        meta=np.array(json.dumps(meta)),
        **{"truth/speed": np.full((N, T), 0.93, np.float32), "truth/at": np.zeros((N, T, 2))},
    )
    return path


@pytest.fixture
def make_viewer(monkeypatch, tmp_path):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    from dream.window.dataset_viewer import DatasetViewer

    yield lambda path: DatasetViewer(open_trajectories(path), path.name, tmp_path / "output")
    pygame.quit()


def pixels(window) -> np.ndarray:
    """Draws the window; returns its pixels, uint8 (H, W, 3)."""
    window.draw()
    return pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)


def drawn_text(window, monkeypatch) -> list[str]:
    """Draws the window; returns all text that is written."""
    from dream.window import dataset_hud
    from dream.window import draw as drawing

    written, write = [], drawing.write

    def spy(surface, text, *rest, **position):
        written.append(text)
        return write(surface, text, *rest, **position)

    with monkeypatch.context() as patch:
        for module in (dataset_hud, drawing):
            patch.setattr(module, "write", spy)
        window.draw()
    return written


def mouse(window, kind, x, y, **more):
    pygame.event.post(pygame.event.Event(kind, pos=(x, y), **more))
    window.handle_events(0)


# ------------------------------------------------------------------------------------------------ computations


def test_rarest_first():
    assert rarest_first(np.array([5, 0, 2, 5, 1])) == [1, 4, 2, 0, 3]


def test_runs_end_at_other_actions_rows_and_episodes():
    actions = np.array([[2, 2, 1, 2, 2, 2], [2, 2, 1, 1, 1, 2]])
    starts = np.zeros((2, 6), bool)
    starts[0, 4] = starts[1, 3] = True
    assert run_starts(actions, starts, 2).tolist() == [0, 3, 4, 6, 11]
    assert run_starts(actions, starts, 1).tolist() == [2, 8, 9]
    assert run_starts(actions, starts, 0).tolist() == []


def test_nearest_excludes_the_present_position():
    positions = np.array([3, 7, 20])
    assert [nearest(positions, at, 1) for at in (0, 3, 7, 20)] == [3, 7, 20, None]
    assert [nearest(positions, at, -1) for at in (0, 3, 7, 99)] == [None, None, 3, 20]


@pytest.mark.parametrize(("width", "num_frames"), [(100, 7), (100, 90), (100, 100), (100, 1)])
def test_a_click_on_a_frame_s_column_is_that_frame(width, num_frames):
    for position in range(num_frames):
        assert position_at(timeline_column(position, width, num_frames), width, num_frames) == position


def test_a_timeline_with_more_frames_than_columns():
    columns = [timeline_column(position, 100, 12345) for position in range(12345)]
    assert columns == sorted(columns) and set(columns) == set(range(100))
    assert [position_at(x, 100, 12345) for x in (-9, 0, 50, 99, 100, 900)] == [
        0,
        0,
        6172,
        12221,
        12344,
        12344,
    ]


def test_each_column_shows_the_fraction_of_its_own_frames():
    marked = np.zeros((2, 50), bool)
    marked[0, 3] = marked[1, 10:20] = True
    np.testing.assert_array_equal(
        column_fractions(prefix_counts(marked), 10), [0.1, 0, 0, 0, 0, 0, 1, 0, 0, 0]
    )
    few = np.array([[False, True, False, True]])
    np.testing.assert_array_equal(column_fractions(prefix_counts(few), 8), [0, 0, 1, 1, 0, 0, 1, 1])


def test_values_as_text():
    extras = {
        "rewards": np.array([[0.5, -1234.56]], np.float32),
        "truth/lap": np.array([[1, 2]]),
        "truth/pose": np.zeros((1, 2, 3)),  # more than one value a frame
        "weather": np.array([["rain", "sun"]]),
    }
    assert frame_values(extras, 0, 1) == [("rewards", "-1235"), ("lap", "2"), ("weather", "sun")]
    assert [format_value(np.float64(value)) for value in (0.9312, 0, np.nan)] == ["0.931", "0", "nan"]
    assert [format_time(seconds) for seconds in (0, 9.96, 75.25, 600)] == [
        "0:00.0",
        "0:09.9",
        "1:15.2",
        "10:00.0",
    ]


# ------------------------------------------------------------------------------------------------ keys and the mouse


def test_each_command_has_keys_of_its_own_and_can_be_called(make_viewer, path):
    window = make_viewer(path)
    assert len(window.command_of_key) == sum(len(command.keys) for command in COMMANDS.values())
    for command in COMMANDS.values():
        command.function(window)
        window.draw()
    assert not window.running


def test_next_and_previous_episode(make_viewer, path):
    window = make_viewer(path)
    seen = []
    for name in "eeeeewww":
        send(window, name)
        seen.append(window.position)
    assert seen == [12, 30, 45, 45, 45, 30, 12, 0]
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
    mouse(
        window, pygame.MOUSEMOTION, x[1], line.top - 200, buttons=(1, 0, 0)
    )  # the mouse may leave the timeline
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


# ------------------------------------------------------------------------------------------------ drawing


def test_the_frame_and_the_keys_of_its_action_are_drawn(make_viewer, path, monkeypatch):
    from dream.window import dataset_hud
    from dream.window import draw as drawing

    window, lit = make_viewer(path), []
    draw_keys = drawing.draw_keys
    monkeypatch.setattr(
        dataset_hud,
        "draw_keys",
        lambda on, keys, held, left: lit.append(held) or draw_keys(on, keys, held, left),
    )
    for position in (0, 10, 27):
        window.go_to(position)
        picture = pixels(window)
        x, y = window.picture_rect.center
        assert (picture[y, x] == shade(position)).all()
    assert lit == [("up",), ("left",), ("up", "left")]


def test_pixels_are_whole_multiples(make_viewer, tmp_path):
    frames = np.random.default_rng(0).integers(256, size=(1, 5, 3, 100, 256)).astype(np.uint8)
    np.savez(
        tmp_path / "t.npz",
        frames=frames,
        actions=np.zeros((1, 5), int),
        episode_starts=np.zeros((1, 5), bool),
    )
    window = make_viewer(tmp_path / "t.npz")
    picture = pixels(window)
    place = window.picture_rect
    scale = place.width // 256
    assert scale >= 2 and place.size == (256 * scale, 100 * scale)
    found = picture[place.top : place.bottom, place.left : place.right]
    np.testing.assert_array_equal(found, frames[0, 0].transpose(1, 2, 0).repeat(scale, 0).repeat(scale, 1))


def test_the_timeline_shows_action_episodes_and_position(make_viewer, path):
    from dream.window.draw import ACCENT, BORDER, GREEN, MUTED

    window = make_viewer(path)
    send(window, "tab")
    assert window.selected_name == "left"
    window.go_to(20)
    picture, line = pixels(window), window.timeline()

    def color(position, y):
        return tuple(picture[y, line.left + timeline_column(position, line.width, N * T)])

    for position in range(N * T):
        wanted = ACCENT if position == 20 else GREEN if ACTIONS.flat[position] == 2 else BORDER
        assert color(position, line.centery) == wanted, position
        if position != 20:
            assert (color(position, line.top - 4) == MUTED) == (position in (0, 12, 30, 45)), position


def test_values_of_the_frame_are_written(make_viewer, path, monkeypatch):
    window = make_viewer(path)
    window.go_to(49)
    written = drawn_text(window, monkeypatch)
    for wanted in ("rewards", "7", "speed", "0.93", "forward", "row 1, t 19, frame 49"):
        assert wanted in written, wanted
    assert "at" not in written  # two values a frame


def test_the_histogram_highlights_the_current_action(make_viewer, path, monkeypatch):
    from dream.window.draw import ACCENT, GREEN, MUTED

    window = make_viewer(path)
    before = pixels(window)
    send(window, "a")
    written = drawn_text(window, monkeypatch)
    rows = [written[i : i + 3] for i, words in enumerate(written) if words in window.recording.action_names]
    assert rows[:4] == [
        ["nothing", "0", "0.0%"],
        ["forward+left", "1", "1.7%"],
        ["left", "15", "25.0%"],
        ["forward", "44", "73.3%"],
    ]
    area = pixels(window)[: before.shape[0] - window.bar_height]

    def wide(color):
        return (area == color).all(axis=2).sum(axis=1).max()

    assert wide(ACCENT) > 2.5 * wide(MUTED) > 0  # "forward" is current, and three times as frequent as "left"
    assert (area == GREEN).all(axis=2).any()  # the selected one
    send(window, "a")
    np.testing.assert_array_equal(pixels(window), before)


def test_help_names_every_command(make_viewer, path, monkeypatch):
    window = make_viewer(path)
    before = pixels(window)
    send(window, "f1")
    written = drawn_text(window, monkeypatch)
    assert {command.help for command in COMMANDS.values()} <= set(written)
    assert {"PgDn", "Shift Tab", "Space", "F1"} <= set(written) and "GAME" not in written
    send(window, "h")
    np.testing.assert_array_equal(pixels(window), before)


def test_drawn_at_any_size(make_viewer, path):
    window = make_viewer(path)
    for size in ((1, 1), (90, 140), (300, 80), (1500, 300)):
        pygame.display.set_mode(size, pygame.RESIZABLE)
        for name in ("a", "h", "h"):
            send(window, name)
            window.say("hello")
            assert window.drawn != window.visible_state()
            window.draw()
        mouse(window, pygame.MOUSEBUTTONDOWN, 5, size[1] - 1, button=1)


def test_a_game_of_many_keys_leaves_room_for_its_action(make_viewer, tmp_path, monkeypatch):
    actions = np.arange(60).reshape(2, 30) % 40
    np.savez(tmp_path / "t.npz", frames=np.zeros((2, 30, 3, 210, 160), np.uint8), actions=actions)
    window = make_viewer(tmp_path / "t.npz")
    window.go_to(7)
    send(window, "a", "tab")
    assert window.recording.action_names[7] in drawn_text(window, monkeypatch)


def test_a_picture_shows_the_window(make_viewer, path, tmp_path):
    window = make_viewer(path)
    wanted = pixels(window)
    send(window, "s")
    (name,) = os.listdir(tmp_path / "output")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "output" / name).convert("RGB")), wanted)
    window.output_dir = path  # no folder
    send(window, "s")
    assert "picture not saved" in window.message


def test_a_real_window(screen, path):  # noqa: F811
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
    said, _ = screen.window.communicate(timeout=3600)
    assert screen.window.returncode == 0 and "mine.npz" in said
