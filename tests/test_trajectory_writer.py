"""What ppo/ writes, sd/ reads: round trips, resuming, kills and full disks."""

import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from dream.data.trajectories import open_trajectories
from player.common.errors import InputError
from player.recording.disk_space import check_disk_space, recording_bytes
from player.recording.pack import pack_trajectories
from player.recording.trajectory_writer import TrajectoryWriter
from trajectory_helpers import META, NAMES, H, K, T, W, assert_holds, epoch_rows, new_writer, record


def test_round_trip(tmp_path):
    path = record(tmp_path, range(3)).pack()
    assert path == tmp_path / "trajectories.npz"
    assert_holds(path, range(3))
    data = open_trajectories(path)
    assert data.action_names == tuple(NAMES)
    assert data.action_keys == ((), ("up",), ("left",))
    assert (data.fps, data.record_envs, data.num_actions, data.num_frames) == (15.0, K, 3, 3 * K * T)
    assert {key: data.meta[key] for key in META} == META
    assert data.meta["format_version"] == 1
    assert data.assumptions == ()
    assert os.listdir(tmp_path) == ["trajectories.npz"]


def test_numpy_alone_reads_it(tmp_path):
    path = record(tmp_path, range(2)).pack()
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["frames"].shape == (2 * K, T, 3, H, W)
        np.testing.assert_array_equal(arrays["truth/x"][:K], epoch_rows(0)["truth/x"])
        assert json.loads(str(arrays["meta"]))["game"] == "Test-v0"
        assert arrays["action_names"].tolist() == NAMES
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None  # the checksums are right
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


def test_same_recording_same_bytes(tmp_path):
    one, two = (record(tmp_path / name, range(2)).pack().read_bytes() for name in ("one", "two"))
    assert one == two


def test_packing_again_appends(tmp_path):
    writer = record(tmp_path, range(2))
    writer.pack()
    writer.write(2, epoch_rows(2))  # the same writer goes on
    assert_holds(writer.pack(), range(3))
    assert_holds(record(tmp_path, range(3, 5)).pack(), range(5))  # a resumed run, after it had finished
    assert_holds(new_writer(tmp_path, 5).pack(), range(5))  # nothing new: nothing lost


def test_resume_drops_leftovers(tmp_path):
    """A run killed in epoch 3, whose last checkpoint was after epoch 1, does epochs 2 and 3 again."""
    record(tmp_path, range(4))
    (tmp_path / "trajectories.partial/epoch_000004.writing").mkdir()
    writer = new_writer(tmp_path, 2)
    names = sorted(path.name for path in (tmp_path / "trajectories.partial").iterdir())
    assert names == ["epoch_000000", "epoch_000001", "metadata.json"]
    again = {**epoch_rows(2), "rewards": np.full((K, T), 7, np.float32)}
    writer.write(2, again)
    data = open_trajectories(writer.pack())
    assert data.meta["epochs"] == [0, 1, 2]
    np.testing.assert_array_equal(data.extras["rewards"][2 * K :], again["rewards"])


def test_packed_epochs_that_are_done_again_are_replaced(tmp_path):
    """Packed after epoch 3, then resumed from an older checkpoint: no epoch may be in the file twice."""
    record(tmp_path, range(4)).pack()
    record(tmp_path, range(2, 5))
    assert_holds(pack_trajectories(tmp_path), range(5))


@pytest.mark.parametrize(
    ("compressed", "position", "byte"),
    [(False, 4500, 255), (True, 60, 255), (False, b"), }", ord(" "))],
    ids=["a frame, read only when all is copied", "deflated", "an array's header"],
)
def test_a_damaged_recording_is_not_added_to(tmp_path, compressed, position, byte):
    """The error is one line, and neither the file nor the new epochs are lost. A file saved again may be compressed."""
    record(tmp_path, range(4)).pack()
    path = tmp_path / "trajectories.npz"
    if compressed:
        with np.load(path) as arrays:
            np.savez_compressed(path, **arrays)
    record(tmp_path, range(4, 5))
    damaged = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        begin = archive.getinfo("frames.npy").header_offset
    at = begin + position if isinstance(position, int) else damaged.index(position, begin)
    assert damaged[at] != byte
    damaged[at] = byte
    path.write_bytes(damaged)
    with pytest.raises(
        InputError, match=r"trajectories\.npz is damaged .* cannot be added to, move it out of the way"
    ) as caught:
        pack_trajectories(tmp_path)
    assert "\n" not in str(caught.value) and path.read_bytes() == damaged
    path.unlink()
    assert_holds(pack_trajectories(tmp_path), range(4, 5))


def test_killed_between_replacing_and_clearing_up(tmp_path, monkeypatch):
    """The parts were already packed when the run died: packing again must not double them."""
    record(tmp_path, range(3))

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "rename", killed)  # the first step of clearing up
        pack_trajectories(tmp_path)
    assert_holds(tmp_path / "trajectories.npz", range(3))
    assert (tmp_path / "trajectories.partial/epoch_000002").is_dir()
    assert_holds(pack_trajectories(tmp_path), range(3))
    half_cleared = tmp_path / "packed.trajectories.partial/epoch_000002"  # killed a moment later
    half_cleared.mkdir(parents=True)
    assert_holds(pack_trajectories(tmp_path), range(3))
    assert os.listdir(tmp_path) == ["trajectories.npz"]


KILLED_RUN = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from trajectory_helpers import epoch_rows, new_writer

writer = new_writer(Path(sys.argv[1]))
writer.write(0, epoch_rows(0))
writer.write(1, epoch_rows(1))
fsync = os.fsync
def slow(file):  # called after the first array of the epoch has been written
    fsync(file)
    print("in epoch 2", flush=True)
    sys.stdin.read()  # until it is killed
os.fsync = slow
writer.write(2, epoch_rows(2))
"""


@pytest.mark.skipif(os.name == "nt", reason="no kill -9")
def test_kill_9_in_the_middle_of_an_epoch(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    tests = str(Path(__file__).parent)
    command = [sys.executable, "-c", KILLED_RUN, str(tmp_path), tests]
    run = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    assert run.stdout.readline() == b"in epoch 2\n"
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    run.stdin.close()
    run.stdout.close()
    assert (tmp_path / "trajectories.partial/epoch_000002.writing/frames.npy").exists()
    assert_holds(pack_trajectories(tmp_path), range(2))
    assert_holds(record(tmp_path, range(2, 4)).pack(), range(4))


def test_ctrl_c_in_the_middle_of_an_epoch(tmp_path, monkeypatch):
    writer = record(tmp_path, range(2))

    def interrupted(file):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "fsync", interrupted)
        writer.write(2, epoch_rows(2))
    assert not list((tmp_path / "trajectories.partial").glob("*.writing"))
    assert_holds(writer.pack(), range(2))


@pytest.mark.parametrize("when", ["writing", "packing"])
def test_full_disk(tmp_path, when):
    """Simulated by a limit on the size of files, so that writes fail in the middle. The error must keep its errno,
    which the script reports (np.save loses it)."""
    resource = pytest.importorskip("resource")
    writer = record(tmp_path, range(2))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000 if when == "writing" else 2000, hard))
    try:
        with pytest.raises(OSError) as caught:
            writer.write(2, epoch_rows(2)) if when == "writing" else writer.pack()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno is not None
    assert not list(tmp_path.rglob("*.writing"))
    assert_holds(writer.pack(), range(2))


def test_writer_refuses_what_does_not_fit(tmp_path):
    writer = record(tmp_path, range(2))
    rows = epoch_rows(2)
    changed = {
        "frames": rows["frames"][:, :, :, :, :4],
        "actions": rows["actions"].astype(np.int32),
        "rewards": rows["rewards"][:1],
        "truth/x": rows["truth/x"].astype(np.float32),
        "truth/y": rows["rewards"],
    }
    for key, array in changed.items():
        with pytest.raises(InputError, match=key):
            writer.write(2, {**rows, key: array})
    with pytest.raises(InputError, match="truth/x"):
        writer.write(2, {key: array for key, array in rows.items() if key != "truth/x"})
    with pytest.raises(InputError, match=r"0\.\.2"):
        writer.write(2, {**rows, "actions": rows["actions"] + 3})
    with pytest.raises(InputError, match="record_envs"):
        TrajectoryWriter(tmp_path, NAMES, {**META, "record_envs": 1}, 2)
    writer.pack()
    with pytest.raises(InputError, match="action_names"):
        TrajectoryWriter(tmp_path, NAMES[::-1], META, 2)
    with pytest.raises(InputError, match="frames"):  # other frames than in the packed file
        new_writer(tmp_path, 2).write(2, {**rows, "frames": changed["frames"]})
    with pytest.raises(InputError, match="nothing is recorded"):
        pack_trajectories(tmp_path / "elsewhere")


def test_disk_space(tmp_path):
    rows = epoch_rows(0)
    expected = sum(rows[key].nbytes for key in ("frames", "actions", "episode_starts", "rewards"))
    assert recording_bytes(K, T, H, W) == expected
    check_disk_space(tmp_path / "not" / "yet" / "there", 1)
    with pytest.raises(InputError, match="record fewer frames"):
        check_disk_space(tmp_path, 10**18)
