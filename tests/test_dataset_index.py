"""Computations of the dataset viewer: runs, timeline columns, values as text."""

import numpy as np
import pytest
from dream.window.dataset_index import (
    column_fractions,
    format_time,
    format_value,
    frame_values,
    nearest,
    position_at,
    prefix_counts,
    rarest_first,
    run_starts,
    timeline_column,
)


def test_rarest_first():
    assert rarest_first(np.array([5, 0, 2, 5, 1])) == [1, 4, 2, 0, 3]


def test_runs_end_at_other_actions_rows_and_episodes():
    actions = np.array([[2, 2, 1, 2, 2, 2], [2, 2, 1, 1, 1, 2]])
    starts = np.zeros((2, 6), bool)
    starts[0, 4] = starts[1, 3] = True
    assert run_starts(actions, starts, 2).tolist() == [0, 3, 4, 6, 11]
    assert run_starts(actions, starts, 1).tolist() == [2, 8, 9]
    assert run_starts(actions, starts, 0).tolist() == []


def test_nearest_excludes_the_present_position():
    positions = np.array([3, 7, 20])
    assert [nearest(positions, at, 1) for at in (0, 3, 7, 20)] == [3, 7, 20, None]
    assert [nearest(positions, at, -1) for at in (0, 3, 7, 99)] == [None, None, 3, 20]


@pytest.mark.parametrize(("width", "num_frames"), [(100, 7), (100, 90), (100, 100), (100, 1)])
def test_a_click_on_a_frame_s_column_is_that_frame(width, num_frames):
    for position in range(num_frames):
        assert position_at(timeline_column(position, width, num_frames), width, num_frames) == position


def test_a_timeline_with_more_frames_than_columns():
    columns = [timeline_column(position, 100, 12345) for position in range(12345)]
    assert columns == sorted(columns) and set(columns) == set(range(100))
    positions = [position_at(x, 100, 12345) for x in (-9, 0, 50, 99, 100, 900)]
    assert positions == [0, 0, 6172, 12221, 12344, 12344]


def test_each_column_shows_the_fraction_of_its_own_frames():
    marked = np.zeros((2, 50), bool)
    marked[0, 3] = marked[1, 10:20] = True
    np.testing.assert_array_equal(
        column_fractions(prefix_counts(marked), 10), [0.1, 0, 0, 0, 0, 0, 1, 0, 0, 0]
    )
    few = np.array([[False, True, False, True]])
    np.testing.assert_array_equal(column_fractions(prefix_counts(few), 8), [0, 0, 1, 1, 0, 0, 1, 1])


def test_values_as_text():
    extras = {
        "rewards": np.array([[0.5, -1234.56]], np.float32),
        "truth/lap": np.array([[1, 2]]),
        "truth/pose": np.zeros((1, 2, 3)),  # more than one value a frame
        "weather": np.array([["rain", "sun"]]),
    }
    assert frame_values(extras, 0, 1) == [("rewards", "-1235"), ("lap", "2"), ("weather", "sun")]
    assert [format_value(np.float64(value)) for value in (0.9312, 0, np.nan)] == ["0.931", "0", "nan"]
    times = [format_time(seconds) for seconds in (0, 9.96, 75.25, 600)]
    assert times == ["0:00.0", "0:09.9", "1:15.2", "10:00.0"]
