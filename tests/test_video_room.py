"""Videos on a disk that is nearly full: refused at the start, or as many frames as there is room for; never a file that
cannot be opened. A limit on the size of a file stands for the disk's end: writes fail in the same way."""

import errno
import os
import subprocess
import sys

import cv2
import numpy as np
import play_sd
import pytest
from dream.common import disk_room, gif, mp4
from dream.common.errors import InputError
from dream.common.video import VideoFile
from fakes import FakeEnv, FakeRealEnv
from PIL import Image

pytest.importorskip("resource", reason="Windows has no limit on the size of a file")

SHAPE = (56, 128)
WRITE = """
import resource, sys
import numpy as np
from pathlib import Path
from dream.common import mp4
from dream.common.disk_room import DiskFull
from dream.common.errors import InputError
from dream.common.video import VideoFile
path, limit, num_frames, known, blind = Path(sys.argv[1]), *map(int, sys.argv[2:])
if blind:  # to another limit than the one that is asked for, such as a quota
    mp4.free_bytes = lambda path: 10**9
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
rng = np.random.default_rng(0)
try:
    with VideoFile(path, 15, (56, 128), num_frames=num_frames if known else None) as video:
        for _ in range(num_frames):
            video.write(rng.integers(0, 255, (56, 128, 3)).astype(np.uint8))
    print("whole")
except (DiskFull, InputError) as problem:
    print(type(problem).__name__, problem)
"""


def write_limited(path, limit, num_frames=60, known=False, blind=False) -> str:
    """Records frames of noise where no file may be larger than `limit` bytes; returns what was printed."""
    argv = [path, limit, num_frames, int(known), int(blind)]
    ran = subprocess.run(
        [sys.executable, "-c", WRITE, *map(str, argv)], cwd=f"{play_sd.HERE}", capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def count(path) -> int:
    if path.suffix == ".gif":
        with Image.open(path) as image:
            image.seek(image.n_frames - 1)
            return image.n_frames
    capture, frames = cv2.VideoCapture(str(path)), 0
    while capture.grab():
        frames += 1
    return frames


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_what_there_is_room_for_is_kept(tmp_path, suffix):
    """An mp4 without its index, written last, cannot be opened; a GIF was lost whole."""
    path = tmp_path / f"film{suffix}"
    assert write_limited(path, 10**7) == "whole" and count(path) == 60
    whole_bytes = path.stat().st_size
    path.unlink()
    said = write_limited(path, whole_bytes * 2 // 3)
    kept = count(path)
    assert said.startswith(f"DiskFull {path}: the disk is full: ") and f"{kept}" in said
    assert 8 <= kept < 55 and [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_room_is_asked_for_first(tmp_path, suffix):
    said = write_limited(tmp_path / f"film{suffix}", 100_000, num_frames=600, known=True)
    assert said.startswith("InputError") and "600 frames needs about" in said and "free some space" in said
    assert "0.1 MB are free" in said and list(tmp_path.iterdir()) == []


def test_an_mp4_that_cannot_be_opened_gets_no_name(tmp_path):
    """A limit that nobody can ask for, such as a quota: the file is checked before it replaces the old one."""
    path = tmp_path / "film.mp4"
    path.write_bytes(b"the old one")
    said = write_limited(path, 200_000, blind=True)
    assert said.startswith(f"DiskFull {path}: the disk is full: none of 60 frames is kept")
    assert path.read_bytes() == b"the old one" and len(list(tmp_path.iterdir())) == 1


def test_a_link_at_the_temporary_name_is_not_followed(tmp_path):
    (tmp_path / "diary.txt").write_text("dear")
    for suffix in (".mp4", ".gif"):
        (tmp_path / f"film{suffix}.{os.getpid()}.writing{suffix}").symlink_to(tmp_path / "diary.txt")
        with VideoFile(tmp_path / f"film{suffix}", 15, SHAPE) as video:
            video.write(np.zeros((*SHAPE, 3), np.uint8))
        assert count(tmp_path / f"film{suffix}") == 1
    assert (tmp_path / "diary.txt").read_text() == "dear"


def test_free_bytes_of_a_folder_that_will_be_made(tmp_path):
    assert disk_room.free_bytes(tmp_path / "new" / "folder" / "film.mp4") > 0


# ------------------------------------------------------------------------------------------------ in play


@pytest.fixture
def env(monkeypatch):
    env = FakeEnv()
    monkeypatch.setattr(play_sd, "load_env", lambda args: env)
    return env


def play(*argv) -> None:
    play_sd.main(play_sd.parse_args([str(word) for word in argv]))


@pytest.mark.parametrize("name", ["film.mp4", "film.gif"])
def test_headless_play_ends_with_an_error_and_the_first_frames(env, tmp_path, monkeypatch, capsys, name):
    """It said "recorded", with exit code 0, and the file could not be opened."""
    path = tmp_path / name
    if path.suffix == ".mp4":
        room = iter([10**9, 10**9, 1000])
        monkeypatch.setattr(mp4, "free_bytes", lambda path: next(room))
    else:
        save, calls = gif.GifWriter.save, []

        def save_if_small(self, content):
            calls.append(len(content))
            return len(content) // 2 if len(calls) == 1 else save(self, content)

        monkeypatch.setattr(gif.GifWriter, "save", save_if_small)
    with pytest.raises(InputError, match=f"{name}: the disk is full: .*free some space"):
        play("--headless", "--frames", 40, "--record", path)
    assert "recorded" not in capsys.readouterr().out and path.stat().st_size > 0
    if path.suffix == ".mp4":
        assert count(path) == 24


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("name", ["film.mp4", "film.npz"])
def test_another_error_of_the_disk_says_its_own_reason(env, tmp_path, monkeypatch, name, code):
    """A folder that has become read-only got the advice to free some space."""

    def fail(*_):
        raise OSError(code, os.strerror(code), "a.tmp")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(InputError) as refused:
        play("--headless", "--frames", 9, "--record", tmp_path / name)
    reason = f"{tmp_path / name} cannot be written ({os.strerror(code)}): record to another file"
    assert str(refused.value) == reason


def test_a_disk_that_is_full_at_the_end_is_said_to_be_full(env, tmp_path, monkeypatch):
    """The .npz is written at the end: without a room for it, the error is not a DiskFull of our own."""

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(InputError, match=r"film\.npz: the disk is full: .*free some space"):
        play("--headless", "--frames", 9, "--record", tmp_path / "film.npz")


def test_the_window_says_that_a_video_is_not_complete(make_window, tmp_path, monkeypatch):
    window = make_window(FakeEnv(), record_path=tmp_path / "film.mp4")
    monkeypatch.setattr(mp4, "free_bytes", lambda path: 1000)
    for _ in range(12):
        window.step()
    assert window.recorder.video is None and window.times.num_frames == 12
    assert (
        window.message.startswith("the disk is full") and f"saved {tmp_path / 'film.mp4'}" in window.message
    )
    assert count(tmp_path / "film.mp4") == 8
    window.start_recording(tmp_path / "film.gif")
    window.step()
    monkeypatch.setattr(gif.GifWriter, "finish", lambda self: 0)
    window.save_recordings()
    assert "film.gif: the disk is full: none of 1 frames is kept" in window.message


def test_the_real_game_is_in_a_video_without_a_window(env, tmp_path, monkeypatch):
    """--headless --real --record once recorded the world model alone."""

    class WideGame(FakeRealEnv):
        def reset(self, game_state):
            super().reset(game_state)
            self.frame_u8 = self.frame_u8.repeat(3, axis=1)

        def close(self):
            pass

    for game, color in ((FakeRealEnv, 100), (WideGame, 100)):
        monkeypatch.setattr(FakeRealEnv, "close", lambda self: None, raising=False)
        monkeypatch.setattr(play_sd, "RealEnv", lambda *_: game())  # noqa: B023
        (tmp_path / "keys.txt").write_text("up 5")
        play(
            "--headless", "--real", "a:B", "--keys", tmp_path / "keys.txt", "--record", tmp_path / "film.mp4"
        )
        capture, frames = cv2.VideoCapture(str(tmp_path / "film.mp4")), []
        while (frame := capture.read()[1]) is not None:
            frames.append(frame)
        assert frames[0].shape == (2 * 28, 2 * 2 * 64, 3)
        left, right = frames[-1][:, :120, 2].mean(), frames[-1][:, -120:, 2].mean()
        assert abs(left - color) < 12 and abs(right - 200) < 12
