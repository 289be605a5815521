"""Reading recordings: memory-mapping, defaults, malformed files, and the order of frames and actions."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from dream.common.errors import InputError
from dream.data.trajectories import open_trajectories
from player.recording.trajectory_writer import TrajectoryWriter
from trajectory_helpers import META, NAMES, H, K, T, W, epoch_rows, record, save


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
    "fractions as actions": ({"actions": ACTIONS + 0.5}, "float64"),
    "buttons held together": ({"actions": np.ones((3, T, 2), np.uint8)}, r"np\.unique"),
    "no button held": ({"actions": np.zeros((3, T, 2), bool)}, r"np\.unique"),
    "probabilities": ({"actions": np.full((3, T, 2), 0.5)}, "index of each action"),
    "negative actions": ({"actions": ACTIONS - 1}, "from -1"),
    "huge actions": ({"actions": ACTIONS + 2**40}, "up to 1099511627776"),
    "too few names": ({"actions": ACTIONS + 2, "action_names": np.array(["a", "b"])}, "up to 2"),
    "names are numbers": ({"action_names": np.arange(3)}, "action_names"),
    "starts are numbers": ({"episode_starts": ACTIONS + 2}, "episode_starts"),
    "starts too short": ({"episode_starts": np.zeros((3, T - 1), bool)}, "episode_starts"),
    "pickled actions": ({"actions": ACTIONS.astype(object)}, "pickled"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_arrays_are_refused_in_one_line(tmp_path, case):
    changed, message = MALFORMED[case]
    path = save(tmp_path / "t.npz", **changed)
    with pytest.raises(InputError, match=message) as caught:
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
        with pytest.raises(InputError, match="again") as caught:
            open_trajectories(path)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    with pytest.raises(InputError, match=r"record_trajectories\.py"):
        open_trajectories(tmp_path / "missing.npz")
    with pytest.raises(InputError, match="no recording"):
        open_trajectories(tmp_path)


def test_array_larger_than_its_member_is_refused(tmp_path):
    """A header with a shape larger than the data must not map bytes of the next array."""
    path = tmp_path / "t.npz"
    with zipfile.ZipFile(save(tmp_path / "whole.npz")) as whole, zipfile.ZipFile(path, "w") as changed:
        for name in whole.namelist():
            changed.writestr(name, whole.read(name).replace(b"(3, 6, 3, 4, 8)", b"(9, 6, 3, 4, 8)"))
    with pytest.raises(InputError, match="bytes"):
        open_trajectories(path)


def test_pickled_objects_that_are_not_needed_are_left_out(tmp_path):
    """numpy pickles a dict: `np.savez(..., meta={"fps": 30})` must not make the whole recording unusable."""
    infos = np.array([{"x": 1}, {}, {}], object)
    path = save(tmp_path / "t.npz", meta=np.array({"fps": 15}, object), infos=infos)
    data = open_trajectories(path)
    assert "infos" not in data.extras and data.fps == 15.0
    assert sum("pickled" in line for line in data.assumptions) == 2
    names = np.array(["a", "b", "c"], object)
    assert open_trajectories(save(tmp_path / "n.npz", action_names=names)).action_names[0] == "action_0"


def test_other_forms_of_actions_and_starts_are_converted(tmp_path):
    """One-hot actions, whole numbers as floats, and 0 and 1 as episode starts each have one meaning."""
    actions = np.random.default_rng(0).integers(0, 3, (3, T))
    starts = (np.arange(T) % 3 == 0)[None].repeat(3, 0)
    one_hot = open_trajectories(save(tmp_path / "a.npz", actions=np.eye(3, dtype=np.uint8)[actions]))
    floats = open_trajectories(
        save(tmp_path / "b.npz", actions=actions.astype(np.float32), episode_starts=starts.astype(np.uint8))
    )
    assert (one_hot.actions == actions).all() and any("one-hot" in line for line in one_hot.assumptions)
    assert (floats.actions == actions).all() and floats.actions.dtype == np.int64
    assert (floats.episode_starts == starts).all() and "0 or 1" in "".join(floats.assumptions)


@pytest.mark.parametrize("key", ["frames", "actions", "truth/x"])
def test_a_flipped_bit_is_noticed(tmp_path, key):
    """A wrong action would be learned from: zip files have checksums, but memory-mapping does not compare them."""
    path = record(tmp_path, range(2)).pack()
    data = open_trajectories(path)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{key}.npy")
    content = bytearray(path.read_bytes())
    content[info.header_offset + info.file_size - 1] ^= 4
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        open_trajectories(path)
    assert data.num_rows == 2 * K


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
