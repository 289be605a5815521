"""A window that shows how far the training of a game has come. Closing it does not stop the training."""

import os
from typing import Optional

from dream.window.draw import BACKGROUND, letterbox
from dream.window.screen import init_display, open_window

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame  # after the line above, which silences a banner on stdout

HEIGHT, ASPECT = 920, 0.82  # of the window at first: pixels, width to height
DESKTOP_FRACTION = 0.85  # of the desktop's height, at most


class ProgressWindow:
    """Shows one picture, as large as it fits."""

    @classmethod
    def open(cls, title: str) -> Optional["ProgressWindow"]:
        """The window, or None if none can be opened."""
        try:
            height = min(HEIGHT, round(DESKTOP_FRACTION * init_display()[1]))
            open_window((round(ASPECT * height), height))
        except pygame.error:
            return None
        pygame.display.set_caption(title)
        return cls()

    def __init__(self) -> None:
        self.picture: pygame.Surface | None = None

    def show(self, picture: pygame.Surface) -> None:
        self.picture = picture
        self.draw()

    def draw(self) -> None:
        screen = pygame.display.get_surface()
        if screen is None or self.picture is None:
            return
        screen.fill(BACKGROUND)
        rect = pygame.Rect(letterbox(self.picture.get_size(), screen.get_size()))
        screen.blit(pygame.transform.smoothscale(self.picture, rect.size), rect)
        pygame.display.flip()

    def update(self) -> None:
        """Answers the events of the window."""
        if pygame.display.get_surface() is None:
            return
        for event in pygame.event.get():
            if event.type == pygame.QUIT or (event.type == pygame.KEYDOWN and event.key == pygame.K_ESCAPE):
                self.close()
                return
            if event.type in (pygame.VIDEORESIZE, pygame.WINDOWEXPOSED):
                self.draw()

    def close(self) -> None:
        pygame.display.quit()
