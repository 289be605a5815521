"""A window on a ride: takes the keys, keeps the game's pace, shows the frames.

It knows nothing of what dreams the frames: anything with the few members of `Playable` can be played. Another key is a
line in COMMANDS (keys.py) and a function in commands.py.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from dream.common.video import VideoFile
from dream.play.keys import command_keys
from dream.play.recorder import Recorder
from dream.play.recording import NoRoom, Take
from dream.play.session import Ride
from dream.play.timing import FrameTimes, Pacer
from dream.window.commands import command
from dream.window.display import when_x_is_lost
from dream.window.draw import BAR_HEIGHT, difference, icon
from dream.window.gamepad import Gamepads
from dream.window.hud import draw_window

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame  # after the line above, which silences a banner on stdout


class NoScreen(Exception):
    """No window can be opened here; the message says why."""


class DreamWindow:
    """`DreamWindow(ride).run()` plays until the window is closed. Raises NoScreen."""

    def __init__(
        self,
        ride: Ride,
        fps: float | None = None,
        scale: int = 4,
        output_dir: Path = Path("output"),
        record_path: Path | None = None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`fps`: None is the game's own. `scale`: screen pixels a pixel, less where the screen is too small.
        `output_dir`: where pictures and videos go. `record_path`: record there from the first frame on."""
        self.ride, self.dream, self.fps = ride, ride.dream, fps or ride.dream.fps
        self.output_dir, self.now = output_dir, now
        self.places_path: Path | None = None  # of those that are kept
        try:
            self._open(scale)
        except pygame.error as problem:
            pygame.quit()
            raise NoScreen(str(problem)) from None
        self.command_keys = command_keys(self.dream.action_keys)
        self.command_of = {key: command for command, keys in self.command_keys.items() for key in keys}
        self.pads, self.joysticks = Gamepads(self.dream.action_keys), {}
        self.pacer, self.times = Pacer(self.fps, now), FrameTimes()
        self.recorder = Recorder(ride, self.fps)
        self.running, self.paused, self.step_once = True, False, False
        self.show_bar, self.show_help, self.view = True, False, "both" if ride.real else "dream"
        self.speed = 1.0  # times the game's own
        self.keyboard: set[str] = set()  # keys of the game that are down
        self.tapped: set[str] = set()
        self.going_back = False
        self.shown_keys: set[str] = set()
        self.pressed_at: float | None = None  # when the first key was taken that no frame has shown yet
        self.message, self.message_until = "", 0.0
        if record_path:
            self.start_recording(record_path)
        self.begin_again()

    def _open(self, scale: int) -> None:
        H, W = self.dream.frame_shape
        pygame.display.init()
        if pygame.display.get_driver() in ("dummy", "offscreen") and not os.environ.get("SDL_VIDEODRIVER"):
            raise pygame.error("no screen here")
        desktop_width, desktop_height = pygame.display.get_desktop_sizes()[0]
        across = 2 if self.ride.real else 1
        fits = min(0.95 * desktop_width / (across * W), (0.9 * desktop_height - BAR_HEIGHT) / H)
        scale = max(1, min(scale, int(fits)))
        self.size = (across * W * scale, H * scale + BAR_HEIGHT)
        pygame.display.set_icon(icon())
        pygame.display.set_caption("a dreamed game")
        pygame.display.set_mode(self.size, pygame.RESIZABLE)
        pygame.joystick.init()
        if pygame.display.get_driver() == "x11":
            self.lost = when_x_is_lost(self.keep_recordings)

    @property
    def held(self) -> set[str]:
        return self.keyboard | self.pads.held

    # -- the loop ----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Waits for events until a frame is due, dreams it with the keys held by then, shows it. Ctrl-C quits."""
        try:
            while self.running:
                self.handle_events(self.pacer.wait_s())
                if self.running and self.pacer.wait_s() == 0:
                    self.pacer.begin_frame()
                    steps = self.step_once or not (self.paused or self.waiting)
                    if self.going_back:
                        self.back_one()
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
        self.keep_recordings()
        pygame.quit()

    def keep_recordings(self) -> str:
        """Ends what is being recorded; returns what to say of it."""
        said = []
        for running in self.recorder.running():
            self.stop_recording(running)
            said.append(self.message)
        return "; ".join(said) or "nothing was being recorded"

    def step(self) -> None:
        self.shown_keys = self.held | self.tapped
        self.tapped.clear()
        self.step_once = False
        began = self.now()
        try:
            self.ride.step(self.shown_keys)
        except NoRoom as problem:  # before anything moved
            self.stop_recording(self.ride.take, f"{problem.strerror}; ")
            self.ride.step(self.shown_keys)
        done = self.now()
        self.times.add(done, done - began)
        if not self.ride.person_drives:  # what is pressed lights up all the same
            self.shown_keys = set(self.dream.action_keys[self.ride.action])
        self.recorder.write()

    def back_one(self) -> None:
        """At the end of the way back it stands there for as long as the key is held."""
        if self.ride.go_back():
            self.waiting = False
        self.times.interrupt()

    # -- what happens ------------------------------------------------------------------------------------------------

    def handle_events(self, wait_s: float) -> None:
        """Sleeps until something happens, `wait_s` at most, and takes all that has happened."""
        events = [pygame.event.wait(max(1, round(1000 * wait_s)))] if wait_s > 0 else []
        for event in events + pygame.event.get():
            if event.type == pygame.QUIT:
                self.running = False
            elif event.type == pygame.KEYDOWN:
                self.press(pygame.key.name(event.key))
            elif event.type == pygame.KEYUP:
                self.release(pygame.key.name(event.key))
            elif event.type == pygame.WINDOWFOCUSLOST:
                self.keyboard.clear()
                self.going_back = False
            elif event.type == pygame.JOYDEVICEADDED:
                self.plug_in(event.device_index)
            elif event.type == pygame.JOYDEVICEREMOVED:
                self.joysticks.pop(event.instance_id, None)
                self.pads.unplugged(event.instance_id)
            elif event.type in (
                pygame.JOYAXISMOTION,
                pygame.JOYHATMOTION,
                pygame.JOYBUTTONDOWN,
                pygame.JOYBUTTONUP,
            ):
                self.gamepad(event)

    def plug_in(self, number: int) -> None:
        try:
            pad = pygame.joystick.Joystick(number)
        except pygame.error:  # pulled out again by now
            return
        self.joysticks[pad.get_instance_id()] = pad  # kept, or it is closed again
        self.say(f"{pad.get_name()} drives too")

    def gamepad(self, event: pygame.event.Event) -> None:
        before, name = self.pads.held, None
        if event.type == pygame.JOYAXISMOTION:
            self.pads.axis(event.instance_id, event.axis, event.value)
        elif event.type == pygame.JOYHATMOTION:
            self.pads.hat(event.instance_id, *event.value)
        else:
            down = event.type == pygame.JOYBUTTONDOWN
            name = self.pads.button(event.instance_id, event.button, down)
        for key in self.pads.held - before:
            self.take_key(key)
        if name:
            command(name)(self)

    def press(self, key: str) -> None:
        name = self.command_of.get(key)
        if name:
            command(name)(self)
        else:
            self.keyboard.add(key)
            self.take_key(key)

    def release(self, key: str) -> None:
        self.keyboard.discard(key)
        if self.command_of.get(key) == "go back":
            self.going_back = False

    def take_key(self, key: str) -> None:
        self.tapped.add(key)  # a tap shorter than a frame counts for one frame
        self.waiting = False
        if self.pressed_at is None and not self.paused:
            self.pressed_at = self.now()

    def say(self, message: str) -> None:
        with suppress(OSError):  # nobody reads it any more
            print(message)
        self.message, self.message_until = message, self.now() + 3.0

    def begin_again(self) -> None:
        self.started_at = self.now()
        self.waiting = not self.held and self.ride.person_drives  # who holds a key drives on
        self.shown_keys = self.held
        self.times.interrupt()
        self.tapped.clear()

    def turn(self, **knob) -> None:
        """A knob of the dream. It counts from the next frame on; in a pause the last one shows it at once."""
        for name, value in knob.items():
            setattr(self.dream, name, value)
        if self.paused:
            self.ride.dream_again()
        self.say(self.knobs())

    def change_speed(self, speed: float) -> None:
        self.speed = speed
        self.pacer = Pacer(self.pace(), self.now)
        self.times.interrupt()
        self.say(self.knobs())

    def toggle_full_screen(self) -> None:
        try:
            screen = pygame.display.get_surface()
            if screen.get_flags() & pygame.FULLSCREEN:
                for _ in range(
                    2
                ):  # the first ends the full screen; some drivers take the size from the second only
                    pygame.display.set_mode(self.size, pygame.RESIZABLE)
            else:
                self.size = screen.get_size()
                pygame.display.set_mode((0, 0), pygame.FULLSCREEN)
        except pygame.error as problem:
            self.say(f"no full screen: {problem}")

    # -- what is recorded --------------------------------------------------------------------------------------------

    def start_recording(self, path: Path) -> None:
        view = self.view  # what was in view when it began
        self.recorder.start(path, lambda: list(self.frames(view).values()))
        self.say(f"recording {path}")

    def stop_recording(self, running: Take | VideoFile, why: str = "") -> None:
        try:
            self.say(why + self.recorder.stop(running))
        except OSError as problem:
            self.say(f"{why}{running.path} cannot be written: {problem}")

    def save_picture(self, path: Path) -> None:
        self.draw()
        pygame.image.save(pygame.display.get_surface(), str(path))

    # -- what is shown -----------------------------------------------------------------------------------------------

    def pace(self) -> float:
        """Frames a second that are wanted."""
        return self.fps * self.speed

    def knobs(self) -> str:
        return f"seed {self.dream.seed}, {self.speed:g}x"

    def draw(self) -> None:
        draw_window(self, pygame.display.get_surface())
        pygame.display.flip()

    def frames(self, view: str) -> dict[str, np.ndarray]:
        """What is to be seen, by name: uint8 (H, W, 3)."""
        dream, real = self.ride.frame_u8, self.ride.real
        if real is None or view == "dream":
            return {"the dream": dream}
        game = {real.label: real.frame_u8}
        if view == "game":
            return game
        both = {**game, "the dream": dream}
        return both if view == "both" else {**both, "difference": difference(real.frame_u8, dream)}
