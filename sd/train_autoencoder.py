"""Teaches an autoencoder to squeeze the frames of a recording into small latents and back.

    python sd/train_autoencoder.py --trajectories ppo/checkpoints/RUN/trajectories.npz --max-minutes 15
    python sd/train_autoencoder.py --trajectories FILE --epochs 1 --epoch-samples 64       # a tiny one, seconds
    python sd/train_autoencoder.py --trajectories FILE --max-minutes 30 --resume           # goes on, 30 minutes in all
    tensorboard --logdir sd/output_autoencoder

Writes encoder.pt and decoder.pt (the best so far), last.pt (to go on from), metrics.csv and previews/.
"""

import argparse
import math
import shlex
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from dream.common.device import cache_on_device, device_generator, to_device
from dream.common.distributed import SINGLE, Distributed
from dream.common.errors import InputError, run_script
from dream.common.runs import (
    MetricsLog,
    autocast,
    load_resume_state,
    pick_device,
    restore_rng_state,
    rng_state,
    save_checkpoint,
    seed_everything,
)
from dream.data.latents import to_float_frames
from dream.data.splits import split_episodes
from dream.data.trajectories import Trajectories, open_trajectories, recording_fingerprint
from dream.evaluation.image_grid import save_image_grid
from dream.evaluation.metrics import psnr
from dream.models.autoencoder import PATCH, AutoencoderConfig, Decoder, Encoder, decode
from dream.models.checkpoints import (
    autoencoder_checkpoint,
    fingerprint,
    load_autoencoder_part,
    load_errors_as_bad_input,
)
from dream.training.optimizer import Optimizer
from dream.training.schedule import Budget, learning_rate
from torch import Tensor
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
CROP = (64, 128)  # height and width trained on: more different pictures for the same work
# Noise on the latents while the decoder learns, so that the small errors of dreamed latents do not show.
LATENT_NOISE = 0.03
MSE_WEIGHT = (
    64.0  # beside L1 of weight 1, both of frames 0-1: a wrong pixel at a hard edge is what is left to mend
)
ENCODER_RATE = (
    0.1  # of the learning rate, for an encoder of --init-from: its latents should stay what they are
)
WEIGHT_DECAY = 1e-4
VALIDATION_FRAMES = 96


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    paths = parser.add_argument_group("paths")
    paths.add_argument(
        "--trajectories", default=HERE / "data" / "trajectories.npz", help="(default: %(default)s)"
    )
    paths.add_argument("--output-dir", default=HERE / "output_autoencoder", help="(default: %(default)s)")
    paths.add_argument("--init-from", metavar="DIR", help="a new run begins with its encoder.pt, and its decoder.pt if "
                       "there; the encoder changes little, so that a dream of its latents is soon mended")  # fmt: skip
    length = parser.add_argument_group("length")
    length.add_argument("--epochs", type=int, default=50, help="epochs at the most (default: %(default)s)")
    length.add_argument(
        "--epoch-samples", type=int, default=8192, help="crops an epoch (default: %(default)s)"
    )
    length.add_argument(
        "--max-minutes",
        type=float,
        default=0,
        help="of all resumed parts (0 = no limit, default: %(default)s)",
    )
    learning = parser.add_argument_group("learning")
    learning.add_argument("--batch-size", type=int, default=4, help="crops in all (default: %(default)s)")
    learning.add_argument(
        "--learning-rate", type=float, default=2e-3, help="at its peak (default: %(default)s)"
    )
    run = parser.add_argument_group("run")
    run.add_argument("--resume", action="store_true", help="go on with the run in the output folder")
    run.add_argument("--seed", type=int, default=0, help="of everything (default: %(default)s)")
    run.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda"), help="(default: %(default)s)"
    )
    args = parser.parse_args(argv)
    if args.seed < 0:
        parser.error("--seed must be at least 0")
    if min(args.epochs, args.epoch_samples, args.batch_size) < 1:
        parser.error("--epochs, --epoch-samples and --batch-size must be at least 1")
    if args.max_minutes < 0 or args.learning_rate <= 0:
        parser.error("--max-minutes must be at least 0 (0 = no limit) and --learning-rate above 0")
    return args


def main(args: argparse.Namespace) -> None:
    device = pick_device(args.device)
    dist = Distributed.open(device, args.batch_size)
    run_dir = Path(args.output_dir)
    data = open_trajectories(args.trajectories)
    for line in data.assumptions:
        print(f"assumed: {line}")
    fixed = {
        "--seed": args.seed,
        "--batch-size": args.batch_size,
        "--epoch-samples": args.epoch_samples,
        "--trajectories": recording_fingerprint(data),
        "--init-from": str(args.init_from or ""),
    }
    resumed = load_resume_state(run_dir, "autoencoder_run", args.resume, fixed)
    seed_everything(args.seed)
    encoder, decoder = make_autoencoder(args, data, resumed)
    encoder, decoder = (part.to(device, memory_format=torch.channels_last) for part in (encoder, decoder))
    dist.sync_batchnorm(encoder.latent_norm)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    shares = (ENCODER_RATE if args.init_from else 1.0, 1.0)
    optimizer = Optimizer([encoder, decoder], WEIGHT_DECAY, shares)
    generator = torch.Generator().manual_seed(args.seed)
    step, spent_s, best_psnr = 0, 0.0, float("-inf")
    if resumed:
        optimizer.load_state_dict(resumed["optimizer"])
        generator.set_state(resumed["generator"])
        restore_rng_state(resumed["rng"])
        step, spent_s, best_psnr = resumed["step"], resumed["spent_s"], resumed["best_psnr"]
    train_mask, validation_mask = split_episodes(data, seed=args.seed)
    frames, train_frames = cache_on_device(data.frames, device), torch.from_numpy(np.argwhere(train_mask))
    validation = validation_frames(data, validation_mask)
    steps_per_epoch = max(1, args.epoch_samples // args.batch_size)
    budget = Budget(args.epochs * steps_per_epoch, args.max_minutes, spent_s)
    log = MetricsLog(run_dir, resume_step=step if resumed else None) if dist.is_main else None
    print(f"{data.frames.shape} frames, {len(train_frames)} to train on, {len(validation)} to validate on;")
    weights = sum(p.numel() for p in parameters)
    print(f"latents {decoder.config.latent_shape}, {weights:,} weights, seed {args.seed}, {device}")

    bar = tqdm(total=budget.max_steps, initial=step, unit="step", mininterval=1)
    while (progress := dist.broadcast(budget.progress(step))) < 1:
        history = []
        while progress < 1:
            # step
            crops, crop_origin = draw_crops(frames, train_frames, args.batch_size, generator, device, dist)
            with autocast(device):
                latents = encoder(crops)
                noise = torch.randn(
                    args.batch_size,
                    *latents.shape[1:],
                    generator=device_generator(device, generator),
                    device=device,
                )
                noise = dist.local_rows(noise)
                rebuilt = decoder(
                    latents + LATENT_NOISE * noise, size=crops.shape[-2:], crop_origin=crop_origin
                )
            loss = F.l1_loss(rebuilt.float(), crops) + MSE_WEIGHT * F.mse_loss(rebuilt.float(), crops)
            loss.backward()
            dist.average_gradients(parameters)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step(learning_rate(args.learning_rate, progress, step))
            history.append({"loss/train": loss.detach()})
            step += 1
            bar.total = budget.expected_steps(step)
            bar.update()
            progress = dist.broadcast(budget.progress(step))
            if step % steps_per_epoch == 0:
                break
        means = dist.mean_metrics(history)
        if not all(map(math.isfinite, means.values())):  # asked at each step, a GPU would stand still
            raise InputError(f"the loss is no number by step {step}: lower --learning-rate, then start again")
        if not dist.is_main:  # the first one alone measures, logs and saves
            continue

        # log
        rebuilt = rebuild(encoder, decoder, validation, device)
        validation_psnr = psnr(rebuilt, to_float_frames(validation, device)).mean().item()
        log.write(step, {**means, "psnr/autoencoder": validation_psnr})
        bar.set_postfix(psnr=f"{validation_psnr:.2f}")

        # preview
        shown = slice(0, len(validation), max(1, len(validation) // 6))
        rows = [to_float_frames(validation[shown], device), rebuilt[shown]]
        save_image_grid(rows, run_dir / "previews" / f"step_{step:06d}.png")

        # save
        if validation_psnr > best_psnr:
            best_psnr = validation_psnr
            save_checkpoint(
                autoencoder_checkpoint("encoder", encoder, fingerprint(decoder)), run_dir / "encoder.pt"
            )
            save_checkpoint(autoencoder_checkpoint("decoder", decoder), run_dir / "decoder.pt")
        last = {
            "kind": "autoencoder_run",
            "must_match": fixed,
            "config": asdict(decoder.config),
            "encoder": encoder.state_dict(),
            "decoder": decoder.state_dict(),
            "optimizer": optimizer.state_dict(),
            "generator": generator.get_state(),
            "rng": rng_state(),
            "step": step,
            "spent_s": budget.spent_s(),
            "best_psnr": best_psnr,
        }
        save_checkpoint(last, run_dir / "last.pt")
    bar.close()
    print(
        f"{budget.what_ended(step)}: {step} steps; reconstructions of held-out episodes: {best_psnr:.2f} dB"
    )
    paths = ["--trajectories", Path(args.trajectories).as_posix(), "--autoencoder-dir", run_dir.as_posix()]
    print("next: " + shlex.join(["python", "sd/train_sd.py", *paths]))


def make_autoencoder(
    args: argparse.Namespace, data: Trajectories, resumed: dict | None
) -> tuple[Encoder, Decoder]:
    """To train: new, those of --init-from, or those of the run that is resumed."""
    config = AutoencoderConfig(height=data.height, width=data.width)
    encoder, decoder = Encoder(config), Decoder(config)
    if resumed:
        with load_errors_as_bad_input(Path(args.output_dir) / "last.pt"):
            encoder.load_state_dict(resumed["encoder"])
            decoder.load_state_dict(resumed["decoder"])
    elif args.init_from:
        for part in (encoder, decoder):
            kind = type(part).__name__.lower()
            path = Path(args.init_from) / f"{kind}.pt"
            if part is encoder or path.exists():
                loaded = load_autoencoder_part(path, kind)
                if loaded.config != config:
                    raise InputError(f"{path} is of another shape: {loaded.config}, wanted {config}")
                part.load_state_dict(loaded.state_dict())
    return encoder, decoder


def draw_crops(
    frames: Tensor, where: Tensor, batch: int, generator: torch.Generator, device: torch.device,
    dist: Distributed = SINGLE,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Random crops (B, 3, h, w), 0-1, of frames, uint8 (N, T, 3, H, W), and the latent pixels (B, 2), row and column,
    where they begin.

    `where` (M, 2): row and t of the frames allowed. Crops begin at multiples of PATCH: patches lie as in whole frames.
    """
    H, W = frames.shape[-2:]
    h, w = min(CROP[0], H), min(CROP[1], W)
    chosen = where[torch.randint(len(where), (batch,), generator=generator)]
    last = (-(-(H - h) // PATCH), -(-(W - w) // PATCH))
    crop_origin = torch.stack(
        [torch.randint(most + 1, (batch,), generator=generator) for most in last], dim=1
    )  # (B, 2)
    chosen, crop_origin = dist.local_rows(chosen), dist.local_rows(crop_origin)
    rows, times, top, left = torch.cat([chosen, crop_origin * PATCH], dim=1)[:, :, None, None, None].unbind(
        dim=1
    )
    y = (top + torch.arange(h)[:, None]).clamp(
        max=H - 1
    )  # beyond the edge, where the frame is no multiple of PATCH
    x = (left + torch.arange(w)).clamp(max=W - 1)
    places = (to_device(each, frames.device) for each in (rows, times, torch.arange(3)[:, None, None], y, x))
    return to_float_frames(frames[tuple(places)], device), to_device(crop_origin, device)


def validation_frames(data: Trajectories, mask: np.ndarray) -> np.ndarray:
    """At most VALIDATION_FRAMES held-out frames, evenly spread, uint8 (V, 3, H, W)."""
    where = np.argwhere(mask)
    where = where[np.linspace(0, len(where) - 1, min(VALIDATION_FRAMES, len(where))).astype(int)]
    return np.stack([data.frames[row, t] for row, t in where])


@torch.no_grad()
def rebuild(encoder: Encoder, decoder: Decoder, frames_u8: np.ndarray, device: torch.device) -> Tensor:
    """decode(encode(x)) in float32 with the statistics that the file will hold, (V, 3, H, W)."""
    encoder.eval()
    latents = torch.cat(
        [encoder(to_float_frames(part, device)) for part in np.array_split(frames_u8, 8) if len(part)]
    )
    encoder.train()
    return decode(decoder, latents)


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
