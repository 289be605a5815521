"""What is drawn over and under the picture: key caps, the bar, help, pills, charts. Each knows what it is told.

Needs pygame, but no screen: everything draws on the surface that it is given.
"""

import os
from collections.abc import Collection, Sequence
from functools import cache

import numpy as np

from dream.play.keys import COMMANDS
from dream.play.timing import FrameTimes, fit

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
SPELLED = {
    "backspace": "Back",
    "end": "End",
    "escape": "Esc",
    "home": "Home",
    "page down": "PgDn",
    "page up": "PgUp",
    "return": "Enter",
    "space": "Space",
    "tab": "Tab",
}


def font(size: int) -> pygame.font.Font:
    """pygame's own: no search through those of the system."""
    if not pygame.font.get_init():
        pygame.font.init()
        open_font.cache_clear()  # those from before a pygame.quit() are dead
    return open_font(size)


@cache
def open_font(size: int) -> pygame.font.Font:
    return pygame.font.Font(None, size)


def write(on: pygame.Surface, words: str, size: int, colour: Colour, **corner) -> pygame.Rect:
    """One line; `corner`: where it stands, as of a pygame.Rect (midleft=(x, y))."""
    text = font(size).render(words, True, colour)
    return on.blit(text, text.get_rect(**corner))


def icon() -> pygame.Surface:
    """A crescent moon."""
    moon = pygame.Surface((32, 32), pygame.SRCALPHA)
    pygame.draw.circle(moon, MOON, (15, 16), 14)
    pygame.draw.circle(moon, (0, 0, 0, 0), (21, 11), 12)
    return moon


# ------------------------------------------------------------------------------------------------ the picture


def draw_frame(screen: pygame.Surface, frame_u8: np.ndarray, area: pygame.Rect) -> pygame.Rect:
    """A frame, uint8 (H, W, 3), as large as it can be; pixels stay sharp where a whole number of them fits."""
    H, W, _ = frame_u8.shape
    place = pygame.Rect(fit((W, H), area.size)).move(area.topleft)
    frame = pygame.Surface((W, H), 0, screen)  # of its format: convert() would want a display
    frame.blit(pygame.image.frombuffer(np.ascontiguousarray(frame_u8).tobytes(), (W, H), "RGB"), (0, 0))
    whole = place.width % W == 0 and place.height % H == 0
    scale = pygame.transform.scale if whole else pygame.transform.smoothscale
    screen.blit(scale(frame, place.size), place)
    return place


def draw_frames(
    screen: pygame.Surface, frames: dict[str, np.ndarray], area: pygame.Rect, named: bool
) -> pygame.Rect:
    """Frames, `named` or not, side by side or in rows, whichever shows them larger. Returns where the first stands."""
    H, W, _ = next(iter(frames.values())).shape
    grids = [(columns, -(-len(frames) // columns)) for columns in range(1, len(frames) + 1)]
    across, down = max(grids, key=lambda grid: min(area.width // grid[0] / W, area.height // grid[1] / H))
    cell, places = pygame.Rect(0, 0, area.width // across, area.height // down), []
    for i, (name, frame_u8) in enumerate(frames.items()):
        corner = (area.left + i % across * cell.width, area.top + i // across * cell.height)
        places.append(draw_frame(screen, frame_u8, cell.move(corner)))
        if named:
            draw_pill(screen, name, PAPER, bottomright=(places[i].right - 8, places[i].bottom - 8))
    return places[0]


def difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Where two frames, uint8 (H, W, 3), are not alike: grey where they are. Black pictures where sizes differ."""
    if one.shape != other.shape:
        return np.zeros_like(one)
    return (128 + (one.astype(np.int16) - other) // 2).astype(np.uint8)


def draw_eyelids(screen: pygame.Surface, place: pygame.Rect, opened: float) -> None:
    """Two lids, which open on the dream; 0 is shut, 1 open."""
    if opened >= 1:
        return
    lids = pygame.Surface(place.size)
    lids.fill(NIGHT)
    lids.set_colorkey(MOON)
    eye = pygame.Rect(0, 0, 1.6 * place.width, 1.6 * place.height * max(0.0, opened) ** 1.5)
    eye.center = lids.get_rect().center
    pygame.draw.ellipse(lids, MOON, eye)
    screen.blit(lids, place)


def draw_pill(screen: pygame.Surface, words: str, colour: Colour, **corner: tuple[int, int]) -> None:
    text = font(20).render(words, True, colour)
    pill = pygame.Surface((text.get_width() + 24, text.get_height() + 12), pygame.SRCALPHA)
    pygame.draw.rect(pill, (*NIGHT, 215), pill.get_rect(), border_radius=13)
    pill.blit(text, (12, 6))
    screen.blit(pill, pill.get_rect(**corner))


# ------------------------------------------------------------------------------------------------ keys


def spelled(key: str) -> str:
    if key.startswith("shift+"):
        return f"Shift {spelled(key[6:])}"
    return SPELLED.get(key, key.upper() if len(key) == 1 or key[1:].isdigit() else key)


def draw_cap(on: pygame.Surface, cap: pygame.Rect, lit: bool) -> Colour:
    """A key's cap; returns the colour to write on it with."""
    pygame.draw.rect(on, MOON if lit else LINE, cap, border_radius=5)
    return NIGHT if lit else PAPER


def draw_word_cap(on: pygame.Surface, words: str, lit: bool, left: int, y: int, size: int = 18) -> int:
    """A cap as wide as its words, `y` its middle; returns where it ends."""
    cap = pygame.Rect(left, y - (size + 1) // 2, max(size + 1, font(size).size(words)[0] + 10), size + 1)
    write(on, words, size, draw_cap(on, cap, lit), center=cap.center)
    return cap.right


def draw_keys(
    on: pygame.Surface, action_keys: Sequence[Collection[str]], lit: Collection[str], left: int
) -> int:
    """The game's keys as caps, arrows as on a keyboard; those held are lit. Returns where they end."""
    game_keys = dict.fromkeys(key for keys in action_keys for key in keys)
    if game_keys.keys() & ARROWS.keys():
        for key, (column, row, points) in ARROWS.items():
            cap = pygame.Rect(left + 21 * column, 12 + 21 * row, 19, 19)
            ink = draw_cap(on, cap, key in lit)
            if key in game_keys:
                pygame.draw.polygon(on, ink, [(cap.centerx + x, cap.centery + y) for x, y in points])
        left += 3 * 21 + 6
    for key in [key for key in game_keys if key not in ARROWS]:
        left = draw_word_cap(on, key, key in lit, left, 42) + 2
    return left


# ------------------------------------------------------------------------------------------------ the bar


def draw_row(on: pygame.Surface, y: int, left: int, first: Words, others: list[Words]) -> int:
    """The first at the left, then the others at the right as far as there is room. Returns where they begin."""
    right = on.get_width() - 16
    if left + font(first[1]).size(first[0])[0] <= right:
        left = write(on, *first, midleft=(left, y)).right + 10
    for words, size, colour in reversed(others):
        if right - font(size).size(words)[0] < left:
            break
        right = write(on, words, size, colour, midright=(right, y)).left - 10
    return right


def pace_of(times: FrameTimes, fps: float, paused: bool) -> list[Words]:
    """The pace reached beside the one that is wanted: amber where the machine cannot keep it."""
    reached = times.fps()
    late = reached is not None and reached < 0.97 * fps
    colour = DIM if paused or reached is None else AMBER if late else GREEN
    words = "paused" if paused else "-" if reached is None else f"{reached:.1f}"
    pace = [(words, 28, colour), (f"of {fps:.3g} frames/s", 18, DIM)]
    if reached is not None:
        pace = [(f"{times.mean_ms():.1f} ms a frame, worst {times.worst_ms():.1f}", 18, DIM), *pace]
    return pace


def draw_chart(on: pygame.Surface, times: FrameTimes, fps: float, right: int) -> None:
    """The time of the last frames, one line each; above the rule a frame took longer than the game gives it."""
    for number, took_s in enumerate(reversed(times.recent_s)):
        height = min(26, max(1, round(14 * took_s * fps)))
        colour = GREEN if took_s * fps <= 1 else AMBER
        pygame.draw.rect(on, colour, (right - 3 * number - 2, 32 - height, 2, height))
    pygame.draw.line(on, DIM, (right - 120, 17), (right, 17))


# ------------------------------------------------------------------------------------------------ help


def draw_help(
    screen: pygame.Surface, place: pygame.Rect, actions: dict[str, Sequence[str]], commands: dict[str, Sequence[str]],
    lit: Collection[str], footer: Sequence[str], table: dict[str, tuple[Sequence[str], str]] = COMMANDS,
) -> None:  # fmt: skip
    """All keys: of the game's `actions`, by name, and of the window's `commands`, a `table` of which says what they
    do; those held are lit."""
    rows = [("THE GAME", ())] + [(name, keys or ("no key",)) for name, keys in actions.items()] + [("", ())]
    rows = (rows if actions else []) + [("THE WINDOW", ())]
    rows += [(table[command][1], keys[:2]) for command, keys in commands.items() if keys]
    rows += [("", ()), *((line, ()) for line in footer)]
    panel = pygame.Surface(place.size, pygame.SRCALPHA)
    panel.fill((*NIGHT, 225))
    for height in range(
        24, 13, -1
    ):  # of a row, as high as leaves the columns wide enough, and the footer whole
        per_column = max(1, (place.height - 16) // height)
        columns = -(-len(rows) // per_column)
        torn = columns > 1 and len(rows) - (columns - 1) * per_column <= len(footer)
        if place.width // columns >= 300 and not torn:
            break
    width, size = place.width // columns, 18 if height > 16 else 15
    for i, (words, keys) in enumerate(rows):
        left, y = i // per_column * width + 12, 8 + i % per_column * height + height // 2
        after, right = left, (i // per_column + 1) * width - 4
        for key in keys:
            named = spelled(key) if key != "no key" else key
            after = draw_word_cap(panel, named, key in lit, after, y, size) + 3
        after = max(after + 4, left + (92 if width > 220 else 0)) if keys else left
        words_fit = shortened(words, size, right - after)
        write(panel, words_fit, size, MOON if words.isupper() else PAPER if keys else DIM, midleft=(after, y))
    screen.blit(panel, place)


def shortened(words: str, size: int, width: int) -> str:
    """As much of them as fits into `width` pixels."""
    if font(size).size(words)[0] <= width:
        return words
    return next(
        (f"{words[:n]}…" for n in range(len(words), 0, -1) if font(size).size(f"{words[:n]}…")[0] <= width),
        "",
    )
