"""Videos of ppo/: odd sizes, a full disk, files that are checked before they get their name."""

import os

import cv2
import numpy as np
import pytest
import view_mario_kart_env
from player.common import mp4, video
from player.common.disk_room import DiskFull
from player.common.errors import InputError
from player.common.video import save_video


def noise(count: int, height: int = 57, width: int = 129):
    rng = np.random.default_rng(0)
    return (rng.integers(0, 255, (height, width, 3)).astype(np.uint8) for _ in range(count))


def count(path) -> int:
    capture, frames = cv2.VideoCapture(str(path)), 0
    while capture.grab():
        frames += 1
    return frames


def test_all_frames_are_written(tmp_path):
    path = tmp_path / "new" / "film.mp4"
    assert save_video(noise(20), path, 15, scale=1) == 20 == count(path)
    assert cv2.VideoCapture(str(path)).read()[1].shape == (58, 130, 3)  # the codec alone would cut odd sides
    assert save_video([], path.with_name("none.mp4"), 15) == 0
    assert [each.name for each in path.parent.iterdir()] == ["film.mp4"]


def test_a_full_disk_keeps_the_first_frames(tmp_path, monkeypatch):
    """The file was named and could not be opened, because its index is written last."""
    monkeypatch.setattr(mp4, "free_bytes", lambda path: 1000)
    path = tmp_path / "film.mp4"
    with pytest.raises(DiskFull, match=r"film\.mp4: the disk is full: it holds the first 8 frames"):
        save_video(noise(20), path, 15)
    assert count(path) == 8 and len(list(tmp_path.iterdir())) == 1


def test_a_file_that_cannot_be_opened_gets_no_name(tmp_path, monkeypatch):
    path = tmp_path / "film.mp4"
    path.write_bytes(b"the old one")
    monkeypatch.setattr(video.os, "replace", lambda *_: pytest.fail("it was named"))

    class Broken:
        def grab(self):
            return False

        isOpened = release = grab

    monkeypatch.setattr(cv2, "VideoCapture", lambda path: Broken())
    with pytest.raises(DiskFull, match="none of 20 frames is kept"):
        save_video(noise(20), path, 15)
    assert path.read_bytes() == b"the old one" and len(list(tmp_path.iterdir())) == 1


def test_ctrl_c_keeps_the_frames_before_it(tmp_path):
    def interrupted():
        yield from noise(5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_video(interrupted(), tmp_path / "film.mp4", 15)
    assert count(tmp_path / "film.mp4") == 5


def test_a_link_at_the_temporary_name_is_not_followed(tmp_path):
    (tmp_path / "diary.txt").write_text("dear")
    (tmp_path / f"film.mp4.{os.getpid()}.writing.mp4").symlink_to(tmp_path / "diary.txt")
    save_video(noise(3), tmp_path / "film.mp4", 15)
    assert (tmp_path / "diary.txt").read_text() == "dear" and count(tmp_path / "film.mp4") == 3


def record(path, frames: int = 30) -> None:
    argv = ["--policy", "random", "--headless", "--frames", str(frames), "--record", str(path)]
    view_mario_kart_env.main(view_mario_kart_env.parse_args(argv))


def test_view_says_what_is_wrong_in_one_line(tmp_path, monkeypatch, capsys):
    from player.common import disk_room

    with monkeypatch.context() as patch:
        patch.setattr(disk_room, "free_bytes", lambda path: 10**5)
        with pytest.raises(InputError, match=r"this video needs about .* MB in .*, 0\.1 MB are free"):
            record(tmp_path / "film.mp4", frames=10_000)
    with monkeypatch.context() as patch:
        patch.setattr(mp4, "free_bytes", lambda path: 1000)
        with pytest.raises(
            InputError, match=r"the disk is full: it holds the first 8 frames: free some space"
        ):
            record(tmp_path / "film.mp4")
    assert "recorded" not in capsys.readouterr().out and count(tmp_path / "film.mp4") == 8


def test_opencv_without_its_libraries(tmp_path, monkeypatch):
    (tmp_path / "cv2.py").write_text("raise OSError('libGL.so.1: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    with monkeypatch.context() as patch:
        patch.delitem(__import__("sys").modules, "cv2")
        with pytest.raises(
            InputError, match=r"an mp4 needs OpenCV: it cannot be loaded here \(libGL.*opencv-python-headless"
        ):
            record(tmp_path / "film.mp4")
