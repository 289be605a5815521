"""RecordingSession: records what a person does in a window, step by step."""

from typing import List, Optional, Set

import numpy as np

from player.recording.action_effects import ActionEffects
from player.recording.trajectory_writer import TrajectoryWriter
from player.window.controllers import GameSession

PERSON_STEPS = 128  # steps per row of a person, who may quit at any moment: an unfinished row is lost


class RecordingSession(GameSession):
    """A session in a window that records what a person does: observation, action and reward of each step.

    A step lasts `decision_frames` game frames, fewer at the end of an episode. Full rows of PERSON_STEPS steps are
    given to `writer`, which must be set before the first step of the second row.
    """

    def __init__(self, target_steps: int, **settings) -> None:
        """`target_steps`: the session is finished after so many steps. `settings`: those of GameSession."""
        self.target_steps, self.num_written = target_steps, 0
        self.row: List[dict] = []  # the steps of the current row, arrays by key
        self.keys_since_decision: Set[str] = set()
        self.writer: Optional[TrajectoryWriter] = None
        self.effects: Optional[ActionEffects] = None
        super().__init__(**settings)

    def step(self, held=frozenset()) -> None:
        """Advances the game by one frame. A key pressed between two decisions counts for the next one."""
        if self.ended or self.finished:
            return
        if self.num_frames == 0:
            self.keys_since_decision = set()
        self.keys_since_decision |= held
        is_decision = self.num_frames % self.controller.hold_frames == 0
        if is_decision and len(self.row) == PERSON_STEPS:
            self.write_row()
        recorded = {
            "frames": self.frame_u8.transpose(2, 0, 1),
            "episode_starts": self.num_frames == 0,
            "rewards": 0.0,
        }
        recorded.update({f"truth/{name}": value for name, value in self.truth.items()})
        reward_before = self.total_reward
        super().step(frozenset(self.keys_since_decision))
        if is_decision:
            self.keys_since_decision = set()
            self.row.append({**recorded, "actions": self.action})
        self.row[-1]["rewards"] += self.total_reward - reward_before
        num_steps = self.num_written + len(self.row)
        self.status = f"recorded {num_steps} of {self.target_steps}"
        step_is_complete = self.num_frames % self.controller.hold_frames == 0 or bool(self.ended)
        self.finished = num_steps >= self.target_steps and step_is_complete

    def write_row(self) -> None:
        """Gives the current row to the writer and starts a new one."""
        rows = {key: np.stack([step[key] for step in self.row])[None] for key in self.row[0]}
        dtypes = {"frames": np.uint8, "actions": np.int64, "episode_starts": bool}
        rows = {key: array.astype(dtypes.get(key, np.float32)) for key, array in rows.items()}
        # Before the row is written, so that after Ctrl-C it is not written again.
        self.num_written, self.row = self.num_written + len(self.row), []
        if self.effects:
            self.effects.add(rows)
        self.writer.write(self.num_written // PERSON_STEPS - 1, rows)
