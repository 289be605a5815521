"""Chooses the steps of a recording from a video: which frame is seen and when its action is read from the log."""

import math
from typing import List, NamedTuple

import numpy as np

from player.video.frame_times import Clip
from player.video.key_log import KeyLog

TOLERANCE = 0.001  # seconds; some files round time stamps to milliseconds
# Part of a step within which the next frame is awaited: a recorder's times jitter, and other frame rates than multiples
# of the recording's would often show a frame from before a change of keys that is over by then.
LEAD = 0.2
MIN_GAP = 1.0  # seconds without a frame that are looked at
MAX_GAP = 60.0  # seconds without a frame that are kept
REACTION = 0.5  # seconds within which a key press may cause the next frame


class Steps(NamedTuple):
    """The steps of a recording from one video, S of them."""

    frame_numbers: np.ndarray  # int64 (S,), ascending with repeats: the frame displayed then
    key_times: np.ndarray  # float64 (S,), seconds: the middle between two steps, where the action is read
    is_start: np.ndarray  # bool (S,), the first step of the video and after each part that is left out


def choose_steps(clip: Clip, log: KeyLog, fps: float, notes: List[str]) -> Steps:
    """`fps` steps per second of video. Parts that lack frames are left out, see `_find_gaps`, and noted in `notes`."""
    breaks = _find_gaps(clip, log)
    if len(breaks):
        seconds = (clip.times[breaks + 1] - clip.times[breaks]).sum()
        notes.append(
            f"{clip.path.name}: {seconds:.1f} s without frames, from {clip.times[breaks[0]]:.1f} s on, are left out"
        )
    firsts, lasts = [0, *(breaks + 1)], [*breaks, len(clip.times) - 1]
    numbers, key_times, starts = [], [], []
    for first, last in zip(firsts, lasts):
        end = clip.length if last == len(clip.times) - 1 else clip.times[last] + 1 / fps
        begin_step = math.ceil((clip.times[first] - TOLERANCE) * fps)
        steps = np.arange(begin_step, int((end + TOLERANCE) * fps))
        shown = np.searchsorted(clip.times, (steps + LEAD) / fps, side="right") - 1
        numbers.append(np.clip(shown, first, last))
        key_times.append((steps + 0.5) / fps)
        starts.append(steps == begin_step)
    return Steps(np.concatenate(numbers), np.concatenate(key_times), np.concatenate(starts))


def _find_gaps(clip: Clip, log: KeyLog) -> np.ndarray:
    """Indices of the frames (G,) after which frames are missing.

    Recorders that store only pictures that changed leave gaps too, and in these the last frame is what was shown. But
    if a key is pressed in a gap and no new frame follows soon, or if the gap is longer than MAX_GAP, the picture may
    have changed unseen.
    """
    lengths = np.diff(clip.times)
    gaps = []
    for i in np.flatnonzero(lengths > MIN_GAP):
        begin, end = clip.times[i], clip.times[i + 1]
        changes = range(*np.searchsorted(log.times, [begin, end - REACTION], side="right"))
        is_pressed = any(log.keys[k] - (log.keys[k - 1] if k else frozenset()) for k in changes)
        if is_pressed or end - begin > MAX_GAP:
            gaps.append(i)
    return np.array(gaps, np.int64)
