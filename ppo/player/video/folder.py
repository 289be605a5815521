"""Finds the videos in a folder and their logs, before any of them is decoded, which takes minutes."""

import filecmp
from pathlib import Path
from typing import Dict, List, NamedTuple

from player.common.errors import InputError
from player.video.frame_times import open_video
from player.video.log_table import read_table

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov")  # the first that can be read is used
LOG_SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json")


class Source(NamedTuple):
    """Files of one video, which have the same name before the suffix, and their log."""

    videos: List[Path]  # VIDEO_SUFFIXES first
    log: Path  # `.csv` if there is none


def find_sources(folder: Path, notes: List[str]) -> List[Source]:
    """The videos in `folder` sorted by name, without byte-for-byte copies, which are appended to `notes`.

    Of copies with different names, the first that has a log is kept. Raises InputError if there are no videos, or if
    the log of one that can be opened is missing or has no columns of time and keys.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give one with videos and a .csv for each")
    groups: Dict[str, List[Path]] = {}
    for path in sorted(folder.iterdir()):
        # Names with a dot in front are hidden; macOS writes ._a.mp4, which is no video, for a.mp4 on other disks.
        if path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".") and path.is_file():
            groups.setdefault(path.stem, []).append(path)
    if not groups:
        raise InputError(f"no video in {folder} ({' '.join(VIDEO_SUFFIXES)})")
    sources = _without_copies(
        [Source(_by_suffix(paths), _find_log(paths[0])) for paths in groups.values()], notes
    )
    _check_logs(sources)
    _note_equal_logs(sources, notes)
    return sources


def _note_equal_logs(sources: List[Source], notes: List[str]) -> None:
    """Notes videos whose logs are equal: the same video in two files, such as OBS a.mkv and its remux a_remux.mp4."""
    logs = [source.log for source in sources if source.log.is_file() and source.log.stat().st_size]
    for i, log in enumerate(logs):
        twin = next((other for other in logs[:i] if is_copy(log, other)), None)
        if twin is not None:
            notes.append(
                f"warning: {log.name} is a copy of {twin.name}: if their videos show the same, move one away, or it "
                "is learned from twice"
            )


def _by_suffix(paths: List[Path]) -> List[Path]:
    return sorted(paths, key=lambda path: VIDEO_SUFFIXES.index(path.suffix.lower()))


def _find_log(video: Path) -> Path:
    """`a.csv` or another of LOG_SUFFIXES in any case for a.mp4, else `a.mp4.csv`; empty ones come last."""
    names = {path.name: path for path in video.parent.iterdir() if path.is_file()}
    found = [
        names[name]
        for stem in (video.stem, video.name)
        for suffix in LOG_SUFFIXES
        for name in sorted(names)
        if name[: len(stem)] == stem and name[len(stem) :].lower() == suffix
    ]
    filled = [path for path in found if path.stat().st_size]
    return (filled or found or [video.with_suffix(LOG_SUFFIXES[0])])[0]


def _without_copies(sources: List[Source], notes: List[str]) -> List[Source]:
    """The sources without videos that are in another one too; one with a log keeps what it shares.

    Damaged copies stay, so that each of them is reported as damaged.
    """
    kept: Dict[Path, Source] = {}  # by log: the names before the suffix differ
    for source in sorted(sources, key=lambda source: not source.log.is_file()):
        others = [path for other in kept.values() for path in other.videos]
        twins = {
            path: next((other for other in others if is_copy(path, other) and _can_open(other)), None)
            for path in source.videos
        }
        notes += [f"left out: {path.name} is a copy of {twin.name}" for path, twin in twins.items() if twin]
        videos = [path for path, twin in twins.items() if twin is None]
        if videos:
            kept[source.log] = source._replace(videos=videos)
    return [kept[source.log] for source in sources if source.log in kept]


def is_copy(path: Path, other: Path) -> bool:
    """Whether two files are the same byte for byte."""
    return path.stat().st_size == other.stat().st_size and filecmp.cmp(str(path), str(other), shallow=False)


def _check_logs(sources: List[Source]) -> None:
    """Raises InputError if a log is missing or is no table. Videos that cannot be opened need none."""
    missing = []
    for source in sources:
        if not any(_can_open(path) for path in source.videos):
            continue
        if source.log.is_file():
            read_table(source.log, [])
        else:
            missing.append(source.log)
    if missing:
        more = f" (and of {len(missing) - 1} more videos)" if len(missing) > 1 else ""
        raise InputError(
            f"no log of keys at {missing[0]}{more}: make one with lines of time,keys, or move the video elsewhere"
        )


def _can_open(path: Path) -> bool:
    try:
        open_video(path).release()
    except InputError:
        return False
    return True
