"""How the built-in game is drawn: the SNES way, a flat picture under a perspective transform, with numpy alone.

A row r of the screen below the horizon sees the ground at distance d = CAMERA_HEIGHT * FOCAL / (r - HORIZON); along the
row the ground moves on by d / FOCAL a column. Both are taken in 16.16 fixed point; far rows read coarser mip levels.
A pixel reads one cell; that edges move smoothly all the same is how the levels are drawn (`mip_chain`).
"""

import math
from typing import Dict, List, Tuple

import numpy as np

from player.games.mode7.sprites import FEET_ROW, NUM_VIEWS, SPRITE, kart_views
from player.games.mode7.tracks import (
    CELLS_PER_PIXEL,
    MIP_LEVELS,
    PANORAMA_WIDTH,
    SIZE,
    SKY_ROWS,
    Track,
    pack_rgb,
)

HEIGHT, WIDTH = 112, 256
HORIZON = 26.5
FOCAL = WIDTH / 2 / math.tan(math.pi / 4)  # 90 degrees across: the panorama and the ground turn at one rate
CAMERA_HEIGHT = 33.0
KART_ROW = 98  # where the player's wheels stand on the screen
KART_DISTANCE = CAMERA_HEIGHT * FOCAL / (KART_ROW - HORIZON)
KART_SCALE = FOCAL / KART_DISTANCE  # pixels on the screen for a pixel of the world, at the player's kart
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


SHADOW = ((np.arange(6) - 2.5)[:, None] / 3) ** 2 + (
    (np.arange(SPRITE) - SPRITE / 2 + 0.5)[None, :] / 14
) ** 2 < 1


class Renderer:
    """Draws one track. Holds its work arrays, so a frame costs no allocation but the one it returns."""

    def __init__(self, track: Track) -> None:
        self.track = track
        rows = np.arange(SKY_ROWS, HEIGHT)
        self.distance = CAMERA_HEIGHT * FOCAL / (rows + 0.5 - HORIZON)  # (R,)
        self.step = self.distance / FOCAL  # (R,) world pixels a column
        depth_step = self.distance**2 / (CAMERA_HEIGHT * FOCAL)  # world pixels from a row to the next
        coarser = (CELLS_PER_PIXEL - 1) / 2
        level = np.round(np.log2(np.sqrt(self.step * depth_step)) + coarser)
        level = level.clip(0, MIP_LEVELS - 1).astype(np.int32)
        cells = SIZE * CELLS_PER_PIXEL >> level  # (R,) of the level, on a side
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
        """One frame, uint8 (HEIGHT, WIDTH, 3) RGB.

        `yaw`: how far the kart is turned against the view, radians; `height`: of the player over the ground, pixels
        (below 0: sinking); `speed`: 0-1 of the bar; `rivals`: x, y, heading, livery of each.
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
        for channel, values in enumerate(
            np.moveaxis(self.canvas.view(np.uint8).reshape(HEIGHT, WIDTH, 4), 2, 0)[:3]
        ):
            frame[..., channel] = values  # one channel at a time is six times as fast as all three at once
        return frame

    def draw_ground(self, camera_x: float, camera_y: float, cos: float, sin: float) -> None:
        one = 1 << FRACTION_BITS
        for cells, base, along_row in (
            (self.ground_x, camera_x + self.distance * cos, -self.step * sin),
            (self.ground_y, camera_y + self.distance * sin, self.step * cos),
        ):
            np.multiply((along_row * one).astype(np.int32)[:, None], self.columns, out=cells)
            cells += (base * one).astype(np.int32)[:, None]
            np.right_shift(cells, self.shift, out=cells)
            np.maximum(cells, 0, out=cells)
            np.minimum(cells, self.last_cell, out=cells)  # beyond the edge the outermost colour goes on
        np.left_shift(self.ground_y, self.row_bits, out=self.ground_y)
        self.ground_y += self.ground_x
        self.ground_y += self.level_offset
        np.take(self.track.ground, self.ground_y, out=self.canvas[SKY_ROWS:], mode="clip")

    def rivals_in_view(
        self, camera_x: float, camera_y: float, heading: float, rivals: List[Tuple[float, float, float, int]]
    ) -> List[Tuple[float, float, int, int]]:
        """Distance, side, view and livery of the rivals before the camera, the farthest first."""
        cos, sin = math.cos(heading), math.sin(heading)
        seen = []
        for x, y, rival_heading, livery in rivals:
            ahead = (x - camera_x) * cos + (y - camera_y) * sin
            side = (y - camera_y) * cos - (x - camera_x) * sin
            if 24 < ahead < 700 and abs(side) < ahead * 1.3:
                view = round((rival_heading - heading) * NUM_VIEWS / (2 * math.pi)) % NUM_VIEWS
                seen.append((ahead, side, view, livery))
        return sorted(seen, reverse=True)

    def draw_player(self, yaw: float, height: float) -> None:
        view = round(yaw * NUM_VIEWS / (2 * math.pi)) % NUM_VIEWS
        left, top = WIDTH // 2 - SPRITE // 2, KART_ROW - FEET_ROW
        if height > 0:  # a shadow stays on the ground: the ground at half its brightness, in an oval
            shadow = self.canvas[KART_ROW - 4 : KART_ROW + 2, left : left + SPRITE]
            np.copyto(shadow, shadow >> 1 & 0x7F7F7F, where=SHADOW)
        lift = int(height * KART_SCALE)
        sprite = kart_views(0)[view]
        shown = SPRITE if lift >= 0 else max(0, FEET_ROW + lift)  # the rest is under water
        target = self.canvas[top - lift : top - lift + shown, left : left + SPRITE]
        np.copyto(target, sprite[:shown], where=sprite[:shown] != 0)

    def blit_scaled(self, sprite: np.ndarray, column: int, feet_row: int, scale: float) -> None:
        """Nearest-neighbour, clipped at the edges of the screen; the sprite's feet stand at (column, feet_row)."""
        size = max(2, int(SPRITE * scale))
        top, left = feet_row - int(FEET_ROW * scale), column - size // 2
        rows = np.arange(max(top, SKY_ROWS - 20), min(top + size, HEIGHT))
        columns = np.arange(max(left, 0), min(left + size, WIDTH))
        if len(rows) == 0 or len(columns) == 0:
            return
        picture = sprite[np.ix_((rows - top) * SPRITE // size, (columns - left) * SPRITE // size)]
        target = self.canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        np.copyto(target, picture, where=picture != 0)

    def write(self, text: str, left: int, top: int) -> None:
        """White letters with a dark edge, twice the glyph's size; each text is rasterised once."""
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
        top, left, width = 8, WIDTH - 66, 56
        filled = int(max(0.0, min(1.0, speed)) * width)
        self.canvas[top - 1 : top + 7, left - 2 : left + width + 2] = BLACK
        self.canvas[top + 1 : top + 5, left : left + filled] = GREEN if speed < 0.98 else RED
