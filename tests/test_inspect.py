"""The output, contact sheet, viewer and errors of inspect_trajectories.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import inspect_trajectories
import numpy as np
import pytest
import record_trajectories
from dream.common.errors import InputError

pygame = pytest.importorskip("pygame")
from dream.window import contact_sheet, dataset_viewer  # noqa: E402 (pygame may be missing)

SCRIPT = Path(inspect_trajectories.__file__)
N, T, H, W = 4, 10, 14, 32
NAMES = ("nothing", "forward", "left")


@pytest.fixture
def recording(tmp_path):
    """Two environments; frame i of the file is all of one colour, 3 * i; 40 frames in 5 episodes."""
    starts = np.zeros((N, T), bool)
    starts[:2, 0] = True
    starts[0, 5] = starts[2, 4] = starts[3, 7] = True
    shades = (3 * np.arange(N * T, dtype=np.uint8)).reshape(N, T, 1, 1, 1)
    meta = {"game": "Test-v0", "fps": 15.0, "action_keys": [[], ["up"], ["left"]], "record_envs": 2}
    path = tmp_path / "trajectories.npz"
    np.savez(
        path,
        frames=shades * np.ones((1, 1, 3, H, W), np.uint8),
        actions=np.repeat([0, 1, 2], [4, 6, 30]).reshape(N, T),
        episode_starts=starts,
        rewards=np.zeros((N, T), np.float32),
        action_names=np.array(NAMES),
        meta=np.array(json.dumps(meta)),
    )
    return path


def run(*options) -> None:
    inspect_trajectories.main(inspect_trajectories.parse_args([str(option) for option in options]))


def test_counts_are_printed(recording, tmp_path, capsys):
    run("--trajectories", recording, "--save", tmp_path / "sheet.png")
    text = capsys.readouterr().out
    lines = [line.split() for line in text.splitlines()]
    assert ["0", "nothing", "4", "10.0%"] in [words[:4] for words in lines]
    assert ["1", "forward", "6", "15.0%"] in [words[:4] for words in lines]
    assert ["2", "left", "30", "75.0%"] in [words[:4] for words in lines]
    assert "uint8 (4, 10, 3, 14, 32): 4 rows x 10 steps = 40 frames" in text
    assert "values 0..117" in text
    # environment 0: rows 0 and 2, cut at 5 and 14; environment 1: rows 1 and 3, cut at 17
    assert "episodes    5, of 3 to 17 frames, median 6 (0.4 s), mean 8.0; 2 environments" in text
    assert "Test-v0" in text and "15 frames/s" in text and "rewards float32 (4, 10)" in text
    assert "assumed" not in text


def test_assumptions_are_printed(tmp_path, capsys):
    path = tmp_path / "bare.npz"
    np.savez(path, frames=np.zeros((2, 5, 3, 8, 8), np.uint8), actions=np.zeros((2, 5), int))
    run("--trajectories", path, "--save", tmp_path / "sheet.png")
    assert capsys.readouterr().out.count("\nassumed ") == 8  # two of them: a single action, a single picture


def test_sheet_shows_the_frames(recording, tmp_path):
    path = tmp_path / "new folder" / "sheet.png"
    run("--trajectories", recording, "--save", path)
    picture = pygame.image.load(str(path))
    columns, rows = contact_sheet.COLUMNS, contact_sheet.ROWS
    width, height, margin = 9 * W, 9 * H, contact_sheet.MARGIN  # scale 9: 288 pixels wide
    line_height = height + contact_sheet.CAPTION_HEIGHT + margin
    head = contact_sheet.HEAD_HEIGHT
    assert picture.get_size() == (margin + columns * (width + margin), head + rows * line_height)

    shades = []
    for line in range(rows):
        for column in range(columns):
            left, top = margin + column * (width + margin), head + line * line_height
            red, green, blue, _ = picture.get_at((left + width // 2, top + height // 2))
            assert red == green == blue
            shades.append(red // 3)
            marked = picture.get_at((left - 2, top - 2))[:3] == contact_sheet.START_COLOR
            assert marked == (shades[-1] in (0, 5, 10, 24, 37))  # the episode starts
    assert len(set(shades)) == 30 and shades == sorted(shades)
    assert shades[0] == 0 and shades[-1] == 39
    assert 24 in shades and 37 in shades


@pytest.mark.parametrize(("height", "width"), [(210, 160), (2, 2), (600, 1600)])
def test_any_size_of_frame_fits(tmp_path, height, width):
    path = tmp_path / "t.npz"
    np.savez(path, frames=np.zeros((1, 5, 3, height, width), np.uint8), actions=np.zeros((1, 5), int))
    run("--trajectories", path, "--save", tmp_path / "sheet.png")
    found_width, found_height = pygame.image.load(str(tmp_path / "sheet.png")).get_size()
    assert found_width <= 5 * (288 + 14) + 14 and found_height <= 66 + 216 + 26 + 14


def browse_with(monkeypatch, recording, keys) -> list[int]:
    """Presses one key per drawn frame; returns the positions that were drawn."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    keys, drawn = list(keys), []
    draw = dataset_viewer.DatasetViewer.draw

    def draw_and_press(window):
        draw(window)
        drawn.append(window.position)
        assert pygame.display.get_surface().get_at(window.picture_rect.center)[0] == 3 * window.position
        if len(drawn) == 1:
            pygame.time.set_timer(pygame.QUIT, 10_000, 1)  # ends a test that hangs
        if keys:
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=keys.pop(0)))

    monkeypatch.setattr(dataset_viewer.DatasetViewer, "draw", draw_and_press)
    run("--trajectories", recording)
    assert not keys and not pygame.display.get_init()
    return drawn


def test_keys_of_the_window(recording, monkeypatch):
    keys = {
        pygame.K_RIGHT: 1,
        pygame.K_e: 5,
        pygame.K_PAGEDOWN: 15,
        pygame.K_LEFT: 14,
        pygame.K_END: 39,
        pygame.K_PAGEUP: 29,
        pygame.K_HOME: 0,
        pygame.K_UP: 39,  # 100 forward, clamped
        pygame.K_DOWN: 0,
    }
    assert browse_with(monkeypatch, recording, [*keys, pygame.K_q]) == [0, *keys.values()]


def test_playing_ends_at_the_last_frame(recording, monkeypatch):
    other = [pygame.K_F9] * 2  # no command
    keys = [pygame.K_END, pygame.K_LEFT, pygame.K_LEFT, pygame.K_SPACE, *other, pygame.K_ESCAPE]
    drawn = browse_with(monkeypatch, recording, keys)
    assert drawn == [0, 39, 38, 37, 37, 38, 39]


def test_without_a_display_the_summary_is_enough(recording, monkeypatch, capsys):
    """It printed the summary, and then ended with an error."""

    def no_display(*_):
        raise pygame.error("No available video device")

    monkeypatch.setattr(pygame.display, "set_mode", no_display)
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    run("--trajectories", recording)
    said = capsys.readouterr().out
    assert "Test-v0" in said and "no window (No available video device): --save sheet.png" in said
    monkeypatch.undo()
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    if sys.platform.startswith("linux"):
        run("--trajectories", recording)
        assert "neither DISPLAY nor WAYLAND_DISPLAY is set" in capsys.readouterr().out
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(pygame.display, "get_driver", lambda: "offscreen")  # SDL's silent fallback
    monkeypatch.setattr(pygame.display, "init", lambda: None)
    monkeypatch.setattr(pygame.display, "set_mode", lambda *_: None)
    run("--trajectories", recording)
    assert "no window (no display): --save sheet.png" in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "dream.window.dataset_viewer", None)
    run("--trajectories", recording)
    assert "pygame cannot be imported" in capsys.readouterr().out


def test_help_tells_no_default_that_does_not_exist(capsys):
    with pytest.raises(SystemExit):
        inspect_trajectories.parse_args(["--help"])
    said = capsys.readouterr().out
    assert "None" not in said and "recording.npz)" in said


def test_picture_that_cannot_be_written(recording, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        run("--trajectories", recording, "--save", tmp_path / "sheet.txt")
    assert caught.value.code != 0 and ".png" in capsys.readouterr().err
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(InputError, match=r"taken\.png"):
        run("--trajectories", recording, "--save", tmp_path / "taken.png")


def test_malformed_file_gives_one_line_and_no_traceback(tmp_path):
    path = tmp_path / "trajectories.npz"
    path.write_bytes(b"this is no recording")
    command = [sys.executable, str(SCRIPT), "--trajectories", str(path), "--save", "sheet.png"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode not in (0, None)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and str(path) in done.stderr
    assert not (tmp_path / "sheet.png").exists()


def test_the_default_is_what_the_recorder_writes():
    assert inspect_trajectories.parse_args([]).trajectories == record_trajectories.parse_args([]).output
