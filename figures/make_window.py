"""Writes figures/window.png (the play window: playing, help, next to the real game, rewinding) and figures/play.gif: a
drive that leaves the road, is rewound and goes on. The agent chooses the keys, but for the mistake.

python figures/make_window.py
"""

import argparse
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "sd"))
os.environ["SDL_VIDEODRIVER"] = "dummy"  # draws without a display
import play_sd  # noqa: E402
import pygame  # noqa: E402
from dream.common.errors import run_script  # noqa: E402
from dream.window.window import PlayWindow  # noqa: E402
from PIL import Image  # noqa: E402

MARGIN, BACKGROUND = 12, (255, 255, 255)
REAL = ["--real", "player:Mode7Kart-v0", "--real-path", str(HERE.parent / "ppo")]
PICTURE_SIZE, FILM_SIZE = (768, 400), (384, 230)
VIEWS = (  # view, page of the help, whether the rewind key is held
    ("world model", 0, False),
    ("world model", 1, False),
    ("world model", 0, True),
)
BOTH_AFTER = 75  # frames
MISTAKE = ({"up", "left"}, 26)  # keys, frames
REWOUND = 36  # frames
COLORS = 64  # of the film: fewer make it smaller


class Film:
    """A window that is drawn without a display, by a clock of the game's speed, whatever this machine's is."""

    def __init__(self, flags: list[str], size: tuple[int, int]) -> None:
        play = play_sd.parse_args(flags)
        self.env = play_sd.load_env(play)
        session = play_sd.make_session(play, self.env, self.env.fps)
        self.agent, self.time_s = session.controllers[-1], 0.0
        self.window = PlayWindow(session, scale=3, now=lambda: self.time_s)
        pygame.display.set_mode(size)
        self.window.waiting = False
        self.pictures: list[Image.Image] = []

    def step(self, keys: set[str] | None = None) -> None:
        """Plays a frame with the given keys, or with those that the agent chooses."""
        session = self.window.session
        if keys is None:
            self.agent.reset(session.last_frames(), session.num_frames)
            keys = set(self.env.action_keys[self.agent.act((), session.num_frames)])
        self.window.keyboard = keys
        self.window.step()
        self.time_s += 1 / self.env.fps

    def picture(self) -> pygame.Surface:
        self.window.draw()
        return pygame.display.get_surface().copy()

    def shoot(self) -> None:
        """Adds the window's picture to the film."""
        picture = self.picture()
        data = pygame.image.tobytes(picture, "RGB")
        self.pictures.append(Image.frombytes("RGB", picture.get_size(), data))


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--frames", type=int, default=330, help="frames to play before the pictures (default: %(default)s)"
    )
    parser.add_argument("--output-dir", type=Path, default=HERE, metavar="DIR")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    write_pictures(args.frames, args.output_dir / "window.png")
    write_film(args.output_dir / "play.gif")


def write_pictures(num_frames: int, path: Path) -> None:
    film = Film(REAL, PICTURE_SIZE)
    pictures, window = [], film.window
    for frame in range(num_frames):
        film.step()
        if frame == BOTH_AFTER:  # later the kart of the game, which gets the same keys, is elsewhere
            window.view = "both"
            pictures.append(film.picture())
    for window.view, window.help_page, window.rewinding in VIEWS:
        pictures.append(film.picture())
    pictures.append(pictures.pop(0))
    width, height = pictures[0].get_size()
    page = pygame.Surface((2 * width + MARGIN, 2 * height + MARGIN))
    page.fill(BACKGROUND)
    for number, picture in enumerate(pictures):
        page.blit(picture, (number % 2 * (width + MARGIN), number // 2 * (height + MARGIN)))
    picture = Image.frombytes("RGB", page.get_size(), pygame.image.tobytes(page, "RGB"))
    picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    window.close()
    print(f"wrote {path}")


def write_film(path: Path) -> None:
    film = Film([], FILM_SIZE)
    keys, num_frames = MISTAKE
    for frame in range(75 + num_frames):
        film.step(None if frame < 75 else keys)
        if frame >= 15:
            film.shoot()
    film.window.keyboard, film.window.rewinding = set(), True
    for _ in range(REWOUND):
        film.window.rewind_frame()
        film.time_s += 1 / film.env.fps
        film.shoot()
    film.window.rewinding = False
    for _ in range(100):
        film.step()
        film.shoot()
    film.window.close()
    palette = film.pictures[0].quantize(COLORS)
    frames = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in film.pictures]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=round(1000 / film.env.fps), loop=0)
    print(f"wrote {path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
