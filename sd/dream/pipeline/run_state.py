"""What a run of several scripts remembers, so that it can be continued: finished stages and elapsed time."""

import json
import time
from dataclasses import asdict
from pathlib import Path

from dream.common.errors import InputError
from dream.common.files import atomic_write
from dream.data.trajectories import open_trajectories
from dream.pipeline.stages import Source, plan_minutes

NAME = "run.json"
EXTENDED_STAGES = ("model", "export")  # those that a larger budget continues


class RunState:
    """`elapsed_s`: seconds that the run has taken so far, without the time between its parts."""

    def __init__(self, path: Path, source: dict) -> None:
        self.path, self.source = path, source
        self.elapsed_s, self.max_minutes = 0.0, 0.0
        self.minutes: dict[str, float] = {}  # of each stage that has begun: what it may take
        self.finished: list[str] = []
        self._last_tick = time.monotonic()
        self._action_names: tuple[str, ...] = ()

    @classmethod
    def load(cls, folder: Path, source: Source) -> "RunState":
        """The state of the run in `folder`, or a new one. Raises InputError if the run there has another source, or
        if its file is damaged."""
        state = cls(folder / NAME, json.loads(json.dumps(asdict(source))))
        if not state.path.exists():
            return state
        try:
            saved = json.loads(state.path.read_text(encoding="utf-8"))
            for name, kind in (("source", dict), ("minutes", dict), ("finished", list), ("elapsed_s", (int, float)),
                               ("max_minutes", (int, float))):  # fmt: skip
                if not isinstance(saved[name], kind):
                    raise TypeError(name)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            raise InputError(
                f"{state.path} is damaged: choose another --output-dir, or remove the folder"
            ) from None
        if saved["source"] != state.source:
            raise InputError(f"{folder} holds a run of something else: choose another --output-dir")
        for name in ("minutes", "finished", "elapsed_s", "max_minutes"):
            setattr(state, name, saved[name])
        return state

    def save(self) -> None:
        names = ("source", "minutes", "finished", "elapsed_s", "max_minutes")
        with atomic_write(self.path, "w") as file:
            json.dump({name: getattr(self, name) for name in names}, file, indent=1)

    def extend(self, max_minutes: float) -> None:
        """Takes the budget of this call; a larger one than before continues the training of the model."""
        if max_minutes > self.max_minutes:
            self.finished = [name for name in self.finished if name not in EXTENDED_STAGES]
            self.minutes = {
                name: value for name, value in self.minutes.items() if name not in EXTENDED_STAGES
            }
            self.max_minutes = float(max_minutes)
        self.save()

    def begin(self, name: str) -> float:
        """Returns what the stage may take, with its earlier parts: as planned when it began, minutes."""
        if name not in self.minutes:
            self.minutes[name] = plan_minutes(name, self.max_minutes, self.elapsed_s / 60)
            self.save()
        return self.minutes[name]

    def is_finished(self, name: str) -> bool:
        return name in self.finished

    def finish(self, name: str) -> None:
        if name not in self.finished:
            self.finished.append(name)
            self.save()

    def tick(self) -> None:
        """Counts the time since the last call."""
        now = time.monotonic()
        self.elapsed_s += now - self._last_tick
        self._last_tick = now

    def action_names(self, recording: Path) -> tuple[str, ...]:
        """The names of the recording's actions; empty if there is none yet."""
        if not self._action_names and recording.is_file():
            self._action_names = tuple(open_trajectories(recording).action_names)
        return self._action_names
