"""The beginning and the end of a recorder: is the output free, and the packed file with what is to be said about it."""

import shutil
import sys
from pathlib import Path
from typing import Optional

from player.common.errors import InputError
from player.common.startup import command_line
from player.recording.action_effects import ActionEffects
from player.recording.pack import read_packed
from player.recording.parts import partial_folder
from player.recording.trajectory_writer import TrajectoryWriter


def check_output(output: Path, parts_dir: Path) -> None:
    """Raises InputError if there is a recording at `output`, or one that was stopped in `parts_dir`."""
    if output.exists():
        raise InputError(f"a recording exists at {output}: choose another --output, or remove it")
    if partial_folder(parts_dir).exists():
        pack = command_line("ppo/train_ppo.py", "--pack-only", "--output-dir", parts_dir.as_posix())
        raise InputError(
            f"a stopped recording exists in {parts_dir}: remove it; or keep what it has recorded by {pack} and "
            "move its trajectories.npz elsewhere"
        )


def has_rows(writer: TrajectoryWriter) -> bool:
    """Whether anything is recorded."""
    return any(writer.run_dir.glob("*/epoch_*"))


def finish_recording(output: Path, writer: Optional[TrajectoryWriter], effects: ActionEffects) -> None:
    """Packs the recording into `output`. Raises InputError if nothing is recorded, or if nothing ever changes in it."""
    if writer is None:
        raise InputError("nothing is recorded: stopped before the first frame")
    if not has_rows(writer):
        shutil.rmtree(str(writer.run_dir), ignore_errors=True)  # but for the lock, on Windows
        raise InputError("nothing is recorded: stopped before the first step was done")
    path = writer.pack()
    packed = read_packed(path)
    num_frames = packed.record_envs * len(packed.epochs) * packed.layout["frames"][1][0]
    path.replace(output)
    minutes = num_frames / writer.meta["fps"] / 60
    print(f"recorded {output}: {num_frames} frames, {minutes:.1f} minutes of play")
    if effects.is_frozen:
        raise InputError(f"{output}: {effects.problems()[0]}; is another --game-settings or --crop needed?")
    for line in effects.problems():
        print(line, file=sys.stderr)
    print("next: " + command_line("sd/train_autoencoder.py", "--trajectories", output.as_posix()))
