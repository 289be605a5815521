"""Writes figures/window.png: the play window, its help, next to the real game, and while it rewinds.

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

MARGIN, BACKGROUND = 12, (255, 255, 255)
REAL = ["--real", "player:Mode7Kart-v0", "--real-path", str(HERE.parent / "ppo")]
SIZE = (768, 400)
VIEWS = (  # view, page of the help, whether the rewind key is held
    ("world model", 0, False),
    ("world model", 1, False),
    ("both", 0, False),
    ("world model", 0, True),
)


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--frames", type=int, default=75, help="frames to play before the pictures (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, default=HERE / "window.png", metavar="FILE")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    play = play_sd.parse_args(REAL)
    env = play_sd.load_env(play)
    session, controllers = play_sd.make_session(play, env, env.fps)
    time_s = [0.0]  # a clock of the game's speed, whatever this machine's is
    window = PlayWindow(session, scale=3, now=lambda: time_s[0])
    pygame.display.set_mode(SIZE)
    window.waiting = False
    for action in controllers[play_sd.DRIVERS.index("list")].actions[: args.frames]:
        window.keyboard = set(env.action_keys[action])
        window.step()
        time_s[0] += 1 / env.fps
    pictures = []
    for window.view, window.help_page, window.rewinding in VIEWS:
        window.draw()
        pictures.append(pygame.display.get_surface().copy())
    width, height = pictures[0].get_size()
    page = pygame.Surface((2 * width + MARGIN, 2 * height + MARGIN))
    page.fill(BACKGROUND)
    for number, picture in enumerate(pictures):
        page.blit(picture, (number % 2 * (width + MARGIN), number // 2 * (height + MARGIN)))
    pygame.image.save(page, str(args.output))
    window.close()
    print(f"wrote {args.output}")


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
