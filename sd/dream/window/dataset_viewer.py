"""A window on a recording: any frame, the keys that were held on seeing it, where an action was chosen.

It looks like the window on a dream (window.py) and draws with the same parts. Another key: see browsing.py.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dream.common.errors import InputError
from dream.data.trajectories import Trajectories
from dream.play.timing import Pacer, may_have_screen
from dream.window.dataset_commands import (
    COMMANDS,
    clock,
    column_of,
    command,
    counted_before,
    nearest,
    position_at,
    rarest_first,
    run_starts,
    shares,
    values_at,
)
from dream.window.draw import (
    BAR_HEIGHT,
    DIM,
    GREEN,
    LINE,
    MOON,
    NIGHT,
    PAPER,
    draw_frame,
    draw_help,
    draw_keys,
    draw_pill,
    draw_row,
    font,
    icon,
    shortened,
    spelled,
    write,
)

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame  # after the line above, which silences a banner on stdout

IN_THE_BAR = ("help", "play", "actions", "choose", "next run", "quit")
VALUES_HEIGHT, TIMELINE_HEIGHT = 18, 28  # of the bar, below what the dream's window has too
MOST_CAPS = 12  # of a game with more keys only those that are held are shown
PICTURE_SIZE, LEAST_SIZE = (1024, 768), (640, 280)  # to begin with


class Browser:
    """`Browser(recording, name).run()` shows it until the window is closed. Raises BadInput where no window opens."""

    def __init__(
        self,
        recording: Trajectories,
        name: str,
        output_dir: Path = Path("output"),
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`output_dir`: where pictures go."""
        self.recording, self.name, self.output_dir, self.now = recording, name, output_dir, now
        self.bar_height = (
            BAR_HEIGHT + VALUES_HEIGHT * bool(values_at(recording.extras, 0, 0)) + TIMELINE_HEIGHT
        )
        try:
            self._open()
        except pygame.error:
            pygame.quit()
            raise InputError(
                "there is no display here to open a window on: --save sheet.png writes a picture instead"
            ) from None
        self.command_of = {key: command for command, (keys, _) in COMMANDS.items() for key in keys}
        self.counts = np.bincount(recording.actions.ravel(), minlength=recording.num_actions)  # (A,)
        self.order = rarest_first(self.counts)
        self.episodes = np.flatnonzero(recording.episode_starts)
        self.chosen = next(action for action in self.order if self.counts[action])
        self.choose(0)
        self.position, self.pacer = 0, Pacer(recording.fps, now)
        self.running, self.playing, self.scrubbing = True, False, False
        self.show_help, self.show_actions = False, False
        self.message, self.message_until = "", 0.0
        self.drawn: tuple | None = None  # what was to be seen when it was drawn last

    def _open(self) -> None:
        H, W = self.recording.height, self.recording.width
        if not may_have_screen():
            raise pygame.error("no screen here")
        pygame.display.init()
        if pygame.display.get_driver() in ("dummy", "offscreen") and not os.environ.get("SDL_VIDEODRIVER"):
            raise pygame.error("no screen here")
        desktop_width, desktop_height = pygame.display.get_desktop_sizes()[0]
        width = min(PICTURE_SIZE[0], 0.95 * desktop_width)
        height = min(PICTURE_SIZE[1], 0.9 * desktop_height - self.bar_height)
        scale = min(width / W, height / H)
        scale = int(scale) if scale >= 1 else scale
        size = (max(round(W * scale), LEAST_SIZE[0]), max(round(H * scale), LEAST_SIZE[1]) + self.bar_height)
        pygame.display.set_icon(icon())
        pygame.display.set_mode(size, pygame.RESIZABLE)
        pygame.key.set_repeat(300, 30)

    # -- the loop ----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Draws where something has changed; Ctrl-C quits."""
        try:
            while self.running:
                if self.drawn != self.seen():
                    self.draw()
                self.handle_events(self.pacer.wait_s() if self.playing else 0.1)
                if self.playing and self.pacer.wait_s() == 0:
                    self.pacer.begin_frame()
                    self.play_on()
        except KeyboardInterrupt:
            pass
        finally:
            self.close()

    def close(self) -> None:
        pygame.quit()

    def seen(self) -> tuple:
        message = self.message if self.now() < self.message_until else ""
        shown = (self.show_help, self.show_actions, self.chosen, message)
        return (self.position, self.playing, *shown, pygame.display.get_surface().get_size())

    # -- what happens ------------------------------------------------------------------------------------------------

    def handle_events(self, wait_s: float) -> None:
        """Sleeps until something happens, `wait_s` at most, and takes all that has happened."""
        events = [pygame.event.wait(max(1, round(1000 * wait_s)))] if wait_s > 0 else []
        for event in events + pygame.event.get():
            if event.type == pygame.QUIT:
                self.running = False
            elif event.type == pygame.KEYDOWN:
                self.press(pygame.key.name(event.key), event.dict.get("mod", 0) & pygame.KMOD_SHIFT)
            elif event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
                self.scrubbing = self.timeline().inflate(0, 16).collidepoint(event.pos)
                self.scrub(event.pos[0])
            elif event.type == pygame.MOUSEMOTION:
                self.scrubbing = self.scrubbing and bool(event.buttons[0])  # it may end outside the window
                self.scrub(event.pos[0])
            elif event.type == pygame.MOUSEBUTTONUP and event.button == 1:
                self.scrubbing = False
            elif event.type == pygame.WINDOWEXPOSED:
                pygame.display.flip()

    def press(self, key: str, shift: int = 0) -> None:
        name = (self.command_of.get(f"shift+{key}") if shift else None) or self.command_of.get(key)
        if name:
            command(name)(self)

    def scrub(self, x: int) -> None:
        if self.scrubbing:
            timeline = self.timeline()
            self.go(position_at(x - timeline.left, timeline.width, self.recording.num_frames))

    def go(self, position: int) -> None:
        self.position = min(max(position, 0), self.recording.num_frames - 1)

    def go_to_one_of(self, positions: np.ndarray, direction: int, what: str) -> None:
        """To the nearest of them; `what` happens there."""
        found = nearest(positions, self.position, direction)
        if found is None:
            self.say(f"no {what} {'after' if direction > 0 else 'before'} this frame")
        else:
            self.go(found)

    def play_or_stop(self) -> None:
        self.playing = not self.playing and self.position < self.recording.num_frames - 1
        self.pacer = Pacer(self.recording.fps, self.now)
        self.pacer.begin_frame()  # the frame at hand has its time too

    def play_on(self) -> None:
        if not self.scrubbing:
            self.go(self.position + 1)
            self.playing = self.position < self.recording.num_frames - 1

    def choose(self, direction: int) -> None:
        """Another action, among those that occur, rarest first."""
        there = [action for action in self.order if self.counts[action]]
        self.chosen = there[(there.index(self.chosen) + direction) % len(there)]
        self.runs = run_starts(self.recording.actions, self.recording.episode_starts, self.chosen)
        self.chosen_before = counted_before(self.recording.actions == self.chosen)

    def say(self, message: str) -> None:
        print(message)
        self.message, self.message_until = message, self.now() + 3.0

    def save_picture(self, path: Path) -> None:
        self.draw()
        pygame.image.save(pygame.display.get_surface(), str(path))

    # -- what is shown -----------------------------------------------------------------------------------------------

    @property
    def chosen_name(self) -> str:
        return self.recording.action_names[self.chosen]

    def timeline(self) -> pygame.Rect:
        """Where it stands in the window; under its lower edge where that is too low for a bar."""
        width, height = pygame.display.get_surface().get_size()
        return pygame.Rect(16, height - 18 if self.has_bar() else height, max(1, width - 32), 10)

    def has_bar(self) -> bool:
        return pygame.display.get_surface().get_height() > 2 * self.bar_height

    def draw(self) -> None:
        self.drawn = self.seen()
        screen = pygame.display.get_surface()
        width, height = screen.get_size()
        bar_height = self.bar_height if self.has_bar() else 0
        row, t = divmod(self.position, self.recording.num_steps)
        screen.fill(NIGHT)
        self.draw_picture(screen, pygame.Rect(0, 0, width, height - bar_height), row, t)
        if bar_height:
            self.draw_bar(screen.subsurface((0, height - bar_height, width, bar_height)), row, t)
            self.draw_timeline(screen, self.timeline())
        pygame.display.set_caption(f"{self.name}: frame {self.position} of 0-{self.recording.num_frames - 1}")
        pygame.display.flip()

    def draw_picture(self, screen: pygame.Surface, area: pygame.Rect, row: int, t: int) -> None:
        recording = self.recording
        self.picture = draw_frame(screen, recording.frames[row, t].transpose(1, 2, 0), area)
        if self.show_help:
            N, T = recording.num_rows, recording.num_steps
            game = recording.meta.get("game", "unknown game")
            size = f"{recording.width} x {recording.height} pixels, {recording.fps:g} frames/s"
            footer = (
                "the mouse drags along the line below",
                "",
                f"{self.name}, {game}",
                f"{N} rows x {T} steps",
                size,
            )
            draw_help(
                screen, area, {}, {name: keys for name, (keys, _) in COMMANDS.items()}, (), footer, COMMANDS
            )
            return
        if self.show_actions:
            now = int(recording.actions[row, t])
            draw_actions(screen, area, recording.action_names, self.counts, self.order, now, self.chosen)
        if recording.episode_starts[row, t]:
            draw_pill(screen, "episode start", MOON, bottomright=(area.right - 10, area.bottom - 10))
        if self.now() < self.message_until:
            draw_pill(screen, self.message, PAPER, bottomleft=(area.left + 10, area.bottom - 10))

    def draw_bar(self, bar: pygame.Surface, row: int, t: int) -> None:
        """Above: keys, action, time. Below: help, place; what else the recording says of this frame."""
        recording = self.recording
        action = int(recording.actions[row, t])
        held = recording.action_keys[action]
        pygame.draw.line(bar, LINE, (0, 0), (bar.get_width(), 0))
        many = len({key for keys in recording.action_keys for key in keys}) > MOST_CAPS
        left = draw_keys(bar, (held,) if many else recording.action_keys, held, 16) + 18
        length = clock(recording.num_frames / recording.fps)
        time_at = (clock(self.position / recording.fps), 28, GREEN if self.playing else PAPER)
        share = self.counts[self.chosen] / self.counts.sum()
        chosen = f"{self.chosen_name}: {len(self.runs)} runs, {self.counts[self.chosen]} frames, {share:.1%}"
        draw_row(bar, 20, left, (recording.action_names[action], 28, PAPER),
                 [(chosen, 18, GREEN), time_at, (f"of {length}", 18, DIM)])  # fmt: skip
        shown = "   ".join(f"{spelled(COMMANDS[name][0][0])} {name}" for name in IN_THE_BAR)
        where = [(f"row {row}, t {t}, frame {self.position}", 18, DIM)]
        draw_row(bar, 46, left, (shown, 18, DIM), where)
        x, y = 16, BAR_HEIGHT + 6
        for name, value in values_at(recording.extras, row, t):
            if x + font(18).size(f"{name} {value}")[0] > bar.get_width() - 16:
                break
            x = write(bar, name, 18, DIM, midleft=(x, y)).right + 5
            x = write(bar, value, 18, PAPER, midleft=(x, y)).right + 16

    def draw_timeline(self, screen: pygame.Surface, place: pygame.Rect) -> None:
        """Green where the chosen action was; above it where episodes start; where one is."""
        num_frames = self.recording.num_frames
        marked = shares(self.chosen_before, place.width)
        level = np.where(marked > 0, 0.3 + 0.7 * np.sqrt(marked), 0.0)  # one frame among hundreds is seen too
        num_colors = np.array(LINE) + level[:, None] * (np.array(GREEN) - LINE)  # (width, 3)
        line = pygame.surfarray.make_surface(num_colors.round().astype(np.uint8)[:, None])
        screen.blit(pygame.transform.scale(line, place.size), place)
        for column in {column_of(int(one), place.width, num_frames) for one in self.episodes}:
            pygame.draw.line(
                screen, DIM, (place.left + column, place.top - 5), (place.left + column, place.top - 2)
            )
        x = place.left + column_of(self.position, place.width, num_frames)
        pygame.draw.rect(screen, MOON, (x - 1, place.top - 6, 3, place.height + 10))
        pygame.draw.polygon(
            screen, MOON, [(x - 5, place.top - 8), (x + 5, place.top - 8), (x, place.top - 2)]
        )


def draw_actions(
    screen: pygame.Surface, area: pygame.Rect, names: Sequence[str], counts: np.ndarray, order: Sequence[int],
    now: int, chosen: int,
) -> None:  # fmt: skip
    """Bars of how often each action was chosen, int (A,): the one at this frame is lit, the chosen one green."""
    row_height = 22
    num_rows = max(1, min(len(order), (area.height - 60) // row_height))
    first = min(max(order.index(chosen) - num_rows // 2, 0), len(order) - num_rows)
    panel = pygame.Surface((max(1, min(480, area.width - 20)), num_rows * row_height + 38), pygame.SRCALPHA)
    panel.fill((*NIGHT, 225))
    write(panel, "ACTIONS", 18, MOON, midleft=(14, 18))
    write(panel, "frames", 18, DIM, midright=(panel.get_width() - 66, 18))
    write(panel, "share", 18, DIM, midright=(panel.get_width() - 12, 18))
    widest = min(max(font(18).size(name)[0] for name in names), panel.get_width() // 3)
    left = 26 + widest + 10
    room = max(0, panel.get_width() - 130 - left)
    for i, action in enumerate(order[first : first + num_rows]):
        y = 32 + i * row_height + row_height // 2
        colour = MOON if action == now else GREEN if action == chosen else PAPER
        if action == chosen:
            pygame.draw.polygon(panel, GREEN, [(12, y - 5), (12, y + 5), (19, y)])
        write(panel, shortened(names[action], 18, widest), 18, colour, midleft=(26, y))
        length = round(room * counts[action] / counts.max())
        if counts[action]:
            bar = (left, y - 6, max(length, 1), 12)
            pygame.draw.rect(panel, DIM if colour == PAPER else colour, bar, border_radius=3)
        write(panel, str(counts[action]), 18, colour, midright=(panel.get_width() - 66, y))
        write(panel, f"{counts[action] / counts.sum():.1%}", 18, colour, midright=(panel.get_width() - 12, y))
    screen.blit(panel, (area.left + 10, area.top + 10))
