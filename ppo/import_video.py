"""Makes a recording from videos and logs of the keys held, so that a world model can be trained on any game.

    python ppo/import_video.py FOLDER --output output/mine.npz
    python ppo/import_video.py FOLDER --output output/mine.npz --fps 20 --size 256x144 --crop 0,40,1920,1040

FOLDER contains videos (.mp4 .mkv .webm .avi .mov) and for each a log of the same name, such as a.mp4 and a.csv:

    time,keys            or   frame,keys        (seconds, or frames of the video, counted from 0)
    0,                        0,
    1.25,up                   75,up             the keys held from then on, until the next line
    2.5,up+left               150,up+left

The actions of the recording are the --max-actions sets of keys that are held longest. Any other set of keys becomes the
largest action that is contained in it. The videos must have a constant frame rate.
"""

import argparse
import csv
import shlex
import shutil
from collections import Counter
from pathlib import Path
from typing import Dict, FrozenSet, Iterator, List, NamedTuple, Optional, Tuple

import player  # noqa: F401  first: it reports packages that are missing
import numpy as np
from player.common.errors import InputError, run_script
from player.common.startup import ArgumentParser
from player.games.cli import crop_box
from player.recording.disk_space import check_disk_space, recording_bytes
from player.recording.trajectory_writer import TrajectoryWriter
from tqdm import tqdm

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov")
ROW_STEPS = 128  # steps per row of the recording; an incomplete row at the end of a video is dropped
SIZE_MULTIPLE = 16  # width and height are multiples of this, so that the autoencoder can halve them

Keys = FrozenSet[str]


class KeyLog(NamedTuple):
    """The keys held over time."""

    times: List[float]  # seconds, ascending
    keys: List[Keys]  # held from each time on


class Video(NamedTuple):
    """A video and its log of keys."""

    path: Path
    log: KeyLog
    fps: float  # frames per second of the video
    num_steps: int  # steps in the recording, at the recording's frame rate
    size: Tuple[int, int]  # width, height in pixels


def parse_args(argv=None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of videos and logs")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE.npz", help="file of the recording"
    )
    parser.add_argument(
        "--fps", type=float, default=15, help="frames per second of the recording (default: %(default)s)"
    )
    parser.add_argument("--size", type=frame_size, metavar="WxH", help="size of the recording's frames, multiples of "
                        f"{SIZE_MULTIPLE} (default: 256 wide, the height keeps the aspect ratio)")  # fmt: skip
    parser.add_argument(
        "--crop",
        type=crop_box,
        metavar="X,Y,W,H",
        help="part of the video to use, in its pixels (default: all)",
    )
    parser.add_argument(
        "--max-actions", type=int, default=12, help="maximum number of actions (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    if not 0 < args.fps <= 240 or not 2 <= args.max_actions <= 256:
        parser.error("--fps must be above 0 and at most 240, and --max-actions from 2 to 256")
    if args.output.suffix != ".npz":
        parser.error(f"--output {args.output}: the name must end in .npz")
    return args


def frame_size(text: str) -> Tuple[int, int]:
    """Parses "WIDTHxHEIGHT". Raises ArgumentTypeError unless both are multiples of SIZE_MULTIPLE."""
    sides = [int(part) if part.isdecimal() else 0 for part in text.lower().split("x")]
    if len(sides) != 2 or min(sides) < SIZE_MULTIPLE or any(side % SIZE_MULTIPLE for side in sides):
        raise argparse.ArgumentTypeError(f"{text}: expected WIDTHxHEIGHT, multiples of {SIZE_MULTIPLE}")
    return sides[0], sides[1]


def main(args: argparse.Namespace) -> None:
    videos = find_videos(args.folder, args.fps)
    actions = select_actions(videos, args.fps, args.max_actions)
    names = ["+".join(sorted(keys)) or "nothing" for keys in actions]
    width, height = args.size or default_size(args.crop[2:] if args.crop else videos[0].size)
    num_rows = sum(video.num_steps // ROW_STEPS for video in videos)
    print(
        f"{len(videos)} videos, {num_rows * ROW_STEPS} frames of {width} x {height}; "
        f"{len(names)} actions: {', '.join(names)}"
    )
    if num_rows == 0:
        raise InputError(
            f"no video is {ROW_STEPS / args.fps:.1f} seconds long, the length of one row of a recording"
        )
    parts_dir = args.output.with_name(args.output.stem + ".recording")
    for path in (args.output, parts_dir):
        if path.exists():
            raise InputError(f"{path} already exists: choose another --output, or remove it")
    check_disk_space(args.output.parent, 2 * recording_bytes(num_rows, ROW_STEPS, height, width))
    meta = {
        "game": args.folder.resolve().name, "fps": args.fps, "frame_skip": 1, "record_envs": 1, "seed": 0,
        "action_keys": [sorted(keys) for keys in actions], "videos": [video.path.name for video in videos],
    }  # fmt: skip
    writer = TrajectoryWriter(parts_dir, names, meta)
    try:
        rows = (row for video in videos for row in video_rows(video, args, actions, (width, height)))
        for number, row in enumerate(tqdm(rows, total=num_rows, unit="row")):
            writer.write(number, row)
        writer.pack().replace(args.output)
    finally:  # an incomplete recording is not kept, because the videos are still there
        shutil.rmtree(str(parts_dir), ignore_errors=True)
    print(f"recorded {args.output}")
    print(
        "next: " + shlex.join(["python", "sd/train_autoencoder.py", "--trajectories", args.output.as_posix()])
    )


def find_videos(folder: Path, fps: float) -> List[Video]:
    """The videos in `folder` with their logs, sorted by name. `fps`: frames per second of the recording.

    Raises InputError if a video cannot be read or has no valid log.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give one with videos and a .csv for each")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    if not paths:
        raise InputError(f"no video in {folder} ({' '.join(VIDEO_SUFFIXES)})")
    videos = []
    for path in paths:
        capture = open_video(path)
        # cv2.CAP_PROP_FPS, FRAME_COUNT, FRAME_WIDTH and FRAME_HEIGHT
        rate, count, width, height = (capture.get(property_id) for property_id in (5, 7, 3, 4))
        capture.release()
        if rate <= 0 or count < 1:
            raise InputError(f"{path} does not state its number of frames and frame rate: convert it to .mp4")
        log = read_log(path.with_suffix(".csv"), rate)
        videos.append(Video(path, log, rate, int(count / rate * fps), (int(width), int(height))))
    return videos


def open_video(path: Path):
    """A cv2.VideoCapture. Raises InputError if OpenCV is missing or the file is not a video."""
    try:
        import cv2
    except ImportError:
        raise InputError("videos need OpenCV: `pip install opencv-python`") from None
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise InputError(f"{path} cannot be read as a video: copy or convert it again")
    return capture


def read_log(path: Path, frame_rate: float) -> KeyLog:
    """Reads a log of keys. `frame_rate`: of the video, for logs with frame numbers. Raises InputError on bad input."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if line]
    except FileNotFoundError:
        raise InputError(f"no log of keys at {path}: make one with lines of time,keys") from None
    except (UnicodeDecodeError, csv.Error) as problem:
        raise InputError(f"{path} is not a CSV file ({problem}): save it as UTF-8") from None
    if not lines or [cell.strip() for cell in lines[0]] not in (["time", "keys"], ["frame", "keys"]):
        raise InputError(f"{path}: the first line must be time,keys or frame,keys")
    unit = 1.0 if lines[0][0].strip() == "time" else 1 / frame_rate
    log = KeyLog([0.0], [frozenset()])
    for number, line in enumerate(lines[1:], 2):
        try:
            seconds, keys = float(line[0]) * unit, "" if len(line) < 2 else line[1]
        except ValueError:
            raise InputError(f"{path}, line {number}: {line[0]!r} is not a number") from None
        if len(line) > 2 or not log.times[-1] <= seconds < float("inf"):
            raise InputError(
                f"{path}, line {number}: expected two columns, and no time earlier than the line before"
            )
        log.times.append(seconds)
        log.keys.append(frozenset(key.strip().lower() for key in keys.split("+") if key.strip()))
    return log


def keys_at(log: KeyLog, seconds: np.ndarray) -> List[Keys]:
    """The keys held at each of the given times (N,)."""
    return [log.keys[i] for i in np.searchsorted(log.times, seconds, side="right") - 1]


def step_times(video: Video, fps: float) -> np.ndarray:
    """Time of each step's action in seconds, float64 (num_steps,): the middle between two recorded frames."""
    return (np.arange(video.num_steps) + 0.5) / fps


def select_actions(videos: List[Video], fps: float, max_actions: int) -> List[Keys]:
    """The `max_actions` sets of keys that are held longest; the first one is always the empty set.

    Raises InputError if no key is ever held.
    """
    count: Counter = Counter(keys for video in videos for keys in keys_at(video.log, step_times(video, fps)))
    longest = [keys for keys, _ in count.most_common() if keys][: max_actions - 1]
    if not longest:
        raise InputError("no key is held in any of the logs: a world model learns the effect of keys")
    return [frozenset(), *sorted(longest, key=lambda keys: (len(keys), sorted(keys)))]


def nearest_action(held: Keys, actions: List[Keys]) -> int:
    """Index of the largest action whose keys are all held; index 0, no keys, always matches."""
    matching = [i for i, keys in enumerate(actions) if keys <= held]
    return max(matching, key=lambda i: len(actions[i]))


def default_size(size: Tuple[int, ...]) -> Tuple[int, int]:
    """Width and height of the recording for a picture of `size`: 256 wide with about the same aspect ratio."""
    return 256, max(SIZE_MULTIPLE, round(256 * size[1] / size[0] / SIZE_MULTIPLE) * SIZE_MULTIPLE)


def video_rows(
    video: Video, args: argparse.Namespace, actions: List[Keys], size: Tuple[int, int]
) -> Iterator[Dict[str, np.ndarray]]:
    """Yields the full rows of a video as arrays for TrajectoryWriter, (1, ROW_STEPS, ...) each.

    Raises InputError if the video is shorter than it states.
    """
    chosen = [nearest_action(held, actions) for held in keys_at(video.log, step_times(video, args.fps))]
    frames: List[np.ndarray] = []
    for number, frame in enumerate(sample_frames(video, args.fps, args.crop, size), 1):
        frames.append(frame)
        if len(frames) == ROW_STEPS:
            starts = np.zeros((1, ROW_STEPS), bool)
            starts[0, 0] = number == ROW_STEPS
            yield {
                "frames": np.stack(frames)[None],
                "actions": np.array([chosen[number - ROW_STEPS : number]], np.int64),
                "episode_starts": starts,
                "rewards": np.zeros((1, ROW_STEPS), np.float32),
            }
            frames = []


def sample_frames(
    video: Video, fps: float, crop: Optional[Tuple[int, ...]], size: Tuple[int, int]
) -> Iterator[np.ndarray]:
    """Yields `fps` RGB frames per second of video, uint8 (3, H, W); each is the frame displayed at that time.

    Raises InputError if the video is shorter than it states or if the crop does not fit.
    """
    import cv2

    capture, position, frame = open_video(video.path), -1, None
    try:
        # Only full rows: some files overestimate their length, so the last frames may not exist.
        for step in range(video.num_steps // ROW_STEPS * ROW_STEPS):
            target = int(step / fps * video.fps + 1e-6)
            while position < target:
                success, next_frame = capture.read()
                if not success:
                    raise InputError(
                        f"{video.path} ends after {position + 1} frames, fewer than it states: convert it again"
                    )
                position, frame = position + 1, next_frame
            x, y, width, height = crop or (0, 0, *video.size)
            picture = frame[y : y + height, x : x + width]
            if picture.shape[:2] != (height, width):
                raise InputError(
                    f"--crop does not fit into {video.path}, which has {video.size[0]} x {video.size[1]} pixels"
                )
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
            yield cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).transpose(2, 0, 1)
    finally:
        capture.release()


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
