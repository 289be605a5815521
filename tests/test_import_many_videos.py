"""import_video.py on folders as people have them: videos that are there twice, damaged, cut off or not decodable."""

import os
import shutil

import import_video
import numpy as np
import pytest
from player.common.errors import InputError
from player.video.frame_times import read_clip
from video_helpers import agreement, encode, ffmpeg, import_folder, write_log, write_video

cv2 = pytest.importorskip("cv2")


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A video of 12 s, one row and 52 steps of a recording."""
    path = tmp_path_factory.mktemp("video") / "a.mp4"
    write_video(path, [(12 * 30, 1 / 30)])
    return path


@pytest.fixture
def folder(tmp_path, video):
    """A folder with one good video, b.mp4, and its log."""
    folder = tmp_path / "videos"
    folder.mkdir()
    shutil.copy(video, folder / "b.mp4")
    write_log(folder / "b.csv", 12)
    return folder


def test_the_same_video_twice_is_recorded_once(folder, video, capsys):
    """OBS leaves x.mkv and x.mp4: recorded twice, the held-out copy was in the training data."""
    for name in ("b.mkv", "b.MOV", "b (1).mp4"):
        shutil.copy(video, folder / name)
    write_log(folder / "b (1).csv", 12)
    data = import_folder(folder)
    assert data.num_rows == 1 and agreement(data) == 1.0
    assert data.meta["videos"] == ["b (1).mp4"]  # sorted by name
    printed = capsys.readouterr().out
    assert "left out: b.mp4 is a copy of b (1).mp4" in printed and "left out: b.mkv is a copy" in printed


def test_of_copies_the_one_with_a_log_is_used(folder, video, capsys):
    """The copy comes first by name; without a log it ended the import."""
    for name in ("b (1).mp4", "a.mkv"):
        shutil.copy(video, folder / name)
    assert import_folder(folder).meta["videos"] == ["b.mp4"]
    assert "left out: b (1).mp4 is a copy of b.mp4" in capsys.readouterr().out


@pytest.mark.parametrize("log", [None, "seconds,buttons held\n0,up\n"])
def test_logs_are_looked_for_before_videos_are_decoded(folder, tmp_path, monkeypatch, log):
    """A missing log was noticed minutes later."""
    write_video(folder / "c.mp4", [(30, 1 / 30)])
    if log is not None:
        (folder / "c.csv").write_text(log)
    monkeypatch.setattr(import_video, "read_clip", lambda path, notes: pytest.fail("a video was decoded"))
    message = r"c\.csv: the first line must be" if log else r"no log of keys at .*c\.csv: make one"
    with pytest.raises(InputError, match=message):
        import_folder(folder)


@pytest.mark.parametrize(("up", "none"), [("up", "up"), ("up", "")])
def test_one_action_in_all_steps_is_warned_of(folder, capsys, up, none):
    write_log(folder / "b.csv", 12, up=up, none=none)
    data = import_folder(folder)
    errors = capsys.readouterr().err
    assert data.num_rows == 1
    assert ("warning: up is the action of every step" in errors) == (none == "up")
    assert ("warning" in errors) == (none == "up")


def test_a_picture_that_never_changes_is_warned_of(folder, capsys):
    writer = cv2.VideoWriter(str(folder / "b.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 30, (64, 32))
    for _ in range(360):
        writer.write(np.full((32, 64, 3), 90, np.uint8))
    writer.release()
    import_folder(folder)
    assert "warning: the picture never changed in 127 steps" in capsys.readouterr().err


def test_a_log_may_be_json_lines(folder):
    (folder / "b.csv").unlink()
    write_log(
        folder / "b.jsonl",
        12,
        '{{"t": {s}, "key": "up", "event": "{keys}"}}\n',
        "",
        up="press",
        none="release",
    )
    assert agreement(import_folder(folder)) == 1.0


def test_one_video_of_a_name_is_used(folder, tmp_path, capsys):
    encode(tmp_path / "b.mkv", 12)
    shutil.move(tmp_path / "b.mkv", folder / "b.mkv")  # another file than b.mp4
    data = import_folder(folder)
    assert data.num_rows == 1 and data.meta["videos"] == ["b.mp4"]
    assert "left out: b.mkv has the same name before the suffix as b.mp4" in capsys.readouterr().out


def test_hidden_files_and_folders_are_skipped(folder):
    (folder / "._b.mp4").write_bytes(b"\0\5\26\7" + bytes(200))  # of macOS on other disks
    (folder / ".trash.mp4").write_bytes(b"")
    (folder / "c.mp4").mkdir()
    assert import_folder(folder).meta["videos"] == ["b.mp4"]


@pytest.mark.parametrize("content", [b"", b"not a video", "half"])
def test_a_damaged_video_is_left_out_and_the_others_are_recorded(folder, video, capsys, content):
    """The recording of an .mp4 that was cut off has no table of contents."""
    data = video.read_bytes()
    (folder / "a.mp4").write_bytes(data[: len(data) // 2] if content == "half" else content)
    assert import_folder(folder).meta["videos"] == ["b.mp4"]
    assert f"left out: {folder / 'a.mp4'} cannot be read as a video" in capsys.readouterr().out


def test_only_damaged_videos(folder):
    for name in ("a.mp4", "b.mp4"):
        (folder / name).write_bytes(b"not a video")
    with pytest.raises(InputError, match=r"a\.mp4 cannot be read as a video.*\(and 1 more\)"):
        import_folder(folder)
    assert not list(folder.parent.glob("videos.*"))


def test_a_cut_off_video_keeps_its_whole_rows(folder, tmp_path, capsys):
    write_video(tmp_path / "a.mp4", [(24 * 30, 1 / 30)])
    writer = cv2.VideoWriter(str(folder / "a.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 30, (64, 32))
    capture = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    while (frame := capture.read())[0]:
        writer.write(frame[1])
    writer.release()
    data = (folder / "a.avi").read_bytes()
    (folder / "a.avi").write_bytes(data[: len(data) * 3 // 4])
    write_log(folder / "a.csv", 24)
    recording = import_folder(folder)
    assert recording.meta["videos"] == ["a.avi", "b.mp4"] and recording.num_rows == 3
    assert agreement(recording) == 1.0
    assert "note: a.avi states 24.0 s, but 1" in capsys.readouterr().out


def test_a_video_that_ends_early_when_it_is_read_again(folder, video, monkeypatch, capsys):
    shutil.copy(video, folder / "a.mp4")
    write_log(folder / "a.csv", 12)
    (folder / "a.mp4").write_bytes(video.read_bytes() + b"\0")  # no copy of b.mp4
    original = import_video.read_pictures

    def read_pictures(clip, numbers):
        yield from original(clip, numbers[:100] if clip.path.name == "a.mp4" else numbers)

    monkeypatch.setattr(import_video, "read_pictures", read_pictures)
    assert import_folder(folder).num_rows == 1
    assert "a.mp4 ended earlier than when it was read first" in capsys.readouterr().out


def test_a_codec_that_cannot_be_decoded(tmp_path, video):
    """OpenCV opens AV1 and returns no frame of it; the message has the command that helps."""
    path = tmp_path / "my video.mp4"
    try:
        ffmpeg("-i", video, "-t", 1, "-c:v", "libaom-av1", "-cpu-used", 8, path)
    except Exception as problem:
        pytest.skip(f"this ffmpeg has no AV1 encoder ({problem})")
    try:
        read_clip(path, [])
        pytest.skip("this OpenCV decodes AV1")
    except InputError as error:
        assert "codec AV01" in str(error).replace("av01", "AV01") and "ffmpeg -i 'my video.mp4' -c:v" in str(
            error
        )
    ffmpeg("-i", path, "-c:v", "libx264", path.with_suffix(".mkv"))
    assert len(read_clip(path.with_suffix(".mkv"), []).times) == 30


def test_a_log_may_be_a_tsv(folder):
    (folder / "b.csv").rename(folder / "b.tsv")
    (folder / "b.tsv").write_text((folder / "b.tsv").read_text().replace(",", "\t"))
    assert agreement(import_folder(folder)) == 1.0


def test_the_actions_are_named_without_spaces(folder):
    """A name with a space could not be written in a list of actions for play_sd.py."""
    write_log(folder / "b.csv", 12, up="Shift_L+Key.up")
    data = import_folder(folder)
    assert data.action_names == ("nothing", "left_shift+up")
    assert data.action_keys == ((), ("left shift", "up")) and agreement(data) == 1.0


@pytest.mark.parametrize("name", ["b.TXT", "b.Csv", "b.mp4.csv", "b.txt"])
def test_logs_with_other_endings_are_found(folder, name):
    """An empty b.csv, which a logger left that was started twice, does not hide them."""
    (folder / "b.csv").rename(folder / name)
    (folder / "b.csv").touch()
    assert agreement(import_folder(folder)) == 1.0


def test_videos_with_equal_logs_are_named(folder, capsys):
    """b.mkv and b_remux.mp4 show the same; their bytes differ."""
    write_video(folder / "b_remux.mp4", [(11 * 30, 1 / 30)])
    shutil.copy(folder / "b.csv", folder / "b_remux.csv")
    import_folder(folder)
    assert "warning: b_remux.csv is a copy of b.csv" in capsys.readouterr().out


def test_jpeg_pictures_without_times_are_refused(tmp_path):
    """OpenCV makes up 25 frames a second for them."""
    picture = cv2.imencode(".jpg", np.zeros((32, 64, 3), np.uint8))[1].tobytes()
    path = tmp_path / "a.avi"
    path.write_bytes(picture * 300)
    with pytest.raises(InputError, match=r"ffmpeg -f mjpeg -r 30 -i a.avi"):
        read_clip(path, [])


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    """OpenCV ended the process with a segmentation fault."""
    path = tmp_path / os.fsdecode(b"a\xff.mp4")
    with pytest.raises(InputError, match=r"a\\xff.mp4: the name is not UTF-8") as error:
        read_clip(path, [])
    assert str(error.value).isprintable()
