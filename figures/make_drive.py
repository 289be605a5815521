"""Writes keys for play_sd.py: those that the trained agent presses when it is put before the dream, not the game.

python figures/make_drive.py --start 0 --frames 150 --output sd/pretrained/drive.txt
python figures/make_drive.py --start 4 --frames 80 --then "forward+left 25" --then "nothing 45" --output my_drive.txt
"""

import argparse
import itertools
import sys
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "sd"))
from dream.common.errors import run_script  # noqa: E402
from dream.inference.select_backend import load_backend  # noqa: E402
from dream.inference.world_model_env import WorldModelEnv  # noqa: E402
from dream.models.agent import load_agent  # noqa: E402

PRETRAINED = HERE.parent / "sd" / "pretrained"


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--start", type=int, default=0, help="place to begin from (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=150, help="of the agent (default: %(default)s)")
    parser.add_argument(
        "--then", action="append", default=[], metavar="KEYS", help="lines to add, as they stand"
    )
    parser.add_argument("--seed", type=int, default=0, help="of dream and agent (default: %(default)s)")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    engine = load_backend(PRETRAINED / "decoder.pt", PRETRAINED / "model.pt")
    dream = WorldModelEnv.load(engine, PRETRAINED / "initial_sequence.npz", args.seed)
    agent = load_agent(HERE.parent / "ppo" / "pretrained" / "agent.pt", dream.action_names)
    generator = torch.Generator().manual_seed(args.seed)
    context, before = dream.places.latents[args.start], dream.places.actions[args.start]
    for latent in context:
        seen = engine.begin(np.broadcast_to(latent, context.shape), before).rgb
        agent.observe(torch.from_numpy(seen)[None])
    dream.reset(args.start)
    pressed = []
    for _ in range(args.frames):
        action = int(agent.act(generator))
        agent.observe(torch.from_numpy(dream.step(action))[None])
        pressed.append(dream.action_names[action])
    lines = [f"# From place {args.start}: {args.frames} frames as the trained agent drove them in this dream"]
    lines += [f"{name} {len(list(run))}" for name, run in itertools.groupby(pressed)]
    args.output.write_text("\n".join([*lines, *args.then]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
