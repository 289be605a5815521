"""RecordingSession: records what a person does in a window, step by step."""

from typing import List, Optional, Set

import numpy as np

from player.recording.action_effects import ActionEffects
from player.recording.disk_space import check_disk_space, recording_bytes
from player.recording.stopping import StopCondition
from player.recording.trajectory_writer import TrajectoryWriter
from player.window.controllers import GameSession

PERSON_STEPS = 128  # steps that are written to the disk at a time: what a power cut can lose


class RecordingSession(GameSession):
    """A session in a window that records what a person does: observation, action and reward of each step.

    A step lasts `decision_frames` game frames, fewer at the end of an episode. Every PERSON_STEPS steps are given to
    `writer`, which must be set before the second row begins; the rest by `write_complete_steps`.
    """

    invitation = "the recording begins with your first key"

    def __init__(self, target_steps: Optional[int], stop: Optional[StopCondition] = None, **settings) -> None:
        """`target_steps`: the session is finished after so many steps; None: when the window is closed. `stop`: it is
        also finished when this is due. `settings`: those of GameSession."""
        self.target_steps, self.stop, self.num_written, self.num_parts = target_steps, stop, 0, 0
        self.row: List[dict] = []  # the steps that are not yet written, arrays by key
        self.is_stepping = False  # true after an exception in a step
        self.keys_since_decision: Set[str] = set()
        self.writer: Optional[TrajectoryWriter] = None
        self.effects: Optional[ActionEffects] = None
        super().__init__(**settings)

    def describe_actions(self) -> List[str]:
        """What can be recorded: a line for each action with its keys."""
        lines = [f"  {name:<16} {' + '.join(keys) or 'no key'}" for name, keys in self.controller.key_rows()]
        return ["the actions, and the keys that choose them:", *lines]

    def step(self, held=frozenset()) -> None:
        """Advances the game by one frame. A key pressed between two decisions counts for the next one."""
        if self.ended or self.finished:
            return
        self.is_stepping = True
        if self.num_frames == 0:
            self.keys_since_decision = set()
        self.keys_since_decision |= held
        is_decision = self.num_frames % self.controller.hold_frames == 0
        if is_decision and len(self.row) == PERSON_STEPS:
            self._check_room()
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
        self.status = f"recorded {num_steps}" + (f" of {self.target_steps}" if self.target_steps else "")
        is_due = num_steps >= (self.target_steps or np.inf) or (
            self.stop is not None and self.stop.is_due(num_steps)
        )
        self.finished = is_due and self._is_complete()
        self.is_stepping = False

    def _is_complete(self) -> bool:
        """Whether the last step has all of its game frames."""
        return self.num_frames % self.controller.hold_frames == 0 or bool(self.ended)

    def write_row(self) -> None:
        """Gives the steps since the last call to the writer, also while Ctrl-C is pressed."""
        rows = {key: np.stack([step[key] for step in self.row])[None] for key in self.row[0]}
        dtypes = {"frames": np.uint8, "actions": np.int64, "episode_starts": bool}
        rows = {key: array.astype(dtypes.get(key, np.float32)) for key, array in rows.items()}
        with StopCondition(0.0) as ctrl_c:
            if self.effects:
                self.effects.add(rows)
            self.writer.write(self.num_parts, rows)
            self.num_written, self.num_parts, self.row = (
                self.num_written + len(self.row),
                self.num_parts + 1,
                [],
            )
        if ctrl_c.interrupted:
            raise KeyboardInterrupt

    def write_complete_steps(self) -> None:
        """Writes the rest of the recording, without a last step that has not all of its frames."""
        if self.is_stepping or not self._is_complete():
            self.row = self.row[:-1]
        if self.row and self.writer is not None:
            self.write_row()

    def _check_room(self) -> None:
        """Raises InputError unless the disk has room for another row and for packing all of them."""
        num_steps = self.num_written + 3 * PERSON_STEPS
        check_disk_space(self.writer.run_dir, recording_bytes(1, num_steps, *self.frame_u8.shape[:2]))
