"""Trains the autoencoder, which compresses the frames of a recording into small latents and back.

    python sd/train_autoencoder.py --trajectories output/recording.npz --max-minutes 15
    python sd/train_autoencoder.py --trajectories FILE --epochs 1 --epoch-samples 64       # tiny: seconds
    python sd/train_autoencoder.py --trajectories FILE --max-minutes 30 --resume          # continues, 30 minutes in all
    tensorboard --logdir output/autoencoder             # after pip install tensorboard

Writes about every two minutes: encoder.pt and decoder.pt (the best so far), last.pt (to resume from), metrics.csv and
previews/.
"""

import argparse
from dataclasses import asdict, replace
from pathlib import Path

import dream  # noqa: F401  first: it reports packages that are missing
import numpy as np
import torch
import torch.nn.functional as F
from dream.common.device import cache_on_device, device_generator, to_device
from dream.common.distributed import SINGLE, Distributed
from dream.common.errors import InputError, refuse_damaged, run_script
from dream.common.progress import progress_bar
from dream.common.runs import (
    NEW_RUN,
    MetricsLog,
    autocast,
    exclusive_run,
    load_resume_state,
    pick_device,
    restore_rng_state,
    rng_state,
    save_checkpoint,
    seed_everything,
)
from dream.common.startup import ArgumentParser, command_line
from dream.data.latents import to_float_frames
from dream.data.splits import split_episodes
from dream.data.trajectories import Trajectories, open_trajectories, recording_fingerprint
from dream.evaluation.image_grid import save_image_grid
from dream.evaluation.metrics import psnr
from dream.inference.input_files import check_files_given
from dream.models.autoencoder import PATCH, AutoencoderConfig, Decoder, Encoder, decode
from dream.models.checkpoints import (
    autoencoder_checkpoint,
    fingerprint,
    load_autoencoder_part,
)
from dream.models.transfer import copy_weights
from dream.training.loop import TrainingLoop
from dream.training.optimizer import Optimizer
from dream.training.options import add_training_options, begin_schedule, check_training_options
from dream.training.schedule import Schedule, learning_rate
from dream.training.setup import check_folder
from torch import Tensor

CROP = (64, 128)  # height and width of the training crops, pixels; smaller crops allow more frames per batch
LATENT_NOISE = 0.03  # standard deviation; makes the decoder robust to small errors of generated latents
# Relative to the L1 loss, on frames 0-1. Late in training the remaining errors are a few wrong pixels at hard edges.
MSE_WEIGHT = 64.0
INIT_ENCODER_LR_SCALE = 0.1  # of the encoder with --init-from, so that its latents change little
WEIGHT_DECAY = 1e-4
VALIDATION_FRAMES = 96
MEASURE_COST = 0.25  # training steps on a whole frame that take as long as measuring one
GOOD_PSNR = 20.0  # dB; below it the frames are hardly recognisable


def parse_args(argv=None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    groups = add_training_options(parser, "output/autoencoder", 50, "crops", batch_size=4, rate=2e-3)
    groups["paths"].add_argument(
        "--init-from",
        metavar="DIR",
        help="folder of an encoder.pt, and maybe decoder.pt, to start from; the encoder then learns at a tenth of the "
        "rate, so that a model of its latents needs little further training",
    )
    args = parser.parse_args(argv)
    check_training_options(parser, args)
    return args


@exclusive_run
def main(args: argparse.Namespace) -> None:
    # set-up
    device = pick_device(args.device)
    dist = Distributed.open(device, args.batch_size)
    run_dir = Path(args.output_dir)
    check_files_given(args, {"--trajectories": "recording"})
    data = open_trajectories(args.trajectories)
    data.print_assumptions()
    must_match = {
        "--seed": args.seed,
        "--batch-size": args.batch_size,
        "--epoch-samples": args.epoch_samples,
        "--trajectories": recording_fingerprint(data),
        "--init-from": str(args.init_from or ""),
    }
    resumed = load_resume_state(run_dir, "autoencoder_run", args.resume, must_match)
    seed_everything(args.seed)
    encoder, decoder = make_autoencoder(args, data, resumed)
    encoder, decoder = (part.to(device, memory_format=torch.channels_last) for part in (encoder, decoder))
    dist.sync_batchnorm(encoder.latent_norm)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    lr_scales = (INIT_ENCODER_LR_SCALE if args.init_from else 1.0, 1.0)
    optimizer = Optimizer([encoder, decoder], WEIGHT_DECAY, lr_scales)
    generator = torch.Generator().manual_seed(args.seed)
    step, best_psnr = 0, float("-inf")
    if resumed:
        with refuse_damaged(run_dir / "last.pt", NEW_RUN):
            optimizer.load_state_dict(resumed["optimizer"])
            generator.set_state(resumed["generator"])
            restore_rng_state(resumed["rng"])
            step, best_psnr = resumed["step"], resumed["best_psnr"]
    num_weights = sum(p.numel() for p in parameters)
    schedule, epoch_steps = begin_schedule(args, resumed, 4 * 4 * num_weights)

    # data
    train_mask, validation_mask = split_episodes(data, seed=args.seed)
    frames, train_frames = cache_on_device(data.frames, device), torch.from_numpy(np.argwhere(train_mask))
    validation = validation_frames(data, validation_mask)
    log = MetricsLog(run_dir, resume_step=step if resumed else None) if dist.is_main else None
    print(f"frames {data.frames.shape}: {len(train_frames)} for training, {len(validation)} for validation;")
    print(f"latents {decoder.config.latent_shape}, {num_weights:,} weights, seed {args.seed}, {device}")

    frames_per_step = args.batch_size * min(1, CROP[0] * CROP[1] / (data.height * data.width))
    measure_steps = MEASURE_COST * len(validation) / frames_per_step
    loop = TrainingLoop(schedule, epoch_steps, dist, step, measure_steps, always_measure=True)
    while loop.progress < 1:
        # crops -> latents, with noise -> crops
        crops, crop_origin = draw_crops(frames, train_frames, args.batch_size, generator, device, dist)
        with autocast(device):
            latents = encoder(crops)
            noise = torch.randn(args.batch_size, *latents.shape[1:], device=device,
                                generator=device_generator(device, generator))  # fmt: skip
            latents = latents + LATENT_NOISE * dist.local_rows(noise)
            rebuilt = decoder(latents, size=crops.shape[-2:], crop_origin=crop_origin)
        # loss, optimizer step
        loss = F.l1_loss(rebuilt.float(), crops) + MSE_WEIGHT * F.mse_loss(rebuilt.float(), crops)
        loss.backward()
        dist.average_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step(learning_rate(args.learning_rate, loop.progress, step))
        step += 1
        if not loop.end_step(step, {"loss/train": loss.detach()}):
            continue
        means = loop.mean_metrics()
        if not dist.is_main:  # the main process alone measures, logs and saves
            loop.begin_epoch()
            continue

        # measure, log
        loop.bar.set_description("measuring")
        rebuilt = reconstruct(encoder, decoder, validation, device)
        validation_psnr = psnr(rebuilt, to_float_frames(validation, device)).mean().item()
        log.write(step, {**means, "psnr/autoencoder": validation_psnr})
        loop.bar.set_postfix(psnr=f"{validation_psnr:.2f}")

        # preview
        some = slice(0, len(validation), max(1, len(validation) // 6))
        rows = [to_float_frames(validation[some], device), rebuilt[some]]
        save_image_grid(rows, run_dir / "previews" / f"step_{step:06d}.png")

        # save
        if validation_psnr > best_psnr:
            best_psnr = validation_psnr
            encoder_checkpoint = autoencoder_checkpoint("encoder", encoder, fingerprint(decoder))
            save_checkpoint(encoder_checkpoint, run_dir / "encoder.pt")
            save_checkpoint(autoencoder_checkpoint("decoder", decoder), run_dir / "decoder.pt")
        last = {
            "kind": "autoencoder_run",
            "must_match": must_match,
            "config": asdict(decoder.config),
            "encoder": encoder.state_dict(),
            "decoder": decoder.state_dict(),
            "optimizer": optimizer.state_dict(),
            "generator": generator.get_state(),
            "rng": rng_state(),
            "step": step,
            **loop.times(),
            "best_psnr": best_psnr,
        }
        save_checkpoint(last, run_dir / "last.pt")
        loop.begin_epoch()
    loop.bar.close()
    if dist.is_main:
        print_summary(args, schedule, step, best_psnr)


def print_summary(args: argparse.Namespace, schedule: Schedule, step: int, best_psnr: float) -> None:
    print(
        f"{schedule.stop_reason(step)}: {step} steps; held-out frames are reconstructed at {best_psnr:.2f} dB"
    )
    if best_psnr < GOOD_PSNR:
        print(
            f"warning: below {GOOD_PSNR:.0f} dB frames are hardly recognisable, and no model can be better: train "
            f"longer, by the same command with --resume and {schedule.more_option(step)}"
        )
    paths = ["--trajectories", Path(args.trajectories).as_posix()]
    paths += ["--autoencoder-dir", Path(args.output_dir).as_posix()]
    print("next: " + command_line("sd/train_sd.py", *paths))


def make_autoencoder(
    args: argparse.Namespace, data: Trajectories, resumed: dict | None
) -> tuple[Encoder, Decoder]:
    """A new autoencoder, that of --init-from, or that of a resumed run.

    Raises InputError if a file is invalid, or of another frame size."""
    config = AutoencoderConfig(height=data.height, width=data.width)
    encoder, decoder = Encoder(config), Decoder(config)
    if resumed:
        with refuse_damaged(Path(args.output_dir) / "last.pt", NEW_RUN):
            encoder.load_state_dict(resumed["encoder"])
            decoder.load_state_dict(resumed["decoder"])
    elif args.init_from:
        for part in (encoder, decoder):
            kind = type(part).__name__.lower()
            path = check_folder("--init-from", args.init_from) / f"{kind}.pt"
            if part is encoder or path.exists():
                loaded = load_autoencoder_part(path, kind)
                if replace(loaded.config, height=config.height, width=config.width) != config:
                    raise InputError(f"{path} is of another shape: {loaded.config}, wanted {config}")
                copy_weights(part, loaded.state_dict())
    return encoder, decoder


def draw_crops(
    frames: Tensor, positions: Tensor, batch: int, generator: torch.Generator, device: torch.device,
    dist: Distributed = SINGLE,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Random crops (B, 3, h, w), 0-1, of frames, uint8 (N, T, 3, H, W), and their origins (B, 2): row and column of
    the upper left latent pixel.

    positions: int64 (M, 2), row and t of the frames that may be drawn. Crops begin at multiples of PATCH, so that
    patches are those of whole frames."""
    H, W = frames.shape[-2:]
    h, w = min(CROP[0], H), min(CROP[1], W)
    chosen = positions[torch.randint(len(positions), (batch,), generator=generator)]
    max_origin = (-(-(H - h) // PATCH), -(-(W - w) // PATCH))
    crop_origin = torch.stack(
        [torch.randint(largest + 1, (batch,), generator=generator) for largest in max_origin], dim=1
    )  # (B, 2)
    chosen, crop_origin = dist.local_rows(chosen), dist.local_rows(crop_origin)
    pixels = torch.cat([chosen, crop_origin * PATCH], dim=1)[:, :, None, None, None]
    rows, times, top, left = pixels.unbind(dim=1)
    # Clamped, because the last crop exceeds a frame whose size is not a multiple of PATCH.
    y = (top + torch.arange(h)[:, None]).clamp(max=H - 1)
    x = (left + torch.arange(w)).clamp(max=W - 1)
    index = (to_device(each, frames.device) for each in (rows, times, torch.arange(3)[:, None, None], y, x))
    return to_float_frames(frames[tuple(index)], device), to_device(crop_origin, device)


def validation_frames(data: Trajectories, mask: np.ndarray) -> np.ndarray:
    """At most VALIDATION_FRAMES frames of the mask, bool (N, T), evenly spread: uint8 (V, 3, H, W)."""
    positions = np.argwhere(mask)
    positions = positions[
        np.linspace(0, len(positions) - 1, min(VALIDATION_FRAMES, len(positions))).astype(int)
    ]
    return np.stack([data.frames[row, t] for row, t in positions])


@torch.no_grad()
def reconstruct(encoder: Encoder, decoder: Decoder, frames_u8: np.ndarray, device: torch.device) -> Tensor:
    """decode(encode(frames)) of uint8 (V, 3, H, W): float32 (V, 3, H, W), about 0-1.

    Computed in float32 with the running statistics of the batch norm, as a saved autoencoder would."""
    encoder.eval()
    parts = [part for part in np.array_split(frames_u8, 8) if len(part)]
    rebuilt = []
    for part in progress_bar(parts, desc="measuring", leave=False):
        rebuilt.append(decode(decoder, encoder(to_float_frames(part, device))))
    encoder.train()
    return torch.cat(rebuilt)


if __name__ == "__main__":
    run_script(lambda: main(parse_args()), can_resume=True)
