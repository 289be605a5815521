"""What a training step computes: the noisy inputs, the flow's loss, the moving average of the weights. Pure
tensors."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from dream.common.device import device_generator, to_device
from dream.data.latents import frames_at
from dream.models.diffusion import add_noise, masked_mean, outlier_weight, sample_timesteps
from dream.models.flow import photometric_loss, upsample_flow
from dream.models.unet import UNet
from dream.training.rollout_pool import Batch

MAX_CONTEXT_NOISE = 0.3  # standard deviation
FLOW_CONSISTENCY_WEIGHT = 0.02  # per pixel by which the flows of a generated and of the real context differ


class FlowTargets(NamedTuple):
    """What the flow learns from: real latents (B, L, C, h, w), the last frame and the next, (B, 3, H, W), 0-1."""

    real_context: Tensor
    last_frame: Tensor
    next_frame: Tensor


def flow_targets(frames: Tensor, batch: Batch, context: int, device: torch.device) -> FlowTargets:
    """Those of a batch, on `device`. frames: uint8 (N, T, 3, H, W), the recording's. context: L."""
    last_frame, next_frame = (frames_at(frames, batch.positions, t, device) for t in (context - 1, context))
    return FlowTargets(batch.real_context, last_frame, next_frame)


class NoisyInputs(NamedTuple):
    """Inputs of the denoiser for a batch of B samples."""

    z: Tensor  # noisy targets (B, C, h, w)
    t: Tensor  # timesteps (B,), 0-1
    context: Tensor  # (B, L, C, h, w), some with noise
    context_noise: Tensor  # its standard deviation (B,)
    at_pure_noise: (
        Tensor  # bool (B,), on the CPU: where t is 1, so that the prediction is a frame as play shows it
    )


def add_training_noise(
    context: Tensor,
    target: Tensor,
    is_real: Tensor,
    has_target: Tensor,
    pure_noise_fraction: float,
    generator: torch.Generator,
) -> NoisyInputs:
    """Draws timesteps, the noise on targets (B, C, h, w), and noise on half of the contexts (B, L, C, h, w) that
    are real.

    The network is given the level of the context noise (GameNGen, arXiv 2408.14837, section 3.2.1). is_real: bool
    (B,), contexts without a generated frame; generated ones have errors of their own. has_target: bool (B,);
    samples without a target begin at pure noise. Both masks are on the CPU, the latents on any device. All draws
    are for the whole batch, so that they do not depend on how many processes share it."""
    B, device = len(target), target.device
    noise_generator = device_generator(device, generator)

    def noise_like(x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=noise_generator, device=device)

    noisy = is_real & (torch.rand(B, generator=generator) < 0.5)
    context_noise = to_device(torch.rand(B, generator=generator) * MAX_CONTEXT_NOISE * noisy, device)
    context = context + context_noise[:, None, None, None, None] * noise_like(context)
    t = torch.where(has_target, sample_timesteps(B, pure_noise_fraction, generator), 1.0)
    at_pure_noise = t == 1
    t = to_device(t, device)
    return NoisyInputs(add_noise(target, noise_like(target), t), t, context, context_noise, at_pure_noise)


def warp_and_flow_loss(
    unet: UNet,
    context: Tensor,
    actions: Tensor,
    targets: FlowTargets,
    reference_mse: Tensor | None = None,
    mask: Tensor | None = None,
    num_valid: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`unet.warp_last_latent` (B, C, h, w) along the predicted flow, without gradient, and the flow's own loss.

    The flow learns from real contexts alone, by the photometric loss: through the encoder the denoiser's loss would
    hardly tell it where to go, and generated frames may be some pixels away from the recording's. The flow of a
    generated context is only pulled towards that of the real one, the less the further the two are apart
    (`outlier_weight` with reference_mse (B,)), and not at all where mask, bool (B,), is False. num_valid: see
    `masked_mean`."""
    flow, real_flow = unet.flow(torch.cat([context, targets.real_context]), actions.repeat(2, 1)).chunk(2)
    size = targets.last_frame.shape[-2:]
    loss = photometric_loss(targets.last_frame, targets.next_frame, upsample_flow(real_flow, size))
    differences = (flow - real_flow.detach()).abs().mean(dim=(1, 2, 3))
    context_mse = (context[:, -1] - targets.real_context[:, -1]).pow(2).mean(dim=(1, 2, 3))
    consistency = masked_mean(differences * outlier_weight(context_mse, reference_mse), mask, num_valid)
    warped = unet.warp_last_latent(context, actions, flow.detach())
    return warped, loss + FLOW_CONSISTENCY_WEIGHT * consistency


def flow_pretraining_loss(unet: UNet, actions: Tensor, targets: FlowTargets) -> Tensor:
    """The flow's photometric loss alone, on real contexts: a step is several times as fast as one of the whole
    model."""
    flow = unet.flow(targets.real_context, actions)
    return photometric_loss(
        targets.last_frame, targets.next_frame, upsample_flow(flow, targets.last_frame.shape[-2:])
    )


def update_ema(ema: UNet, unet: UNet, decay: float) -> None:
    """Moves each weight of `ema` towards that of `unet`: ema <- decay * ema + (1 - decay) * unet."""
    get_ema_multi_avg_fn(decay)(list(ema.parameters()), list(unet.parameters()), None)
