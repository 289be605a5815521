"""Makes a recording of videos and logs of keys, for a dream to learn from: any game, from any tool.

    python ppo/import_video.py FOLDER --output output/mine.npz
    python ppo/import_video.py FOLDER --output output/mine.npz --fps 20 --size 256x144 --crop 0,40,1920,1040

FOLDER has videos (.mp4 .mkv .webm .avi .mov) and beside each a log of the same name, a.mp4 and a.csv:

    time,keys            or   frame,keys        (seconds, or frames of the video, counted from 0)
    0,                        0,
    1.25,up                   75,up             what is held from then on, until the next line
    2.5,up+left               150,up+left

The actions of the recording are the sets of keys that are held longest, --max-actions of them; whatever else is held
counts as the one of them that has most of its keys, and no others. Videos must have the same time from each frame to
the next.
"""

import argparse
import csv
import shlex
import shutil
from collections import Counter
from pathlib import Path
from typing import Dict, FrozenSet, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np
from player.common.errors import InputError, run_script
from player.games.cli import crop
from player.recording.trajectory_writer import TrajectoryWriter, check_disk_space, recording_bytes
from tqdm import tqdm

VIDEOS = (".mp4", ".mkv", ".webm", ".avi", ".mov")
ROW_STEPS = 128  # of the recording; what is short of a row at a video's end is lost
MULTIPLE = 16  # pixels: sides that the autoencoder can halve

Keys = FrozenSet[str]


class Log(NamedTuple):
    begins: List[float]  # seconds, rising
    keys: List[Keys]  # held from then on


class Video(NamedTuple):
    path: Path
    log: Log
    fps: float
    num_steps: int  # of the recording
    size: Tuple[int, int]  # width, height


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="videos and logs")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.npz", help="the recording")
    parser.add_argument(
        "--fps", type=float, default=15, help="frames a second recorded (default: %(default)s)"
    )
    parser.add_argument("--size", type=size, metavar="WxH", help=f"of a recorded frame, multiples of {MULTIPLE} "
                        "(default: 256 wide, and as high as suits the video)")  # fmt: skip
    parser.add_argument(
        "--crop", type=crop, metavar="X,Y,W,H", help="what of a video is seen, its pixels (default: all)"
    )
    parser.add_argument("--max-actions", type=int, default=12, help="at the most (default: %(default)s)")
    args = parser.parse_args(argv)
    if not 0 < args.fps <= 240 or not 2 <= args.max_actions <= 256:
        parser.error("--fps must be above 0, 240 at the most, and --max-actions from 2 to 256")
    if args.output.suffix != ".npz":
        parser.error(f"--output {args.output}: the name must end in .npz")
    return args


def size(text: str) -> Tuple[int, int]:
    sides = [int(part) if part.isdecimal() else 0 for part in text.lower().split("x")]
    if len(sides) != 2 or min(sides) < MULTIPLE or any(side % MULTIPLE for side in sides):
        raise argparse.ArgumentTypeError(f"{text}: wanted WIDTHxHEIGHT, multiples of {MULTIPLE}")
    return sides[0], sides[1]


def main(args: argparse.Namespace) -> None:
    videos = find_videos(args.folder, args.fps)
    actions = choose_actions(videos, args.fps, args.max_actions)
    names = ["+".join(sorted(keys)) or "nothing" for keys in actions]
    width, height = args.size or suiting_size(args.crop[2:] if args.crop else videos[0].size)
    rows = sum(video.num_steps // ROW_STEPS for video in videos)
    print(
        f"{len(videos)} videos, {rows * ROW_STEPS} frames of {width} x {height}; "
        f"{len(names)} actions: {', '.join(names)}"
    )
    if rows == 0:
        raise InputError(
            f"no video is {ROW_STEPS / args.fps:.1f} seconds long: that is the shortest row of a recording"
        )
    parts_dir = args.output.with_name(args.output.stem + ".recording")
    for path in (args.output, parts_dir):
        if path.exists():
            raise InputError(f"{path} is there already: choose another --output, or remove it")
    check_disk_space(args.output.parent, 2 * recording_bytes(rows, ROW_STEPS, height, width))
    meta = {
        "game": args.folder.resolve().name, "fps": args.fps, "frame_skip": 1, "record_envs": 1, "seed": 0,
        "action_keys": [sorted(keys) for keys in actions], "videos": [video.path.name for video in videos],
    }  # fmt: skip
    writer = TrajectoryWriter(parts_dir, names, meta)
    try:
        parts = (part for video in videos for part in rows_of(video, args, actions, (width, height)))
        for number, part in enumerate(tqdm(parts, total=rows, unit="row")):
            writer.write(number, part)
        writer.pack().replace(args.output)
    finally:  # half of a recording is of no use: the videos are still there
        shutil.rmtree(str(parts_dir), ignore_errors=True)
    print(f"recorded {args.output}")
    print(
        "next: " + shlex.join(["python", "sd/train_autoencoder.py", "--trajectories", args.output.as_posix()])
    )


def find_videos(folder: Path, fps: float) -> List[Video]:
    """Those in `folder` with their logs, by name. Raises InputError where one has none, or cannot be read."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give one with videos, and a .csv beside each")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEOS)
    if not paths:
        raise InputError(f"no video in {folder} ({' '.join(VIDEOS)})")
    videos = []
    for path in paths:
        found = open_video(path)
        rate, count, width, height = (
            found.get(what) for what in (5, 7, 3, 4)
        )  # cv2.CAP_PROP_FPS, FRAME_COUNT ...
        found.release()
        if rate <= 0 or count < 1:
            raise InputError(f"{path} does not say how many frames it has, or how fast: convert it to .mp4")
        log = read_log(path.with_suffix(".csv"), rate)
        videos.append(Video(path, log, rate, int(count / rate * fps), (int(width), int(height))))
    return videos


def open_video(path: Path):
    try:
        import cv2
    except ImportError:
        raise InputError("videos need OpenCV: `pip install opencv-python`") from None
    found = cv2.VideoCapture(str(path))
    if not found.isOpened():
        raise InputError(f"{path} cannot be read as a video: copy or convert it again")
    return found


def read_log(path: Path, frame_rate: float) -> Log:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if line]
    except FileNotFoundError:
        raise InputError(f"no log of keys at {path}: it has lines of time,keys") from None
    except (UnicodeDecodeError, csv.Error) as problem:
        raise InputError(f"{path} is no text of lines and commas ({problem}): save it as UTF-8") from None
    if not lines or [cell.strip() for cell in lines[0]] not in (["time", "keys"], ["frame", "keys"]):
        raise InputError(f"{path}: the first line must be time,keys or frame,keys")
    unit = 1.0 if lines[0][0].strip() == "time" else 1 / frame_rate
    log = Log([0.0], [frozenset()])
    for number, line in enumerate(lines[1:], 2):
        try:
            begins, keys = float(line[0]) * unit, "" if len(line) < 2 else line[1]
        except ValueError:
            raise InputError(f"{path}, line {number}: {line[0]!r} is no number") from None
        if len(line) > 2 or not log.begins[-1] <= begins < float("inf"):
            raise InputError(f"{path}, line {number}: wanted two columns, none earlier than the line before")
        log.begins.append(begins)
        log.keys.append(frozenset(key.strip().lower() for key in keys.split("+") if key.strip()))
    return log


def held_at(log: Log, seconds: np.ndarray) -> List[Keys]:
    return [log.keys[i] for i in np.searchsorted(log.begins, seconds, side="right") - 1]


def steps_of(video: Video, fps: float) -> np.ndarray:
    """Seconds into a video, in the middle between each two recorded frames: what is held then is the action."""
    return (np.arange(video.num_steps) + 0.5) / fps


def choose_actions(videos: List[Video], fps: float, most: int) -> List[Keys]:
    """The sets of keys that are held longest, no key first."""
    count: Counter = Counter(keys for video in videos for keys in held_at(video.log, steps_of(video, fps)))
    longest = [keys for keys, _ in count.most_common() if keys][: most - 1]
    if not longest:
        raise InputError("no key is held in any of the logs: a dream learns from what keys do")
    return [frozenset(), *sorted(longest, key=lambda keys: (len(keys), sorted(keys)))]


def nearest_action(held: Keys, actions: List[Keys]) -> int:
    fitting = [i for i, keys in enumerate(actions) if keys <= held]  # the first is none at all
    return max(fitting, key=lambda i: len(actions[i]))


def suiting_size(shape: Tuple[int, ...]) -> Tuple[int, int]:
    return 256, max(MULTIPLE, round(256 * shape[1] / shape[0] / MULTIPLE) * MULTIPLE)


def rows_of(
    video: Video, args: argparse.Namespace, actions: List[Keys], shape: Tuple[int, int]
) -> Iterator[Dict[str, np.ndarray]]:
    """Full rows, as TrajectoryWriter takes them: a part each. Raises InputError where a video is shorter than it
    says."""
    chosen = [nearest_action(held, actions) for held in held_at(video.log, steps_of(video, args.fps))]
    frames: List[np.ndarray] = []
    for number, frame in enumerate(sampled(video, args.fps, args.crop, shape), 1):
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


def sampled(
    video: Video, fps: float, crop: Optional[Tuple[int, ...]], shape: Tuple[int, int]
) -> Iterator[np.ndarray]:
    """Frames uint8 (3, H, W), RGB, `fps` a second: at each moment the one that the video shows."""
    import cv2

    file, at, frame = open_video(video.path), -1, None
    try:
        for step in range(
            video.num_steps // ROW_STEPS * ROW_STEPS
        ):  # the tail may not be there: some guess their length
            wanted = int(step / fps * video.fps + 1e-6)
            while at < wanted:
                good, found = file.read()
                if not good:
                    raise InputError(
                        f"{video.path} ends after {at + 1} frames, earlier than it says: convert it again"
                    )
                at, frame = at + 1, found
            x, y, width, height = crop or (0, 0, *video.size)
            seen = frame[y : y + height, x : x + width]
            if seen.shape[:2] != (height, width):
                raise InputError(
                    f"--crop leaves {video.path}, which has {video.size[0]} x {video.size[1]} pixels"
                )
            seen = cv2.resize(seen, shape, interpolation=cv2.INTER_AREA)
            yield cv2.cvtColor(seen, cv2.COLOR_BGR2RGB).transpose(2, 0, 1)
    finally:
        file.release()


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
