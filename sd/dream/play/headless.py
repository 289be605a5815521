"""Play without a window: as fast as possible, to a video or a recording, or a recording generated again."""

import time
from pathlib import Path

import numpy as np

from dream.common.disk_room import DiskFull
from dream.common.errors import DISK_FULL_ERRNOS, InputError
from dream.play.playable_env import PlayableEnv
from dream.play.recorder import Recorder
from dream.play.recording import Replay
from dream.play.session import PlaySession
from dream.play.timing import FrameTimes


def play_headless(session: PlaySession, num_frames: int, fps: float, record_path: Path | None) -> None:
    """Plays `num_frames` frames as fast as possible, records them if `record_path` is given, and prints the times.

    A video shows the real game, if there is one, next to the world model. Raises InputError if the recording is
    incomplete; what could be recorded is kept."""
    recorder = Recorder(session, fps)
    if record_path:
        recorder.start(record_path, num_frames=num_frames)
    times, problem = FrameTimes(), None
    try:
        for _ in range(num_frames):
            began = time.perf_counter()
            session.step()
            done = time.perf_counter()
            times.add(done, done - began)
            times.key_to_frame_s.append(done - began)  # without a window, an action is not delayed
            recorder.write()
    except DiskFull as full:
        problem = full
    finally:  # also after Ctrl-C
        problem = stop_all(recorder) or problem
        print_times(times, session.env.fps, None if problem else record_path)
        if session.lap_timer:
            best_s = session.lap_timer.best_lap_s
            print(f"laps {session.lap_timer.laps}" + (f", the best one {best_s:.1f} s" if best_s else ""))
    if problem:
        full = isinstance(problem, DiskFull)
        advice = "free some space, or record to another disk" if full else "record to another file"
        raise InputError(f"{problem}: {advice}")


def stop_all(recorder: Recorder) -> OSError | None:
    """Ends all recordings; returns what went wrong: DiskFull, or an OSError with the path and the reason."""
    problem = None
    for recording in recorder.active():
        try:
            recorder.stop(recording)
        except OSError as error:
            problem = error
            if error.errno not in DISK_FULL_ERRNOS:
                problem = OSError(f"{recording.path} cannot be written ({error.strerror or error})")
            elif not isinstance(error, DiskFull):
                problem = DiskFull(recording.path)
    return problem


def replay_all(path: Path, env: PlayableEnv) -> None:
    """Generates a recording again and prints how many of its frames are equal. Raises InputError unless all are."""
    replay = Replay.load(path, env)
    num_equal = sum(
        np.array_equal(frame_u8.transpose(2, 0, 1), recorded)
        for frame_u8, recorded in zip(replay.run(env), replay.frames, strict=True)
    )
    print(f"{num_equal} of {len(replay.frames)} frames are equal to the recording")
    if num_equal < len(replay.frames):
        raise InputError("frames differ: another machine, backend or version rounds differently")


def print_times(times: FrameTimes, fps: float, record_path: Path | None) -> None:
    """Prints times per frame and latency. fps: of the game. record_path: of the recording that was written."""
    if times.num_frames:
        mean_ms, worst_ms, game_ms = 1000 * times.sum_s / times.num_frames, 1000 * times.worst_s, 1000 / fps
        print(f"{times.num_frames} frames, {mean_ms:.1f} ms a frame, worst {worst_ms:.1f} ms "
              f"(the game: {game_ms:.1f} ms a frame)")  # fmt: skip
    if times.key_to_frame_s:
        median_ms, p95_ms = 1000 * np.quantile(times.key_to_frame_s, [0.5, 0.95])
        print(f"latency from key press to frame: median {median_ms:.1f} ms, 95th percentile {p95_ms:.1f} ms")
    if times.num_frames and record_path:
        print(f"recorded {record_path}")
