"""Trains an agent by behaviour cloning: it imitates the actions of a recording. The baseline of agents that learn.

python ppo/train_cloning.py --trajectories output/recording.npz --output output/cloned.pt
python ppo/evaluate_ppo.py --agent cloned=output/cloned.pt learned=output/agent/best.pt

The network is that of train_ppo.py; its loss is the cross-entropy of the recorded actions (Pomerleau 1991). A tenth of
the recording is held out, and the epoch with the smallest loss there is kept. Takes about a minute per 10,000 frames.
"""

import argparse
import json
from pathlib import Path
from typing import Tuple

import player  # noqa: F401  first: it reports packages that are missing
import numpy as np
import torch
import torch.nn.functional as F
from player.common.agent_view import OBS_SIZE, preprocess_frame
from player.common.errors import InputError, refuse_damaged, run_script
from player.common.progress import progress_bar
from player.common.runs import pick_device, save_checkpoint, seed_everything
from player.common.startup import ArgumentParser, command_line
from player.rl.agent import STACK, Agent, AgentConfig, agent_checkpoint
from torch import Tensor

HELD_OUT_FRACTION = 0.1


def parse_args(argv=None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = "(default: %(default)s)"
    parser.add_argument("--trajectories", type=Path, required=True, metavar="FILE", help="the recording")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("output", "cloned.pt"),
        metavar="FILE",
        help=f"the agent {default}",
    )
    parser.add_argument("--epochs", type=int, default=10, help=f"passes over the recording {default}")
    parser.add_argument("--batch-size", type=int, default=256, help=f"steps {default}")
    parser.add_argument("--learning-rate", type=float, default=3e-4, help=default)
    parser.add_argument("--seed", type=int, default=0, help=f"seed of all random numbers {default}")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help=default)
    args = parser.parse_args(argv)
    if min(args.epochs, args.batch_size) < 1 or args.seed < 0 or args.learning_rate <= 0:
        parser.error(
            "--epochs and --batch-size must be at least 1, --seed at least 0, --learning-rate above 0"
        )
    return args


def main(args: argparse.Namespace) -> None:
    device = pick_device(args.device)
    seed_everything(args.seed)
    views, actions, first_steps, config = load_recording(args.trajectories)
    N, T = actions.shape
    num_held_out = max(1, round(HELD_OUT_FRACTION * N)) if N > 1 else 0
    steps = torch.arange(N * T).view(N, T)
    training, held_out = steps[: N - num_held_out].flatten(), steps[N - num_held_out :].flatten()
    if not num_held_out:  # one row: its end
        training, held_out = steps.flatten().tensor_split([round((1 - HELD_OUT_FRACTION) * T)])
    if not len(training) or not len(held_out):
        raise InputError(f"{args.trajectories} has {N * T} steps: too few to hold some of them out")
    agent = Agent(config).to(device)
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)
    generator = torch.Generator().manual_seed(args.seed)
    majority = actions.flatten()[held_out].bincount().max().item() / len(held_out)
    print(f"{len(training)} steps to train on, {len(held_out)} held out, seed {args.seed}, {device}")

    def batch_loss(numbers: Tensor) -> Tuple[Tensor, Tensor]:
        """Cross-entropy (B,) of the steps with these numbers (B,), and whether the likeliest action is the recorded."""
        logits, _ = agent(stack_views(views, first_steps, numbers).to(device))
        recorded = actions.flatten()[numbers].to(device)
        return F.cross_entropy(logits, recorded, reduction="none"), logits.argmax(dim=1) == recorded

    best_loss = float("inf")
    for epoch in range(args.epochs):
        batches = training[torch.randperm(len(training), generator=generator)].split(args.batch_size)
        for numbers in progress_bar(batches, desc=f"epoch {epoch + 1}", unit="batch", leave=False):
            loss = batch_loss(numbers)[0].mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            parts = [batch_loss(numbers) for numbers in held_out.split(args.batch_size)]
        held_out_loss, accuracy = (torch.cat(each).float().mean().item() for each in zip(*parts))
        print(
            f"epoch {epoch + 1}: held-out loss {held_out_loss:.3f} nats, accuracy {accuracy:.1%} "
            f"(most frequent action {majority:.1%})"
        )
        if held_out_loss < best_loss:
            best_loss = held_out_loss
            save_checkpoint(agent_checkpoint(agent), args.output)
    if best_loss == float("inf"):
        raise InputError("the loss is not finite: lower --learning-rate")
    print("next: " + command_line("ppo/evaluate_ppo.py", "--agent", args.output.as_posix()))


def load_recording(path: Path) -> Tuple[Tensor, Tensor, Tensor, AgentConfig]:
    """The agent's views of a recording's frames, uint8 (N, T, OBS_SIZE, OBS_SIZE); actions, int64 (N, T); for each step
    the first step of its episode in its row, int64 (N, T); and what the agent's checkpoint needs to know of the game.

    Raises InputError if the file is missing, damaged, or not of record_trajectories.py.
    """
    if not path.is_file():
        raise InputError(f"no recording at {path}: ppo/record_trajectories.py makes one")
    with refuse_damaged(path, "copy or record it again"):
        with np.load(str(path), allow_pickle=False) as file:
            if not {"frames", "actions", "action_names", "meta"} <= set(file.files):
                raise InputError(
                    f"{path} is not a recording of ppo/record_trajectories.py: it has {file.files}"
                )
            names, meta = tuple(map(str, file["action_names"])), json.loads(file["meta"].item())
            frames, actions = file["frames"], file["actions"].astype(np.int64)
            starts = (
                file["episode_starts"] if "episode_starts" in file.files else np.zeros(actions.shape, bool)
            )
        if frames.ndim != 5 or frames.shape[:2] != actions.shape or starts.shape != actions.shape:
            raise ValueError(f"frames {frames.shape}, actions {actions.shape}")
        if (
            frames.dtype != np.uint8
            or frames.shape[2] != 3
            or not 0 <= actions.min() <= actions.max() < len(names)
        ):
            raise ValueError(f"frames {frames.dtype} {frames.shape}, actions up to {actions.max()}")
        settings = {"max_frames": meta.get("max_frames", 1), "game_settings": meta.get("game_settings", {})}
        config = AgentConfig(len(names), names, str(meta["game"]), int(meta["frame_skip"]), **settings)
    N, T = actions.shape
    views = np.empty((N, T, OBS_SIZE, OBS_SIZE), np.uint8)
    for row in progress_bar(range(N), desc="reading", unit="row", leave=False):
        for t in range(T):
            views[row, t] = preprocess_frame(frames[row, t].transpose(1, 2, 0))
    first_steps = np.maximum.accumulate(np.where(starts, np.arange(T), 0), axis=1)
    return torch.from_numpy(views), torch.from_numpy(actions), torch.from_numpy(first_steps), config


def stack_views(views: Tensor, first_steps: Tensor, numbers: Tensor) -> Tensor:
    """Stacks uint8 (B, STACK, OBS_SIZE, OBS_SIZE) as FrameStack makes them. numbers: int64 (B,), of the steps, row by
    row; views and first_steps: of `load_recording`."""
    T = views.shape[1]
    rows, times = numbers // T, numbers % T
    before = times[:, None] - torch.arange(STACK - 1, -1, -1)  # (B, STACK), oldest first
    return views[rows[:, None], before.maximum(first_steps[rows, times][:, None])]


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
