"""The play window: reads the keys, keeps the game's frame rate, displays the frames.

Any PlayableEnv can be played. New keys are added in commands.py; the drawing is in hud.py.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from dream.common.disk_room import DiskFull
from dream.common.video import VideoFile
from dream.play.drive import Drive
from dream.play.keys import key_aliases, noop_action
from dream.play.recorder import Recorder
from dream.play.recording import SessionRecorder
from dream.play.session import PlaySession
from dream.play.timing import FrameLimiter, FrameTimes
from dream.window.commands import COMMANDS, command_keys
from dream.window.display import on_x11_error
from dream.window.draw import BAR_HEIGHT, difference, key_label, px, set_scale
from dream.window.hud import draw_window
from dream.window.joysticks import Joysticks
from dream.window.screen import NoDisplay, init_display, open_window, toggle_full_screen

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame  # after the line above, which silences a banner on stdout

TITLE = "Dream"
MESSAGE_S, LETTER_S = 2.5, 0.05  # how long a message is shown: so long, and for each letter
OFFER_CLIP_S = 12.0  # a drive of this length is worth a GIF
REWIND_SPEED_UP_S, MAX_REWIND_SPEED = 1.5, 4  # each such time rewinding is faster by one frame per frame


class PlayWindow:
    """`PlayWindow(session).run()` plays until the window is closed. Raises NoDisplay."""

    def __init__(
        self,
        session: PlaySession,
        fps: float | None = None,
        scale: int = 4,
        output_dir: Path = Path("output"),
        record_path: Path | None = None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`fps`: frames per second (None: the game's own). `scale`: screen pixels per frame pixel, less if the desktop
        is too small. `output_dir`: for pictures and videos. `record_path`: record there from the first frame on.
        `now`: a clock, in seconds."""
        self.session, self.env, self.fps = session, session.env, fps or session.env.fps
        self.output_dir, self.now = output_dir, now
        self.starts_path: Path | None = None  # file of the start states that are saved in this window
        try:
            self._open(scale)
        except pygame.error as problem:
            pygame.quit()
            raise NoDisplay(str(problem)) from None
        self.drive, self.noop = Drive(self.env.fps), noop_action(self.env.action_keys)
        self.clip_thread, self.clip_saved = None, False  # of the GIF of the best ten seconds
        self.aliases = key_aliases(self.env.action_keys)
        self.command_keys = command_keys(self.env.action_keys)
        self.command_of_key = {key: name for name, keys in self.command_keys.items() for key in keys}
        self.joysticks = Joysticks(self.env.action_keys)
        self.limiter, self.times = FrameLimiter(self.fps, now), FrameTimes()
        self.recorder = Recorder(session, self.fps)
        self.running, self.paused, self.step_once, self.rewinding = True, False, False, False
        self.num_rewound = 0  # frames since the key is held
        self.show_bar, self.show_numbers, self.help_page = True, False, 0
        self.view = "both" if session.real else "world model"
        self.speed = 1.0  # factor of the frame rate
        self.keyboard: set[str] = set()  # keys that are down, except those of commands
        self.pressed_since_frame: set[str] = set()
        self.shown_keys: set[str] = set()  # keys that are highlighted in the bar
        self.pressed_at: float | None = None  # time of the first key press that no frame has shown yet
        self.message, self.message_until = "", 0.0
        if record_path:
            self.start_recording(record_path)
        self.on_restart()

    def _open(self, scale: int) -> None:
        H, W = self.env.frame_shape
        desktop_width, desktop_height = init_display()
        columns = 2 if self.session.real else 1
        max_scale = min(0.95 * desktop_width / (columns * W), (0.9 * desktop_height - BAR_HEIGHT) / H)
        scale = max(1, min(scale, int(max_scale)))
        width, height = columns * W * scale, H * scale
        bar = BAR_HEIGHT
        for _ in range(4):  # the bar grows with the window, and the window with the bar
            set_scale((width, height + bar))
            bar = px(BAR_HEIGHT)
        self.size = (width, height + bar)
        open_window(self.size)
        pygame.display.set_caption(TITLE)
        if pygame.display.get_driver() == "x11":
            self.x11_handler = on_x11_error(self.save_recordings)

    @property
    def held_keys(self) -> set[str]:
        return self.keyboard | self.joysticks.held

    # -- the loop ----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Handles events until a frame is due, steps with the keys that are held then, draws. Ctrl-C quits."""
        try:
            while self.running:
                self.handle_events(self.limiter.wait_s())
                if self.running and self.limiter.wait_s() == 0:
                    self.limiter.begin_frame()
                    steps = self.step_once or not (self.paused or self.waiting or self.help_page)
                    if self.rewinding:
                        self.rewind_frame()
                    elif steps:
                        self.step()
                    self.draw()
                    if steps and self.pressed_at is not None:
                        self.times.key_to_frame_s.append(self.now() - self.pressed_at)
                        self.pressed_at = None
        except KeyboardInterrupt:
            pass
        finally:
            self.close()

    def close(self) -> None:
        self.save_recordings()
        if self.clip_thread:
            self.clip_thread.join()
        pygame.quit()

    def step(self) -> None:
        """Generates and records one frame; if the disk is full, stops the recording first."""
        self.shown_keys = self.held_keys | self.pressed_since_frame
        self.pressed_since_frame.clear()
        self.step_once = False
        before_u8, began = self.session.frame_u8, self.now()
        try:
            self.session.step(self.shown_keys)
        except DiskFull as problem:  # raised before the session has changed
            self.stop_recording(self.session.recording, f"{problem.strerror}; ")
            self.session.step(self.shown_keys)
        done = self.now()
        self.times.add(done, done - began)
        is_noop = self.session.action == self.noop
        self.drive.add(before_u8, self.session.frame_u8, self.session.human_controls, is_noop)
        if not self.session.human_controls:  # highlight what the controller presses
            self.shown_keys = set(self.env.action_keys[self.session.action])
        try:
            self.recorder.write()
        except DiskFull as problem:
            self.stop_recording(self.recorder.video, f"{problem.strerror}; ")

    def rewind_frame(self) -> None:
        """Goes back by one frame, by more the longer the key is held; at the end of the history nothing changes."""
        self.num_rewound += 1
        for _ in range(min(MAX_REWIND_SPEED, 1 + int(self.num_rewound / (self.fps * REWIND_SPEED_UP_S)))):
            if self.session.rewind():
                self.drive.pop()
                self.waiting = False
        self.times.reset_window()

    # -- input -------------------------------------------------------------------------------------------------------

    def handle_events(self, wait_s: float) -> None:
        """Sleeps until an event comes, `wait_s` at most, and handles all events."""
        events = [pygame.event.wait(max(1, round(1000 * wait_s)))] if wait_s > 0 else []
        for event in events + pygame.event.get():
            if event.type == pygame.QUIT:
                self.running = False
            elif event.type == pygame.KEYDOWN:
                self.on_key_down(pygame.key.name(event.key))
            elif event.type == pygame.KEYUP:
                self.on_key_up(pygame.key.name(event.key))
            elif event.type == pygame.WINDOWFOCUSLOST:
                self.keyboard.clear()
                self.rewinding = False
            else:
                pressed, command, message = self.joysticks.handle(event)
                for key in pressed:
                    self.on_game_key(key)
                if command:
                    COMMANDS[command].function(self)
                if message:
                    self.say(message)

    def on_key_down(self, key: str) -> None:
        key = self.aliases.get(key, key)
        name = self.command_of_key.get(key)
        if name:
            COMMANDS[name].function(self)
        else:
            self.keyboard.add(key)
            self.on_game_key(key)

    def on_key_up(self, key: str) -> None:
        self.keyboard.discard(self.aliases.get(key, key))
        if self.command_of_key.get(key) == "rewind":
            self.rewinding = False

    def on_game_key(self, key: str) -> None:
        if self.help_page:  # the game is paused
            return
        self.pressed_since_frame.add(key)  # a press shorter than a frame counts for one frame
        self.waiting = False
        if self.pressed_at is None and not self.paused:
            self.pressed_at = self.now()

    # -- called by the commands --------------------------------------------------------------------------------------

    def say(self, message: str) -> None:
        """Prints a message and displays it for some seconds."""
        with suppress(OSError):  # stdout may be closed
            print(message)
        self.display(message)

    def display(self, message: str) -> None:
        self.message, self.message_until = message, self.now() + MESSAGE_S + LETTER_S * len(message)

    def on_restart(self) -> None:
        """Waits for a key, unless one is held or a controller plays."""
        self.started_at, self.help_page = self.now(), 0
        self.waiting = not self.held_keys and self.session.human_controls
        self.shown_keys = self.held_keys
        self.times.reset_window()
        self.pressed_since_frame.clear()
        if self.drive.restart() >= OFFER_CLIP_S and not self.clip_saved and self.command_keys["clip"]:
            key = key_label(self.command_keys["clip"][0])
            self.display(f"{key} saves the best ten seconds of the last drive as a GIF")

    def set_seed(self, seed: int) -> None:
        """Changes the seed from the next frame on; in a pause, the last frame is generated again with it."""
        self.env.seed = seed
        if self.paused:
            self.session.regenerate_last()
        self.say(self.settings())

    def set_speed(self, speed: float) -> None:
        self.speed = speed
        self.limiter = FrameLimiter(self.target_fps(), self.now)
        self.times.reset_window()
        self.say(self.settings())

    def settings(self) -> str:
        return f"seed {self.env.seed}, speed {self.speed:g}x"

    def target_fps(self) -> float:
        return self.fps * self.speed

    def toggle_full_screen(self) -> None:
        try:
            self.size = toggle_full_screen(self.size)
        except pygame.error as problem:
            self.say(f"no full screen: {problem}")

    # -- recording ---------------------------------------------------------------------------------------------------

    def start_recording(self, path: Path) -> None:
        view = self.view  # a video keeps the view of its first frame
        self.recorder.start(path, lambda: list(self.frames(view).values()))
        self.say(f"recording {path}")

    def stop_recording(self, recording: SessionRecorder | VideoFile, reason: str = "") -> None:
        try:
            self.say(reason + self.recorder.stop(recording))
        except DiskFull as problem:
            self.say(str(problem))
        except OSError as problem:
            self.say(f"{reason}{recording.path} cannot be written: {problem}")

    def save_recordings(self) -> str:
        """Ends all recordings; returns a message for the user."""
        messages = []
        for recording in self.recorder.active():
            self.stop_recording(recording)
            messages.append(self.message)
        return "; ".join(messages) or "nothing was being recorded"

    def save_picture(self, path: Path) -> None:
        self.draw()
        pygame.image.save(pygame.display.get_surface(), str(path))

    # -- drawing -----------------------------------------------------------------------------------------------------

    def draw(self) -> None:
        draw_window(self, pygame.display.get_surface())
        pygame.display.flip()

    def frames(self, view: str) -> dict[str, np.ndarray]:
        """Returns the visible frames by name, each uint8 (H, W, 3)."""
        frame_u8, real = self.session.frame_u8, self.session.real
        if real is None or view == "world model":
            return {"world model": frame_u8}
        game = {real.label: real.frame_u8}
        if view == "game":
            return game
        both = {**game, "world model": frame_u8}
        return both if view == "both" else {**both, "difference": difference(real.frame_u8, frame_u8)}
