"""How the parts of a recording become the rows of its file, which are all equally long.

A part is an array (K, steps, ...) of K environments. Parts of a recorder are short, and the last one of a stopped
recording is shorter still: their steps are joined, environment by environment, and cut into rows.
"""

from bisect import bisect_right
from itertools import accumulate
from typing import Dict, List, NamedTuple, Optional

MAX_ROW_STEPS = 512  # steps of a row where a recorder joins its parts


class Segment(NamedTuple):
    """Steps begin to end of the part of an epoch; step t of environment k is number k * steps + t."""

    epoch: int
    begin: int
    end: int


class RowPlan(NamedTuple):
    """`epochs`: a number for each K rows; consecutive ones follow each other in time. `segments`: in file order."""

    row_steps: int
    epochs: List[int]
    segments: List[Segment]


def plan_rows(
    part_steps: Dict[int, int], K: int, max_steps: Optional[int], row_steps: Optional[int] = None
) -> RowPlan:
    """The rows of a recording. `part_steps`: steps of the part of each epoch, ascending. `max_steps`: None: each part
    is K rows; otherwise the parts are joined and cut into rows of `choose_row_steps`, or of `row_steps` if given.

    The last steps, fewer than a row, are left out; nothing is joined across epochs that are missing.
    """
    if max_steps is None:
        segments = [Segment(epoch, 0, K * steps) for epoch, steps in part_steps.items()]
        return RowPlan(next(iter(part_steps.values())), list(part_steps), segments)
    runs: List[List[int]] = []
    for epoch in part_steps:
        if runs and runs[-1][-1] == epoch - 1:
            runs[-1].append(epoch)
        else:
            runs.append([epoch])
    T = row_steps or choose_row_steps(max(sum(part_steps[epoch] for epoch in run) for run in runs), max_steps)
    number, epochs, segments = runs[0][0], [], []
    for run in runs:
        edges = [0, *accumulate(part_steps[epoch] for epoch in run)]
        for first in range(0, edges[-1] - T + 1, T):
            epochs.append(number)
            number += 1
            for k in range(K):
                i = bisect_right(edges, first) - 1
                while i < len(run) and edges[i] < first + T:
                    offset = k * part_steps[run[i]] - edges[i]
                    begin, end = max(first, edges[i]), min(first + T, edges[i + 1])
                    segments.append(Segment(run[i], offset + begin, offset + end))
                    i += 1
        number += 1  # a gap: the next run does not continue this one
    return RowPlan(T, epochs, segments)


def choose_row_steps(num_steps: int, max_steps: int) -> int:
    """The row length for `num_steps` steps: all of them, or the length above `max_steps` / 2 that leaves the fewest
    steps over at the end, and of these the longest."""
    if num_steps <= max_steps:
        return num_steps
    return min(range(max_steps, max_steps // 2, -1), key=lambda length: num_steps % length)
