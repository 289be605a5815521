"""Trains the two small networks that play uses beside the world model, in a few minutes on two CPU cores.

    python sd/train_play_networks.py --trajectories output/recording.npz --output-dir output/sd     # the model's folder
    python sd/train_play_networks.py --trajectories FILE --agent-path ppo/pretrained/agent.pt --output-dir output/sd

Writes laps.npz, a probe of where the kart is along the track, with which play_sd.py counts and times laps: for
recordings with `truth/place`, and for the recorded track alone. With --agent-path it also writes agent.npz, a thirtieth
of the agent's size, which has learned to choose as the agent does in the recorded frames (distillation); with it Tab
lets the agent drive without PyTorch. The agent itself, in 3 MB, is exported by sd/export_sd.py --agent-path.
"""

import argparse
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import dream  # noqa: F401  first: it reports packages that are missing
import numpy as np
import torch
import torch.nn.functional as F
from dream.common.agent_view import OBS_SIZE, preprocess_frame
from dream.common.errors import InputError, run_script
from dream.common.files import check_no_file_above
from dream.common.limits import STACK
from dream.common.progress import progress_bar
from dream.common.runs import seed_everything
from dream.common.startup import ArgumentParser
from dream.data.splits import split_episodes, window_starts
from dream.data.trajectories import Trajectories, open_trajectories
from dream.inference import probe
from dream.inference.input_files import check_kind
from dream.inference.select_backend import EXPORT_NEEDS, has_modules
from dream.models.agent import Agent, load_agent
from dream.models.view_network import ViewNetwork
from torch import Tensor

BATCH = 64
LEARNING_RATE = 2e-3
NOISE = 12.0  # maximum standard deviation, levels of 0-255
STILL_FRACTION = 0.1  # of the samples repeat one frame, as the first observation after a restart does
VALIDATION_WINDOWS = 4096

Loss = Callable[[Tensor, Tensor], Tensor]  # outputs and labels (B, n) -> a number


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trajectories", type=Path, required=True, metavar="FILE",
                        help="recording of the model's game and track")  # fmt: skip
    parser.add_argument("--output-dir", type=Path, required=True, metavar="DIR", help="folder of the model")
    parser.add_argument("--agent-path", type=Path, metavar="FILE",
                        help="best.pt of ppo/train_ppo.py (default: no agent.npz)")  # fmt: skip
    parser.add_argument("--steps", type=int, default=3000, help=f"of {BATCH} samples (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers (default: %(default)s)")
    args = parser.parse_args(argv)
    if args.steps < 1 or args.seed < 0:
        parser.error("--steps must be 1 or more, --seed 0 or more")
    return args


def recorded_views(data: Trajectories) -> Tensor:
    """The agent's view of every frame, uint8 (N, T, OBS_SIZE, OBS_SIZE)."""
    N, T = data.actions.shape
    views = torch.empty(N, T, OBS_SIZE, OBS_SIZE, dtype=torch.uint8)
    for row in progress_bar(range(N), desc="reading frames", unit="row"):
        for t, frame_u8 in enumerate(data.frames[row]):
            views[row, t] = torch.from_numpy(preprocess_frame(frame_u8.transpose(1, 2, 0)))
    return views


class Windows:
    """Observations of a recording at random moments of a mask, with their labels."""

    def __init__(self, data: Trajectories, views: Tensor, mask: np.ndarray) -> None:
        """mask: bool (N, T). Raises InputError if it holds no STACK frames in a row."""
        self.views, self.starts = views, torch.from_numpy(window_starts(data.episode_starts, mask, STACK))
        if len(self.starts) == 0:
            raise InputError(f"no {STACK} frames in a row between two resets: record longer episodes")

    def at(self, chosen: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Views uint8 (B, STACK, OBS_SIZE, OBS_SIZE) of windows `chosen` int64 (B,), and the labels (N, T, n) of their
        last frames, (B, n)."""
        rows, times = self.starts[chosen].T
        views = self.views[rows[:, None], times[:, None] + torch.arange(STACK)]
        return views, labels[rows, times + STACK - 1]

    def spread(self, count: int) -> Tensor:
        """At most `count` windows int64 (M,), evenly spaced."""
        return torch.linspace(0, len(self.starts) - 1, min(count, len(self.starts))).round().long()


def train(windows: Windows, labels: Tensor, loss: Loss, steps: int, desc: str) -> ViewNetwork:
    """Trains a network to labels (N, T, n) for `steps` steps (AdamW, cosine learning rate).

    Observations are noisy copies, because generated frames differ from recorded ones."""
    network = ViewNetwork(labels.shape[-1])
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    pool = NOISE * torch.randn(
        2 * BATCH * STACK, OBS_SIZE, OBS_SIZE
    )  # drawing new noise would take half the time
    bar = progress_bar(range(steps), desc=desc, unit="step")
    for _ in bar:
        views, targets = windows.at(torch.randint(len(windows.starts), (BATCH,)), labels)
        views = torch.where(torch.rand(BATCH, 1, 1, 1) < STILL_FRACTION, views[:, -1:], views).float()
        offset = int(torch.randint(BATCH * STACK, ()))
        noise = pool[offset : offset + BATCH * STACK].view_as(views)
        value = loss(network(torch.addcmul(views, noise, torch.rand(BATCH, 1, 1, 1))), targets)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        schedule.step()
        bar.set_postfix(loss=f"{value.item():.4f}", refresh=False)
    return network.eval().requires_grad_(False)


def train_lap_probe(data: Trajectories, windows: list[Windows], steps: int) -> ViewNetwork:
    """Trains the probe: views -> (cos, sin) of the place. windows: to train and to validate. Prints its mean error."""
    angle = 2 * math.pi * torch.from_numpy(np.array(data.extras["truth/place"], np.float32))
    labels = torch.stack([angle.cos(), angle.sin()], dim=-1)
    network = train(windows[0], labels, partial(F.smooth_l1_loss, beta=0.1), steps, "lap probe")
    outputs, wanted = predict(network, windows[1], labels)
    cross, dot = outputs[:, 0] * wanted[:, 1] - outputs[:, 1] * wanted[:, 0], (outputs * wanted).sum(dim=1)
    errors = torch.atan2(cross, dot).abs() / (2 * math.pi)
    outliers = (errors > 0.08).float().mean()
    print(
        f"lap probe, held-out episodes: mean error {errors.mean():.2%} of a lap, above 8 % in {outliers:.1%}"
    )
    return network


def distill_agent(agent: Agent, windows: list[Windows], shape: tuple[int, int], steps: int) -> ViewNetwork:
    """Trains a small network to the agent's logits. windows: to train and to validate. shape: N, T. Prints how often
    both prefer the same action."""
    labels = torch.zeros(*shape, len(agent.action_names))
    for each in windows:
        for part in progress_bar(torch.arange(len(each.starts)).split(BATCH), desc="logits", unit="batch"):
            rows, times = each.starts[part].T
            with torch.no_grad():
                labels[rows, times + STACK - 1] = agent(each.at(part, labels)[0])

    def loss(outputs: Tensor, wanted: Tensor) -> Tensor:
        return F.cross_entropy(outputs, wanted.softmax(dim=1))

    network = train(windows[0], labels, loss, steps, "agent")
    outputs, wanted = predict(network, windows[1], labels)
    same = (outputs.argmax(dim=1) == wanted.argmax(dim=1)).float().mean()
    print(f"agent, held-out episodes: the small network prefers the same action in {same:.1%} of the frames")
    return network


@torch.no_grad()
def predict(network: ViewNetwork, windows: Windows, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs of the network and labels, both (M, n), for evenly spaced windows."""
    batches = [windows.at(part, labels) for part in windows.spread(VALIDATION_WINDOWS).split(BATCH)]
    return torch.cat([network(views) for views, _ in batches]), torch.cat([wanted for _, wanted in batches])


def main(args: argparse.Namespace) -> None:
    if args.agent_path:
        check_kind("--agent-path", args.agent_path, "agent")
    if not has_modules(*EXPORT_NEEDS):
        raise InputError(f"to export the networks, pip install {' '.join(EXPORT_NEEDS)}")
    check_no_file_above(args.output_dir / "laps.npz")
    probe.try_export_packages()  # a crash in this process would be without a word
    from dream.inference.export_network import export_network

    print(f"seed {args.seed}")
    seed_everything(args.seed)
    data = open_trajectories(args.trajectories)
    data.print_assumptions()
    place = data.extras.get("truth/place")
    if place is None and not args.agent_path:
        raise InputError(f"{args.trajectories} has no truth/place: record Mode7Kart, or give --agent-path")
    if place is not None and (place.shape != data.actions.shape or not np.isfinite(place).all()):
        raise InputError(
            f"{args.trajectories}: truth/place is not one finite number a frame: record it again"
        )
    agent = load_agent(args.agent_path, data.action_names) if args.agent_path else None
    views = recorded_views(data)
    windows = [Windows(data, views, mask) for mask in split_episodes(data, seed=args.seed)]
    if place is not None:
        network = train_lap_probe(data, windows, args.steps)
        export_network(network, "laps", args.output_dir / "laps.npz")
        print(f"wrote {args.output_dir / 'laps.npz'}")
    if agent:
        seed_everything(args.seed)  # the same agent.npz with and without a lap probe
        network = distill_agent(agent, windows, data.actions.shape, args.steps)
        export_network(network, "agent", args.output_dir / "agent.npz", data.action_names)
        print(f"wrote {args.output_dir / 'agent.npz'}")


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
