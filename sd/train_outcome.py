"""Adds rewards to a world model that was trained without: trains its outcome model alone, in minutes.

    python sd/train_outcome.py --trajectories FILE --model-path output/sd/final.pt --output output/sd/rewarded.pt

The recording is one of the same game, with rewards. The networks that generate frames stay as they are; the outcome
model learns from contexts that they generate along the recorded actions, since those are what it sees in play. With
rewards, agents can learn in the model (dream_env.py). New models need no such step: train_sd.py trains both.
The encoded recording is kept next to the output, in a folder that ends in .latents, for another run.
"""

import argparse
import time
from pathlib import Path

import dream  # noqa: F401  first: it reports packages that are missing
import torch
from dream.common.distributed import Distributed
from dream.common.errors import InputError, run_script
from dream.common.files import check_no_file_above
from dream.common.progress import progress_bar
from dream.common.runs import autocast, pick_device, save_checkpoint, seed_everything
from dream.common.startup import ArgumentParser, command_line, script_began
from dream.data.latents import encode_recording, gather_windows
from dream.data.splits import split_episodes, train_windows
from dream.data.trajectories import (
    Trajectories,
    open_trajectories,
    read_rewards,
    recording_fingerprint,
    recording_prefix_fingerprint,
)
from dream.evaluation.outcome_quality import reward_errors
from dream.models.checkpoints import load_world_model, outcome_checkpoint
from dream.models.outcome import OutcomeConfig, OutcomeModel
from dream.models.rollout import sample_next_latent
from dream.models.unet import UNet
from dream.training.outcome import OutcomeTraining, has_outcomes
from dream.training.rollout_pool import RolloutPool
from dream.training.schedule import learning_rate
from dream.training.setup import load_frozen_autoencoder

BATCH = 16
LEARNING_RATE = 1e-3
ROLLOUT_LENGTH = 32.0  # frames, on average
STEPS_PER_FRAME = 4  # of the outcome model, on samples of the pool, for each batch of generated frames
VALIDATION_WINDOWS = 512


def parse_args(argv=None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--trajectories", type=Path, required=True, metavar="FILE", help="recording with rewards"
    )
    parser.add_argument("--model-path", type=Path, required=True, metavar="FILE",
                        help="diffusion model, with encoder.pt and decoder.pt next to it")  # fmt: skip
    parser.add_argument("--output", type=Path, required=True, metavar="FILE",
                        help="where to write the model with rewards")  # fmt: skip
    parser.add_argument("--max-minutes", type=float, default=15, metavar="N",
                        help="time of the whole script (default: %(default)s)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers (default: %(default)s)")
    parser.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda"), help="(default: %(default)s)"
    )
    args = parser.parse_args(argv)
    if not args.max_minutes > 0 or args.seed < 0:
        parser.error("--max-minutes must be above 0, --seed 0 or more")
    return args


def main(args: argparse.Namespace) -> None:
    # set-up
    device = pick_device(args.device)
    check_no_file_above(args.output)
    if not args.output.with_name("decoder.pt").is_file():
        raise InputError(f"--output {args.output}: write into the model's folder, {args.model_path.parent}: a model "
                         "needs the decoder.pt and the start states next to it")  # fmt: skip
    data = open_trajectories(args.trajectories)
    data.print_assumptions()
    decoder, unet, game, checkpoint = load_world_model(
        args.model_path.with_name("decoder.pt"), args.model_path
    )
    if tuple(game.action_names) != tuple(data.action_names):
        raise InputError(
            f"{args.trajectories} has other actions than the model: {', '.join(data.action_names)}"
        )
    if not has_outcomes(data):
        raise InputError(f"{args.trajectories} has no rewards, or all are the same: record a game that has")
    encoder, decoder, autoencoder = load_frozen_autoencoder(args.model_path.parent, data, device)
    if autoencoder != checkpoint["autoencoder"]:
        raise InputError(f"{args.model_path} was trained with another autoencoder than that next to it")
    unet = unet.to(device, memory_format=torch.channels_last).attach_autoencoder(encoder, decoder)
    seed_everything(args.seed)

    # data
    end_s, L = script_began() + 60 * args.max_minutes, unet.config.context
    train_mask, validation_mask = split_episodes(data, seed=args.seed)
    starts, held_out = train_windows(data, train_mask, L), train_windows(data, validation_mask, L)
    folder = args.output.parent / f"{args.output.stem}.latents"
    encoded = encode_recording(data, encoder, autoencoder, folder, device, end_s - time.monotonic())
    latents = torch.from_numpy(encoded)

    # training: the outcome model on contexts of the pool, which the frozen networks move on
    generator = torch.Generator().manual_seed(args.seed)
    config = OutcomeConfig(data.num_actions, unet.config.latent_channels, L)
    training = OutcomeTraining(data, latents, train_mask, starts, config, device, generator)
    pool = RolloutPool(latents, torch.from_numpy(data.actions), starts, BATCH, L, device, generator)
    pool.mean_length = ROLLOUT_LENGTH
    dist, began_s, step, progress = Distributed.open(device, BATCH), time.monotonic(), 0, 0.0
    bar = progress_bar(desc="training", unit="step")
    try:
        while progress < 1:
            move_on(pool, unet, checkpoint["steps"], generator)
            for _ in range(STEPS_PER_FRAME):
                rate = learning_rate(LEARNING_RATE, progress, step)
                metrics = training.train_step(pool.sample_batch(), rate, dist)
                step += 1
            bar.set_postfix(reward_error=f"{metrics['loss/reward']:.3f}", refresh=False)
            bar.update(STEPS_PER_FRAME)
            progress = (time.monotonic() - began_s) / max(end_s - began_s, 1e-6)
    except KeyboardInterrupt:
        print("stopped: what has been learned so far is written")
    bar.close()

    # result
    run = {"recording": recording_fingerprint(data), "seed": args.seed,
           "prefix_fingerprint": recording_prefix_fingerprint(data)}  # fmt: skip
    runs = [*checkpoint.get("training_runs", []), run]
    save_checkpoint(
        {**checkpoint, "outcome": outcome_checkpoint(training.model), "training_runs": runs}, args.output
    )
    print(f"wrote {args.output}: {step} steps")
    scores = validate(training.model.eval(), data, latents, held_out)
    print(
        f"rewards of held-out episodes, real contexts: correlation {scores['correlation'] or 0:.3f}, RMSE "
        f"{scores['rmse']:.3g} (of the mean reward {scores['rmse_of_mean']:.3g}), {scores['windows']} windows"
    )
    if not scores["rmse"] < scores["rmse_of_mean"]:
        print("warning: it predicts rewards no better than their mean: give it more --max-minutes")
    print("next: " + command_line("sd/export_sd.py", "--model-path", args.output.as_posix()))


@torch.no_grad()
def move_on(pool: RolloutPool, unet: UNet, steps: int, generator: torch.Generator) -> None:
    """Generates the next frames of a batch of the pool's rollouts."""
    batch = pool.sample_batch()
    noise = torch.randn(batch.target.shape, generator=generator).to(pool.device)
    with autocast(pool.device):
        latent = sample_next_latent(unet, batch.context, batch.actions, noise, steps)
    pool.update(batch.slots, latent.float(), torch.ones(BATCH, dtype=torch.bool))


@torch.no_grad()
def validate(model: OutcomeModel, data: Trajectories, latents: torch.Tensor, windows: torch.Tensor) -> dict:
    """Errors of the rewards predicted from the real contexts of windows int64 (M, 2), of at most VALIDATION_WINDOWS."""
    device, L = model.reward_mean.device, model.config.context
    chosen = windows[torch.linspace(0, len(windows) - 1, min(VALIDATION_WINDOWS, len(windows))).long()]
    predicted = []
    for part in chosen.split(BATCH):
        context, actions = gather_windows(latents, torch.from_numpy(data.actions), part, L, device)
        predicted.append(model(context, actions).reward.cpu())
    rewards = torch.from_numpy(read_rewards(data))[chosen[:, 0], chosen[:, 1] + L - 1]
    return reward_errors(torch.cat(predicted), rewards)


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
