"""Writes a key file for play_sd.py: the actions of the PPO agent when it plays the world model instead of the game.

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
    parser.add_argument("--start", type=int, default=0, help="start state (default: %(default)s)")
    parser.add_argument(
        "--frames", type=int, default=150, help="frames that the agent plays (default: %(default)s)"
    )
    parser.add_argument(
        "--then", action="append", default=[], metavar="KEYS", help="lines to append to the file"
    )
    parser.add_argument("--seed", type=int, default=0, help="of world model and agent (default: %(default)s)")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    backend = load_backend(PRETRAINED / "decoder.pt", PRETRAINED / "model.pt")
    env = WorldModelEnv.load(backend, PRETRAINED / "initial_sequence.npz", args.seed)
    agent = load_agent(HERE.parent / "ppo" / "pretrained" / "agent.pt", env.action_names)
    generator = torch.Generator().manual_seed(args.seed)
    context, actions = env.start_states.latents[args.start], env.start_states.actions[args.start]
    for latent in context:
        frame_u8 = backend.init_state(np.broadcast_to(latent, context.shape), actions).rgb
        agent.observe(torch.from_numpy(frame_u8)[None])
    env.reset(args.start)
    names = []
    for _ in range(args.frames):
        action = int(agent.act(generator))
        agent.observe(torch.from_numpy(env.step(action))[None])
        names.append(env.action_names[action])
    lines = [
        f"# From start state {args.start}: {args.frames} frames played by the PPO agent in this world model"
    ]
    lines += [f"{name} {len(list(run))}" for name, run in itertools.groupby(names)]
    args.output.write_text("\n".join([*lines, *args.then]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
