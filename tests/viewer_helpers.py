"""Helpers of the tests of the dataset viewer: a recording, pixels and text that are drawn, the mouse."""

import json
from pathlib import Path

import numpy as np
import pytest

pygame = pytest.importorskip("pygame")

N, T, H, W = 2, 30, 56, 128
# 44 of action 1, 15 of 2, one of 3, none of 0.
ACTIONS = np.repeat([1, 2, 1, 3, 1, 2], [10, 5, 12, 1, 22, 10]).reshape(N, T)


def shade(position: int) -> int:
    """Gray level of a frame, 10-246; an empty screen is 0."""
    return 10 + 4 * position


def save_recording(path: Path) -> Path:
    """A recording whose frame i of 60 is of one color, shade(i); episodes start at 0, 12, 30 and 45."""
    shades = shade(np.arange(N * T)).astype(np.uint8).reshape(N, T, 1, 1, 1)
    meta = {"fps": 500.0, "action_keys": [[], ["up"], ["left"], ["up", "left"]], "game": "Test-v0"}
    np.savez(
        path,
        frames=shades * np.ones((1, 1, 3, H, W), np.uint8),
        actions=ACTIONS,
        episode_starts=np.isin(np.arange(N * T), (0, 12, 30, 45)).reshape(N, T),
        rewards=np.arange(N * T, dtype=np.float32).reshape(N, T) / 7,
        action_names=np.array(["nothing", "forward", "left", "forward+left"]),
        meta=np.array(json.dumps(meta)),
        **{"truth/speed": np.full((N, T), 0.93, np.float32), "truth/at": np.zeros((N, T, 2))},
    )
    return path


def pixels(window) -> np.ndarray:
    """Draws the window; returns its pixels, uint8 (H, W, 3)."""
    window.draw()
    return pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)


def drawn_text(window, monkeypatch) -> list[str]:
    """Draws the window; returns all text that is written."""
    from dream.window import dataset_hud
    from dream.window import draw as drawing
    from dream.window import help as help_panel

    written, write = [], drawing.write

    def spy(surface, text, *rest, **position):
        written.append(text)
        return write(surface, text, *rest, **position)

    with monkeypatch.context() as patch:
        for module in (dataset_hud, drawing, help_panel):
            patch.setattr(module, "write", spy)
        window.draw()
    return written


def mouse(window, kind, x, y, **more):
    """Sends a mouse event of pygame at x, y; the window handles it."""
    pygame.event.post(pygame.event.Event(kind, pos=(x, y), **more))
    window.handle_events(0)
