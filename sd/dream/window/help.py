"""The help panel: the keys of the game and of the window."""

import os
from collections.abc import Collection, Sequence

from dream.common.video import default_suffix
from dream.play.keys import lacks_brake
from dream.window.commands import COMMANDS, HELP_PAGES
from dream.window.draw import (
    ACCENT,
    BACKGROUND,
    MUTED,
    TEXT,
    cap_width,
    draw_cap,
    draw_text_key,
    ellipsize,
    font,
    px,
    write,
)

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame  # after the line above, which silences a banner on stdout

NO_KEY = "no key"  # label of an action that holds none
Row = tuple[str, Sequence[str]]  # what it does, names of keys


def help_page(window) -> tuple[dict[str, list[Row]], list[str]]:
    """The sections of the page that is shown, by title, and the lines below them."""
    commands = {
        page: [(COMMANDS[name].help, window.command_keys[name]) for name in names]
        for page, names in HELP_PAGES.items()
    }
    if window.help_page == 1:
        names, action_keys = window.env.action_names, window.env.action_keys
        actions = [(name, keys or (NO_KEY,)) for name, keys in zip(names, action_keys, strict=True)]
        footer = ["There is no brake and no reverse in this game."] * lacks_brake(action_keys)
        footer += ["W A S D are arrow keys too."] * bool(window.aliases)
        return {"GAME": actions, "WINDOW": commands["window"]}, [*footer, "H again: more keys"]
    footer = [f"videos are {default_suffix()} files", window.settings(), "H again: play on"]
    return {"FILES": commands["files"], "EXPERTS": commands["experts"]}, footer


def draw_help(
    screen: pygame.Surface, area: pygame.Rect, sections: dict[str, Sequence[Row]], lit: Collection[str],
    footer: Sequence[str],
) -> None:  # fmt: skip
    """Draws a panel over `area`: sections of rows by title, and the lines of the footer. `lit`: keys to highlight."""
    panel = pygame.Surface(area.size, pygame.SRCALPHA)
    panel.fill((*BACKGROUND, 235))
    blocks = [
        [(title, ()), *((text, keys[:2]) for text, keys in rows if keys)] for title, rows in sections.items()
    ]
    min(blocks, key=len).extend([("", ()), *((line, ()) for line in footer)])
    # one section a column if that fits; else the highest rows that leave the columns wide enough and do not split the
    # footer over two columns
    rows = [row for block in blocks for row in [*block, ("", ())]][:-1]
    longest = max(map(len, blocks))
    for row_height in range(px(28), 13, -1):
        per_column = max(1, (area.height - px(16)) // row_height)
        columns = -(-len(rows) // per_column)
        split_badly = columns > 1 and len(rows) - (columns - 1) * per_column <= len(footer)
        if longest <= per_column and area.width // len(blocks) >= px(250):
            columns, per_column = len(blocks), longest
            rows = [row for block in blocks for row in block + [("", ())] * (longest - len(block))]
            break
        if area.width // columns >= px(270) and not split_badly:
            break
    size = max(15, min(20, round(20 * row_height / px(20)) - 3))  # a key is one pixel higher than its text
    width = area.width // columns
    keys_width = max((_keys_width(keys, size) for _, keys in rows), default=0)
    for i, (text, keys) in enumerate(rows):
        left = i // per_column * width + px(14)
        y = px(8) + i % per_column * row_height + row_height // 2
        text_left, right = left, (i // per_column + 1) * width - px(4)
        for key in keys:
            draw = draw_text_key if key == NO_KEY else draw_cap
            text_left = draw(panel, key, key in lit, text_left, y, size) + px(3)
        text_left = max(text_left + px(4), left + min(keys_width, width // 3) + px(6)) if keys else left
        color = ACCENT if text.isupper() else TEXT if keys else MUTED
        write(panel, ellipsize(text, size, right - text_left), size, color, midleft=(text_left, y))
    screen.blit(panel, area)


def _keys_width(keys: Sequence[str], size: int) -> int:
    """The width of keys next to each other, in screen pixels."""
    widths = [font(size).size(key)[0] + px(10) if key == NO_KEY else cap_width(key, size) for key in keys]
    return sum(width + px(3) for width in widths)
