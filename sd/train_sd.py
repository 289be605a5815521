"""Trains the latent diffusion model: the next frame of a game from the last four frames and actions.

    python sd/train_sd.py --trajectories ppo/checkpoints/RUN/trajectories.npz --max-minutes 45
    python sd/train_sd.py --trajectories FILE --epochs 1 --epoch-samples 32      # tiny: seconds
    python sd/train_sd.py --trajectories FILE --max-minutes 90 --resume          # continues, 90 minutes in all
    tensorboard --logdir sd/output_sd

Needs the encoder.pt and decoder.pt of train_autoencoder.py. Writes into --output-dir: best.pt and, at the end,
final.pt (the model), copies of encoder.pt and decoder.pt, initial_sequence.npz (start states for play_sd.py),
last.pt (to resume from), metrics.csv, previews/ and latents.npy (the encoded recording)."""

import argparse
import math
import shlex
from pathlib import Path
from statistics import fmean

import torch
from dream.common.device import cache_on_device, to_device
from dream.common.distributed import Distributed
from dream.common.errors import InputError, run_script
from dream.common.game_info import GameInfo
from dream.common.runs import (
    MetricsLog,
    autocast,
    load_resume_state,
    pick_device,
    save_checkpoint,
    seed_everything,
)
from dream.data.latents import (
    encode_recording,
    frames_at,
)
from dream.data.splits import split_episodes, train_windows
from dream.data.start_states import save_start_states
from dream.data.trajectories import (
    Trajectories,
    open_trajectories,
    recording_fingerprint,
    recording_prefix_fingerprint,
)
from dream.evaluation.previews import save_previews
from dream.evaluation.validation import validate, validation_set
from dream.models.checkpoints import (
    autoencoder_checkpoint,
    fingerprint,
    load_autoencoder,
    load_unet,
    model_checkpoint,
)
from dream.models.diffusion import denoiser_loss
from dream.models.flow import GROUP_SIZE
from dream.models.unet import PREDICTION_TYPES, UNet, UNetConfig
from dream.training.adversarial import AdversarialLoss
from dream.training.losses import FlowTargets, add_training_noise, flow_pretraining_loss, warp_and_flow_loss
from dream.training.optimizer import OPTIMIZERS
from dream.training.options import SD_DIR, add_training_options, check_training_options
from dream.training.rollout_pool import RolloutPool, rollout_length_schedule
from dream.training.schedule import Schedule, learning_rate
from dream.training.train_state import TrainState
from torch import Tensor
from tqdm import tqdm

# A new model trains on real contexts alone for this fraction of the budget, without the adversarial loss.
ROLLOUTS_FROM = 0.25


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    groups = add_training_options(parser, "output_sd", 100, "windows", batch_size=16, rate=1e-3)
    paths, learning = groups["paths"], groups["learning"]
    # fmt: off
    paths.add_argument("--autoencoder-dir", default=SD_DIR / "output_autoencoder", metavar="DIR",
                       help="folder of encoder.pt and decoder.pt (default: %(default)s)")
    paths.add_argument("--init-from", metavar="FILE", help="a best.pt or final.pt whose weights a new run starts with")
    learning.add_argument("--flow-pretrain", type=float, default=0.1, metavar="FRACTION",
                          help="of the budget, in which the optical flow is trained alone (default: %(default)s)")
    learning.add_argument("--rollout-length", type=float, default=64, metavar="FRAMES",
                          help="mean length of the model's own rollouts that it trains on (0 = real contexts, "
                          "default: %(default)s)")
    learning.add_argument("--rollout-length-start", type=float, default=1, metavar="FRAMES",
                          help="the length grows from this one; for --init-from a model that knows long rollouts, give "
                          "the number of --rollout-length (default: %(default)s)")
    learning.add_argument("--off-data", type=float, default=0.5, metavar="FRACTION",
                          help="of the rollouts that end, those that continue under actions not recorded there, judged "
                          "by the discriminator alone (default: %(default)s; 0 without a discriminator)")
    learning.add_argument("--gan-weight", type=float, default=0.4, metavar="WEIGHT",
                          help="gradient of the adversarial loss relative to that of the other losses (0 = none, "
                          "default: %(default)s)")
    learning.add_argument("--pure-noise-fraction", type=float, default=0.8, metavar="FRACTION",
                          help="of the windows trained at timestep 1, one-step sampling (default: %(default)s)")
    learning.add_argument("--optimizer", default="muon", choices=OPTIMIZERS,
                          help="of the hidden convolutions; AdamW trains all other weights (default: %(default)s)")
    model = parser.add_argument_group("model (--resume and --init-from keep what they have)")
    model.add_argument("--sampling-steps", type=int, default=1, help="per frame, in play too (default: %(default)s)")
    model.add_argument("--channels", type=int, nargs="+", metavar="C",
                       help="at 1/2, then 1/4 of the latent's resolution, multiples of 16 (default: 96 192)")
    model.add_argument("--flow", action=argparse.BooleanOptionalAction,
                       help="predict a residual on the warped last frame, not on the last frame (default: --flow)")
    model.add_argument("--prediction-type", choices=PREDICTION_TYPES,
                       help="regression: the network is shown no noise (default: x0)")
    # fmt: on
    args = parser.parse_args(argv)
    check_training_options(parser, args)
    if args.sampling_steps < 1:
        parser.error("--sampling-steps must be at least 1")
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


def main(args: argparse.Namespace) -> None:
    # set-up
    device = pick_device(args.device)
    dist = Distributed.open(device, args.batch_size)
    run_dir = Path(args.output_dir)
    data = open_trajectories(args.trajectories)
    for line in data.assumptions:
        print(f"assumed: {line}")
    encoder, decoder, autoencoder = load_frozen_autoencoder(args, data, device)
    must_match = settings_of_run(args, data, autoencoder)
    resumed = load_resume_state(run_dir, "model_run", args.resume, must_match)
    seed_everything(args.seed)
    unet, earlier_runs = make_unet(args, data, resumed)
    unet = unet.to(device, memory_format=torch.channels_last).attach_autoencoder(encoder, decoder)
    this_run = {"recording": must_match["--trajectories"], "seed": args.seed}
    training_runs = [*earlier_runs, {**this_run, "prefix_fingerprint": recording_prefix_fingerprint(data)}]
    rollouts_from = 0 if earlier_runs else ROLLOUTS_FROM
    L = unet.config.context

    # data
    train_mask, validation_mask = split_episodes(data, seed=args.seed)
    starts = train_windows(data, train_mask, L)
    with dist.main_process_first():
        encoded = encode_recording(data, encoder, autoencoder, run_dir, device)
    latents, frames = cache_on_device(encoded, device), cache_on_device(data.frames, device)
    held_out = validation_set(data, frames, latents, validation_mask, L, device)

    # state
    generator = torch.Generator().manual_seed(args.seed)
    pool = RolloutPool(
        latents,
        torch.from_numpy(data.actions),
        starts,
        args.batch_size,
        L,
        device,
        generator,
        unet.config.change_threshold,
        args.off_data,
    )
    adversarial = AdversarialLoss(unet.config.latent_channels, args.gan_weight, device, dist)
    state = TrainState.create(unet, pool, adversarial, generator, args.optimizer)
    if resumed:
        state.load_state_dict(resumed)
    game = GameInfo(data.action_names, data.action_keys, data.fps)
    if dist.is_main:
        save_start_states(data, latents, validation_mask, L, autoencoder, run_dir / "initial_sequence.npz")
        # Copies: the model stays usable when the autoencoder is trained on.
        save_checkpoint(autoencoder_checkpoint("decoder", decoder), run_dir / "decoder.pt")
        save_checkpoint(autoencoder_checkpoint("encoder", encoder, autoencoder), run_dir / "encoder.pt")
        log = MetricsLog(run_dir, resume_step=state.step if resumed else None)
    steps_per_epoch = max(1, args.epoch_samples // args.batch_size)
    schedule = Schedule(args.epochs * steps_per_epoch, args.max_minutes, state.elapsed_s)
    print(f"{len(starts)} windows to train on, {len(held_out.context)} held out, {data.num_actions} actions;")
    print(f"{sum(p.numel() for p in unet.parameters()):,} weights, seed {args.seed}, device {device}")

    bar = tqdm(total=schedule.max_steps, initial=state.step, unit="step", mininterval=1)
    while (progress := dist.broadcast(schedule.progress(state.step))) < 1:
        history = []
        while progress < 1:
            # batch: contexts are real latents, or what the model generated in earlier steps
            batch = pool.sample_batch()
            local = dist.local_rows(batch)
            targets = flow_targets(frames, local, L, device) if unet.config.use_flow else None
            lr = learning_rate(args.learning_rate, progress, state.step)

            if unet.config.use_flow and progress < args.flow_pretrain:
                # pre-training: the flow alone, on real contexts
                with autocast(device):
                    loss = flow_pretraining_loss(unet, local.actions, targets)
                metrics = {"loss/flow": loss.detach()}
                pool.reset_slots(batch.slots)
            else:
                # noise on the target and on half of the real contexts
                noisy = add_training_noise(
                    batch.context,
                    batch.target,
                    batch.is_real,
                    batch.has_target,
                    args.pure_noise_fraction,
                    generator,
                )
                at_pure_noise, noisy = noisy.at_pure_noise, dist.local_rows(noisy)
                mask = to_device(local.has_target, device)
                num_valid = to_device(batch.has_target, device).sum() / dist.count
                with autocast(device):
                    # warp the last frame, predict the next latent
                    warped, flow_loss = noisy.context[:, -1], 0.0
                    if unet.config.use_flow:
                        warped, flow_loss = warp_and_flow_loss(
                            unet, noisy.context, local.actions, targets, local.reference_mse, mask, num_valid
                        )
                    predicted = unet(
                        noisy.z, noisy.t, noisy.context, local.actions, noisy.context_noise, warped
                    )
                    loss, metrics = denoiser_loss(
                        predicted, local.target, local.reference_mse, mask, num_valid
                    )
                if unet.config.use_flow:
                    loss, metrics["loss/flow"] = loss + flow_loss, flow_loss.detach()
                # adversarial loss, on predictions that are frames as play shows them
                length = rollout_length_schedule(
                    args.rollout_length, rollouts_from, progress, args.rollout_length_start
                )
                # A resumed run with more minutes is at less progress than it was: the length never shrinks.
                pool.mean_length = max(pool.mean_length, length)
                gan_started = progress > rollouts_from or pool.mean_length > 0
                if args.gan_weight and gan_started and at_pure_noise.any():
                    gan_loss, gan_metrics = adversarial.generator_loss(
                        loss, predicted, local.target, noisy.at_pure_noise, local.has_target
                    )
                    loss, metrics = loss + gan_loss, {**metrics, **gan_metrics}
                # predictions enter the contexts of the pool
                pool.update(
                    batch.slots, dist.all_gather(predicted), at_pure_noise, pool.mean_length, batch.target
                )

            metrics["grad_norm"] = state.optimizer_step(loss, lr, dist)
            history.append(metrics)
            bar.total = schedule.expected_steps(state.step)
            bar.update()
            progress = dist.broadcast(schedule.progress(state.step))
            if state.step % steps_per_epoch == 0:
                break
        means = dist.mean_metrics(history)
        if not all(map(math.isfinite, means.values())):  # once per epoch: each check makes a GPU wait
            raise InputError(
                f"the loss is not finite at step {state.step}: lower --learning-rate, then --resume"
            )
        if not dist.is_main:  # the main process alone measures, logs and saves
            continue

        # validate
        bar.set_description("measuring")
        metrics, rollouts = validate(state.ema, decoder, held_out, args.sampling_steps)
        score = fmean(metrics[f"psnr/rollout_{horizon}"] for horizon in held_out.horizons)
        bar.set_description("")
        bar.set_postfix(next=f"{metrics['psnr/next_frame']:.2f}", rollouts=f"{score:.2f}")

        # log, preview
        log.write(state.step, {**metrics, **means})
        save_previews(
            state.ema, decoder, held_out, rollouts, args.sampling_steps, run_dir / "previews", state.step
        )

        # save
        checkpoint = model_checkpoint(state.ema, game, autoencoder, args.sampling_steps, training_runs)
        if score > state.best_score:
            state.best_score = score
            save_checkpoint(checkpoint, run_dir / "best.pt")
        state.elapsed_s = schedule.elapsed_s()
        run = {"kind": "model_run", "must_match": must_match, "earlier_runs": earlier_runs}
        save_checkpoint({**run, **state.state_dict()}, run_dir / "last.pt")
    bar.close()
    if dist.is_main:  # final.pt has trained longest; best.pt is the epoch that eight rollouts prefer
        checkpoint = model_checkpoint(state.ema, game, autoencoder, args.sampling_steps, training_runs)
        save_checkpoint(checkpoint, run_dir / "final.pt")
    copy_first = fmean(held_out.copy_start_psnr(horizon) for horizon in held_out.horizons)
    print_summary(args, schedule, state, copy_first, run_dir)


def load_frozen_autoencoder(args: argparse.Namespace, data: Trajectories, device: torch.device):
    """Encoder and decoder on the device, and their fingerprint. Raises InputError where they do not fit the
    recording."""
    folder = Path(args.autoencoder_dir)
    encoder, decoder = load_autoencoder(folder / "encoder.pt", folder / "decoder.pt")
    size = (decoder.config.height, decoder.config.width)
    if size != (data.height, data.width):
        raise InputError(f"the autoencoder is for frames {size}, the recording has {data.frames.shape[3:]}")
    encoder, decoder = (part.to(device, memory_format=torch.channels_last) for part in (encoder, decoder))
    return encoder, decoder, fingerprint(decoder)


def settings_of_run(args: argparse.Namespace, data: Trajectories, autoencoder: str) -> dict:
    """By option, what a resumed run must have as it began."""
    names = (
        "seed",
        "batch_size",
        "epoch_samples",
        "pure_noise_fraction",
        "optimizer",
        "gan_weight",
        "off_data",
        "rollout_length",
    )
    settings = {"--" + name.replace("_", "-"): getattr(args, name) for name in names}
    return {**settings, "--trajectories": recording_fingerprint(data), "--autoencoder-dir": autoencoder}


def make_unet(args: argparse.Namespace, data: Trajectories, resumed: dict | None) -> tuple[UNet, list[dict]]:
    """The network to train, and the training runs that its weights come from."""
    choices = {
        "channels": args.channels and tuple(args.channels),
        "prediction_type": args.prediction_type,
        "use_flow": args.flow,
    }
    choices = {name: choice for name, choice in choices.items() if choice is not None}
    if resumed:
        source, unet, earlier_runs = (
            "the run",
            UNet(UNetConfig.from_dict(resumed["config"])),
            resumed["earlier_runs"],
        )
    elif args.init_from:
        source = args.init_from
        unet, _, checkpoint = load_unet(args.init_from)
        earlier_runs = checkpoint["training_runs"]
    else:
        return UNet(UNetConfig(num_actions=data.num_actions, **{"use_flow": True, **choices})), []
    for name, choice in choices.items():
        if getattr(unet.config, name) != choice:
            flag = {"use_flow": "--flow"}.get(name, "--" + name.replace("_", "-"))
            raise InputError(f"{flag} cannot be changed: {source} has {getattr(unet.config, name)}")
    if unet.config.num_actions != data.num_actions:
        raise InputError(f"{source} has {unet.config.num_actions} actions, the recording {data.num_actions}")
    return unet.train().requires_grad_(True), earlier_runs


def flow_targets(frames: Tensor, batch, context: int, device: torch.device) -> FlowTargets:
    """Real context, last and next frame of a `Batch`. frames: uint8 (N, T, 3, H, W), the recording's."""
    last_frame, next_frame = (frames_at(frames, batch.positions, t, device) for t in (context - 1, context))
    return FlowTargets(batch.real_context, last_frame, next_frame)


def print_summary(args, schedule: Schedule, state: TrainState, copy_first: float, run_dir: Path) -> None:
    print(f"{schedule.stop_reason(state.step)}: {state.step} steps, {state.step * args.batch_size} windows;")
    print(
        f"best mean PSNR of held-out rollouts {state.best_score:.2f} dB (first frame repeated: {copy_first:.2f})"
    )
    if state.best_score < copy_first:
        print("so far a still picture is nearer to the game than this model: train longer")
    folder = run_dir.as_posix()
    print("next: " + shlex.join(["python", "sd/play_sd.py", "--model-path", f"{folder}/final.pt"]))
    paths = ["--trajectories", Path(args.trajectories).as_posix()]
    for part, name in (("encoder", "encoder"), ("decoder", "decoder"), ("model", "final")):
        paths += [f"--{part}-path", f"{folder}/{name}.pt"]
    print("evaluate: " + shlex.join(["python", "sd/evaluate_sd.py", *paths, "--quick"]))


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
