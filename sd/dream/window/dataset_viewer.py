"""A window that shows a recording frame by frame, with the keys of each action.

New keys are added in dataset_commands.py; what is drawn is in dataset_hud.py.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dream.data.trajectories import Trajectories
from dream.play.timing import FrameLimiter
from dream.window.dataset_commands import COMMANDS
from dream.window.dataset_hud import draw_viewer
from dream.window.dataset_index import (
    frame_values,
    nearest,
    position_at,
    prefix_counts,
    rarest_first,
    run_starts,
)
from dream.window.draw import BAR_HEIGHT
from dream.window.screen import NoDisplay, init_display, open_window

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame  # after the line above, which silences a banner on stdout

VALUES_HEIGHT, TIMELINE_HEIGHT = 18, 28  # pixels, of the rows of the bar that the play window does not have
MAX_PICTURE_SIZE, MIN_SIZE = (1024, 768), (640, 280)  # of the window when it opens
MESSAGE_S = 3.0  # how long a message is shown


class DatasetViewer:
    """`DatasetViewer(recording, name).run()` shows the recording until the window is closed. Raises NoDisplay."""

    def __init__(
        self,
        recording: Trajectories,
        name: str,
        output_dir: Path = Path("output"),
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`name`: of the recording, for the title. `output_dir`: for pictures. `now`: a clock, in seconds."""
        self.recording, self.name, self.output_dir, self.now = recording, name, output_dir, now
        has_values = bool(frame_values(recording.extras, 0, 0))
        self.bar_height = BAR_HEIGHT + VALUES_HEIGHT * has_values + TIMELINE_HEIGHT
        try:
            self._open()
        except pygame.error as problem:
            pygame.quit()
            raise NoDisplay(str(problem)) from None
        self.command_of_key = {key: command for command in COMMANDS.values() for key in command.keys}
        self.counts = np.bincount(recording.actions.ravel(), minlength=recording.num_actions)  # (A,)
        self.order = rarest_first(self.counts)
        self.episodes = np.flatnonzero(recording.episode_starts)
        self.selected = next(action for action in self.order if self.counts[action])
        self.select_action(0)
        self.position, self.limiter = 0, FrameLimiter(recording.fps, now)
        self.running, self.playing, self.scrubbing = True, False, False
        self.help_page, self.show_actions = 0, False
        self.message, self.message_until = "", 0.0
        self.drawn: tuple | None = None  # `visible_state` when the window was last drawn

    def _open(self) -> None:
        H, W = self.recording.height, self.recording.width
        desktop_width, desktop_height = init_display()
        width = min(MAX_PICTURE_SIZE[0], 0.95 * desktop_width)
        height = min(MAX_PICTURE_SIZE[1], 0.9 * desktop_height - self.bar_height)
        scale = min(width / W, height / H)
        scale = int(scale) if scale >= 1 else scale
        open_window(
            (max(round(W * scale), MIN_SIZE[0]), max(round(H * scale), MIN_SIZE[1]) + self.bar_height)
        )
        pygame.key.set_repeat(300, 30)

    # -- the loop ----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Handles events, and draws when something has changed, until the window is closed. Ctrl-C quits."""
        try:
            while self.running:
                if self.drawn != self.visible_state():
                    self.draw()
                self.handle_events(self.limiter.wait_s() if self.playing else 0.1)
                if self.playing and self.limiter.wait_s() == 0:
                    self.limiter.begin_frame()
                    self.play_frame()
        except KeyboardInterrupt:
            pass
        finally:
            self.close()

    def close(self) -> None:
        pygame.quit()

    def visible_state(self) -> tuple:
        """All values that the drawing depends on."""
        message = self.message if self.now() < self.message_until else ""
        panels = (self.help_page, self.show_actions, self.selected, message)
        return (self.position, self.playing, *panels, pygame.display.get_surface().get_size())

    def draw(self) -> None:
        self.drawn = self.visible_state()
        self.picture_rect = draw_viewer(self, pygame.display.get_surface())
        pygame.display.set_caption(f"{self.name}: frame {self.position} of 0-{self.recording.num_frames - 1}")
        pygame.display.flip()

    # -- input -------------------------------------------------------------------------------------------------------

    def handle_events(self, wait_s: float) -> None:
        """Sleeps until an event comes, `wait_s` at most, and handles all events."""
        events = [pygame.event.wait(max(1, round(1000 * wait_s)))] if wait_s > 0 else []
        for event in events + pygame.event.get():
            if event.type == pygame.QUIT:
                self.running = False
            elif event.type == pygame.KEYDOWN:
                self.on_key_down(pygame.key.name(event.key), event.dict.get("mod", 0) & pygame.KMOD_SHIFT)
            elif event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
                self.scrubbing = self.timeline().inflate(0, 16).collidepoint(event.pos)
                self.scrub(event.pos[0])
            elif event.type == pygame.MOUSEMOTION:
                self.scrubbing = self.scrubbing and bool(event.buttons[0])  # released outside the window
                self.scrub(event.pos[0])
            elif event.type == pygame.MOUSEBUTTONUP and event.button == 1:
                self.scrubbing = False
            elif event.type == pygame.WINDOWEXPOSED:
                pygame.display.flip()

    def on_key_down(self, key: str, shift: int = 0) -> None:
        command = (self.command_of_key.get(f"shift+{key}") if shift else None) or self.command_of_key.get(key)
        if command:
            command.function(self)

    def scrub(self, x: int) -> None:
        """Goes to the frame at column x of the window while the mouse drags on the timeline."""
        if self.scrubbing:
            timeline = self.timeline()
            self.go_to(position_at(x - timeline.left, timeline.width, self.recording.num_frames))

    # -- called by the commands --------------------------------------------------------------------------------------

    def go_to(self, position: int) -> None:
        """Goes to a position, clamped to the first and the last frame."""
        self.position = min(max(position, 0), self.recording.num_frames - 1)

    def go_to_nearest(self, positions: np.ndarray, direction: int, name: str) -> None:
        """Goes to the next (1) or previous (-1) of the positions; `name`: of the positions, for
        the message."""
        position = nearest(positions, self.position, direction)
        if position is None:
            self.say(f"no {name} {'after' if direction > 0 else 'before'} this frame")
        else:
            self.go_to(position)

    def toggle_playing(self) -> None:
        self.playing = not self.playing and self.position < self.recording.num_frames - 1
        self.limiter = FrameLimiter(self.recording.fps, self.now)
        self.limiter.begin_frame()  # the current frame is shown for a period too

    def play_frame(self) -> None:
        """Advances by one frame, unless the mouse drags the timeline; stops at the last frame."""
        if not self.scrubbing:
            self.go_to(self.position + 1)
            self.playing = self.position < self.recording.num_frames - 1

    def select_action(self, offset: int) -> None:
        """Selects another one of the actions that occur, ordered from rare to frequent."""
        present = [action for action in self.order if self.counts[action]]
        self.selected = present[(present.index(self.selected) + offset) % len(present)]
        self.runs = run_starts(self.recording.actions, self.recording.episode_starts, self.selected)
        self.selected_counts = prefix_counts(self.recording.actions == self.selected)

    def say(self, message: str) -> None:
        print(message)
        self.message, self.message_until = message, self.now() + MESSAGE_S

    def save_picture(self, path: Path) -> None:
        self.draw()
        pygame.image.save(pygame.display.get_surface(), str(path))

    # -- layout ------------------------------------------------------------------------------------------------------

    @property
    def selected_name(self) -> str:
        return self.recording.action_names[self.selected]

    def timeline(self) -> pygame.Rect:
        """The timeline's rectangle; below the window's lower edge if the window is too low for a bar."""
        width, height = pygame.display.get_surface().get_size()
        return pygame.Rect(16, height - 18 if self.has_bar() else height, max(1, width - 32), 10)

    def has_bar(self) -> bool:
        """Whether the window is high enough for the bar."""
        return pygame.display.get_surface().get_height() > 2 * self.bar_height
