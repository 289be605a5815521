"""Trains the latent diffusion model: the next frame of a game from the last four frames and actions.

    python sd/train_sd.py --trajectories output/recording.npz --max-minutes 45
    python sd/train_sd.py --trajectories FILE --epochs 1 --epoch-samples 32      # tiny: seconds
    python sd/train_sd.py --trajectories FILE --max-minutes 90 --resume          # continues, 90 minutes in all

Needs the encoder.pt and decoder.pt of train_autoencoder.py. Writes into --output-dir, about every two minutes: final.pt
(the model so far), best.pt (the best one so far), last.pt (to resume from), previews/, metrics.csv and curves for
tensorboard; and at the beginning copies of encoder.pt and decoder.pt, initial_sequence.npz (start states for
play_sd.py) and latents.npy (the encoded recording)."""

import argparse
from pathlib import Path

import dream  # noqa: F401  first: it reports packages that are missing
import torch
from dream.common.device import cache_on_device, to_device
from dream.common.distributed import Distributed
from dream.common.errors import run_script
from dream.common.game_info import GameInfo, read_environment
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
from dream.data.latents import encode_recording, fewer_still_windows, latent_bytes
from dream.data.splits import split_episodes, train_windows
from dream.data.start_states import save_start_states
from dream.data.trajectories import open_trajectories, recording_prefix_fingerprint
from dream.evaluation.epoch_end import Run, finish_epoch, measure_steps, print_summary
from dream.evaluation.validation import validation_set
from dream.inference.input_files import check_files_given
from dream.models.checkpoints import autoencoder_checkpoint
from dream.training.adversarial import AdversarialLoss
from dream.training.loop import TrainingLoop
from dream.training.losses import denoiser_loss, flow_loss, flow_targets, warp_context
from dream.training.model_options import add_model_options, check_model_options
from dream.training.noise import add_training_noise
from dream.training.options import add_training_options, begin_schedule, check_training_options
from dream.training.rollout_pool import RolloutPool
from dream.training.schedule import learning_rate
from dream.training.setup import (
    checkpoint_bytes,
    fixed_settings,
    load_frozen_autoencoder,
    make_outcome_training,
    make_unet,
)
from dream.training.train_state import TrainState

# A new model trains on real contexts alone for this fraction of the budget, without the adversarial loss.
ROLLOUTS_FROM = 0.25


def parse_args(argv=None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    groups = add_training_options(parser, "output/sd", 100, "windows", batch_size=16, rate=1e-3)
    add_model_options(parser, groups)
    args = parser.parse_args(argv)
    check_training_options(parser, args)
    check_model_options(parser, args)
    return args


@exclusive_run
def main(args: argparse.Namespace) -> None:
    # set-up
    device = pick_device(args.device)
    dist = Distributed.open(device, args.batch_size)
    run_dir = Path(args.output_dir)
    check_files_given(args, {"--trajectories": "recording", "--init-from": "dream"})
    data = open_trajectories(args.trajectories)
    data.print_assumptions()
    encoder, decoder, autoencoder = load_frozen_autoencoder(args.autoencoder_dir, data, device)
    must_match = fixed_settings(args, data, autoencoder)
    resumed = load_resume_state(run_dir, "model_run", args.resume, must_match)
    seed_everything(args.seed)
    unet, earlier_runs = make_unet(args, data, resumed)
    unet = unet.to(device, memory_format=torch.channels_last).attach_autoencoder(encoder, decoder)
    use_flow, L = unet.config.use_flow, unet.config.context
    num_bytes = latent_bytes(data, encoder) + checkpoint_bytes(unet)
    schedule, epoch_steps = begin_schedule(args, resumed, num_bytes)

    # data
    train_mask, validation_mask = split_episodes(data, seed=args.seed)
    starts = train_windows(data, train_mask, L)
    with dist.main_process_first():
        encoded = encode_recording(data, encoder, autoencoder, run_dir, device, schedule.training_left_s())
    latents, frames = cache_on_device(encoded, device), cache_on_device(data.frames, device)
    held_out = validation_set(data, frames, latents, validation_mask, L, device)

    # state: networks, optimizers, rollout pool, random generator
    generator = torch.Generator().manual_seed(args.seed)
    actions, threshold = torch.from_numpy(data.actions), unet.config.change_threshold
    moving = fewer_still_windows(latents, starts, L)
    pool = RolloutPool(
        latents, actions, starts, args.batch_size, L, device, generator, threshold, args.off_data, moving
    )
    adversarial = AdversarialLoss(unet.config.latent_channels, args.gan_weight, device, dist)
    outcome = make_outcome_training(args, unet, data, latents, train_mask, starts, device, generator)
    state = TrainState.create(unet, pool, adversarial, generator, args.optimizer, outcome)
    if resumed:
        state.load_state_dict(resumed, run_dir / "last.pt")
    this_run = {"recording": must_match["--trajectories"], "seed": args.seed}
    training_runs = [*earlier_runs, {**this_run, "prefix_fingerprint": recording_prefix_fingerprint(data)}]
    game = GameInfo(data.action_names, data.action_keys, data.fps, read_environment(data.meta))
    run = Run(
        folder=run_dir,
        dist=dist,
        decoder=decoder,
        held_out=held_out,
        sampling_steps=args.sampling_steps,
        model_info=(game, autoencoder, args.sampling_steps, training_runs, outcome and outcome.model),
        resume_info={"kind": "model_run", "must_match": must_match, "earlier_runs": earlier_runs},
        log=MetricsLog(run_dir, resume_step=state.step if resumed else None) if dist.is_main else None,
    )
    if dist.is_main:
        save_start_states(data, latents, validation_mask, L, autoencoder, run_dir / "initial_sequence.npz")
        # Copies: the model stays usable when the autoencoder is trained on.
        save_checkpoint(autoencoder_checkpoint("decoder", decoder), run_dir / "decoder.pt")
        save_checkpoint(autoencoder_checkpoint("encoder", encoder, autoencoder), run_dir / "encoder.pt")
    print(f"{len(moving)} windows to train on, {len(held_out.context)} held out, {data.num_actions} actions;")
    print(f"{sum(p.numel() for p in unet.parameters()):,} weights, seed {args.seed}, device {device}")
    loop = TrainingLoop(schedule, epoch_steps, dist, state.step, measure_steps(held_out, args.batch_size))

    # flow pre-training: the flow network alone, on real contexts
    while use_flow and loop.progress < args.flow_pretrain:
        batch = pool.sample_batch()
        local = dist.local_rows(batch)
        with autocast(device):
            targets = flow_targets(frames, local.positions, local.real_context, device)
            loss = flow_loss(unet, local.actions, targets)
        lr = learning_rate(args.learning_rate, loop.progress, state.step)
        grad_norm = state.optimizer_step(loss, lr, dist)
        pool.reset_slots(batch.slots)
        if loop.end_step(state.step, {"loss/flow": loss.detach(), "grad_norm": grad_norm}):
            finish_epoch(run, state, loop)  # measure, log, preview, save

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
            if use_flow:
                targets = flow_targets(frames, local.positions, local.real_context, device)
                photometric = flow_loss(unet, local.actions, targets)
            warped = warp_context(unet, noisy.context, local.actions)
            x0 = unet(noisy.z, noisy.t, noisy.context, local.actions, noisy.context_noise, warped)

            # losses; the adversarial one for predictions from pure noise, as in one-step sampling
            loss, metrics = denoiser_loss(x0, local.target, mask, num_valid)
        if use_flow:
            loss, metrics["loss/flow"] = loss + photometric, photometric.detach()
        gan_started = loop.progress > rollouts_from or pool.mean_length > 0
        if args.gan_weight and gan_started and at_pure_noise.any():
            gan_loss, gan_metrics = adversarial.generator_loss(
                loss, x0, local.target, noisy.at_pure_noise, local.has_target
            )
            loss, metrics = loss + gan_loss, {**metrics, **gan_metrics}

        # optimizer step; the predictions enter the contexts of the pool
        lr = learning_rate(args.learning_rate, loop.progress, state.step)
        metrics["grad_norm"] = state.optimizer_step(loss, lr, dist)
        if outcome:  # reward and end of the episode, by another network
            metrics |= outcome.train_step(batch, lr, dist)
        pool.update(batch.slots, dist.all_gather(x0), at_pure_noise)

        if loop.end_step(state.step, metrics):
            finish_epoch(run, state, loop)  # measure, log, preview, save

    loop.bar.close()
    if dist.is_main:
        print_summary(args, run, state, schedule)


if __name__ == "__main__":
    run_script(lambda: main(parse_args()), can_resume=True)
