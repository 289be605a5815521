"""A window on a dream: reads the keys, keeps the game's pace, shows the frames. The only file that imports pygame.

It knows nothing of what dreams the frames: anything with the few members of `Playable` can be played.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

from dream.errors import BadInput
from dream.keys import action_for_keys, command_keys
from dream.playing import FrameTimes, Pacer, Playable, fit
from dream.video import VideoFile, free_path, usual_suffix

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame  # after the line above, which silences a banner on stdout

BAR_HEIGHT = 64
NIGHT, LINE, DIM, PAPER = (18, 19, 28), (52, 54, 72), (139, 143, 163), (240, 237, 228)
MOON, GREEN, AMBER, RED = (255, 208, 84), (104, 214, 140), (255, 168, 76), (244, 92, 92)

Colour = tuple[int, int, int]
Words = tuple[str, int, Colour]  # text, size, colour
ARROWS = {  # as on a keyboard: column, row, corners of the arrow
    "up": (1, 0, ((0, -4), (-4, 3), (4, 3))),
    "left": (0, 1, ((-4, 0), (3, -4), (3, 4))),
    "down": (1, 1, ((0, 4), (-4, -3), (4, -3))),
    "right": (2, 1, ((4, 0), (-3, -4), (-3, 4))),
}


class NoScreen(Exception):
    """No window can be opened here; the message says why."""


class DreamWindow:
    """`DreamWindow(dream).run()` plays until the window is closed. Raises NoScreen."""

    def __init__(
        self,
        dream: Playable,
        start: int = 0,
        fps: float | None = None,
        scale: int = 4,
        output_dir: Path = Path("output"),
        record_path: Path | None = None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`fps`: None is the game's own. `scale`: screen pixels a pixel, less where the screen is too small.
        `output_dir`: where pictures and videos go. `record_path`: record there from the first frame on."""
        self.dream, self.start, self.fps = dream, start, fps or dream.fps
        self.output_dir, self.now = output_dir, now
        self.video = VideoFile(record_path, self.fps, dream.frame_shape) if record_path else None
        self.saved_last: Path | None = None  # the video that was running when the window closed
        try:
            self._open(scale)
        except pygame.error as problem:
            self.close()
            raise NoScreen(str(problem)) from None
        self.command_keys = command_keys(dream.action_keys)
        self.pacer, self.times = Pacer(self.fps, now), FrameTimes()
        self.running, self.paused, self.one_step, self.show_bar = True, False, False, True
        self.held: set[str] = set()
        self.tapped: set[str] = set()
        self.shown_keys: set[str] = set()
        self.pressed_at: float | None = None  # when the first key was taken that no frame has shown yet
        self.action = action_for_keys((), dream.action_keys)
        self.message, self.message_until = "", 0.0
        self.restart()

    def _open(self, scale: int) -> None:
        H, W = self.dream.frame_shape
        pygame.display.init()
        pygame.font.init()
        if pygame.display.get_driver() in ("dummy", "offscreen") and not os.environ.get("SDL_VIDEODRIVER"):
            raise pygame.error("no screen here")
        desktop_width, desktop_height = pygame.display.get_desktop_sizes()[0]
        fits = min(0.95 * desktop_width / W, (0.9 * desktop_height - BAR_HEIGHT) / H)
        scale = max(1, min(scale, int(fits)))
        icon = pygame.Surface((32, 32), pygame.SRCALPHA)  # a crescent moon
        pygame.draw.circle(icon, MOON, (15, 16), 14)
        pygame.draw.circle(icon, (0, 0, 0, 0), (21, 11), 12)
        pygame.display.set_icon(icon)
        pygame.display.set_caption("a dreamed game")
        pygame.display.set_mode((W * scale, H * scale + BAR_HEIGHT), pygame.RESIZABLE)
        self.fonts = {size: pygame.font.Font(None, size) for size in (18, 20, 28)}  # pygame's own: no search

    def run(self) -> None:
        """Waits for events until a frame is due, dreams it with the keys held by then, shows it. Ctrl-C quits."""
        try:
            while self.running:
                self.handle_events(self.pacer.wait_s())
                if self.running and self.pacer.wait_s() == 0:
                    self.pacer.begin_frame()
                    steps = self.one_step or not (self.paused or self.waiting)
                    if steps:
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
        if self.video:
            self.video.close()
            self.saved_last = self.video.path
        pygame.quit()

    def handle_events(self, wait_s: float) -> None:
        """Sleeps until something happens, `wait_s` at most, and takes all that has happened."""
        events = [pygame.event.wait(max(1, round(1000 * wait_s)))] if wait_s > 0 else []
        for event in events + pygame.event.get():
            if event.type == pygame.QUIT:
                self.running = False
            elif event.type == pygame.KEYDOWN:
                self.press(pygame.key.name(event.key))
            elif event.type == pygame.KEYUP:
                self.held.discard(pygame.key.name(event.key))
            elif event.type == pygame.WINDOWFOCUSLOST:
                self.held.clear()

    def press(self, key: str) -> None:
        command = next((name for name, keys in self.command_keys.items() if key in keys), None)
        if command is None:
            self.held.add(key)
            self.tapped.add(key)  # a tap shorter than a frame counts for one frame
            self.waiting = False
            if self.pressed_at is None and not self.paused:
                self.pressed_at = self.now()
        elif command == "restart":
            self.restart()
        elif command == "next place":
            self.start = (self.start + 1) % self.dream.num_starts
            self.restart()
        elif command == "pause" and self.waiting:
            self.waiting = False
        elif command == "pause":
            self.paused = not self.paused
            self.pressed_at = None
            self.times.interrupt()
        elif command == "one step":
            self.paused = self.one_step = True
            self.waiting = False
        elif command == "picture":
            self.save_picture()
        elif command == "video":
            self.start_or_stop_video()
        elif command == "hide this":
            self.show_bar = not self.show_bar
        else:
            self.running = False

    def restart(self) -> None:
        self.frame_u8 = self.dream.reset(self.start)
        self.frames_since_start, self.started_at = 0, self.now()
        self.waiting = not self.held  # who holds a key drives on
        self.times.interrupt()
        self.tapped.clear()

    def step(self) -> None:
        self.shown_keys = self.held | self.tapped
        self.tapped.clear()
        self.one_step = False
        self.action = action_for_keys(self.shown_keys, self.dream.action_keys)
        began = self.now()
        self.frame_u8 = self.dream.step(self.action)
        done = self.now()
        self.times.add(done, done - began)
        self.frames_since_start += 1
        if self.video:
            self.video.write(self.frame_u8)

    def save_picture(self) -> None:
        path = free_path(self.output_dir, ".png")
        try:
            self.output_dir.mkdir(parents=True, exist_ok=True)
            self.draw()
            pygame.image.save(pygame.display.get_surface(), str(path))
            self.say(f"saved {path}")
        except (OSError, pygame.error) as problem:
            self.say(f"no picture: {problem}")

    def start_or_stop_video(self) -> None:
        try:
            if self.video:
                video, self.video = self.video, None
                video.close()
                self.say(f"saved {video.path}" if video.num_frames else "nothing was recorded")
            else:
                self.video = VideoFile(
                    free_path(self.output_dir, usual_suffix()), self.fps, self.dream.frame_shape
                )
        except (OSError, BadInput) as problem:
            self.say(f"no video: {problem}")

    def say(self, message: str) -> None:
        print(message)
        self.message, self.message_until = message, self.now() + 3.0

    def draw(self) -> None:
        screen = pygame.display.get_surface()
        width, height = screen.get_size()
        bar_height = BAR_HEIGHT if self.show_bar and height > 2 * BAR_HEIGHT else 0
        screen.fill(NIGHT)
        self.draw_picture(screen, (width, height - bar_height))
        if bar_height:
            self.draw_bar(screen.subsurface((0, height - bar_height, width, bar_height)))
        pygame.display.flip()

    def draw_picture(self, screen: pygame.Surface, area: tuple[int, int]) -> None:
        H, W = self.dream.frame_shape
        place = pygame.Rect(fit((W, H), area))
        frame = pygame.image.frombuffer(self.frame_u8.tobytes(), (W, H), "RGB").convert(screen)
        whole = place.width % W == 0 and place.height % H == 0
        screen.blit(
            (pygame.transform.scale if whole else pygame.transform.smoothscale)(frame, place.size), place
        )
        opened = (self.now() - self.started_at) / 0.7
        if opened < 1:  # two eyelids open on the dream
            lids = pygame.Surface(place.size)
            lids.fill(NIGHT)
            lids.set_colorkey(MOON)
            eye = pygame.Rect(0, 0, 1.6 * place.width, 1.6 * place.height * max(0.0, opened) ** 1.5)
            eye.center = lids.get_rect().center
            pygame.draw.ellipse(lids, MOON, eye)
            screen.blit(lids, place)
        if self.waiting or self.paused:
            words = "press a key" if self.waiting else "paused"
            self.draw_pill(screen, words, PAPER, center=place.center)
        if self.video:
            seconds = int(self.video.num_frames / self.fps)
            words = f"REC {seconds // 60}:{seconds % 60:02d}"
            self.draw_pill(screen, words, RED, topright=(place.right - 10, place.top + 10))
        if self.now() < self.message_until:
            self.draw_pill(screen, self.message, PAPER, bottomleft=(place.left + 10, place.bottom - 10))

    def draw_pill(
        self, screen: pygame.Surface, words: str, colour: Colour, **corner: tuple[int, int]
    ) -> None:
        text = self.fonts[20].render(words, True, colour)
        pill = pygame.Surface((text.get_width() + 24, text.get_height() + 12), pygame.SRCALPHA)
        pygame.draw.rect(pill, (*NIGHT, 215), pill.get_rect(), border_radius=13)
        pill.blit(text, (12, 6))
        screen.blit(pill, pill.get_rect(**corner))

    def draw_bar(self, bar: pygame.Surface) -> None:
        """Above: keys, action, pace. Below: help, time a frame, place."""
        pygame.draw.line(bar, LINE, (0, 0), (bar.get_width(), 0))
        left, reached = self.draw_keys(bar, 16) + 18, self.times.fps()
        late = reached is not None and reached < 0.97 * self.fps
        pace_colour = DIM if self.paused or reached is None else AMBER if late else GREEN
        pace = "paused" if self.paused else "-" if reached is None else f"{reached:.1f}"
        upper = [(pace, 28, pace_colour), (f"of {self.fps:.3g} frames/s", 18, DIM)]
        if reached is not None:
            took = f"{self.times.mean_ms():.1f} ms a frame, worst {self.times.worst_ms():.1f}"
            upper = [(took, 18, DIM), *upper]
        lower = [
            (f"place {self.start} of 0-{self.dream.num_starts - 1}, frame {self.frames_since_start}", 18, DIM)
        ]
        shown = "   ".join(f"{keys[0].upper()} {name}" for name, keys in self.command_keys.items() if keys)
        right = self.draw_row(bar, 20, left, (self.dream.action_names[self.action], 28, PAPER), upper)
        if right - 130 > left + 220:
            self.draw_chart(bar, right - 10)
        self.draw_row(bar, 46, left, (shown, 18, DIM), lower)

    def draw_row(self, bar: pygame.Surface, y: int, left: int, first: Words, others: list[Words]) -> int:
        """The first at the left, then the others at the right as far as there is room. Returns where they begin."""
        right = bar.get_width() - 16
        text = self.fonts[first[1]].render(first[0], True, first[2])
        if left + text.get_width() <= right:
            left = bar.blit(text, text.get_rect(midleft=(left, y))).right + 10
        for words, size, colour in reversed(others):
            text = self.fonts[size].render(words, True, colour)
            if right - text.get_width() < left:
                break
            right = bar.blit(text, text.get_rect(midright=(right, y))).left - 10
        return right

    def draw_keys(self, bar: pygame.Surface, left: int) -> int:
        """The game's keys as caps, arrows as on a keyboard; those held are lit. Returns where they end."""
        game_keys = dict.fromkeys(key for keys in self.dream.action_keys for key in keys)
        if game_keys.keys() & ARROWS.keys():
            for key, (column, row, points) in ARROWS.items():
                cap = pygame.Rect(left + 21 * column, 12 + 21 * row, 19, 19)
                ink = self.draw_cap(bar, cap, key)
                if key in game_keys:
                    pygame.draw.polygon(bar, ink, [(cap.centerx + x, cap.centery + y) for x, y in points])
            left += 3 * 21 + 6
        for key in [key for key in game_keys if key not in ARROWS]:
            text = self.fonts[18].render(key, True, NIGHT if key in self.shown_keys else PAPER)
            cap = pygame.Rect(left, 33, max(19, text.get_width() + 10), 19)
            self.draw_cap(bar, cap, key)
            bar.blit(text, text.get_rect(center=cap.center))
            left = cap.right + 2
        return left

    def draw_cap(self, bar: pygame.Surface, cap: pygame.Rect, key: str) -> Colour:
        lit = key in self.shown_keys
        pygame.draw.rect(bar, MOON if lit else LINE, cap, border_radius=5)
        return NIGHT if lit else PAPER

    def draw_chart(self, bar: pygame.Surface, right: int) -> None:
        """The time of the last frames, one line each; above the rule a frame took longer than the game gives it."""
        for number, took_s in enumerate(reversed(self.times.recent_s)):
            height = min(26, max(1, round(14 * took_s * self.fps)))
            colour = GREEN if took_s * self.fps <= 1 else AMBER
            pygame.draw.rect(bar, colour, (right - 3 * number - 2, 32 - height, 2, height))
        pygame.draw.line(bar, DIM, (right - 120, 17), (right, 17))
