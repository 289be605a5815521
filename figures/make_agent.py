"""Makes figures/agent.png: an agent that learned in a world model, above in that model, below in the game.

python ppo/record_trajectories.py --game dream_env:Dream-v0 --game-path sd --game-settings model_path=FILE ... \
    --policy agent --agent AGENT --n-envs 1 --frames 300 --output output/in_model.npz
python ppo/record_trajectories.py --policy agent --agent AGENT --n-envs 1 --frames 300 --output output/in_game.npz
python figures/make_agent.py output/in_model.npz output/in_game.npz
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "sd"))
from dream.common.errors import InputError, run_script  # noqa: E402
from dream.data.trajectories import open_trajectories  # noqa: E402

COLUMNS, EVERY = 6, 15  # pictures of a row; frames between them
WIDTH, HEIGHT, MARGIN = 184, 80, 4  # pixels


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recordings", nargs=2, type=Path, metavar="FILE", help="in the model, in the game")
    parser.add_argument("--output", type=Path, default=HERE / "agent.png", metavar="FILE")
    args = parser.parse_args()
    rows = [make_row(path) for path in args.recordings]
    picture = np.concatenate(rows)[:-MARGIN, :-MARGIN]
    Image.fromarray(picture).quantize(256, dither=Image.Dither.NONE).save(args.output, optimize=True)
    print(f"wrote {args.output}")


def make_row(path: Path) -> np.ndarray:
    """Frames of the first episode of a recording, next to each other, uint8 (h, w, 3)."""
    data = open_trajectories(path)
    ends = np.flatnonzero(data.episode_starts[0, 1:])
    if (ends[0] + 1 if len(ends) else data.frames.shape[1]) < COLUMNS * EVERY:
        raise InputError(
            f"the first episode of {path} has fewer than {COLUMNS * EVERY} frames: record another"
        )
    frames = [data.frames[0, EVERY * i].transpose(1, 2, 0) for i in range(COLUMNS)]
    resized = [np.asarray(Image.fromarray(frame).resize((WIDTH, HEIGHT), Image.LANCZOS)) for frame in frames]
    padded = [np.pad(frame, ((0, MARGIN), (0, MARGIN), (0, 0)), constant_values=255) for frame in resized]
    return np.concatenate(padded, axis=1)


if __name__ == "__main__":
    run_script(main)
