"""A play session: steps an environment by a controller's actions, rewinds, and records. Needs no pygame.

The window turns keys into calls of a PlaySession and draws its frames; play_sd.py --headless does the same without a
window.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dream.common.errors import InputError
from dream.common.limits import STACK
from dream.play.controllers import Controller, HumanController, make_controllers
from dream.play.lap_timer import LapTimer
from dream.play.playable_env import PlayableEnv
from dream.play.real_env import RealEnv
from dream.play.recording import SessionRecorder

REWIND_SECONDS = 20.0  # length of the history; each snapshot of the pretrained model takes 0.5 MB


@dataclass(frozen=True)
class Snapshot:
    """The session before a step: what `rewind` restores."""

    env_state: Any
    frame_u8: np.ndarray
    action: int
    real_state: Any
    laps: Any  # of the lap timer
    recording: SessionRecorder | None  # the recording that the step was added to


@dataclass
class PlaySession:
    """`frame_u8`: the current frame, uint8 (H, W, 3). `action`: the last action. `num_frames`: frames since the start
    state."""

    env: PlayableEnv
    start: int = 0
    controllers: list[Controller] = field(default_factory=list)
    real: RealEnv | None = None  # the real game, which receives the same actions
    recording: SessionRecorder | None = None  # the .npz that is being recorded
    lap_timer: LapTimer | None = None

    def __post_init__(self) -> None:
        self.controllers = self.controllers or make_controllers(self.env)
        self.controller = self.controllers[0]
        self.history: deque[Snapshot] = deque(maxlen=round(REWIND_SECONDS * self.env.fps))
        if self.real:
            self.real.detect_state_support(self.env.game_state(start) for start in range(self.env.num_starts))
        self.restart()

    # -- start states and rewinding ----------------------------------------------------------------------------------

    def restart(self) -> None:
        """Resets to the current start state."""
        self.frame_u8 = self.env.reset(self.start)
        self.num_frames, self.action = 0, 0
        self.history.clear()
        if self.real:
            self.real.reset(self.env.game_state(self.start))
        if self.recording:
            self.recording.start_episode(self.env)
        if self.lap_timer:
            self.lap_timer.reset(self.frame_u8, (self.env.game_state(self.start) or {}).get("place"))
        self.controller.reset([self.frame_u8], self.num_frames)

    def change_start(self, offset: int) -> None:
        """Resets to the next start state (offset 1) or the previous one (-1)."""
        self.start = (self.start + offset) % self.env.num_starts
        self.restart()

    def rewind(self) -> bool:
        """Goes back by one frame and removes it from the recording; returns False if the history is empty."""
        if not self.history:
            return False
        snapshot = self.history.pop()
        self.env.set_state(snapshot.env_state)
        self.frame_u8, self.action, self.num_frames = snapshot.frame_u8, snapshot.action, self.num_frames - 1
        if self.real:
            self.real.set_state(snapshot.real_state)
        if self.lap_timer:
            self.lap_timer.set_state(snapshot.laps)
        if self.recording and snapshot.recording is self.recording:
            self.recording.pop_frame()
        elif self.recording:
            self.recording.start_episode(self.env)
        self.controller.reset(self.last_frames(), self.num_frames)
        return True

    def last_frames(self) -> list[np.ndarray]:
        """Returns up to STACK last frames, oldest first, the current frame last."""
        first = max(0, len(self.history) - STACK + 1)
        return [*(self.history[i].frame_u8 for i in range(first, len(self.history))), self.frame_u8]

    # -- stepping ----------------------------------------------------------------------------------------------------

    def step(self, held_keys: Collection[str] = ()) -> np.ndarray:
        """Advances by the controller's action and returns the new frame, uint8 (H, W, 3). Raises DiskFull, before
        anything has changed, if the current frame cannot be recorded."""
        return self._advance(self.controller.act(held_keys, self.num_frames))

    def regenerate_last(self) -> None:
        """Generates the last frame again, with the current seed and sampling steps."""
        action = self.action
        if self.rewind():
            self._advance(action)

    def _advance(self, action: int) -> np.ndarray:
        real_state = self.real and self.real.get_state()
        laps = self.lap_timer and self.lap_timer.get_state()
        snapshot = Snapshot(
            self.env.get_state(), self.frame_u8, self.action, real_state, laps, self.recording
        )
        if self.recording:
            self.recording.add(self.frame_u8, action, self.env)
        frame_u8 = self.env.step(action)
        if self.real:
            self.real.step(action)
        self.history.append(snapshot)
        self.frame_u8, self.action, self.num_frames = frame_u8, action, self.num_frames + 1
        if self.lap_timer:
            self.lap_timer.observe(frame_u8)
        self.controller.observe(frame_u8)
        return frame_u8

    # -- controllers -------------------------------------------------------------------------------------------------

    @property
    def human_controls(self) -> bool:
        """Whether a person chooses the actions."""
        return isinstance(self.controller, HumanController)

    def set_controller(self, controller: Controller) -> None:
        """Raises InputError if the controller cannot play this game; the current one stays in that case."""
        controller.reset(self.last_frames(), self.num_frames)
        self.controller = controller

    def cycle_controller(self) -> str:
        """Switches to the next controller that can play; returns a message for the user."""
        problems, first = "", self.controllers.index(self.controller)
        for offset in range(1, len(self.controllers)):
            controller = self.controllers[(first + offset) % len(self.controllers)]
            try:
                self.set_controller(controller)
            except InputError as problem:
                problems = f"{problem}; "
                continue
            return f"{problems}driver: {controller.name}"
        return f"{problems}no other driver is available"

    # -- recording ---------------------------------------------------------------------------------------------------

    def start_recording(self, recording: SessionRecorder) -> None:
        """Records from the next frame on."""
        self.recording = recording
        recording.start_episode(self.env)

    def stop_recording(self) -> SessionRecorder:
        """Writes the file and returns its recorder. Raises OSError if the file cannot be written."""
        recording, self.recording = self.recording, None
        recording.close()
        return recording
