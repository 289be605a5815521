"""A plain window that shows the frames of an environment: render_mode "human" of dream_env.py."""

import numpy as np
import pygame

SCALE = 3  # screen pixels per pixel


class FrameWindow:
    """Opens at the first frame. Raises pygame.error without a display."""

    def __init__(self) -> None:
        self.screen, self.clock = None, pygame.time.Clock()

    def show(self, frame: np.ndarray, fps: float) -> None:
        """Shows a frame, uint8 (H, W, 3), and waits until 1 / fps seconds have passed since the last one."""
        height, width = frame.shape[:2]
        if self.screen is None:
            pygame.display.init()
            self.screen = pygame.display.set_mode((SCALE * width, SCALE * height))
        picture = pygame.surfarray.make_surface(frame.swapaxes(0, 1))
        self.screen.blit(pygame.transform.scale(picture, self.screen.get_size()), (0, 0))
        pygame.event.pump()
        pygame.display.flip()
        self.clock.tick(fps)

    def close(self) -> None:
        pygame.display.quit()
