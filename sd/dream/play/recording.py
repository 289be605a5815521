"""Records a play session as a trajectories.npz, to inspect, to train on, or to replay. Needs NumPy, but no PyTorch.

In addition to what every recording holds (data/trajectories.py), it stores how each of its E episodes began, so
that the same actions generate the same frames again on the same machine: `replay/latents` float32 (E, L, C, h, w),
`replay/actions` int64 (E, L), and in `meta` the list `replay` of events. An event holds the frame `t`, the sampler
settings from that frame on and, if an episode begins there, `age`: the frames generated before it.
"""

import errno
import json
import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dream.common.disk_room import DiskFull, free_bytes
from dream.common.errors import InputError
from dream.common.files import atomic_write, make_folder, temporary_path
from dream.common.limits import MAX_STEPS
from dream.data.npz_mmap import iter_members, mmap_member
from dream.play.playable_env import PlayableEnv

MIN_FREE_BYTES = 64 * 2**20  # of the disk; recording stops when less would stay free
SAMPLER_SETTINGS = ("seed", "steps")  # attributes of PlayableEnv that change the generated frames


class SessionRecorder:
    """Writes each frame to a temporary file next to `path`; `close` turns that into the .npz. Raises InputError if
    the temporary file cannot be opened."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.tmp_path = temporary_path(self.path, ".frames")
        try:
            make_folder(self.path.parent)
            if self.path.is_dir():
                raise IsADirectoryError(errno.EISDIR, "it is a folder")
            # open until `close`; unbuffered, because a buffer would retry a failed write on close
            self.file = open(self.tmp_path, "x+b", buffering=0)  # noqa: SIM115
        except OSError as problem:
            raise InputError(
                f"cannot record to {self.path}: {problem.strerror or problem}: choose another path"
            ) from None
        self.actions: list[int] = []
        self.episode_starts: set[int] = set()
        self.events: list[dict] = []
        # Latents (L, C, h, w) and actions (L,), one pair per episode.
        self.start_states: list[tuple[np.ndarray, np.ndarray]] = []

    @property
    def num_frames(self) -> int:
        return len(self.actions)

    def start_episode(self, env: PlayableEnv) -> None:
        """Begins an episode: the next frame is its first."""
        self.metadata = {"fps": env.fps, "action_keys": [list(keys) for keys in env.action_keys]}
        self.metadata["dream"] = env.fingerprint
        self.action_names, self.frame_shape = env.action_names, env.frame_shape
        if self.events and self.events[-1]["t"] == self.num_frames and "age" in self.events[-1]:
            self.events.pop()  # an episode without a frame
            self.start_states.pop()
        self.episode_starts.add(self.num_frames)
        self.events.append({"t": self.num_frames, "age": env.num_generated, **sampler_settings(env)})
        self.start_states.append(env.export_state())

    def add(self, frame_u8: np.ndarray, action: int, env: PlayableEnv) -> None:
        """Adds a frame, uint8 (H, W, 3), and the action that was chosen for it. Raises DiskFull; the recording
        is then unchanged."""
        pixels = np.ascontiguousarray(frame_u8.transpose(2, 0, 1)).tobytes()
        try:  # `close` writes a second copy of all frames, so as much as is recorded must be free as well
            free = free_bytes(self.tmp_path) if self.num_frames % 64 == 0 else math.inf
            if free < self.file.tell() + MIN_FREE_BYTES or self.file.write(pixels) < len(pixels):
                raise OSError
        except OSError:
            self.file.truncate(self.num_frames * len(pixels))
            raise DiskFull(self.path) from None
        settings = sampler_settings(env)
        if self.events[-1]["t"] == self.num_frames:
            self.events[-1].update(settings)
        elif {name: self.events[-1][name] for name in SAMPLER_SETTINGS} != settings:
            self.events.append({"t": self.num_frames, **settings})
        self.actions.append(action)

    def pop_frame(self) -> None:
        """Removes the last frame, after a rewind."""
        self.actions.pop()
        H, W = self.frame_shape
        self.file.seek(self.num_frames * 3 * H * W)
        self.file.truncate()
        while "age" not in self.events[-1] and self.events[-1]["t"] >= self.num_frames:
            self.events.pop()

    def close(self) -> None:
        """Writes the .npz, if there is a frame, and removes the temporary file.

        Raises OSError if the .npz cannot be written; the temporary file is kept in that case."""
        if self.file.closed:
            return
        try:
            if self.num_frames:
                try:
                    self.write()
                except KeyboardInterrupt:  # a second Ctrl-C must not lose the recording
                    self.write()
        finally:
            self.file.close()
        self.tmp_path.unlink(missing_ok=True)

    def write(self) -> None:
        """Writes the .npz from the temporary file, which is this process's own even if another one has replaced it."""
        H, W = self.frame_shape
        T = self.num_frames
        events = [event for event in self.events if event["t"] < T]  # a last episode may have no frame
        num_episodes = sum("age" in event for event in events)
        episode_starts = np.zeros((1, T), bool)
        episode_starts[0, [t for t in self.episode_starts if t < T]] = True
        latents, actions = zip(*self.start_states[:num_episodes], strict=True)
        meta = {"game": "world model", "record_envs": 1, **self.metadata, "replay": events}
        with atomic_write(self.path) as file:
            np.savez(
                file, frames=np.memmap(self.file, np.uint8, "r", shape=(1, T, 3, H, W)),
                actions=np.array([self.actions], np.int64), episode_starts=episode_starts,
                action_names=np.array(self.action_names), meta=json.dumps(meta),
                **{"replay/latents": np.stack(latents), "replay/actions": np.stack(actions)},
            )  # fmt: skip


def are_valid_actions(actions: np.ndarray, env: PlayableEnv) -> bool:
    """Whether all are indices of actions of `env`, in a non-empty integer array."""
    is_int = actions.dtype.kind in "iu" and actions.size > 0
    return is_int and actions.min() >= 0 and actions.max() < len(env.action_names)


def sampler_settings(env: PlayableEnv) -> dict[str, int]:
    """Current values of SAMPLER_SETTINGS by name."""
    return {name: getattr(env, name) for name in SAMPLER_SETTINGS}


@dataclass(frozen=True)
class Replay:
    """A recording of a SessionRecorder that can be generated again."""

    frames: np.ndarray  # uint8 (T, 3, H, W), as recorded
    actions: np.ndarray  # int64 (T,)
    events: list[dict]
    start_latents: np.ndarray  # float32 (E, L, C, h, w)
    start_actions: np.ndarray  # int64 (E, L)

    @classmethod
    def load(cls, path: Path, env: PlayableEnv) -> "Replay":
        """Reads a recording. Raises InputError if it is missing, damaged, or of another world model."""
        try:
            with zipfile.ZipFile(path) as archive:
                arrays = {
                    name: mmap_member(Path(path), archive, info, []) for name, info in iter_members(archive)
                }
            frames, actions, meta = arrays["frames"][0], arrays["actions"][0], json.loads(str(arrays["meta"]))
            replay = cls(frames, actions, meta["replay"], arrays["replay/latents"], arrays["replay/actions"])
            replay.check(env)
        except FileNotFoundError:
            raise InputError(f"no recording at {path}: key C in the window of play_sd.py makes one") from None
        except Exception as problem:  # numpy and zipfile raise many types: all mean the same to the user
            raise InputError(
                f"{path} cannot be replayed ({problem}): use an .npz that play_sd.py has recorded"
            ) from None
        if meta.get("dream") != env.fingerprint:
            raise InputError(f"{path} cannot be replayed: it was recorded with another world model")
        return replay

    def check(self, env: PlayableEnv) -> None:
        """Raises ValueError, KeyError or TypeError if the contents do not fit `env`."""
        E, times = len(self.start_actions), [event["t"] for event in self.events]
        ages = [event["age"] for event in self.events if "age" in event]
        for event in self.events:
            steps = event["steps"]
            numbers = (event["t"], event["seed"], steps, event.get("age", 0))
            if (
                not all(type(number) is int and number >= 0 for number in numbers)
                or not 1 <= steps <= MAX_STEPS
            ):
                raise ValueError(f"invalid event {event}")
        is_valid = {
            "frames": self.frames.shape[2:] == tuple(env.frame_shape) and self.frames.dtype == np.uint8,
            "actions": self.actions.shape == self.frames.shape[:1] and are_valid_actions(self.actions, env),
            "events": times == sorted(set(times)) and times[0] == 0 and "age" in self.events[0],
            "episodes": len(ages) == E == len(self.start_latents),
            "replay/actions": self.start_actions.shape == self.start_latents.shape[:2]
            and are_valid_actions(self.start_actions, env),
            "replay/latents": self.start_latents.shape[1:] == env.export_state()[0].shape
            and np.isfinite(self.start_latents).all(),
        }
        invalid = [name for name, valid in is_valid.items() if not valid]
        if invalid:
            raise ValueError(f"invalid {', '.join(invalid)}")

    @property
    def first_episode_length(self) -> int:
        """Frames of the first episode."""
        return next((event["t"] for event in self.events[1:] if "age" in event), len(self.actions))

    def run(self, env: PlayableEnv) -> Iterator[np.ndarray]:
        """Generates the recording again; yields its frames, uint8 (H, W, 3): frame t precedes action t."""
        event_at, episode, frame_u8 = {event["t"]: event for event in self.events}, 0, None
        for t, action in enumerate(self.actions):
            event = event_at.get(t, {})
            for name in SAMPLER_SETTINGS if event else ():
                setattr(env, name, event[name])
            if "age" in event:
                latents, actions = self.start_latents[episode], self.start_actions[episode]
                frame_u8 = env.reset_to(latents, actions, event["age"])
                episode += 1
            yield frame_u8
            frame_u8 = env.step(int(action))
