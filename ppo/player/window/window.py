"""A window on a race: reads the keys, keeps the game's pace, shows the frames. The only file that imports pygame."""

import os
import sys
import time
from pathlib import Path
from typing import Iterator, Set, Tuple

from player.common.errors import InputError
from player.games.game import DRIVING_ACTIONS
from player.window.controllers import ActionController, ButtonController, GameSession

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame  # after the line above, which silences a banner on stdout

NUM_TRACKS = 8  # of Mode7Kart, in the round of the T key: four drawn by hand, four generated
BAR_HEIGHT = 30
NIGHT, DIM, PAPER = (18, 19, 28), (139, 143, 163), (240, 237, 228)
GOLD, RED = (255, 208, 84), (244, 92, 92)


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{seconds % 60:05.2f}"


def ordinal(number: int) -> str:
    return str(number) + {1: "st", 2: "nd", 3: "rd"}.get(number, "th")  # 13 karts at most


class Window:
    """Reads the keys, keeps the game's pace, shows the frames."""

    def __init__(self, race: GameSession, scale: int, instead: str = "add --headless") -> None:
        """`instead`: what to do where there is no screen."""
        on_screen = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"))
        if sys.platform.startswith("linux") and not on_screen:
            raise InputError(f"no screen (neither DISPLAY nor WAYLAND_DISPLAY is set): {instead}")
        try:
            pygame.display.init()
            pygame.font.init()
            desktop_width, desktop_height = pygame.display.get_desktop_sizes()[0]
            H, W, _ = race.frame_u8.shape
            fits = int(min(0.95 * desktop_width / W, (0.9 * desktop_height - BAR_HEIGHT) / H))
            scale = max(1, min(scale, fits))
            pygame.display.set_mode((W * scale, H * scale + BAR_HEIGHT), pygame.RESIZABLE)
            pygame.display.set_caption(race.game.name)
        except pygame.error as problem:
            raise InputError(f"no window can be opened here ({problem}): {instead}") from None
        self.race = race
        self.fonts = {size: pygame.font.Font(None, size) for size in (20, 30, 56)}
        self.held: Set[str] = set()
        self.tapped: Set[str] = set()  # a tap shorter than a frame counts for one frame
        self.running, self.paused = True, False

    def run(self) -> None:
        """One turn a frame of the game, each begun when it is due; what is lost to a long delay is not caught up."""
        due = time.perf_counter()
        try:
            while self.running and not self.race.done:
                self.turn()
                due = max(due + 1 / self.race.game.frame_rate, time.perf_counter() - 0.1)
                time.sleep(max(0.0, due - time.perf_counter()))
        finally:
            pygame.quit()

    def turn(self) -> None:
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
            self.race.step(frozenset(self.held | self.tapped))
        self.tapped.clear()
        self.draw(pygame.display.get_surface())
        pygame.display.flip()

    def press(self, key: str) -> None:
        if key in ("q", "escape"):
            self.running = False
        elif key == "r":
            self.race.restart()
        elif key == "t" and self.race.has_more_tracks:
            self.race.open((self.race.track + 1) % NUM_TRACKS)
        elif key == "p":
            self.paused = not self.paused
        elif key in self.race.hotkeys:
            self.race.hotkeys[key]()
        else:
            self.held.add(key)
            self.tapped.add(key)

    def draw(self, screen: pygame.Surface) -> None:
        race = self.race
        H, W, _ = race.frame_u8.shape
        width, height = screen.get_width(), screen.get_height() - BAR_HEIGHT
        scale = max(1, min(width // W, height // H))
        picture = pygame.image.frombuffer(race.frame_u8.tobytes(), (W, H), "RGB")
        picture = pygame.transform.scale(picture, (W * scale, H * scale))
        screen.fill(NIGHT)
        place = screen.blit(picture, ((width - W * scale) // 2, (height - H * scale) // 2))
        if race.ended:
            self.draw_banner(screen, place, *self.result())
        elif self.paused:
            self.draw_banner(screen, place, "PAUSED", "P goes on")
        middle = height + BAR_HEIGHT // 2
        left = 12
        for words, colour in self.status():
            text = self.fonts[20].render(words, True, colour)
            left = screen.blit(text, text.get_rect(midleft=(left, middle))).right + 18
        for words in self.controls():  # the first that still fits
            keys = self.fonts[20].render(words, True, DIM)
            if left + keys.get_width() + 12 <= width:
                screen.blit(keys, keys.get_rect(midright=(width - 12, middle)))
                break

    def result(self) -> Tuple[str, str]:
        race, position = self.race, self.race.position()
        if race.game.name != "Mode7Kart-v0":
            return "GAME OVER", f"reward {race.total_reward:.0f}   {clock(race.seconds())}   R plays again"
        title = "FINISH!" if race.ended == "finished" else "OUT OF TIME"
        place = f"{ordinal(position[0])} of {position[1]}   " if position else ""
        return title, f"{place}{clock(race.seconds())}   R races again, T the next track"

    def status(self) -> Iterator[Tuple[str, Tuple[int, int, int]]]:
        race = self.race
        yield race.name, GOLD
        if race.note:
            yield race.note, RED
        laps = getattr(race.env.unwrapped, "laps", None)
        if "lap" in race.truth and laps:
            yield f"lap {race.truth['lap']:.0f}/{laps}", PAPER
        if race.position():
            yield "{} of {}".format(*race.position()), PAPER
        yield clock(race.seconds()), PAPER
        speed = next((value for name, value in race.truth.items() if name.endswith("speed")), None)
        if speed is not None:
            # Mode7Kart counts pixels a frame: 2.0, its top speed, reads as 100.
            yield f"speed {50 * speed if laps else speed:.0f}", PAPER
        if race.policy:
            yield f"driven by {Path(race.policy).name}", PAPER

    def controls(self) -> Iterator[str]:
        track = "T track  " if self.race.has_more_tracks else ""
        keys = f"R restart  {track}P pause  Q quit"
        driver = self.race.driver
        if isinstance(driver, ActionController):
            yield f"{', '.join(sorted(set().union(*driver.keys)))}   {keys}"
        elif isinstance(driver, ButtonController) and self.race.game.actions == DRIVING_ACTIONS:
            yield "arrows drive, down brakes, space hops   " + keys
            yield "arrows, space   " + keys
        elif isinstance(driver, ButtonController):
            buttons = (f"{key} {button}" for key, button in driver.button_of_key.items() if len(key) == 1)
            yield f"arrows, {', '.join(buttons)}   " + keys
            yield "arrows, space   " + keys
        yield keys

    def draw_banner(self, screen: pygame.Surface, place: pygame.Rect, title: str, words: str) -> None:
        upper, lower = self.fonts[56].render(title, True, GOLD), self.fonts[30].render(words, True, PAPER)
        pane = pygame.Surface((place.width, upper.get_height() + lower.get_height() + 36))
        pane.fill(NIGHT)
        pane.set_alpha(205)
        where = screen.blit(pane, pane.get_rect(center=place.center))
        screen.blit(upper, upper.get_rect(midtop=(where.centerx, where.top + 12)))
        screen.blit(lower, lower.get_rect(midbottom=(where.centerx, where.bottom - 12)))
