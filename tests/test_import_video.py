"""import_video.py: the frames and actions of a recording made from videos and key logs, and its error messages."""

import json
import re

import import_video
import numpy as np
import pytest
from dream.data.trajectories import open_trajectories
from player.common.errors import InputError

cv2 = pytest.importorskip("cv2")

FPS, SECONDS = 30, 20
SHAPE = (64, 96)  # H, W of the videos


def make_video(path, seconds=SECONDS) -> None:
    """A video in which every frame shows its number as 10 bits, one square each; the top is blue, the bottom red."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), FPS, SHAPE[::-1])
    assert writer.isOpened()
    for number in range(seconds * FPS):
        frame = np.zeros((*SHAPE, 3), np.uint8)
        frame[:16, :, 0] = frame[48:, :, 2] = 200  # OpenCV's order is BGR
        for bit in range(10):
            frame[24:40, 8 * bit : 8 * bit + 8] = 250 * (number >> bit & 1)
        writer.write(frame)
    writer.release()


def read_number(frame) -> int:
    """The number that a frame (3, H, W) shows."""
    H, W = frame.shape[1:]
    columns = [(8 * bit + 4) * W // SHAPE[1] for bit in range(10)]
    return sum(int(frame[:, H // 2, column].mean() > 125) << bit for bit, column in enumerate(columns))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    make_video(folder / "a.mp4")
    make_video(folder / "b.mp4", seconds=9)
    (folder / "a.csv").write_text("time,keys\n0,\n2,up\n4,up+Left\n6,up\n8,x+up\n8.4,\n")
    (folder / "b.csv").write_text("frame,keys\n60,left\n")
    (folder / "notes.txt").write_text("not a video")
    return folder


def import_folder(folder, output, *more):
    flags = [folder, "--output", output, "--frame-size", 64, 96, *more]
    import_video.main(import_video.parse_args([*map(str, flags)]))
    return open_trajectories(output)


def test_frames_and_keys_of_two_videos(folder, tmp_path, capsys):
    data = import_folder(folder, tmp_path / "a.npz", "--max-actions", 4)
    assert data.frames.shape == (3, 128, 3, 64, 96) and data.fps == 15
    assert data.action_names == ("nothing", "left", "up", "left+up")  # x+up, held shortest, becomes up
    numbers = [read_number(frame) for frame in data.frames.reshape(-1, 3, 64, 96)]
    # every second frame; incomplete rows are dropped
    assert numbers == [*range(0, 512, 2), *range(0, 256, 2)]
    held = [(60, 0), (120, 2), (180, 3), (240, 2), (252, 2), (512, 0)]
    expected = [next(action for end, action in held if number + 1 < end) for number in range(0, 512, 2)]
    assert data.actions[:2].ravel().tolist() == expected
    assert data.actions[2].tolist() == [0] * 30 + [1] * 98
    assert np.flatnonzero(data.episode_starts).tolist() == [0, 256]
    blue, red = data.frames[0, 0, :, 4, 48], data.frames[0, 0, :, 60, 48]
    assert blue[2] > 150 > 60 > blue[0] and red[0] > 150 > 60 > red[2]
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert json.loads(str(file["meta"]))["action_keys"] == [[], ["left"], ["up"], ["left", "up"]]
    assert re.search(r"^next: \S*python\S* \S*sd/train_autoencoder.py", capsys.readouterr().out, re.MULTILINE)
    assert not list(tmp_path.glob("*.recording"))


def test_frame_rate_size_and_crop(folder, tmp_path):
    data = import_folder(
        folder, tmp_path / "a.npz", "--fps", 20, "--crop", "0,16,96,32", "--frame-size", 64, 192
    )
    numbers = [read_number(frame) for frame in data.frames[0]]
    assert data.frames.shape[2:] == (3, 64, 192) and numbers == [int(step * 1.5) for step in range(128)]
    args = import_video.parse_args([str(folder), "--output", "x.npz"])
    assert args.frame_size is None


@pytest.mark.parametrize(
    ("log", "message"),
    [("0;up;2\n", "first line must be"), ("time,keys\n1,up\n0.5,\n", "line 3.* earlier"), ("", "first line must be"),
     ("time,keys\nx,up\n", "'x' is not a number"), ("time,keys\n0,5,up\n", "more columns"),
     ("time,keys\n0,\n", "no key is held"), (None, "no log of keys"), (b"\xff\xfe\x00", "not a CSV file")],
)  # fmt: skip
def test_invalid_logs_are_refused(folder, tmp_path, log, message):
    (tmp_path / "a.mp4").write_bytes((folder / "b.mp4").read_bytes())
    if log is not None:
        (tmp_path / "a.csv").write_bytes(log if isinstance(log, bytes) else log.encode())
    with pytest.raises(InputError, match=message):
        import_folder(tmp_path, tmp_path / "a.npz")
    assert not list(tmp_path.glob("*.npz")) and not list(tmp_path.glob("*.recording"))


def test_invalid_videos_and_outputs_are_refused(folder, tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        import_folder(tmp_path / "none", tmp_path / "a.npz")
    with pytest.raises(InputError, match="no video in"):
        import_folder(tmp_path, tmp_path / "a.npz")
    (tmp_path / "a.mp4").write_bytes(b"not a video")
    with pytest.raises(InputError, match="cannot be read as a video"):
        import_folder(tmp_path, tmp_path / "a.npz")
    with pytest.raises(InputError, match="already exists"):
        (tmp_path / "b.npz").touch()
        import_folder(folder, tmp_path / "b.npz")
    with pytest.raises(InputError, match="--crop does not fit"):
        import_folder(folder, tmp_path / "c.npz", "--crop", "0,0,500,64")
    make_video(tmp_path / "a.mp4", seconds=1)
    (tmp_path / "a.csv").write_text("time,keys\n0,up\n")
    with pytest.raises(InputError, match=r"no video is 8\.5 seconds long"):
        import_folder(tmp_path, tmp_path / "d.npz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.mp4", "b.npz"]
