"""That training works: a short one learns how a square moves; the pretrained model predicts as well as it did."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from dream.data.latents import gather_windows
from dream.data.splits import window_starts
from dream.data.trajectories import open_trajectories
from dream.evaluation.metrics import psnr
from dream.models.autoencoder import decode
from dream.models.checkpoints import load_world_model
from dream.models.rollout import rollout, sample_next_latent
from dream.models.unet import UNet, UNetConfig
from dream.training.rollout_pool import RolloutPool
from dream.training.schedule import learning_rate
from small import CPU, moving_square, step_loss
from training_helpers import L, seeded

ROOT = Path(__file__).resolve().parent.parent
# Mean PSNR in dB of `predictions_of_the_pretrained_model`, and of the last frame repeated, measured in November 2026.
PRETRAINED_PSNR, COPY_PSNR = 32.61, 38.66
# The same over the windows in which something moves; where nothing does, the repeated frame is right to the bit.
MOVING_PSNR, MOVING_COPY_PSNR = 30.07, 19.83


def all_windows(rows: int, steps: int) -> torch.Tensor:
    """Window starts (M, 2) of a recording without resets."""
    starts = window_starts(np.zeros((rows, steps), bool), np.ones((rows, steps), bool), L + 1)
    return torch.from_numpy(starts)


@pytest.mark.slow
def test_a_short_training_learns_how_a_square_moves():
    """Frames, actions and noise together. Latents are every fourth pixel, so that no autoencoder is needed."""
    torch.manual_seed(0)
    frames, actions = moving_square(rows=24, steps=40)
    latents = torch.from_numpy(frames[:, :, :, 2::4, 2::4]).float() / 64 - 1  # (N, T, 3, 8, 12)
    actions = torch.from_numpy(actions)
    unet = UNet(UNetConfig(num_actions=3, latent_channels=3, channels=(32, 64), blocks=1, embedding=64))
    optimizer = torch.optim.AdamW(unet.parameters(), lr=2e-3)
    generator, num_steps = seeded(), 250
    pool = RolloutPool(latents, actions, all_windows(20, 40), 16, L, CPU, generator)
    for step in range(num_steps):
        batch = pool.sample_batch()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(2e-3, step / num_steps, step, warmup_steps=20)
        loss, _, predicted, at_pure_noise = step_loss(
            unet, batch.context, batch.actions, batch.target, batch.is_real, generator
        )
        pool.mean_length = 2
        pool.update(batch.slots, predicted, at_pure_noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    held_out = all_windows(4, 40) + torch.tensor([20, 0])
    window, window_actions = gather_windows(latents, actions, held_out, L + 1, CPU)
    noise = torch.randn(window[:, -1].shape, generator=generator)
    with torch.no_grad():
        predicted = sample_next_latent(unet, window[:, :-1], window_actions[:, :-1], noise, steps=1)
    copy_error = (window[:, -2] - window[:, -1]).pow(2).mean()
    error = (predicted - window[:, -1]).pow(2).mean()
    assert error < 0.3 * copy_error, f"error {error:.4f}, of the last frame repeated {copy_error:.4f}"

    # A square in the middle; each action held for three frames must move it left, right or not at all.
    middle = window[(window[:, 3, 0, 4].argmax(dim=-1) == 5).nonzero()[0, 0], 3:4][None]
    columns = []
    for action in range(3):
        held = torch.cat([torch.zeros(1, 3, dtype=torch.long), torch.full((1, 3), action)], dim=1)
        generated = rollout(unet, middle.expand(-1, L, -1, -1, -1), held, 1, seeded())[0, -1, 0]  # (8, 12)
        weight = (generated - generated.min()).pow(2).sum(dim=0)
        columns.append((weight * torch.arange(12)).sum() / weight.sum())
    nothing, left, right = columns
    assert left < nothing - 1 and right > nothing + 1, f"columns {columns}"


@torch.no_grad()
def predictions_of_the_pretrained_model(recording: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """PSNR in dB (64,) of the predicted next frame, and of the last frame repeated, over 64 windows that are evenly
    spread over a recording; in float32."""
    folder = ROOT / "sd" / "pretrained"
    decoder, unet, _, checkpoint = load_world_model(folder / "decoder.pt", folder / "model.pt")
    encoder, _ = unet.autoencoder
    data = open_trajectories(recording)
    starts = window_starts(data.episode_starts, np.ones(data.actions.shape, bool), L + 1)
    starts = starts[np.linspace(0, len(starts) - 1, 64).astype(int)].tolist()
    frames = torch.from_numpy(np.stack([data.frames[row, t : t + L + 1] for row, t in starts])).float() / 255
    actions = torch.from_numpy(np.stack([data.actions[row, t : t + L] for row, t in starts])).long()
    context = torch.stack([encoder(frames[:, i]) for i in range(L)], dim=1)
    noise = torch.randn(context[:, -1].shape, generator=seeded())
    latent = sample_next_latent(unet, context, actions, noise, checkpoint["steps"])
    return psnr(decode(decoder, latent), frames[:, -1]), psnr(frames[:, -2], frames[:, -1])


@pytest.mark.slow
def test_the_pretrained_model_predicts_as_well_as_it_did(tmp_path):
    """A change to sampling, warping, loading or the checkpoints that costs quality shows here."""
    recording = tmp_path / "recording.npz"
    command = [sys.executable, ROOT / "ppo" / "record_trajectories.py", "--frames", 1024, "--n-envs", 2,
               "--policy", "sticky", "--seed", 4321, "--output", recording]  # fmt: skip
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=3600, check=False)
    assert result.returncode == 0, result.stderr
    predicted, copied = predictions_of_the_pretrained_model(recording)
    assert copied.mean().item() == pytest.approx(COPY_PSNR, abs=0.05), (
        "the recording has changed, not the model"
    )
    assert predicted.mean().item() == pytest.approx(PRETRAINED_PSNR, abs=0.3)
    moving = copied < 59
    assert copied[moving].mean().item() == pytest.approx(MOVING_COPY_PSNR, abs=0.05)
    assert predicted[moving].mean().item() == pytest.approx(MOVING_PSNR, abs=0.3)
