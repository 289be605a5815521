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
KINDS = {
    "source": dict,
    "minutes": dict,
    "seconds": dict,
    "finished": list,
    "max_minutes": (int, float),
}


class RunState:
    """`source`: `asdict` of a Source. `max_minutes`: the budget. `minutes`: by stage that has begun, what it may take.
    `seconds`: by stage, what it has taken. `finished`: names of stages."""

    def __init__(self, path: Path, source: dict) -> None:
        self.path, self.source, self.max_minutes = path, source, 0.0
        self.minutes: dict[str, float] = {}
        self.seconds: dict[str, float] = {}
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
            for name, kind in KINDS.items():
                if not isinstance(saved[name], kind):
                    raise TypeError(name)
            if not all(
                type(value) in (int, float)
                for name in ("minutes", "seconds")
                for value in saved[name].values()
            ):
                raise TypeError("minutes")
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            raise InputError(
                f"{state.path} is damaged: choose another --output-dir, or remove {folder}"
            ) from None
        # Until something is recorded, other options are a correction.
        names = [name for name in state.source if name != "options" or "record" in saved["finished"]]
        # What a run of an older version does not say has its default.
        earlier = {**asdict(Source()), **saved["source"]}
        if any(earlier[name] != state.source[name] for name in names):
            raise InputError(
                f"{folder} holds the run of another game or other options: choose another --output-dir, or remove it"
            )
        for name in set(KINDS) - {"source"}:
            setattr(state, name, saved[name])
        return state

    def save(self) -> None:
        with atomic_write(self.path, "w") as file:
            json.dump({name: getattr(self, name) for name in KINDS}, file, indent=1)

    @property
    def elapsed_s(self) -> float:
        """Seconds that the run has taken so far, without the time between its parts."""
        return sum(self.seconds.values())

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
        """Returns what the stage may take, minutes with those of its earlier parts: as planned when it began."""
        if name not in self.minutes:
            spent = self.seconds.get(name, 0.0) / 60
            elapsed, from_scratch = self.elapsed_s / 60, self.source["from_scratch"]
            self.minutes[name] = spent + plan_minutes(name, self.max_minutes, elapsed, from_scratch)
        self._last_tick = time.monotonic()
        self.save()
        return self.minutes[name]

    def is_finished(self, name: str) -> bool:
        return name in self.finished

    def finish(self, name: str) -> None:
        if name not in self.finished:
            self.finished.append(name)
            self.save()

    def tick(self, name: str) -> None:
        """Counts the time since `begin` or the last call for the stage."""
        now = time.monotonic()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last_tick
        self._last_tick = now

    def action_names(self, recording: Path) -> tuple[str, ...]:
        """The names of the recording's actions; empty if there is none yet."""
        if not self._action_names and recording.is_file():
            self._action_names = tuple(open_trajectories(recording).action_names)
        return self._action_names
