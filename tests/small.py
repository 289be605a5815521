"""Helpers of many tests: small random models, a world model saved as files, a recording of a moving square."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from dream.common.game_info import GameInfo
from dream.common.runs import save_checkpoint
from dream.inference.torch_backend import TorchBackend
from dream.inference.world_model_env import WorldModelEnv
from dream.models.autoencoder import AutoencoderConfig, Decoder, Encoder
from dream.models.checkpoints import autoencoder_checkpoint, fingerprint, model_checkpoint
from dream.models.outcome import OutcomeConfig, OutcomeModel
from dream.models.unet import UNet, UNetConfig
from dream.training.losses import FlowTargets, denoiser_loss, flow_loss, warp_context
from dream.training.noise import add_training_noise

CPU = torch.device("cpu")
GAME = GameInfo(("nothing", "left", "right"), ((), ("left",), ("right",)), 15.0)
SIDE, STRIDE = 8, 4  # of the moving square: its side in pixels, and pixels per step


def seeded(seed: int = 0) -> torch.Generator:
    """A generator on the CPU with this seed."""
    return torch.Generator().manual_seed(seed)


def randomize_weights(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Adds noise to every weight, because the output of zero-initialized layers does not depend on their input."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return model


def small_autoencoder(height: int = 32, width: int = 48, seed: int = 0) -> tuple[Encoder, Decoder]:
    """Random encoder and decoder of 16 channels, in evaluation mode."""
    torch.manual_seed(seed)
    config = AutoencoderConfig(height, width, channels=16)
    encoder, decoder = Encoder(config), Decoder(config)
    return randomize_weights(encoder, seed).eval(), randomize_weights(decoder, seed + 1).eval()


def save_small_autoencoder(folder: Path, seed: int = 0) -> tuple[Encoder, Decoder]:
    """Saves a `small_autoencoder` as encoder.pt and decoder.pt in `folder`; returns it."""
    encoder, decoder = small_autoencoder(seed=seed)
    save_checkpoint(autoencoder_checkpoint("encoder", encoder, fingerprint(decoder)), folder / "encoder.pt")
    save_checkpoint(autoencoder_checkpoint("decoder", decoder), folder / "decoder.pt")
    return encoder, decoder


def small_unet(num_actions: int = 3, seed: int = 0) -> UNet:
    """A small untrained denoiser without optical flow, in evaluation mode."""
    torch.manual_seed(seed)
    return UNet(UNetConfig(num_actions, channels=(16, 32), blocks=1, embedding=32)).eval()


def moving_unet(num_actions: int = 3, seed: int = 0) -> UNet:
    """A small denoiser with optical flow, random weights, and the small autoencoder attached."""
    torch.manual_seed(seed)
    unet = randomize_weights(UNet(replace(small_unet(num_actions).config, use_flow=True)), seed).eval()
    return unet.attach_autoencoder(*small_autoencoder())


def unet_inputs(batch: int = 2, h: int = 8, w: int = 12) -> dict[str, torch.Tensor]:
    """Random inputs of a small denoiser, by the names of its parameters."""
    generator = torch.Generator().manual_seed(3)
    return {
        "z": torch.randn(batch, 4, h, w, generator=generator),
        "t": torch.rand(batch, generator=generator),
        "context": torch.randn(batch, 4, 4, h, w, generator=generator),
        "actions": torch.randint(3, (batch, 4), generator=generator),
        "context_noise": torch.rand(batch, generator=generator),
    }


def small_outcome(num_actions: int = 3, seed: int = 0) -> OutcomeModel:
    """A small random outcome model for the small denoiser, whose rewards are about 5."""
    torch.manual_seed(seed)
    outcome = randomize_weights(OutcomeModel(OutcomeConfig(num_actions, channels=16)), seed).eval()
    outcome.reward_mean.fill_(5)
    return outcome


def save_small_world_model(
    folder: Path,
    num_starts: int = 3,
    outcome: OutcomeModel | None = None,
    game: GameInfo = GAME,
    no_flow: bool = False,
    **settings: object,
) -> dict[str, Path]:
    """Saves encoder.pt, decoder.pt, model.pt and initial_sequence.npz of a small random world model. no_flow: its flow
    is zero everywhere. settings: of its UNetConfig.

    Returns the last three by the names of `open_small_world_model`'s parameters.
    """
    _, decoder = save_small_autoencoder(folder)
    unet = moving_unet(len(game.action_names))
    unet.config = replace(unet.config, **settings)
    if no_flow:
        torch.nn.init.zeros_(unet.flow.conv_out.weight)
        torch.nn.init.zeros_(unet.flow.conv_out.bias)
    checkpoint = model_checkpoint(unet, game, fingerprint(decoder), 2, outcome=outcome)
    save_checkpoint(checkpoint, folder / "model.pt")
    rng = np.random.default_rng(0)
    np.savez(
        folder / "initial_sequence.npz",
        frames=rng.normal(size=(num_starts, 4, 4, 8, 12)).astype(np.float16),
        actions=rng.integers(3, size=(num_starts, 4)),
    )
    names = {
        "decoder_path": "decoder.pt",
        "model_path": "model.pt",
        "trajectory_path": "initial_sequence.npz",
    }
    return {option: folder / name for option, name in names.items()}


def open_small_world_model(
    decoder_path: Path, model_path: Path, trajectory_path: Path, steps: int | None = 1, seed: int = 0,
    device: torch.device = CPU,
) -> WorldModelEnv:  # fmt: skip
    """Loads the files of `save_small_world_model` as an environment with the PyTorch backend."""
    return WorldModelEnv.load(TorchBackend(decoder_path, model_path, steps, device), trajectory_path, seed)


def moving_square(
    rows: int = 6, steps: int = 24, height: int = 32, width: int = 48, num_actions: int = 3, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Frames uint8 (rows, steps, 3, height, width) and actions int64 (rows, steps) of a square on a plain background.

    Action 1 moves the square left, 2 moves it right, the others do not move it. An action is held for three steps.
    """
    rng = np.random.default_rng(seed)
    actions = np.repeat(rng.integers(num_actions, size=(rows, -(-steps // 3))), 3, axis=1)[:, :steps]
    frames = np.full((rows, steps, 3, height, width), 40, np.uint8)
    for row in range(rows):
        left = int(rng.integers((width - SIDE) // STRIDE)) * STRIDE
        for t in range(steps):
            frames[row, t, :, 12 : 12 + SIDE, left : left + SIDE] = np.array([230, 160, 30])[:, None, None]
            left += {1: -STRIDE, 2: STRIDE}.get(int(actions[row, t]), 0)
            left = min(max(left, 0), (width - SIDE) // STRIDE * STRIDE)
    return frames, actions


def save_moving_square(path: Path, arrays: dict[str, np.ndarray] | None = None, **options) -> Path:
    """Saves a `moving_square(**options)` as a recording, with further `arrays` by name."""
    frames, actions = moving_square(**options)
    np.savez(path, frames=frames, actions=actions, **(arrays or {}))
    return path


def step_loss(unet, context, actions, target, is_real, generator, targets=None, has_target=None):
    """The loss of a training step as in train_sd.py, without the adversarial part.

    Returns loss, metrics, predicted latents, and a mask of the samples at pure noise. targets: FlowTargets (default:
    from context and target, decoded).
    """
    has_target = torch.ones(len(target), dtype=torch.bool) if has_target is None else has_target
    noisy = add_training_noise(context, target, is_real, has_target, 0.8, generator)
    photometric = None
    if unet.config.use_flow:
        if targets is None:
            _, decoder = unet.autoencoder
            targets = FlowTargets(context, decoder(context[:, -1]), decoder(target))
        photometric = flow_loss(unet, actions, targets)
    warped = warp_context(unet, noisy.context, actions)
    predicted = unet(noisy.z, noisy.t, noisy.context, actions, noisy.context_noise, warped)
    loss, metrics = denoiser_loss(predicted, target, mask=has_target)
    if photometric is not None:
        loss, metrics["loss/flow"] = loss + photometric, photometric.detach()
    return loss, metrics, predicted, noisy.at_pure_noise
