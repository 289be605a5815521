"""The format both sides meet in: what ppo/ writes, sd/ reads; kills, full disks and malformed files."""

import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from dream.common.errors import InputError as BadFile
from dream.data.splits import episode_ids, split_episodes, window_starts
from dream.data.start_states import high_reward_starts, select_start_states
from dream.data.trajectories import open_trajectories
from player.common.errors import InputError
from player.recording.disk_space import check_disk_space, recording_bytes
from player.recording.pack import pack_trajectories
from player.recording.trajectory_writer import TrajectoryWriter

K, T, H, W = 2, 6, 4, 8
NAMES = ["nothing", "forward", "left"]
META = {
    "record_envs": K,
    "game": "Test-v0",
    "fps": 15.0,
    "frame_skip": 4,
    "action_keys": [[], ["up"], ["left"]],
    "seed": 3,
}


def epoch_rows(epoch: int) -> dict:
    generator = np.random.default_rng(epoch)
    starts = np.zeros((K, T), bool)
    starts[:, 0] = epoch == 0
    starts[1, 3] = True
    return {
        "frames": generator.integers(0, 256, (K, T, 3, H, W), np.uint8),
        "actions": generator.integers(0, len(NAMES), (K, T)),
        "episode_starts": starts,
        "rewards": generator.random((K, T), np.float32),
        "truth/x": generator.random((K, T, 2)),
    }


def new_writer(run_dir: Path, first_epoch: int = 0) -> TrajectoryWriter:
    return TrajectoryWriter(run_dir, NAMES, META, first_epoch)


def record(run_dir: Path, epochs: range) -> TrajectoryWriter:
    writer = new_writer(run_dir, epochs[0])
    for epoch in epochs:
        writer.write(epoch, epoch_rows(epoch))
    return writer


def assert_holds(path: Path, epochs: range) -> None:
    """The file holds exactly these epochs, every array of them, in order."""
    found = open_trajectories(path)
    arrays = {
        "frames": found.frames,
        "actions": found.actions,
        "episode_starts": found.episode_starts,
        **found.extras,
    }
    assert set(arrays) == set(epoch_rows(0))
    for key, array in arrays.items():
        wanted = np.concatenate([epoch_rows(epoch)[key] for epoch in epochs])
        assert array.dtype == wanted.dtype
        np.testing.assert_array_equal(array, wanted, err_msg=key)
    assert found.meta["epochs"] == list(epochs)


# --- writing, packing, going on


def test_round_trip(tmp_path):
    path = record(tmp_path, range(3)).pack()
    assert path == tmp_path / "trajectories.npz"
    assert_holds(path, range(3))
    found = open_trajectories(path)
    assert found.action_names == tuple(NAMES)
    assert found.action_keys == ((), ("up",), ("left",))
    assert (found.fps, found.record_envs, found.num_actions, found.num_frames) == (15.0, K, 3, 3 * K * T)
    assert {key: found.meta[key] for key in META} == META
    assert found.meta["format_version"] == 1
    assert found.assumptions == ()
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
    found = open_trajectories(writer.pack())
    assert found.meta["epochs"] == [0, 1, 2]
    np.testing.assert_array_equal(found.extras["rewards"][2 * K :], again["rewards"])


def test_packed_epochs_that_are_done_again_are_replaced(tmp_path):
    """Packed at epoch 3, but the checkpoint to go on from is older: its epochs must not stand there twice."""
    record(tmp_path, range(4)).pack()
    record(tmp_path, range(2, 5))
    assert_holds(pack_trajectories(tmp_path), range(5))


@pytest.mark.parametrize(
    ("compressed", "place", "byte"),
    [(False, 4500, 255), (True, 60, 255), (False, b"), }", ord(" "))],
    ids=["a frame, read only when all is copied", "deflated", "an array's header"],
)
def test_a_damaged_recording_is_not_added_to(tmp_path, compressed, place, byte):
    """One line, and neither it nor the new epochs are lost; whoever saves it again with numpy may have deflated it."""
    record(tmp_path, range(4)).pack()
    path = tmp_path / "trajectories.npz"
    if compressed:
        with np.load(path) as arrays:
            np.savez_compressed(path, **arrays)
    record(tmp_path, range(4, 5))
    damaged = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        begin = archive.getinfo("frames.npy").header_offset
    at = begin + place if isinstance(place, int) else damaged.index(place, begin)
    assert damaged[at] != byte
    damaged[at] = byte
    path.write_bytes(damaged)
    with pytest.raises(
        InputError, match=r"trajectories\.npz cannot be added to .*move it out of the way"
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
from test_trajectories import epoch_rows, new_writer

writer = new_writer(Path(sys.argv[1]))
writer.write(0, epoch_rows(0))
writer.write(1, epoch_rows(1))
fsync = os.fsync

def block_after_the_first_file(handle):
    fsync(handle)
    print("in epoch 2", flush=True)
    sys.stdin.read()  # until it is killed

os.fsync = block_after_the_first_file
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
    """A limit on the size of files stands in for the full disk: writes really fail in the middle. The errno must
    survive, or the script could not say what happened (np.save loses it)."""
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
    known = sum(rows[key].nbytes for key in ("frames", "actions", "episode_starts", "rewards"))
    assert recording_bytes(K, T, H, W) == known
    check_disk_space(tmp_path / "not" / "yet" / "there", 1)
    with pytest.raises(InputError, match="record fewer frames"):
        check_disk_space(tmp_path, 10**18)


# --- reading


def save(path: Path, compressed: bool = False, drop: str = "", **changed) -> Path:
    frames = np.arange(3 * T, dtype=np.uint8).reshape(3, T, 1, 1, 1) * np.ones((1, 1, 3, H, W), np.uint8)
    arrays = {"frames": frames, "actions": np.arange(3 * T).reshape(3, T) % 3, **changed}
    arrays.pop(drop, None)
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


def test_frames_are_mapped_in_place(tmp_path):
    path = record(tmp_path, range(2)).pack()
    data = open_trajectories(path)
    assert type(data.frames) is np.memmap
    assert Path(data.frames.filename) == path
    assert data.frames.offset % 64 == 0
    assert isinstance(data.extras["truth/x"], np.memmap) and data.extras["truth/x"].offset % 64 == 0
    assert not data.frames.flags.writeable
    content = path.read_bytes()
    assert content[data.frames.offset :][: K * T * 3 * H * W] == epoch_rows(0)["frames"].tobytes()


@pytest.mark.parametrize("compressed", [False, True])
def test_two_keys_are_enough(tmp_path, compressed):
    path = save(tmp_path / "t.npz", compressed, actions=(np.arange(3 * T) % 6).reshape(3, T).astype(np.uint8))
    data = open_trajectories(path)
    assert type(data.frames) is np.memmap
    assert data.frames[2, 4].min() == data.frames[2, 4].max() == 2 * T + 4
    assert data.actions.dtype == np.int64
    assert data.action_names == tuple(f"action_{i}" for i in range(6))
    assert data.action_keys[5] == ("up", "right") and data.action_keys[0] == ()
    assert data.fps == 15.0
    assert data.episode_starts.sum() == 3 and data.episode_starts[:, 0].all()
    assumptions = "\n".join(data.assumptions)
    assert all(
        word in assumptions for word in ("episode_starts", "action_names", "fps", "keys", "record_envs")
    )
    assert os.listdir(tmp_path) == ["t.npz"]  # the temporary file has no name


def test_default_keys_of_three_actions(tmp_path):
    assert open_trajectories(save(tmp_path / "t.npz")).action_keys == (("0",), ("1",), ("2",))


def test_more_actions_than_keys(tmp_path):
    """No action may have empty keys by default: it would be chosen whenever no key is held."""
    actions = np.arange(3 * T).reshape(3, T)
    data = open_trajectories(save(tmp_path / "t.npz", actions=actions))
    assert data.num_actions == 3 * T and all(len(keys) == 1 for keys in data.action_keys)
    assert len(set(data.action_keys)) == 3 * T and data.action_names[2] == "action_2"


def test_fortran_order_is_read_correctly(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (3, T, 3, H, W), np.uint8)
    path = save(tmp_path / "t.npz", frames=np.asfortranarray(frames))
    np.testing.assert_array_equal(open_trajectories(path).frames, frames)


def test_other_arrays_become_extras_or_are_ignored_with_a_note(tmp_path):
    path = save(tmp_path / "t.npz", **{"truth/lap": np.ones((3, T)), "other": np.ones(7)})
    data = open_trajectories(path)
    assert list(data.extras) == ["truth/lap"]
    assert any("other" in line for line in data.assumptions)


@pytest.mark.parametrize(
    "text", ["{not json", "[1]", '{"fps": "fast", "action_keys": [["up"]], "record_envs": 2}']
)
def test_bad_meta_is_noted_not_refused(tmp_path, text):
    data = open_trajectories(save(tmp_path / "t.npz", meta=np.array(text)))
    assert data.fps == 15.0 and data.record_envs is None and len(data.action_keys) == 3
    assert any("meta" in line or "fps" in line for line in data.assumptions)


def test_booleans_in_meta_are_not_numbers(tmp_path):
    """In Python True equals 1: the recording would play at one frame per second, as a single environment."""
    meta = np.array('{"fps": true, "record_envs": true}')
    data = open_trajectories(save(tmp_path / "t.npz", meta=meta))
    assert data.fps == 15.0 and data.record_envs is None
    assumptions = "\n".join(data.assumptions)
    assert "fps is True" in assumptions and "record_envs is True" in assumptions


FRAMES = np.zeros((3, T, 3, H, W), np.uint8)
ACTIONS = np.zeros((3, T), np.int64)
MALFORMED = {
    "no frames": ({"drop": "frames"}, "no 'frames'"),
    "no actions": ({"drop": "actions"}, "no 'actions'"),
    "float frames": ({"frames": FRAMES.astype(np.float32)}, "float32"),
    "four axes": ({"frames": FRAMES[0]}, "five axes"),
    "colour last": ({"frames": FRAMES.transpose(0, 1, 3, 4, 2)}, "colour is last"),
    "four colours": ({"frames": np.zeros((3, T, 4, H, W), np.uint8)}, "4 colours"),
    "no rows": ({"frames": FRAMES[:0], "actions": ACTIONS[:0]}, "no data"),
    "no height": ({"frames": FRAMES[:, :, :, :0]}, "no data"),
    "short rows": ({"frames": FRAMES[:, :4], "actions": ACTIONS[:, :4]}, "4 steps"),
    "other rows": ({"actions": ACTIONS[:2]}, r"\(2, 6\).*\(3, 6\)"),
    "other steps": ({"actions": ACTIONS[:, :5]}, r"\(3, 5\)"),
    "float actions": ({"actions": ACTIONS.astype(float)}, "float64"),
    "negative actions": ({"actions": ACTIONS - 1}, "from -1"),
    "huge actions": ({"actions": ACTIONS + 2**40}, "up to 1099511627776"),
    "too few names": ({"actions": ACTIONS + 2, "action_names": np.array(["a", "b"])}, "up to 2"),
    "names are numbers": ({"action_names": np.arange(3)}, "action_names"),
    "starts are numbers": ({"episode_starts": ACTIONS}, "episode_starts"),
    "starts too short": ({"episode_starts": np.zeros((3, T - 1), bool)}, "episode_starts"),
    "pickled names": ({"action_names": np.array(["a", "b", "c"], object)}, "pickled"),
    "pickled meta": ({"meta": np.array({"fps": 15}, object)}, "pickled"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_arrays_are_refused_in_one_line(tmp_path, case):
    changed, wanted = MALFORMED[case]
    path = save(tmp_path / "t.npz", **changed)
    with pytest.raises(BadFile, match=wanted) as caught:
        open_trajectories(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_malformed_files_are_refused_in_one_line(tmp_path):
    whole = save(tmp_path / "whole.npz").read_bytes()
    packed = save(tmp_path / "packed.npz", compressed=True).read_bytes()
    damaged = bytearray(packed)
    damaged[packed.index(b"frames.npy") + 60] ^= 255
    bad_header = whole.replace(b"\x93NUMPY", b"\x93MUMPY", 1)
    contents = {
        "empty": b"",
        "text": b"frames, actions\n" * 50,
        "cut short": whole[: len(whole) * 2 // 3],
        "damaged": bytes(damaged),
        "no array": bad_header,
    }
    for name, content in contents.items():
        path = tmp_path / f"{name}.npz"
        path.write_bytes(content)
        with pytest.raises(BadFile, match="again") as caught:
            open_trajectories(path)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    with pytest.raises(BadFile, match=r"record_trajectories\.py"):
        open_trajectories(tmp_path / "missing.npz")
    with pytest.raises(BadFile, match="no recording"):
        open_trajectories(tmp_path)


def test_array_larger_than_its_member_is_refused(tmp_path):
    """A header with a shape larger than the data must not map bytes of the next array."""
    path = save(tmp_path / "t.npz")
    path.write_bytes(path.read_bytes().replace(b"(3, 6, 3, 4, 8)", b"(9, 6, 3, 4, 8)"))
    with pytest.raises(BadFile, match="bytes"):
        open_trajectories(path)


# --- frames and actions in time


def test_action_t_leads_from_frame_t_to_frame_t_plus_1(tmp_path):
    """Action t is chosen after seeing frame t and leads to frame t + 1.

    The test game shows a counter, and an action is the number that is added to it; three rows and a reset.
    """
    generator = np.random.default_rng(0)
    meta = {**META, "record_envs": 1}
    writer = TrajectoryWriter(tmp_path, NAMES, meta)
    counter, first = 0, True
    for epoch in range(3):
        rows = {key: array[:1] for key, array in epoch_rows(epoch).items()}
        for t in range(T):
            action = generator.integers(3)
            rows["frames"][0, t], rows["actions"][0, t], rows["episode_starts"][0, t] = counter, action, first
            counter, first = counter + action, False
            if epoch == 1 and t == 3:
                counter, first = 100, True  # a reset
        writer.write(epoch, rows)
    data = open_trajectories(writer.pack())
    counters = data.frames[:, :, 0, 0, 0].astype(int).ravel()  # one environment: rows are consecutive
    same_episode = ~data.episode_starts.ravel()[1:]
    steps = np.diff(counters)[same_episode]
    np.testing.assert_array_equal(steps, data.actions.ravel()[:-1][same_episode])
    assert len(steps) == 3 * T - 2 and data.actions.std() > 0


# --- episodes, splits, windows


def trajectories_with(tmp_path, starts: np.ndarray, record_envs: int | None, **meta):
    N, num_steps = starts.shape
    text = json.dumps({"fps": 15, "action_keys": [[]], "record_envs": record_envs, **meta})
    frames, actions = np.zeros((N, num_steps, 3, 1, 1), np.uint8), np.zeros(starts.shape, np.int64)
    path = tmp_path / "t.npz"
    np.savez(path, frames=frames, actions=actions, episode_starts=starts, meta=np.array(text))
    return open_trajectories(path)


def slow_episode_ids(starts: np.ndarray, K: int) -> np.ndarray:
    ids, last = np.zeros(starts.shape, np.int64), -1
    for environment in range(K):
        for epoch, row in enumerate(range(environment, len(starts), K)):
            for t in range(starts.shape[1]):
                if starts[row, t] or (epoch == 0 and t == 0):
                    last += 1
                ids[row, t] = last
    return ids


@pytest.mark.parametrize("record_envs", [1, 2, 3, 6])
def test_episodes_continue_in_the_next_row_of_their_environment(tmp_path, record_envs):
    starts = np.random.default_rng(record_envs).random((6, 7)) < 0.1
    assert starts.any()
    ids = episode_ids(trajectories_with(tmp_path, starts, record_envs))
    np.testing.assert_array_equal(ids, slow_episode_ids(starts, record_envs))


def test_rows_are_separate_episodes_without_record_envs_or_after_a_gap(tmp_path):
    starts = np.zeros((4, 6), bool)
    separate = [[0] * 6, [1] * 6, [2] * 6, [3] * 6]
    assert episode_ids(trajectories_with(tmp_path, starts, None)).tolist() == separate
    gap = episode_ids(trajectories_with(tmp_path, starts, 1, epochs=[0, 1, 5, 6]))
    assert gap[:, 0].tolist() == [0, 0, 1, 1]


def test_split_is_by_whole_episodes(tmp_path):
    starts = np.random.default_rng(1).random((20, 50)) < 0.05
    data = trajectories_with(tmp_path, starts, 2)
    train, validation = split_episodes(data, 0.2, seed=4)
    np.testing.assert_array_equal(train, ~validation)
    ids = episode_ids(data)
    assert not set(ids[train]) & set(ids[validation])
    longest = np.bincount(ids.ravel()).max() / ids.size
    assert 0.2 <= validation.mean() < 0.2 + longest
    np.testing.assert_array_equal(split_episodes(data, 0.2, seed=4)[1], validation)
    assert (split_episodes(data, 0.2, seed=5)[1] != validation).any()


@pytest.mark.parametrize("seed", range(8))
def test_one_giant_episode_stays_in_training(tmp_path, seed):
    starts = np.zeros((1, 100), bool)
    starts[0, [0, 90, 93, 96]] = True
    train, validation = split_episodes(trajectories_with(tmp_path, starts, 1), 0.1, seed)
    assert train[0, :90].all() and validation.any()


def test_start_states_have_high_rewards(tmp_path):
    """Chosen at random, a start state may be in front of a wall or on the grass."""
    rng = np.random.default_rng(0)
    rewards = rng.random((4, 30)).astype(np.float32)
    np.savez(tmp_path / "a.npz", frames=np.zeros((4, 30, 3, 16, 16), np.uint8), actions=np.zeros((4, 30), int),
             rewards=rewards)  # fmt: skip
    data = open_trajectories(tmp_path / "a.npz")
    mask = np.zeros((4, 30), bool)
    mask[1:, 3:] = True
    starts = high_reward_starts(data, mask, 4, 5)
    assert len(starts) == 5 and len({tuple(start) for start in starts.tolist()}) == 5
    possible = window_starts(data.episode_starts, mask, 4).tolist()
    returns = [rewards[row, t : t + 4].sum() for row, t in possible]
    for start, group in zip(starts.tolist(), np.array_split(np.arange(len(possible)), 5), strict=True):
        assert possible.index(start) in group
        assert rewards[start[0], start[1] : start[1] + 4].sum() >= 0.6 * max(returns[i] for i in group) - 1e-4
    np.savez(
        tmp_path / "b.npz", frames=np.zeros((4, 30, 3, 16, 16), np.uint8), actions=np.zeros((4, 30), int)
    )
    assert len(high_reward_starts(open_trajectories(tmp_path / "b.npz"), mask, 4, 5)) == 5


@pytest.mark.parametrize("select", [high_reward_starts, select_start_states])
def test_no_start_states_in_an_empty_mask_is_one_clear_error(tmp_path, select):
    """Short episodes may leave no window in the validation mask; NumPy's error about empty stacks does not say so."""
    data = open_trajectories(save(tmp_path / "t.npz"))
    with pytest.raises(BadFile, match="record longer episodes"):
        select(data, np.zeros((3, T), bool), 4, 8)


@pytest.mark.parametrize("count", [2, 5, 8])
def test_start_states_are_from_every_track(tmp_path, count):
    """A track with boosts has higher rewards: by reward alone all start states would be on that one."""
    track = np.repeat([[0], [2], [2], [2]], 30, axis=1)
    np.savez(tmp_path / "a.npz", frames=np.zeros((4, 30, 3, 16, 16), np.uint8), actions=np.zeros((4, 30), int),
             rewards=track.astype(np.float32), track=track)  # fmt: skip
    starts = high_reward_starts(open_trajectories(tmp_path / "a.npz"), np.ones((4, 30), bool), 4, count)
    assert len(starts) == count
    num_by_track = np.bincount(track[starts[:, 0], starts[:, 1]], minlength=3)
    assert num_by_track[0] == (count + 1) // 2 and num_by_track[2] == count // 2


@pytest.mark.parametrize(
    ("N", "num_steps", "record_envs"), [(3, 400, 1), (4, 400, 2), (2, 400, None), (1, 20, 1), (1, 5, 1)]
)
def test_few_episodes_are_split_in_time_with_a_gap(tmp_path, N, num_steps, record_envs):
    starts = np.zeros((N, num_steps), bool)
    train, validation = split_episodes(trajectories_with(tmp_path, starts, record_envs), 0.1)
    assert train.any() and validation.any() and not (train & validation).any()
    K = record_envs or N
    for environment in range(K):
        env_masks = [mask[environment::K].ravel() for mask in (train, validation)]
        last_train, first_validation = np.flatnonzero(env_masks[0])[-1], np.flatnonzero(env_masks[1])[0]
        assert env_masks[0][: last_train + 1].all() and env_masks[1][first_validation:].all()
        gap = first_validation - last_train - 1
        if num_steps >= 400:
            assert gap == min(45, N // K * num_steps // 10)
            assert env_masks[1].mean() == pytest.approx(0.1, abs=0.01)


def slow_window_starts(starts: np.ndarray, mask: np.ndarray, length: int) -> list:
    windows = []
    for row in range(len(starts)):
        for t in range(starts.shape[1] - length + 1):
            inside = range(t, t + length)
            if all(mask[row, s] for s in inside) and not any(starts[row, s] for s in inside[1:]):
                windows.append([row, t])
    return windows


@pytest.mark.parametrize("length", [1, 2, 5, 9, 10])
def test_no_window_crosses_a_reset(length):
    generator = np.random.default_rng(length)
    starts, mask = generator.random((30, 9)) < 0.08, generator.random((30, 9)) < 0.95
    windows = window_starts(starts, mask, length)
    assert windows.dtype == np.int64 and windows.shape[1] == 2
    wanted = slow_window_starts(starts, mask, length)
    assert windows.tolist() == wanted
    assert bool(wanted) == (length < 10)
