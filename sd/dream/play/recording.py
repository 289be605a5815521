"""A dream, recorded as a trajectories.npz: to look at, to train another dream on, to be driven again. numpy alone.

Beside what every recording has (trajectories.py) it holds how each episode began, so that the same actions give the
same frames again on the same machine: `replay/latents` float32 (E, L, C, h, w), `replay/actions` (E, L), and in `meta`
a list `replay` of the frame at which each of them, or each turn of a knob, came.
"""

import errno
import json
import math
import os
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dream.common.errors import InputError
from dream.data.npz_mmap import iter_members, mmap_member

ROOM = 64 * 2**20  # bytes of the disk that must stay free
KNOBS = ("seed", "steps")


class NoRoom(OSError):
    """A frame cannot be recorded."""


class Take:
    """Frames go to the disk as they come, beside `path`; `close` makes the file of them. Raises BadInput where it
    cannot be written."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.aside = self.path.with_name(f"{self.path.stem}.writing.npz.frames")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.is_dir():
                raise IsADirectoryError(errno.EISDIR, "it is a folder")
            # open until `close`; unbuffered, or what could not be written would be tried again there
            self.file = open(self.aside, "w+b", buffering=0)  # noqa: SIM115
        except OSError as problem:
            raise InputError(f"cannot record to {self.path}: {problem.strerror or problem}") from None
        self.actions: list[int] = []
        self.starts: set[int] = set()
        self.marks: list[
            dict
        ] = []  # of frame t, the knobs; those that begin an episode have an age and a place
        self.places: list[tuple[np.ndarray, np.ndarray]] = []

    @property
    def num_frames(self) -> int:
        return len(self.actions)

    def begin(self, dream) -> None:
        """The next frame is the first of an episode."""
        self.about = {"fps": dream.fps, "action_keys": [list(keys) for keys in dream.action_keys]}
        self.about["dream"] = dream.fingerprint
        self.names, self.frame_shape = dream.action_names, dream.frame_shape
        if self.marks and self.marks[-1]["t"] == self.num_frames and "age" in self.marks[-1]:
            self.marks.pop()  # an episode without a frame
            self.places.pop()
        self.starts.add(self.num_frames)
        self.marks.append({"t": self.num_frames, "age": dream.age, **knobs_of(dream)})
        self.places.append(dream.place())

    def add(self, frame_u8: np.ndarray, action: int, dream) -> None:
        """uint8 (H, W, 3), and the action chosen on seeing it. Raises NoRoom; nothing is added then."""
        pixels = np.ascontiguousarray(frame_u8.transpose(2, 0, 1)).tobytes()
        try:  # the file itself is written only at the end, when there must be room for it beside the frames
            free = shutil.disk_usage(self.path.parent).free if self.num_frames % 64 == 0 else math.inf
            if free < self.file.tell() + ROOM or self.file.write(pixels) < len(pixels):
                raise OSError
        except OSError:
            self.file.truncate(self.num_frames * len(pixels))
            raise NoRoom(errno.ENOSPC, "no room to go on recording", str(self.path)) from None
        knobs = knobs_of(dream)
        if self.marks[-1]["t"] == self.num_frames:
            self.marks[-1].update(knobs)
        elif {name: self.marks[-1][name] for name in KNOBS} != knobs:
            self.marks.append({"t": self.num_frames, **knobs})
        self.actions.append(action)

    def drop_last(self) -> None:
        """The last frame was gone back over."""
        self.actions.pop()
        H, W = self.frame_shape
        self.file.seek(self.num_frames * 3 * H * W)
        self.file.truncate()
        while "age" not in self.marks[-1] and self.marks[-1]["t"] >= self.num_frames:
            self.marks.pop()

    def close(self) -> None:
        """Writes the file, if there is a frame. What lay aside is gone then, but not where that fails."""
        if self.file.closed:
            return
        self.file.close()
        if self.num_frames:
            try:
                self.write()
            except KeyboardInterrupt:  # who is in a hurry would lose all of it
                self.write()
        self.aside.unlink()

    def write(self) -> None:
        H, W = self.frame_shape
        T = self.num_frames
        marks = [mark for mark in self.marks if mark["t"] < T]  # an episode that never went on
        count = sum("age" in mark for mark in marks)
        starts = np.zeros((1, T), bool)
        starts[0, [t for t in self.starts if t < T]] = True
        latents, before = zip(*self.places[:count], strict=True)
        meta = {"game": "a dream", "record_envs": 1, **self.about, "replay": marks}
        whole = self.path.with_name(f"{self.path.stem}.writing.npz")
        try:
            np.savez(
                whole, frames=np.memmap(self.aside, np.uint8, "r", shape=(1, T, 3, H, W)),
                actions=np.array([self.actions], np.int64), episode_starts=starts, action_names=np.array(self.names),
                meta=json.dumps(meta), **{"replay/latents": np.stack(latents), "replay/actions": np.stack(before)},
            )  # fmt: skip
            os.replace(whole, self.path)
        finally:
            whole.unlink(missing_ok=True)


def known(actions: np.ndarray, dream) -> bool:
    within = actions.dtype.kind in "iu" and actions.size > 0
    return within and actions.min() >= 0 and actions.max() < len(dream.action_names)


def knobs_of(dream) -> dict:
    return {name: getattr(dream, name) for name in KNOBS}


@dataclass(frozen=True)
class Replay:
    """What a Take says of how to drive it again. `frames` uint8 (T, 3, H, W) and `actions` (T,) as recorded."""

    frames: np.ndarray
    actions: np.ndarray
    marks: list[dict]
    latents: np.ndarray  # float32 (E, L, C, h, w)
    before: np.ndarray  # int64 (E, L)

    @classmethod
    def load(cls, path: Path, dream) -> "Replay":
        """Raises BadInput where it is no recording of this dream."""
        try:
            with zipfile.ZipFile(path) as archive:
                found = {
                    name: mmap_member(Path(path), archive, info, []) for name, info in iter_members(archive)
                }
            frames, actions, meta = found["frames"][0], found["actions"][0], json.loads(str(found["meta"]))
            replay = cls(frames, actions, meta["replay"], found["replay/latents"], found["replay/actions"])
            replay.check(dream)
        except FileNotFoundError:
            raise InputError(f"no recording at {path}: the window makes one") from None
        except Exception as problem:  # numpy and zipfile raise many types: all mean the same to the user
            raise InputError(
                f"{path} cannot be driven again ({problem}): play_sd.py records what can, as .npz"
            ) from None
        if meta.get("dream") != dream.fingerprint:
            raise InputError(f"{path} cannot be driven again: it is of another dream than this one")
        return replay

    def check(self, dream) -> None:
        """Raises ValueError, KeyError or TypeError where something would not do for `dream`."""
        E, times = len(self.before), [mark["t"] for mark in self.marks]
        begin = [mark["age"] for mark in self.marks if "age" in mark]
        for mark in self.marks:
            whole = (mark["t"], mark["seed"], mark["steps"], mark.get("age", 0), mark["steps"] - 1)
            if not all(type(number) is int and number >= 0 for number in whole) or mark["steps"] > 1000:
                raise ValueError(f"a mark is {mark}")
        fits = {
            "frames": self.frames.shape[2:] == tuple(dream.frame_shape) and self.frames.dtype == np.uint8,
            "actions": self.actions.shape == self.frames.shape[:1] and known(self.actions, dream),
            "marks": times == sorted(set(times)) and times[0] == 0 and "age" in self.marks[0],
            "episodes": len(begin) == E == len(self.latents),
            "replay/actions": self.before.shape == self.latents.shape[:2] and known(self.before, dream),
            "replay/latents": self.latents.shape[1:] == dream.place()[0].shape
            and np.isfinite(self.latents).all(),
        }
        wrong = [name for name, fine in fits.items() if not fine]
        if wrong:
            raise ValueError(f"{', '.join(wrong)} do not fit")

    @property
    def end_of_first(self) -> int:
        """How many frames the first episode has."""
        return next((mark["t"] for mark in self.marks[1:] if "age" in mark), len(self.actions))

    def drive(self, dream):
        """Dreams it again: yields the frames, uint8 (H, W, 3), each as it is seen when the action of its number is
        chosen."""
        marks, episode, frame = {mark["t"]: mark for mark in self.marks}, 0, None
        for t, action in enumerate(self.actions):
            mark = marks.get(t)
            if mark:
                dream.seed, dream.steps = (mark[name] for name in KNOBS)
            if mark and "age" in mark:
                frame = dream.reset_to(self.latents[episode], self.before[episode], mark["age"])
                episode += 1
            yield frame
            frame = dream.step(int(action))
