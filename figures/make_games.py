"""Makes figures/games.png: other games after some minutes of `make mine`, next to each other, the game above the model.

python figures/make_games.py output/ALE-Breakout-v5 output/MiniGrid-Empty-8x8-v0 ...     # folders of `make mine`

Of each run one held-out window is shown: of those with as many frames after it, the one at three quarters of the
order by motion. The model generates all its frames, under the recorded actions.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "sd"))
from dream.common.errors import InputError, run_script  # noqa: E402
from dream.data.splits import held_out_masks, window_starts  # noqa: E402
from dream.data.trajectories import Trajectories, open_trajectories  # noqa: E402
from dream.inference.select_backend import load_backend  # noqa: E402
from dream.inference.world_model_env import WorldModelEnv  # noqa: E402
from PIL import Image  # noqa: E402

AFTER = (2, 8, 16)  # frames after the last one that the model is given
HEIGHT, MARGIN, GAP = 110, 4, 16  # pixels; the gap is between games
CONTEXT, MOTION_QUANTILE = 4, 0.75


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--output", type=Path, default=HERE / "games.png", metavar="FILE")
    args = parser.parse_args()
    strips = [make_strip(folder) for folder in args.folders]
    columns = [np.pad(strip, ((0, 0), (0, GAP - MARGIN), (0, 0)), constant_values=255) for strip in strips]
    picture = np.concatenate(columns, axis=1)[:-MARGIN, :-GAP]
    Image.fromarray(picture).quantize(256, dither=Image.Dither.NONE).save(args.output, optimize=True)
    print(f"wrote {args.output}")


def make_strip(folder: Path) -> np.ndarray:
    """The game's frames above those of the model, uint8 (h, w, 3)."""
    data, model = open_trajectories(folder / "recording.npz"), folder / "model" / "final.pt"
    backend = load_backend(model.with_name("decoder.pt"), model)
    env = WorldModelEnv.load(backend, model.with_name("initial_sequence.npz"), seed=0)
    latents = np.load(model.with_name("latents.npy"), mmap_mode="r", allow_pickle=False)
    row, t = choose_window(data)
    env.reset_to(np.asarray(latents[row, t : t + CONTEXT], np.float32), data.actions[row, t : t + CONTEXT])
    last = t + CONTEXT - 1
    generated = [env.step(int(action)) for action in data.actions[row, last : last + AFTER[-1]]]
    recorded = [data.frames[row, last + after].transpose(1, 2, 0) for after in AFTER]
    return np.concatenate([join(recorded), join([generated[after - 1] for after in AFTER])])


def choose_window(data: Trajectories) -> tuple[int, int]:
    """Row and t of the first of CONTEXT held-out frames."""
    _, held_out = held_out_masks(data, [0])
    starts = window_starts(data.episode_starts, held_out, CONTEXT + AFTER[-1])
    if len(starts) == 0:
        raise InputError(f"no held-out episode of {CONTEXT + AFTER[-1]} frames: record more")
    motion = [np.abs(np.diff(data.frames[row, t + CONTEXT : t + CONTEXT + 16 : 4].astype(np.int16), axis=0)).mean()
              for row, t in starts]  # fmt: skip
    return tuple(starts[np.argsort(motion, kind="stable")[int(MOTION_QUANTILE * (len(starts) - 1))]])


def join(frames: list[np.ndarray]) -> np.ndarray:
    """Frames next to each other, all of the height HEIGHT, with white margins."""
    height, width = frames[0].shape[:2]
    size = (round(HEIGHT * width / height), HEIGHT)
    resized = [np.asarray(Image.fromarray(frame).resize(size, Image.LANCZOS)) for frame in frames]
    padded = [np.pad(frame, ((0, MARGIN), (0, MARGIN), (0, 0)), constant_values=255) for frame in resized]
    return np.concatenate(padded, axis=1)


if __name__ == "__main__":
    run_script(main)
