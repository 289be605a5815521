"""Makes a recording from videos and logs of the keys held, so that a world model can be trained on any game.

    python ppo/import_video.py FOLDER --output output/mine.npz
    python ppo/import_video.py FOLDER --output output/mine.npz --fps 20 --frame-size 144 256 --crop 0,40,1920,1040

FOLDER contains videos (.mp4 .mkv .webm .avi .mov) and for each a log of the same name, such as a.mp4 and a.csv (or .tsv
.txt .jsonl .json):

    time,keys            or   frame,keys         or   time,key,event
    0,                        0,                      1.25,up,down
    1.25,up                   75,up                   2.5,left,down
    2.5,up+left               150,up+left             3.1,left,up

A line holds until the next one. Times are seconds, milliseconds (time_ms), h:mm:ss or dates; frames are counted from 0.
Time 0 is the first frame of the video, whose own time stamps are used. Keys are named as pynput, browsers, X11,
Windows, Minecraft or pygame name them; no key is an empty cell or "none". What is assumed is printed.

The actions of the recording are the --max-actions sets of keys that are held longest. Any other set of keys becomes the
largest action that is contained in it. Of videos with the same name before the suffix, one is used.
"""

import argparse
import shutil
import sys
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

import player  # noqa: F401  first: it reports packages that are missing
import numpy as np
from player.common.errors import InputError, run_script
from player.common.files import locked_folder
from player.common.frame_size import (
    FRAME_SIZE_HELP,
    choose_frame_size,
    describe_frame_size,
    fit_frame,
    frame_side,
)
from player.common.progress import progress_bar
from player.common.startup import ArgumentParser, command_line
from player.games.cli import crop_box
from player.recording.action_effects import ActionEffects
from player.recording.disk_space import check_disk_space, recording_bytes
from player.recording.parts import partial_folder
from player.recording.trajectory_writer import TrajectoryWriter
from player.video.actions import action_name, nearest_action, select_actions
from player.video.folder import find_sources
from player.video.frame_times import Clip, read_clip, read_pictures
from player.video.key_log import read_log
from player.video.log_names import Keys
from player.video.steps import Steps, choose_steps

ROW_STEPS = 128  # steps per row of the recording; an incomplete row at the end of a video is dropped


class Video(NamedTuple):
    """A video and what is recorded of it."""

    clip: Clip
    steps: Steps
    held: List[Keys]  # keys held at each step

    @property
    def num_rows(self) -> int:
        return len(self.held) // ROW_STEPS


def parse_args(argv=None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of videos and logs")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE.npz", help="file of the recording"
    )
    parser.add_argument(
        "--fps", type=float, default=15, help="frames per second of the recording (default: %(default)s)"
    )
    parser.add_argument(
        "--frame-size", type=frame_side, nargs=2, metavar=("HEIGHT", "WIDTH"), help=FRAME_SIZE_HELP
    )
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


def main(args: argparse.Namespace) -> None:
    videos = read_videos(args.folder, args.fps)
    actions = select_actions((keys for video in videos for keys in video.held), args.max_actions)
    names = [action_name(keys) for keys in actions]
    picture_width, picture_height = args.crop[2:] if args.crop else videos[0].clip.size
    size = tuple(args.frame_size or choose_frame_size(picture_height, picture_width))
    print(describe_frame_size(picture_height, picture_width, size))
    num_rows = sum(video.num_rows for video in videos)
    print(
        f"{len(videos)} videos, {num_rows * ROW_STEPS} frames of {size[0]} x {size[1]}; "
        f"{len(names)} actions: {', '.join(names)}"
    )
    if num_rows == 0:
        raise InputError(
            f"no video is {ROW_STEPS / args.fps:.1f} seconds long, the length of one row of a recording"
        )
    check_crop(args.crop, videos)
    parts_dir = args.output.with_name(args.output.stem + ".recording")
    with locked_folder(parts_dir):
        record(args, videos, actions, size, parts_dir)
    print(f"recorded {args.output}")
    print("next: " + command_line("sd/train_autoencoder.py", "--trajectories", args.output.as_posix()))


def record(
    args: argparse.Namespace, videos: List[Video], actions: List[Keys], size: Tuple[int, int], parts_dir: Path
) -> None:
    """Writes --output. `actions`: sets of keys. `size`: of the frames, height and width.

    Prints a warning to stderr if nothing can be learned from the recording, such as one action in all steps. Raises
    InputError if a recording exists, or if the disk has too little free space.
    """
    for path in (args.output, partial_folder(parts_dir)):
        if path.exists():
            raise InputError(f"{path} already exists: choose another --output, or remove it")
    num_rows = sum(video.num_rows for video in videos)
    check_disk_space(args.output.parent, 2 * recording_bytes(num_rows, ROW_STEPS, *size))
    meta = {
        "game": args.folder.resolve().name, "fps": args.fps, "frame_skip": 1, "record_envs": 1, "seed": 0,
        "action_keys": [sorted(keys) for keys in actions], "videos": [video.clip.path.name for video in videos],
    }  # fmt: skip
    names = [action_name(keys) for keys in actions]
    writer, effects = TrajectoryWriter(parts_dir, names, meta), ActionEffects(names)
    try:
        rows = (row for video in videos for row in video_rows(video, args.crop, actions, size))
        for number, row in enumerate(progress_bar(rows, total=num_rows, unit="row")):
            effects.add(row)
            writer.write(number, row)
        writer.pack().replace(args.output)
    finally:  # an incomplete recording is not kept, because the videos are still there
        shutil.rmtree(str(parts_dir), ignore_errors=True)
    for line in effects.problems():
        print(line if line.startswith("warning: ") else f"warning: {line}", file=sys.stderr)


def read_videos(folder: Path, fps: float) -> List[Video]:
    """The videos in `folder` with their logs, sorted by name. `fps`: frames per second of the recording.

    Prints what is assumed, and which videos are left out because they cannot be decoded or are there twice. Raises
    InputError if no video can be used or if a log is missing or invalid.
    """
    videos: List[Video] = []
    problems: List[str] = []
    left_out: List[str] = []
    sources = find_sources(folder, left_out)
    print_notes(left_out)
    for source in sources:
        clip, notes = None, []
        for path in source.videos:
            if clip is not None:
                notes.append(f"left out: {path.name} has the same name before the suffix as {clip.path.name}")
                continue
            try:
                clip = read_clip(path, notes)
            except InputError as problem:
                problems.append(str(problem))
                notes.append(f"left out: {problem}")
        if clip is not None:
            log = read_log(source.log, clip.times, clip.length, notes)
            steps = choose_steps(clip, log, fps, notes)
            videos.append(Video(clip, steps, log.keys_during(steps.key_times, 1 / fps)))
        if len(sources) > 1 or clip is not None:  # else the error below says the same
            print_notes(notes)
    if not videos:
        raise InputError(problems[0] + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""))
    return videos


def print_notes(notes: List[str]) -> None:
    for note in notes:
        print(note if note.startswith(("assumed: ", "left out: ", "warning: ")) else f"note: {note}")


def check_crop(crop: Optional[Tuple[int, ...]], videos: List[Video]) -> None:
    """Raises InputError if the crop does not fit into a video."""
    for clip in (video.clip for video in videos if crop):
        if crop[0] + crop[2] > clip.size[0] or crop[1] + crop[3] > clip.size[1]:
            raise InputError(
                f"--crop does not fit into {clip.path}, which has {clip.size[0]} x {clip.size[1]} pixels"
            )


def video_rows(
    video: Video, crop: Optional[Tuple[int, ...]], actions: List[Keys], size: Tuple[int, int]
) -> Iterator[Dict[str, np.ndarray]]:
    """Yields the full rows of a video as arrays for TrajectoryWriter, (1, ROW_STEPS, ...) each."""
    num_steps = video.num_rows * ROW_STEPS
    chosen = np.array([nearest_action(keys, actions) for keys in video.held[:num_steps]], np.int64)
    frames: List[np.ndarray] = []
    for number, picture in enumerate(read_pictures(video.clip, video.steps.frame_numbers[:num_steps]), 1):
        frames.append(to_frame(picture, crop, size))
        if len(frames) == ROW_STEPS:
            steps = slice(number - ROW_STEPS, number)
            yield {
                "frames": np.stack(frames)[None],
                "actions": chosen[None, steps],
                "episode_starts": video.steps.is_start[None, steps],
                "rewards": np.zeros((1, ROW_STEPS), np.float32),
            }
            frames = []
    if frames:
        print(f"{video.clip.path.name} ended earlier than when it was read first: its whole rows are kept")


def to_frame(picture: np.ndarray, crop: Optional[Tuple[int, ...]], size: Tuple[int, int]) -> np.ndarray:
    """The recorded frame, RGB uint8 (3, H, W), of a picture BGR uint8 (h, w, 3). `size`: H, W."""
    import cv2

    if crop:
        x, y, width, height = crop
        picture = picture[y : y + height, x : x + width]
    return cv2.cvtColor(fit_frame(picture, size), cv2.COLOR_BGR2RGB).transpose(2, 0, 1)


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
