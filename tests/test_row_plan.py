"""row_plan.py and packing: parts of different lengths become equally long rows, in order, with next to nothing lost."""

import numpy as np
import pytest
from dream.data.splits import episode_ids
from dream.data.trajectories import open_trajectories
from player.common import progress
from player.recording import pack as packing
from player.recording.pack import pack_trajectories
from player.recording.row_plan import choose_row_steps, plan_rows
from player.recording.trajectory_writer import TrajectoryWriter
from trajectory_helpers import META, NAMES, H, W

K = 2


def numbered_rows(first: int, num_steps: int) -> dict:
    """Rows whose rewards count the steps; environment 1 counts from 1000. Frames show the same number."""
    numbers = np.arange(first, first + num_steps) + 1000 * np.arange(K)[:, None]  # (K, T)
    frames = (
        np.zeros((K, num_steps, 3, H, W), np.uint8) + (numbers % 251).astype(np.uint8)[..., None, None, None]
    )
    return {
        "frames": frames,
        "actions": numbers % 3,
        "episode_starts": numbers % 50 == 0,
        "rewards": numbers.astype(np.float32),
    }


def record(folder, part_steps, max_row_steps=16, epochs=None) -> TrajectoryWriter:
    writer, first = TrajectoryWriter(folder, NAMES, {**META, "max_row_steps": max_row_steps}), 0
    for epoch, steps in zip(epochs or range(len(part_steps)), part_steps, strict=True):
        writer.write(epoch, numbered_rows(first, steps))
        first += steps
    return writer


@pytest.mark.parametrize("part_steps", [[3], [16, 16], [5, 5, 5, 2], [16, 16, 5], [1] * 37, [40], [7, 30, 1]])
def test_parts_are_joined_and_cut_into_rows(tmp_path, part_steps):
    data = open_trajectories(record(tmp_path, part_steps).pack()) if sum(part_steps) >= 5 else None
    total, T = sum(part_steps), choose_row_steps(sum(part_steps), 16)
    if data is None:
        assert plan_rows({0: 3}, K, 16).row_steps == 3
        return
    rows, rest = divmod(total, T)
    assert data.frames.shape[:2] == (K * rows, T) and rest <= rows
    expected = numbered_rows(0, rows * T)
    for k in range(K):
        for key, array in {"frames": data.frames, "actions": data.actions, **data.extras}.items():
            np.testing.assert_array_equal(np.concatenate([*array[k::K]]), expected[key][k], err_msg=key)
    # An environment's rows follow each other in time: only episode starts begin an episode.
    assert len(np.unique(episode_ids(data))) == sum(
        starts[1:].sum() + 1 for starts in expected["episode_starts"]
    )
    assert "max_row_steps" not in data.meta and data.meta["epochs"] == list(range(rows))


def test_the_row_length_loses_next_to_nothing():
    """Of any number of steps, at most one in a hundred is left over, and rows stay long."""
    for num_steps in [*range(5, 3000, 7), 9999, 10240, 10007]:
        T = choose_row_steps(num_steps, 512)
        assert num_steps == T or 256 < T <= 512
        assert num_steps % T <= 0.01 * num_steps
    assert choose_row_steps(10240, 512) == 512 and choose_row_steps(1636, 512) == 409


def test_nothing_is_joined_across_a_missing_part(tmp_path):
    """Its frames would follow each other as if an action led from one to the next."""
    record(tmp_path, [10, 10, 10], epochs=[0, 1, 4])
    data = open_trajectories(pack_trajectories(tmp_path))
    T = data.num_steps
    numbers = data.extras["rewards"][::K].astype(int)
    assert (np.diff(numbers, axis=1) == 1).all() and not any({19, 20} <= set(row) for row in numbers)
    assert len(np.unique(episode_ids(data)[::K])) == 2 and T == 10
    assert data.meta["epochs"] == [0, 1, 3]


def test_a_recording_killed_before_it_was_packed_is_packed_in_the_same_way(tmp_path):
    one = record(tmp_path / "one", [8, 8, 3]).pack().read_bytes()
    record(tmp_path / "two", [8, 8, 3])
    assert pack_trajectories(tmp_path / "two").read_bytes() == one


def test_packing_again_appends_rows_of_the_same_length(tmp_path):
    record(tmp_path, [12]).pack()
    writer = TrajectoryWriter(tmp_path, NAMES, {**META, "max_row_steps": 16}, 1)
    writer.write(1, numbered_rows(12, 27))
    data = open_trajectories(writer.pack())
    assert data.frames.shape[:2] == (K * 3, 12)
    np.testing.assert_array_equal(np.concatenate([*data.extras["rewards"][::K]]), np.arange(36))


def test_packing_shows_its_progress(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "LOG_S", 0.0)
    monkeypatch.setattr(packing, "FLUSH_BYTES", 1000)
    record(tmp_path, [8, 8]).pack()
    assert "packing" in capsys.readouterr().err
