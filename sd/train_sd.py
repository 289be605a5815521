"""Trains the latent diffusion model: the next frame of a game from the last four frames and actions.

    python sd/train_sd.py --trajectories ppo/checkpoints/RUN/trajectories.npz --max-minutes 45
    python sd/train_sd.py --trajectories FILE --epochs 1 --epoch-samples 32      # tiny: seconds
    python sd/train_sd.py --trajectories FILE --max-minutes 90 --resume          # continues, 90 minutes in all

Needs the encoder.pt and decoder.pt of train_autoencoder.py. Writes into --output-dir: best.pt and, at the end,
final.pt (the model), copies of encoder.pt and decoder.pt, initial_sequence.npz (start states for play_sd.py),
last.pt (to resume from), metrics.csv, curves for tensorboard, previews/ and latents.npy (the encoded recording)."""

import argparse
import shlex
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import dream  # noqa: F401  first: it reports packages that are missing
import torch
from dream.common.device import cache_on_device, to_device
from dream.common.distributed import Distributed
from dream.common.errors import run_script
from dream.common.game_info import GameInfo, read_environment
from dream.common.limits import MAX_STEPS
from dream.common.runs import (
    MetricsLog,
    autocast,
    exclusive_run,
    load_resume_state,
    pick_device,
    save_checkpoint,
    seed_everything,
)
from dream.common.startup import ArgumentParser
from dream.data.latents import encode_recording
from dream.data.splits import split_episodes, train_windows
from dream.data.start_states import save_start_states
from dream.data.trajectories import open_trajectories, recording_prefix_fingerprint
from dream.evaluation.previews import save_previews
from dream.evaluation.validation import ValidationSet, validate, validation_set
from dream.models.autoencoder import Decoder
from dream.models.checkpoints import autoencoder_checkpoint, model_checkpoint
from dream.models.flow import GROUP_SIZE
from dream.models.unet import PREDICTION_TYPES
from dream.training.adversarial import AdversarialLoss
from dream.training.loop import TrainingLoop
from dream.training.losses import denoiser_loss, flow_pretraining_loss, flow_targets, warp_and_flow_loss
from dream.training.noise import add_training_noise
from dream.training.optimizer import OPTIMIZERS
from dream.training.options import SD_DIR, add_training_options, check_training_options
from dream.training.rollout_pool import RolloutPool
from dream.training.schedule import Schedule, learning_rate
from dream.training.setup import fixed_settings, load_frozen_autoencoder, make_unet
from dream.training.train_state import TrainState

# A new model trains on real contexts alone for this fraction of the budget, without the adversarial loss.
ROLLOUTS_FROM = 0.25


def parse_args(argv=None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    groups = add_training_options(parser, "output_sd", 100, "windows", batch_size=16, rate=1e-3)
    paths, learning = groups["paths"], groups["learning"]
    # fmt: off
    paths.add_argument("--autoencoder-dir", default=SD_DIR / "output_autoencoder", metavar="DIR",
                       help="folder of encoder.pt and decoder.pt (default: %(default)s)")
    paths.add_argument("--init-from", metavar="FILE", help="a best.pt or final.pt whose weights a new run starts with")
    learning.add_argument("--flow-pretrain", type=float, metavar="FRACTION",
                          help="fraction of the budget in which the optical flow is trained alone (default: 0.1, with "
                          "--init-from 0)")
    learning.add_argument("--rollout-length", type=float, default=64, metavar="FRAMES",
                          help="mean length of the model's own rollouts that it is trained on (0: train on real "
                          "contexts only, default: %(default)s)")
    learning.add_argument("--rollout-length-start", type=float, default=1, metavar="FRAMES",
                          help="the rollout length grows from this value; with --init-from a model that was trained on "
                          "long rollouts, give the number of --rollout-length (default: %(default)s)")
    learning.add_argument("--off-data", type=float, default=0.5, metavar="FRACTION",
                          help="fraction of the ending rollouts that continue under actions that were not recorded "
                          "there, trained by the discriminator alone (default: %(default)s; 0 without discriminator)")
    learning.add_argument("--gan-weight", type=float, default=0.4, metavar="WEIGHT",
                          help="size of the adversarial gradient relative to that of the other losses (0: no "
                          "discriminator, default: %(default)s)")
    learning.add_argument("--pure-noise-fraction", type=float, default=0.8, metavar="FRACTION",
                          help="fraction of the windows trained at timestep 1 (pure noise), where one-step sampling "
                          "starts (default: %(default)s)")
    learning.add_argument("--optimizer", default="muon", choices=OPTIMIZERS,
                          help="optimizer of the hidden convolutions; AdamW trains the other weights (default: "
                          "%(default)s)")
    model = parser.add_argument_group("model (with --resume and --init-from: as the given model has it)")
    model.add_argument("--sampling-steps", type=int, default=1,
                       help="denoising steps per frame, in play too (default: %(default)s)")
    model.add_argument("--channels", type=int, nargs="+", metavar="C",
                       help="channels at 1/2, then 1/4 of the latent's resolution, multiples of 16 (default: 96 192)")
    model.add_argument("--flow", action=argparse.BooleanOptionalAction,
                       help="predict a residual on the warped last frame, not on the last frame (default: --flow)")
    model.add_argument("--prediction-type", choices=PREDICTION_TYPES,
                       help="x0: denoise; regression: predict without any noise input (default: x0)")
    # fmt: on
    args = parser.parse_args(argv)
    check_training_options(parser, args)
    if args.flow_pretrain is None:
        args.flow_pretrain = 0.0 if args.init_from else 0.1
    if not 1 <= args.sampling_steps <= MAX_STEPS:
        parser.error(f"--sampling-steps must be from 1 to {MAX_STEPS}")
    if len(args.channels or ()) > 2 or any(c < GROUP_SIZE or c % GROUP_SIZE for c in args.channels or ()):
        parser.error(f"--channels wants one or two multiples of {GROUP_SIZE}")
    if not (0 <= args.flow_pretrain < 1 and 0 <= args.off_data <= 1 and 0 <= args.pure_noise_fraction <= 1):
        parser.error("--flow-pretrain, --off-data and --pure-noise-fraction must lie between 0 and 1")
    if args.gan_weight < 0 or args.rollout_length < 0:
        parser.error("--gan-weight and --rollout-length must be at least 0")
    if args.rollout_length and not 1 <= args.rollout_length_start <= args.rollout_length:
        parser.error("--rollout-length-start must lie between 1 and --rollout-length")
    if args.rollout_length_start > 1 and not (args.init_from or args.resume):
        parser.error(
            "--rollout-length-start above 1 needs --init-from: a new model learns nothing from long rollouts"
        )
    if args.gan_weight == 0:
        args.off_data = 0.0
    return args


@exclusive_run
def main(args: argparse.Namespace) -> None:
    # set-up
    device = pick_device(args.device)
    dist = Distributed.open(device, args.batch_size)
    run_dir = Path(args.output_dir)
    data = open_trajectories(args.trajectories)
    data.print_assumptions()
    encoder, decoder, autoencoder = load_frozen_autoencoder(args.autoencoder_dir, data, device)
    must_match = fixed_settings(args, data, autoencoder)
    resumed = load_resume_state(run_dir, "model_run", args.resume, must_match)
    seed_everything(args.seed)
    unet, earlier_runs = make_unet(args, data, resumed)
    unet = unet.to(device, memory_format=torch.channels_last).attach_autoencoder(encoder, decoder)
    use_flow, L = unet.config.use_flow, unet.config.context

    # data
    train_mask, validation_mask = split_episodes(data, seed=args.seed)
    starts = train_windows(data, train_mask, L)
    with dist.main_process_first():
        encoded = encode_recording(data, encoder, autoencoder, run_dir, device)
    latents, frames = cache_on_device(encoded, device), cache_on_device(data.frames, device)
    held_out = validation_set(data, frames, latents, validation_mask, L, device)

    # state: networks, optimizers, rollout pool, random generator
    generator = torch.Generator().manual_seed(args.seed)
    actions, threshold = torch.from_numpy(data.actions), unet.config.change_threshold
    pool = RolloutPool(
        latents, actions, starts, args.batch_size, L, device, generator, threshold, args.off_data
    )
    adversarial = AdversarialLoss(unet.config.latent_channels, args.gan_weight, device, dist)
    state = TrainState.create(unet, pool, adversarial, generator, args.optimizer)
    if resumed:
        state.load_state_dict(resumed, run_dir / "last.pt")
    this_run = {"recording": must_match["--trajectories"], "seed": args.seed}
    training_runs = [*earlier_runs, {**this_run, "prefix_fingerprint": recording_prefix_fingerprint(data)}]
    steps_per_epoch = max(1, args.epoch_samples // args.batch_size)
    schedule = Schedule(args.epochs * steps_per_epoch, args.max_minutes, state.elapsed_s)
    game = GameInfo(data.action_names, data.action_keys, data.fps, read_environment(data.meta))
    run = Run(
        folder=run_dir,
        dist=dist,
        decoder=decoder,
        held_out=held_out,
        sampling_steps=args.sampling_steps,
        model_info=(game, autoencoder, args.sampling_steps, training_runs),
        resume_info={"kind": "model_run", "must_match": must_match, "earlier_runs": earlier_runs},
        log=MetricsLog(run_dir, resume_step=state.step if resumed else None) if dist.is_main else None,
    )
    if dist.is_main:
        save_start_states(data, latents, validation_mask, L, autoencoder, run_dir / "initial_sequence.npz")
        # Copies: the model stays usable when the autoencoder is trained on.
        save_checkpoint(autoencoder_checkpoint("decoder", decoder), run_dir / "decoder.pt")
        save_checkpoint(autoencoder_checkpoint("encoder", encoder, autoencoder), run_dir / "encoder.pt")
    print(f"{len(starts)} windows to train on, {len(held_out.context)} held out, {data.num_actions} actions;")
    print(f"{sum(p.numel() for p in unet.parameters()):,} weights, seed {args.seed}, device {device}")
    loop = TrainingLoop(schedule, steps_per_epoch, dist, state.step)

    # flow pre-training: the flow network alone, on real contexts
    while use_flow and loop.progress < args.flow_pretrain:
        batch = pool.sample_batch()
        local = dist.local_rows(batch)
        with autocast(device):
            targets = flow_targets(frames, local.positions, local.real_context, device)
            loss = flow_pretraining_loss(unet, local.actions, targets)
        lr = learning_rate(args.learning_rate, loop.progress, state.step)
        grad_norm = state.optimizer_step(loss, lr, dist)
        pool.reset_slots(batch.slots)
        if loop.end_step(state.step, {"loss/flow": loss.detach(), "grad_norm": grad_norm}):
            finish_epoch(run, state, loop)

    # training: flow network and denoiser, on real contexts at first and then on the model's own rollouts
    rollouts_from = 0 if earlier_runs else ROLLOUTS_FROM
    while loop.progress < 1:
        pool.lengthen(args.rollout_length, rollouts_from, loop.progress, args.rollout_length_start)
        batch = pool.sample_batch()
        local = dist.local_rows(batch)

        # noise on half of the real contexts; timesteps and noise for the targets
        noisy = add_training_noise(
            batch.context, batch.target, batch.is_real, batch.has_target, args.pure_noise_fraction, generator
        )
        at_pure_noise, noisy = noisy.at_pure_noise, dist.local_rows(noisy)

        # warp the last frame along the predicted flow, predict the next latent x0
        mask = to_device(local.has_target, device)
        num_valid = to_device(batch.has_target, device).sum() / dist.count
        with autocast(device):
            warped, flow_loss = noisy.context[:, -1], None
            if use_flow:
                targets = flow_targets(frames, local.positions, local.real_context, device)
                warped, flow_loss = warp_and_flow_loss(
                    unet, noisy.context, local.actions, targets, mask, num_valid
                )
            x0 = unet(noisy.z, noisy.t, noisy.context, local.actions, noisy.context_noise, warped)

            # losses; the adversarial one for predictions from pure noise, as in one-step sampling
            loss, metrics = denoiser_loss(x0, local.target, mask, num_valid)
        if use_flow:
            loss, metrics["loss/flow"] = loss + flow_loss, flow_loss.detach()
        gan_started = loop.progress > rollouts_from or pool.mean_length > 0
        if args.gan_weight and gan_started and at_pure_noise.any():
            gan_loss, gan_metrics = adversarial.generator_loss(
                loss, x0, local.target, noisy.at_pure_noise, local.has_target
            )
            loss, metrics = loss + gan_loss, {**metrics, **gan_metrics}

        # optimizer step; the predictions enter the contexts of the pool
        lr = learning_rate(args.learning_rate, loop.progress, state.step)
        metrics["grad_norm"] = state.optimizer_step(loss, lr, dist)
        pool.update(batch.slots, dist.all_gather(x0), at_pure_noise)

        if loop.end_step(state.step, metrics):
            finish_epoch(run, state, loop)

    loop.bar.close()
    if dist.is_main:  # final.pt has trained longest; best.pt is the epoch that eight rollouts prefer
        save_checkpoint(model_checkpoint(state.ema, *run.model_info), run_dir / "final.pt")
        copy_first = fmean(held_out.copy_first_psnr(horizon) for horizon in held_out.horizons)
        print_summary(args, schedule, state, copy_first, run_dir)


@dataclass(frozen=True)
class Run:
    """What stays the same during a run and is needed at the end of each epoch."""

    folder: Path
    dist: Distributed
    decoder: Decoder
    held_out: ValidationSet
    sampling_steps: int
    model_info: tuple  # of best.pt and final.pt: arguments of `model_checkpoint` after the network
    resume_info: dict  # of last.pt: what `load_resume_state` checks
    log: MetricsLog | None  # None in all processes but the main one


def finish_epoch(run: Run, state: TrainState, loop: TrainingLoop) -> None:
    """Validates the moving average of the weights, logs, draws previews, saves best.pt and last.pt. The main process
    does so alone. Raises InputError where the epoch's losses are not finite."""
    means = loop.mean_metrics()
    if not run.dist.is_main:
        return
    folder, steps = run.folder, run.sampling_steps

    # validate
    loop.bar.set_description("measuring")
    metrics, rollouts = validate(state.ema, run.decoder, run.held_out, steps)
    score = fmean(metrics[f"psnr/rollout_{horizon}"] for horizon in run.held_out.horizons)
    loop.bar.set_description("")
    loop.bar.set_postfix(next=f"{metrics['psnr/next_frame']:.2f}", rollouts=f"{score:.2f}")

    # log, preview
    run.log.write(state.step, {**metrics, **means})
    save_previews(state.ema, run.decoder, run.held_out, rollouts, steps, folder / "previews", state.step)

    # save
    if score > state.best_score:
        state.best_score = score
        save_checkpoint(model_checkpoint(state.ema, *run.model_info), folder / "best.pt")
    state.elapsed_s = loop.schedule.elapsed_s()
    save_checkpoint({**run.resume_info, **state.state_dict()}, folder / "last.pt")


def print_summary(args, schedule: Schedule, state: TrainState, copy_first: float, run_dir: Path) -> None:
    print(f"{schedule.stop_reason(state.step)}: {state.step} steps, {state.step * args.batch_size} windows;")
    print(f"best mean PSNR of rollouts {state.best_score:.2f} dB (first frame repeated: {copy_first:.2f})")
    if state.best_score < copy_first + 0.5:
        print(
            "this is hardly better than a still picture: train longer (--resume and more --max-minutes or --epochs)"
        )
    folder = run_dir.as_posix()
    print("next: " + shlex.join(["python", "sd/play_sd.py", "--model-path", f"{folder}/final.pt"]))
    paths = ["--trajectories", Path(args.trajectories).as_posix()]
    for part, name in (("encoder", "encoder"), ("decoder", "decoder"), ("model", "final")):
        paths += [f"--{part}-path", f"{folder}/{name}.pt"]
    print("evaluate: " + shlex.join(["python", "sd/evaluate_sd.py", *paths, "--quick"]))


if __name__ == "__main__":
    run_script(lambda: main(parse_args()), can_resume=True)
