"""Which scripts lead from a game to a playable world model, with which options, and how the time is divided.

The scripts of ppo/ are run as programs; nothing of theirs is imported.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dream.common.game_info import OWN_GAME

ROOT = Path(__file__).resolve().parents[3]
PRETRAINED = ROOT / "sd" / "pretrained"

# Fractions of the budget. Measurements: sd/NOTES.md, "Your own game". Importing videos takes what it takes.
RECORD_FRACTION = 0.1
AGENT_FRACTION = 0.1
# Of the time that is left for both trainings, from the pretrained networks and from scratch.
AUTOENCODER_FRACTION, AUTOENCODER_FRACTION_FROM_SCRATCH = 0.1, 0.2
EXPORT_MINUTES = 1.0  # kept for the export; at most EXPORT_FRACTION
EXPORT_FRACTION = 0.1
AGENT_FROM_MINUTES = 120.0  # a shorter budget is too short for an agent that plays better than at random
FRAMES_PER_MINUTE = 450  # of the budget: the model cannot be trained on many more in that time
MIN_FRAMES, MAX_FRAMES = 4096, 163840
RECORD_ENVS, GPU_RECORD_ENVS = 8, 32  # beside a large GPU there are many CPU cores
# Mean length of the model's own rollouts in training, frames, by the minutes from which on it is used. A model that was
# trained for less than an hour is worse with them, and with the discriminator small things dissolve (sd/NOTES.md).
ROLLOUT_LENGTHS = ((0.0, 0), (60.0, 8), (120.0, 32))
# Of the built-in game, whatever the budget: the pretrained model was trained with it, and `make dream` with the
# discriminator and 64 frames.
BUILT_IN_ROLLOUT_LENGTH = 96
# Of the built-in game, unless there are rivals: they move while the flow of the picture is almost zero.
STILL_THRESHOLD = 0.5
MIN_MINUTES, MAX_MINUTES = 1.0, 10_000.0  # of a whole run
# Options of the recorder that train_ppo.py has as well: they choose the game.
GAME_OPTIONS = ("--track", "--rivals", "--integrations", "--state", "--scenario", "--crop", "--actions",
                "--game-settings", "--game-path", "--frame-size", "--frame-skip", "--max-frames")  # fmt: skip
AGENT_OPTIONS = ("--policy", "--agent")  # who chooses them needs no other agent
# On a large GPU small batches leave most of it idle.
BIG_GPU_MB = 30_000
GPU_BATCH = ("--batch-size", "256")
GPU_LEARNING_RATE, GPU_FINE_TUNING_RATE = "2e-3", "1e-3"
# Minutes of two CPU cores that a minute of it is taken for. An H200 trains on 4,500 windows a second, two cores of an
# AMD EPYC with bfloat16 on 30, which would be 150.
GPU_SPEED = 40.0


@dataclass(frozen=True)
class Source:
    """What the model is trained on: exactly one of the first three is set. And what it starts from."""

    game: str | None = None
    videos: str | None = None  # folder
    recording: str | None = None  # file
    options: tuple[str, ...] = ()  # more options for the script that records the game or imports the videos
    from_scratch: bool = False  # not from the pretrained networks

    def game_options(self) -> tuple[str, ...]:
        """Those of `options` that choose the game, with their values."""
        chosen, is_chosen = [], False
        for word in self.options:
            if word.startswith("--"):
                is_chosen = word.split("=")[0] in GAME_OPTIONS
            if is_chosen:
                chosen.append(word)
        return tuple(chosen)

    def names_agent(self) -> bool:
        """Whether `options` say who plays while the game is recorded."""
        return any(self.has_option(name) for name in AGENT_OPTIONS)

    def has_option(self, name: str) -> bool:
        return any(word.split("=")[0] == name for word in self.options)

    def option_value(self, name: str) -> str | None:
        """The value of an option in `options`, the last one; None if it is not there."""
        value = None
        for word, following in zip(self.options, (*self.options[1:], None), strict=False):
            if word.split("=")[0] == name:
                value = word.partition("=")[2] or following
        return value

    @property
    def name(self) -> str:
        """A short name for headings."""
        return self.game or Path(self.videos or self.recording).resolve().stem


@dataclass(frozen=True)
class Folder:
    """The files of a run."""

    path: Path
    source: Source

    @property
    def agent(self) -> Path:
        return self.path / "agent"

    @property
    def recording(self) -> Path:
        return Path(self.source.recording) if self.source.recording else self.path / "recording.npz"

    @property
    def autoencoder(self) -> Path:
        return self.path / "autoencoder"

    @property
    def model(self) -> Path:
        return self.path / "model"


@dataclass(frozen=True)
class Stage:
    """One script of a run. `minutes`: what it may take, with its earlier parts. `title`: for the progress bar."""

    name: str
    title: str
    minutes: float
    command: tuple[str, ...]


def stage_names(source: Source, max_minutes: float, is_recorded: bool = False) -> list[str]:
    """The stages of a run in their order. An agent is trained for the recording alone."""
    names = ["autoencoder", "model", "export"]
    if source.videos or source.game:
        names.insert(0, "record")
    needs_agent = source.game not in (None, OWN_GAME) and not source.names_agent() and not is_recorded
    if needs_agent and max_minutes >= AGENT_FROM_MINUTES:
        names.insert(0, "agent")
    return names


def export_minutes(max_minutes: float) -> float:
    return min(EXPORT_MINUTES, EXPORT_FRACTION * max_minutes)


def plan_minutes(name: str, max_minutes: float, elapsed_minutes: float, from_scratch: bool = False) -> float:
    """What a stage that begins after `elapsed_minutes` of a run of `max_minutes` may take."""
    left = max(0.5, max_minutes - elapsed_minutes - export_minutes(max_minutes))
    autoencoder_fraction = AUTOENCODER_FRACTION_FROM_SCRATCH if from_scratch else AUTOENCODER_FRACTION
    return {
        "agent": AGENT_FRACTION * max_minutes,
        "record": RECORD_FRACTION * max_minutes,
        "autoencoder": autoencoder_fraction * left,
        "model": left,
        "export": export_minutes(max_minutes),
    }[name]


def cpu_minutes(minutes: float) -> float:
    """For how many minutes two CPU cores would train as long as this machine does in `minutes`."""
    return minutes * (GPU_SPEED if has_big_gpu() else 1.0)


def choose_rollout_length(max_minutes: float) -> int:
    """Of the model's training in a run of `max_minutes`."""
    budget = cpu_minutes(max_minutes)
    return max((minutes, length) for minutes, length in ROLLOUT_LENGTHS if budget >= minutes)[1]


def make_stage(name: str, folder: Folder, minutes: float, max_minutes: float) -> Stage:
    """The stage `name`, which may take `minutes` of a run of `max_minutes`."""
    titles = {
        "agent": "agent",
        "record": "recording" if folder.source.game else "videos",
        "autoencoder": "autoencoder",
        "model": "world model",
        "export": "export",
    }
    commands = {
        "agent": agent_command,
        "record": record_command if folder.source.game else import_command,
        "autoencoder": autoencoder_command,
        "model": model_command,
        "export": export_command,
    }
    script, *options = map(str, commands[name](folder, minutes, max_minutes))
    return Stage(name, titles[name], minutes, (sys.executable, str(ROOT / script), *options))


def agent_command(folder: Folder, minutes: float, max_minutes: float) -> Sequence:
    return [
        "ppo/train_ppo.py", "--game", folder.source.game, "--n-envs", RECORD_ENVS, "--record-envs", 0,
        "--explore-envs", 0, "--video-every", 0, "--output-dir", folder.agent, "--max-minutes", f"{minutes:.2f}",
        *resume(folder.agent), *folder.source.game_options(),
    ]  # fmt: skip


def record_command(folder: Folder, minutes: float, max_minutes: float) -> Sequence:
    frames = max(MIN_FRAMES, min(MAX_FRAMES, int(FRAMES_PER_MINUTE * cpu_minutes(max_minutes))))
    limit = [] if folder.source.has_option("--frames") else ["--max-minutes", f"{minutes:.2f}"]
    policy = []  # random actions, the recorder's default without an agent
    if folder.source.game == OWN_GAME:
        policy = ["--policy", "agent=1,wander=4,sticky=3"]
    elif (folder.agent / "best.pt").is_file():
        policy = ["--policy", "agent=1,wander=2,sticky=1", "--agent", folder.agent / "best.pt"]
    return [
        "ppo/record_trajectories.py", "--game", folder.source.game, "--frames", frames,
        "--n-envs", GPU_RECORD_ENVS if has_big_gpu() else RECORD_ENVS,
        *policy, "--output", folder.recording, *limit, *folder.source.options,
    ]  # fmt: skip


def import_command(folder: Folder, minutes: float, max_minutes: float) -> Sequence:
    return [
        "ppo/import_video.py", folder.source.videos, "--output", folder.recording, *folder.source.options
    ]  # fmt: skip


def autoencoder_command(folder: Folder, minutes: float, max_minutes: float) -> Sequence:
    return [
        "sd/train_autoencoder.py", "--trajectories", folder.recording, "--output-dir", folder.autoencoder,
        "--max-minutes", f"{minutes:.2f}", "--epochs", 10**6, *start(folder, folder.autoencoder, PRETRAINED),
        *(GPU_BATCH if has_big_gpu() else ()),
    ]  # fmt: skip


def model_command(folder: Folder, minutes: float, max_minutes: float) -> Sequence:
    source = folder.source
    if source.game == OWN_GAME:
        threshold = 0 if source.has_option("--rivals") else STILL_THRESHOLD
        recipe = ["--rollout-length", BUILT_IN_ROLLOUT_LENGTH, "--still-threshold", threshold]
        recipe += [] if source.from_scratch else ["--rollout-length-start", BUILT_IN_ROLLOUT_LENGTH]
    else:
        recipe = ["--rollout-length", choose_rollout_length(max_minutes), "--gan-weight", 0]
        recipe += [] if source.from_scratch else ["--new-game"]
    if has_big_gpu():
        continues = source.game == OWN_GAME and not source.from_scratch
        recipe += [*GPU_BATCH, "--learning-rate", GPU_FINE_TUNING_RATE if continues else GPU_LEARNING_RATE]
    return [
        "sd/train_sd.py", "--trajectories", folder.recording, "--autoencoder-dir", folder.autoencoder,
        "--output-dir", folder.model, "--max-minutes", f"{minutes:.2f}", "--epochs", 10**6,
        *start(folder, folder.model, PRETRAINED / "model.pt"), *recipe,
    ]  # fmt: skip


def export_command(folder: Folder, minutes: float, max_minutes: float) -> Sequence:
    return ["sd/export_sd.py", "--model-path", folder.model / "final.pt"]


def play_command(folder: Folder, video: Path | None) -> list[str]:
    """Opens the window; or, with `video`, plays some seconds without one and writes them to that file."""
    agent = folder.agent / "best.pt"
    options = ["--agent-path", agent] if agent.is_file() else []
    if video:
        options += ["--headless", "--record", video]
    script = ROOT / "sd" / "play_sd.py"
    return [*map(str, (sys.executable, script, "--model-path", folder.model / "final.pt", *options))]


def evaluate_command(folder: Folder) -> list[str]:
    """Evaluates the model on the episodes of the recording that it was not trained on."""
    built_in = ROOT / "ppo" / "pretrained" / "agent.pt"
    agent = built_in if folder.source.game == OWN_GAME else folder.agent / "best.pt"
    agent = Path(folder.source.option_value("--agent") or agent)
    options = ["--agent-path", agent] if agent.is_file() else []
    networks = ("--encoder-path", folder.model / "encoder.pt", "--decoder-path", folder.model / "decoder.pt",
                "--model-path", folder.model / "final.pt")  # fmt: skip
    return [*map(str, (
        sys.executable, ROOT / "sd" / "evaluate_sd.py", "--trajectories", folder.recording, *networks, "--quick",
        "--output-dir", folder.path / "evaluation", *options,
    ))]  # fmt: skip


def resume(run_dir: Path) -> list[str]:
    return ["--resume"] if (run_dir / "last.pt").is_file() else []


def start(folder: Folder, run_dir: Path, pretrained: Path) -> list:
    """Continues a training that was stopped; a new one starts from the pretrained weights, or from scratch."""
    return [*resume(run_dir), *([] if folder.source.from_scratch else ["--init-from", pretrained])]


@cache
def has_big_gpu() -> bool:
    """Whether PyTorch trains on a GPU with at least BIG_GPU_MB of memory. Asked in a child process: this one does
    without PyTorch."""
    if not shutil.which("nvidia-smi"):
        return False
    code = "import torch; print(torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 0)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()
    return found.isdecimal() and int(found) >= BIG_GPU_MB * 10**6
