"""Window: shows a GameSession, reads the keyboard, keeps the game's frame rate. The only file that imports pygame."""

import os
import sys
import time
from pathlib import Path
from typing import Iterator, Set, Tuple

from player.common.errors import InputError
from player.games.game import BUILT_IN_GAME, DRIVING_ACTIONS
from player.window.controllers import ActionController, ButtonController, GameSession

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame  # after the line above, which silences a banner on stdout

NUM_TRACKS = 8  # the T key cycles through these in Mode7Kart: four drawn by hand, four generated
BAR_HEIGHT = 30  # height of the status bar, pixels
BACKGROUND, MUTED, TEXT = (18, 19, 28), (139, 143, 163), (240, 237, 228)
ACCENT, WARNING = (255, 208, 84), (244, 92, 92)


def format_time(seconds: float) -> str:
    """Minutes, seconds and hundredths: 75.5 -> "1:15.50"."""
    return f"{int(seconds) // 60}:{seconds % 60:05.2f}"


def ordinal(number: int) -> str:
    """1 -> "1st"; for numbers up to 13, the maximum number of karts."""
    return str(number) + {1: "st", 2: "nd", 3: "rd"}.get(number, "th")


class Window:
    """A resizable window with the game's frame, scaled by a whole number, above a status bar."""

    def __init__(self, session: GameSession, scale: int, alternative: str = "add --headless") -> None:
        """Opens the window. `scale`: screen pixels per pixel of the game, reduced if the desktop is too small.

        `alternative`: what the user can do without a display. Raises InputError, which says so, if no window can be
        opened.
        """
        has_display = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"))
        if sys.platform.startswith("linux") and not has_display:
            raise InputError(f"no screen (neither DISPLAY nor WAYLAND_DISPLAY is set): {alternative}")
        try:
            pygame.display.init()
            pygame.font.init()
            desktop_width, desktop_height = pygame.display.get_desktop_sizes()[0]
            H, W, _ = session.frame_u8.shape
            max_scale = int(min(0.95 * desktop_width / W, (0.9 * desktop_height - BAR_HEIGHT) / H))
            scale = max(1, min(scale, max_scale))
            pygame.display.set_mode((W * scale, H * scale + BAR_HEIGHT), pygame.RESIZABLE)
            pygame.key.stop_text_input()  # SDL starts it; an input method would keep letters for itself
            pygame.display.set_caption(session.game.name)
        except pygame.error as problem:
            raise InputError(f"no window can be opened here ({problem}): {alternative}") from None
        self.session = session
        self.fonts = {size: pygame.font.Font(None, size) for size in (20, 30, 56)}
        self.held: Set[str] = set()  # names of the keys held down
        self.pressed_since_frame: Set[str] = set()  # a press shorter than a frame counts for one frame
        self.running, self.paused = True, False

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
        """Handles events, advances the session by one frame unless paused, and redraws the window."""
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                self.running = False
            elif event.type == pygame.KEYDOWN:
                self.press(pygame.key.name(event.key))
            elif event.type == pygame.KEYUP:
                self.held.discard(pygame.key.name(event.key))
            elif event.type == pygame.WINDOWFOCUSLOST:
                self.held.clear()
        if not self.paused:
            self.session.step(frozenset(self.held | self.pressed_since_frame))
        self.pressed_since_frame.clear()
        self.draw(pygame.display.get_surface())
        pygame.display.flip()

    def press(self, key: str) -> None:
        """Handles a key press: a command of the window, a hotkey of the session, or a key for the controller."""
        if key in ("q", "escape"):
            self.running = False
        elif key == "r":
            self.session.restart()
        elif key == "t" and self.session.has_more_tracks:
            self.session.open((self.session.track + 1) % NUM_TRACKS)
        elif key == "p":
            self.paused = not self.paused
        elif key in self.session.hotkeys:
            self.session.hotkeys[key]()
        else:
            self.held.add(key)
            self.pressed_since_frame.add(key)

    def draw(self, screen: pygame.Surface) -> None:
        """Draws the frame, a banner if the game is over or paused, and the status bar."""
        session = self.session
        H, W, _ = session.frame_u8.shape
        width, height = screen.get_width(), screen.get_height() - BAR_HEIGHT
        scale = max(1, min(width // W, height // H))
        picture = pygame.image.frombuffer(session.frame_u8.tobytes(), (W, H), "RGB")
        picture = pygame.transform.scale(picture, (W * scale, H * scale))
        screen.fill(BACKGROUND)
        area = screen.blit(picture, ((width - W * scale) // 2, (height - H * scale) // 2))
        if session.ended:
            self.draw_banner(screen, area, *self.result())
        elif self.paused:
            self.draw_banner(screen, area, "PAUSED", "P continues")
        middle = height + BAR_HEIGHT // 2
        left = 12
        for text, color in self.status_texts():
            label = self.fonts[20].render(text, True, color)
            left = screen.blit(label, label.get_rect(midleft=(left, middle))).right + 18
        for text in self.controls():  # the first one that fits into the rest of the bar
            label = self.fonts[20].render(text, True, MUTED)
            if left + label.get_width() + 12 <= width:
                screen.blit(label, label.get_rect(midright=(width - 12, middle)))
                break

    def result(self) -> Tuple[str, str]:
        """Title and text of the banner at the end of an episode."""
        session, position = self.session, self.session.position()
        if session.game.name != BUILT_IN_GAME:
            text = f"reward {session.total_reward:.0f}   {format_time(session.seconds())}   R plays again"
            return "GAME OVER", text
        title = "FINISH!" if session.ended == "finished" else "OUT OF TIME"
        rank = f"{ordinal(position[0])} of {position[1]}   " if position else ""
        return title, f"{rank}{format_time(session.seconds())}   R races again, T the next track"

    def status_texts(self) -> Iterator[Tuple[str, Tuple[int, int, int]]]:
        """Texts of the status bar and their colors, from left to right."""
        session = self.session
        yield session.name, ACCENT
        if session.status:
            yield session.status, WARNING
        laps = getattr(session.env.unwrapped, "laps", None)
        if "lap" in session.truth and laps:
            yield f"lap {session.truth['lap']:.0f}/{laps}", TEXT
        if session.position():
            yield "{} of {}".format(*session.position()), TEXT
        yield format_time(session.seconds()), TEXT
        speed = next((value for name, value in session.truth.items() if name.endswith("speed")), None)
        if speed is not None:
            # Mode7Kart's unit is pixels per frame; its top speed, 2.0, is displayed as 100.
            yield f"speed {50 * speed if laps else speed:.0f}", TEXT
        if session.policy:
            yield f"driven by {Path(session.policy).name}", TEXT

    def controls(self) -> Iterator[str]:
        """Descriptions of the keys, from the most detailed to the shortest."""
        track = "T track  " if self.session.has_more_tracks else ""
        keys = f"R restart  {track}P pause  Q quit"
        controller = self.session.controller
        if isinstance(controller, ActionController):
            yield f"{', '.join(sorted(set().union(*controller.keys)))}   {keys}"
        elif isinstance(controller, ButtonController) and self.session.game.actions == DRIVING_ACTIONS:
            yield "arrows drive, down brakes, space hops   " + keys
            yield "arrows, space   " + keys
        elif isinstance(controller, ButtonController):
            buttons = [f"{key} {button}" for key, button in controller.button_of_key.items() if len(key) == 1]
            yield f"arrows, {', '.join(buttons)}   " + keys
            yield "arrows, space   " + keys
        yield keys

    def draw_banner(self, screen: pygame.Surface, area: pygame.Rect, title: str, text: str) -> None:
        """Draws a title and a line of text on a translucent band across `area`."""
        upper, lower = self.fonts[56].render(title, True, ACCENT), self.fonts[30].render(text, True, TEXT)
        band = pygame.Surface((area.width, upper.get_height() + lower.get_height() + 36))
        band.fill(BACKGROUND)
        band.set_alpha(205)
        rect = screen.blit(band, band.get_rect(center=area.center))
        screen.blit(upper, upper.get_rect(midtop=(rect.centerx, rect.top + 12)))
        screen.blit(lower, lower.get_rect(midbottom=(rect.centerx, rect.bottom - 12)))
