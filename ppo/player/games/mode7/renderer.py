"""Draws the built-in game with numpy, as the SNES does in its mode 7: a flat picture in perspective.

Row r of the screen below the horizon shows the ground at distance d = CAMERA_HEIGHT * FOCAL / (r - HORIZON), and one
column of that row is d / FOCAL wide. Both are computed in 16.16 fixed point; far rows read coarser mip levels. Each
pixel reads a single cell; edges move smoothly because the mip levels are interpolated (`painting.mip_chain`).
"""

import math
from typing import Dict, List, Tuple

import numpy as np

from player.games.mode7.geometry import SIZE
from player.games.mode7.painting import CELLS_PER_PIXEL, MIP_LEVELS, PANORAMA_WIDTH, SKY_ROWS, pack_rgb
from player.games.mode7.sprites import FEET_ROW, NUM_VIEWS, SPRITE_SIZE, kart_views
from player.games.mode7.tracks import Track

HEIGHT, WIDTH = 112, 256
HORIZON = 26.5
# Focal length in pixels. With a field of view of 90 degrees the panorama and the ground turn at the same rate.
FOCAL = WIDTH / 2 / math.tan(math.pi / 4)
CAMERA_HEIGHT = 33.0
KART_ROW = 98  # row of the screen where the player's wheels touch the ground
KART_DISTANCE = CAMERA_HEIGHT * FOCAL / (KART_ROW - HORIZON)
KART_SCALE = FOCAL / KART_DISTANCE  # screen pixels per world pixel, at the player's kart
FRACTION_BITS = 16

WHITE, BLACK, GREEN, RED = (
    int(pack_rgb(np.array(c))) for c in ((255, 255, 255), (16, 16, 24), (80, 220, 90), (240, 70, 50))
)
GLYPHS = {
    "L": ("#....", "#....", "#....", "#....", "#####"),
    "A": (".###.", "#...#", "#####", "#...#", "#...#"),
    "P": ("####.", "#...#", "####.", "#....", "#...."),
    "/": ("....#", "...#.", "..#..", ".#...", "#...."),
    "0": (".###.", "#...#", "#...#", "#...#", ".###."),
    "1": ("..#..", ".##..", "..#..", "..#..", ".###."),
    "2": ("####.", "....#", ".###.", "#....", "#####"),
    "3": ("####.", "....#", ".###.", "....#", "####."),
    "4": ("#..#.", "#..#.", "#####", "...#.", "...#."),
    "5": ("#####", "#....", "####.", "....#", "####."),
    "6": (".###.", "#....", "####.", "#...#", ".###."),
    "7": ("#####", "....#", "...#.", "..#..", "..#.."),
    "8": (".###.", "#...#", ".###.", "#...#", ".###."),
    "9": (".###.", "#...#", ".####", "....#", ".###."),
    " ": (".....",) * 5,
}

SHADOW_X = (np.arange(SPRITE_SIZE) - SPRITE_SIZE / 2 + 0.5) / 14
SHADOW_Y = (np.arange(6) - 2.5) / 3
SHADOW = SHADOW_Y[:, None] ** 2 + SHADOW_X[None, :] ** 2 < 1  # bool (6, SPRITE_SIZE), an ellipse


class Renderer:
    """Draws one track. The work arrays are allocated once; a frame allocates only the array it returns."""

    def __init__(self, track: Track) -> None:
        self.track = track
        rows = np.arange(SKY_ROWS, HEIGHT)
        self.distance = CAMERA_HEIGHT * FOCAL / (rows + 0.5 - HORIZON)  # (R,)
        self.step = self.distance / FOCAL  # (R,) world pixels per column
        depth_step = self.distance**2 / (CAMERA_HEIGHT * FOCAL)  # (R,) world pixels per row
        coarser = (CELLS_PER_PIXEL - 1) / 2
        level = np.round(np.log2(np.sqrt(self.step * depth_step)) + coarser)
        level = level.clip(0, MIP_LEVELS - 1).astype(np.int32)
        cells = SIZE * CELLS_PER_PIXEL >> level  # (R,) cells per side of each row's level
        self.shift = (FRACTION_BITS + level)[:, None] - CELLS_PER_PIXEL.bit_length() + 1
        self.last_cell = (cells - 1)[:, None].astype(np.int32)
        self.row_bits = np.log2(cells).astype(np.int32)[:, None]
        self.level_offset = track.mip_offsets[level][:, None]
        self.columns = (np.arange(WIDTH, dtype=np.int32) - WIDTH // 2)[None, :]
        self.canvas = np.zeros((HEIGHT, WIDTH), np.uint32)
        self.ground_x, self.ground_y = (np.zeros((len(rows), WIDTH), np.int32) for _ in range(2))
        self.texts: Dict[str, Tuple[np.ndarray, np.ndarray]] = {}

    def draw(
        self,
        x: float,
        y: float,
        heading: float,
        yaw: float,
        height: float,
        lap: str,
        speed: float,
        rivals: List[Tuple[float, float, float, int]],
    ) -> np.ndarray:
        """Draws one frame, uint8 (HEIGHT, WIDTH, 3) RGB, seen from behind a player at x, y.

        `yaw`: angle between the player's kart and the view, radians. `height`: of the kart above the ground, pixels
        (negative: sinking). `lap`: text at the top left. `speed`: fill of the speed bar, 0-1. `rivals`: x, y, heading
        and livery of each other kart.
        """
        cos, sin = math.cos(heading), math.sin(heading)
        camera_x, camera_y = x - KART_DISTANCE * cos, y - KART_DISTANCE * sin
        offset = int(heading * PANORAMA_WIDTH / (2 * math.pi)) % PANORAMA_WIDTH
        self.canvas[:SKY_ROWS] = self.track.panorama[:, offset : offset + WIDTH]
        self.draw_ground(camera_x, camera_y, cos, sin)
        for distance, side, angle, livery in self.rivals_in_view(camera_x, camera_y, heading, rivals):
            scale = KART_DISTANCE / distance
            row = int(HORIZON + CAMERA_HEIGHT * FOCAL / distance)
            self.blit_scaled(kart_views(livery)[angle], WIDTH // 2 + int(side * FOCAL / distance), row, scale)
        self.draw_player(yaw, height)
        self.write(lap, 8, 6)
        self.draw_speed(speed)
        frame = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        canvas_bytes = self.canvas.view(np.uint8).reshape(HEIGHT, WIDTH, 4)
        for channel in range(3):  # six times as fast as copying all three channels at once
            frame[..., channel] = canvas_bytes[..., channel]
        return frame

    def draw_ground(self, camera_x: float, camera_y: float, cos: float, sin: float) -> None:
        """Fills the canvas below the sky; `cos` and `sin` are those of the heading."""
        one = 1 << FRACTION_BITS
        for cells, base, along_row in (
            (self.ground_x, camera_x + self.distance * cos, -self.step * sin),
            (self.ground_y, camera_y + self.distance * sin, self.step * cos),
        ):
            np.multiply((along_row * one).astype(np.int32)[:, None], self.columns, out=cells)
            cells += (base * one).astype(np.int32)[:, None]
            np.right_shift(cells, self.shift, out=cells)
            np.maximum(cells, 0, out=cells)
            np.minimum(cells, self.last_cell, out=cells)  # outside of the world, repeat the edge cells
        np.left_shift(self.ground_y, self.row_bits, out=self.ground_y)
        self.ground_y += self.ground_x
        self.ground_y += self.level_offset
        np.take(self.track.ground, self.ground_y, out=self.canvas[SKY_ROWS:], mode="clip")

    def rivals_in_view(
        self, camera_x: float, camera_y: float, heading: float, rivals: List[Tuple[float, float, float, int]]
    ) -> List[Tuple[float, float, int, int]]:
        """Distance, sideways offset, view number and livery of the rivals in front of the camera, farthest first."""
        cos, sin = math.cos(heading), math.sin(heading)
        visible = []
        for x, y, rival_heading, livery in rivals:
            ahead = (x - camera_x) * cos + (y - camera_y) * sin
            side = (y - camera_y) * cos - (x - camera_x) * sin
            if 24 < ahead < 700 and abs(side) < ahead * 1.3:
                view = round((rival_heading - heading) * NUM_VIEWS / (2 * math.pi)) % NUM_VIEWS
                visible.append((ahead, side, view, livery))
        return sorted(visible, reverse=True)

    def draw_player(self, yaw: float, height: float) -> None:
        """Draws the player's kart, with a shadow while it hops."""
        view = round(yaw * NUM_VIEWS / (2 * math.pi)) % NUM_VIEWS
        left, top = WIDTH // 2 - SPRITE_SIZE // 2, KART_ROW - FEET_ROW
        if height > 0:  # the shadow: an oval of the ground at half brightness
            shadow = self.canvas[KART_ROW - 4 : KART_ROW + 2, left : left + SPRITE_SIZE]
            np.copyto(shadow, shadow >> 1 & 0x7F7F7F, where=SHADOW)
        lift = int(height * KART_SCALE)
        sprite = kart_views(0)[view]
        visible_rows = SPRITE_SIZE if lift >= 0 else max(0, FEET_ROW + lift)  # the other rows are under water
        target = self.canvas[top - lift : top - lift + visible_rows, left : left + SPRITE_SIZE]
        np.copyto(target, sprite[:visible_rows], where=sprite[:visible_rows] != 0)

    def blit_scaled(self, sprite: np.ndarray, column: int, feet_row: int, scale: float) -> None:
        """Draws a sprite scaled by nearest neighbor and clipped to the screen, with its feet at (column, feet_row)."""
        size = max(2, int(SPRITE_SIZE * scale))
        top, left = feet_row - int(FEET_ROW * scale), column - size // 2
        rows = np.arange(max(top, SKY_ROWS - 20), min(top + size, HEIGHT))
        columns = np.arange(max(left, 0), min(left + size, WIDTH))
        if len(rows) == 0 or len(columns) == 0:
            return
        picture = sprite[np.ix_((rows - top) * SPRITE_SIZE // size, (columns - left) * SPRITE_SIZE // size)]
        target = self.canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        np.copyto(target, picture, where=picture != 0)

    def write(self, text: str, left: int, top: int) -> None:
        """Draws white text with a dark outline at twice the glyphs' size. Each text is rasterized once and cached."""
        if text not in self.texts:
            ink = np.concatenate(
                [np.array([[c == "#" for c in line + "."] for line in GLYPHS[letter]]) for letter in text],
                axis=1,
            )
            ink = np.pad(ink.repeat(2, axis=0).repeat(2, axis=1), 1)
            edge = ink.copy()
            for shift in (-1, 1):
                edge |= np.roll(ink, shift, 0) | np.roll(ink, shift, 1)
            self.texts[text] = (np.where(ink, WHITE, BLACK).astype(np.uint32), edge)
        picture, where = self.texts[text]
        target = self.canvas[top : top + picture.shape[0], left : left + picture.shape[1]]
        np.copyto(target, picture, where=where)

    def draw_speed(self, speed: float) -> None:
        """Draws the speed bar at the top right; `speed` is clipped to 0-1."""
        top, left, width = 8, WIDTH - 66, 56
        filled = int(max(0.0, min(1.0, speed)) * width)
        self.canvas[top - 1 : top + 7, left - 2 : left + width + 2] = BLACK
        self.canvas[top + 1 : top + 5, left : left + filled] = GREEN if speed < 0.98 else RED
