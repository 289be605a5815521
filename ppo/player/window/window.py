"""Window: shows a GameSession, reads the keyboard, keeps the game's frame rate. What is drawn is in hud.py."""

import os
import sys
import time
from typing import Callable, Dict, Optional, Set, Tuple

from player.common.errors import InputError
from player.window.controllers import GameSession
from player.window.hud import BAR_HEIGHT, draw_window

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame  # after the line above, which silences a banner on stdout

NUM_TRACKS = 8  # the T key cycles through these in Mode7Kart: four drawn by hand, four generated
COUNTDOWN, NUMBER_S = 3, 0.6  # the number it begins with, and seconds per number
# Name of a command: its keys, and a line of help. A key that the game uses is none of the window's.
COMMANDS = {
    "help": (("h", "f1"), "these keys; the game waits"),
    "restart": (("r",), "restart"),
    "next track": (("t",), "next track"),
    "pause": (("p",), "pause"),
    "full screen": (("f11",), "full screen"),
    "quit": (("q", "escape"), "quit"),
}


class Window:
    """A resizable window with the game's frame, as large as it fits, above a status bar.

    If a person plays, the game waits for a key before each start, and counts down from three if it is fast.
    """

    def __init__(
        self,
        session: GameSession,
        scale: int,
        alternative: str = "add --headless",
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Opens the window. `scale`: screen pixels per pixel of the game, reduced if the desktop is too small.

        `alternative`: what the user can do without a display. `now`: a clock, in seconds. Raises InputError, which
        says what to do, if no window can be opened.
        """
        has_display = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"))
        if sys.platform.startswith("linux") and not has_display:
            raise InputError(f"no screen (neither DISPLAY nor WAYLAND_DISPLAY is set): {alternative}")
        try:
            pygame.display.init()
            desktop_width, desktop_height = pygame.display.get_desktop_sizes()[0]
            H, W, _ = session.frame_u8.shape
            max_scale = int(min(0.95 * desktop_width / W, (0.9 * desktop_height - BAR_HEIGHT) / H))
            scale = max(1, min(scale, max_scale))
            self.size = (W * scale, H * scale + BAR_HEIGHT)
            self.set_mode(self.size, pygame.RESIZABLE)
            pygame.display.set_caption(session.game.name)
        except pygame.error as problem:
            raise InputError(f"no window can be opened here ({problem}): {alternative}") from None
        self.session, self.now = session, now
        self.held: Set[str] = set()  # names of the keys held down
        self.pressed_since_frame: Set[str] = set()  # a press shorter than a frame counts for one frame
        self.running, self.paused, self.show_help = True, False, False
        self.wait()

    @staticmethod
    def set_mode(size: Tuple[int, int], flags: int) -> None:
        """Opens or changes the window. Text input is off: SDL starts it, and an input method would keep letters."""
        pygame.display.set_mode(size, flags)
        pygame.key.stop_text_input()

    # -- starting ----------------------------------------------------------------------------------------------------

    def wait(self) -> None:
        """Waits for a key, if a person plays."""
        self.waiting = self.session.waits_for_key
        self.counting_since: Optional[float] = None  # the time when the countdown began; None: there is none

    def start(self) -> None:
        """Ends the wait: counts down, or plays."""
        self.waiting = False
        self.counting_since = self.now() if self.session.has_countdown else None

    def countdown(self) -> Optional[Tuple[int, float]]:
        """The number that is shown, and the fraction of its time that has passed; None while the game runs."""
        if self.counting_since is None:
            return None
        passed, progress = divmod((self.now() - self.counting_since) / NUMBER_S, 1)
        return (COUNTDOWN - int(passed), progress) if passed < COUNTDOWN else None

    # -- the loop ----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Runs the session at the game's frame rate until the user quits or the session is finished.

        A delay of up to 0.1 s is made up for; the rest of a longer delay is dropped.
        """
        next_frame_time = time.perf_counter()
        try:
            while self.running and not self.session.finished:
                self.run_frame()
                frame_seconds = 1 / self.session.game.frame_rate
                next_frame_time = max(next_frame_time + frame_seconds, time.perf_counter() - 0.1)
                time.sleep(max(0.0, next_frame_time - time.perf_counter()))
        finally:
            pygame.quit()

    def run_frame(self) -> None:
        """Handles events, advances the session by one frame unless it waits, and redraws the window."""
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                self.running = False
            elif event.type == pygame.KEYDOWN:
                self.press(pygame.key.name(event.key))
            elif event.type == pygame.KEYUP:
                self.held.discard(pygame.key.name(event.key))
            elif event.type == pygame.WINDOWFOCUSLOST:
                self.held.clear()
        if not (self.waiting or self.paused or self.show_help or self.countdown()):
            self.counting_since = None
            self.session.step(frozenset(self.held | self.pressed_since_frame))
            self.pressed_since_frame.clear()
        draw_window(self, pygame.display.get_surface())
        pygame.display.flip()

    # -- keys --------------------------------------------------------------------------------------------------------

    def commands(self) -> Dict[str, Tuple[Tuple[str, ...], str]]:
        """The commands that apply to the session, as COMMANDS."""
        commands = dict(COMMANDS)
        if not self.session.has_more_tracks:
            del commands["next track"]
        return commands

    def keys_of(self, name: str) -> Tuple[str, ...]:
        """The keys of a command that the game does not use; escape is always the window's."""
        keys = self.commands().get(name, ((), ""))[0]
        used = self.session.controller.used_keys if not self.session.policy else ()
        return tuple(key for key in keys if key == "escape" or key not in used)

    def press(self, key: str) -> None:
        """Handles a key press: a command of the window, a hotkey of the session, or a key for the controller."""
        name = next((name for name in self.commands() if key in self.keys_of(name)), None)
        if name == "quit":
            self.running = False
        elif name == "help":
            self.show_help = not self.show_help
        elif name == "restart":
            self.session.restart()
            self.wait()
        elif name == "next track":
            self.session.open((self.session.track + 1) % NUM_TRACKS)
            self.wait()
        elif name == "pause":
            self.paused = not self.paused
        elif name == "full screen":
            self.toggle_full_screen()
        elif key in self.session.hotkeys:
            self.session.hotkeys[key]()
        else:
            self.on_game_key(key)

    def on_game_key(self, key: str) -> None:
        """A key for the controller. It closes the help, starts a game that waits, or ends the countdown."""
        self.held.add(key)
        if self.show_help:
            self.show_help = False
        elif self.waiting:
            self.start()
        elif self.countdown():
            self.counting_since = None
        self.pressed_since_frame = set() if self.countdown() else self.pressed_since_frame | {key}

    def toggle_full_screen(self) -> None:
        """Switches between full screen and the window; stays as it is where that is not possible."""
        screen = pygame.display.get_surface()
        try:
            if not screen.get_flags() & pygame.FULLSCREEN:
                self.size = screen.get_size()
                self.set_mode((0, 0), pygame.FULLSCREEN)
                return
            for _ in range(
                2
            ):  # the first call ends full screen; some drivers apply the size on the second only
                self.set_mode(self.size, pygame.RESIZABLE)
        except pygame.error as problem:
            print(f"no full screen: {problem}", file=sys.stderr)
