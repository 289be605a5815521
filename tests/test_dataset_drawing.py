"""What the dataset viewer draws: frame, keys, timeline, values, histogram, help."""

import os

import numpy as np
import pytest
from dream.window.dataset_commands import COMMANDS
from dream.window.dataset_index import timeline_column
from PIL import Image
from viewer_helpers import ACTIONS, N, T, drawn_text, mouse, pixels, pygame, save_recording, shade
from window_helpers import send


@pytest.fixture
def path(tmp_path):
    return save_recording(tmp_path / "mine.npz")


def test_the_frame_and_the_keys_of_its_action_are_drawn(make_viewer, path, monkeypatch):
    from dream.window import dataset_hud
    from dream.window import draw as drawing

    window, highlighted = make_viewer(path), []
    draw_keys = drawing.draw_keys
    monkeypatch.setattr(
        dataset_hud,
        "draw_keys",
        lambda on, keys, held, left: highlighted.append(held) or draw_keys(on, keys, held, left),
    )
    for position in (0, 10, 27):
        window.go_to(position)
        picture = pixels(window)
        x, y = window.picture_rect.center
        assert (picture[y, x] == shade(position)).all()
    assert highlighted == [("up",), ("left",), ("up", "left")]


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
    rect = window.picture_rect
    scale = rect.width // 256
    assert scale >= 2 and rect.size == (256 * scale, 100 * scale)
    drawn = picture[rect.top : rect.bottom, rect.left : rect.right]
    np.testing.assert_array_equal(drawn, frames[0, 0].transpose(1, 2, 0).repeat(scale, 0).repeat(scale, 1))


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
        expected = ACCENT if position == 20 else GREEN if ACTIONS.flat[position] == 2 else BORDER
        assert color(position, line.centery) == expected, position
        if position != 20:
            assert (color(position, line.top - 4) == MUTED) == (position in (0, 12, 30, 45)), position


def test_values_of_the_frame_are_written(make_viewer, path, monkeypatch):
    window = make_viewer(path)
    window.go_to(49)
    written = drawn_text(window, monkeypatch)
    for expected in ("rewards", "7", "speed", "0.93", "forward", "row 1, t 19, frame 49"):
        assert expected in written, expected
    assert "at" not in written  # two values a frame


def test_it_says_that_shares_are_of_chosen_actions(make_viewer, path, monkeypatch):
    """A reader took the share of "forward" for the share of steps in which the key was held."""
    viewer = make_viewer(path)
    viewer.show_actions = True
    text = drawn_text(viewer, monkeypatch)
    assert "ACTIONS CHOSEN" in text and "forward+left: 1 run, chosen in 1 step, 1.7%" in text
    viewer.help_page = 1
    assert "counts and % are of the action chosen at each step," in drawn_text(viewer, monkeypatch)


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
    expected = pixels(window)
    send(window, "s")
    (name,) = os.listdir(tmp_path / "output")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "output" / name).convert("RGB")), expected)
    window.output_dir = path  # no folder
    send(window, "s")
    assert "picture not saved" in window.message
