"""The losses of the diffusion model: of the denoiser and of the optical flow. The adversarial loss is in
adversarial.py. Pure tensors."""

from typing import NamedTuple

import torch
from torch import Tensor

from dream.data.latents import frames_at
from dream.models.flow import photometric_loss, upsample_flow
from dream.models.unet import UNet

EPS = 1e-4  # added to the squared error under the root, whose gradient is infinite at 0


def denoiser_loss(
    predicted: Tensor,
    x0: Tensor,
    mask: Tensor | None = None,
    num_valid: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Root mean squared error of each predicted latent (B, C, h, w), averaged over the batch; the metric is the MSE.

    Because of the root, the gradients of all samples have the same norm. With a mean squared error, samples of a
    standing kart would have about a hundredth of the weight of samples of a driving one, and the small errors that
    accumulate while it stands would not be corrected.

    mask: bool (B,), samples that have a target (default: all). num_valid: see `masked_mean`.
    """
    mse = (predicted - x0).pow(2).mean(dim=(1, 2, 3))
    rmse = (mse + EPS).sqrt()
    return masked_mean(rmse, mask, num_valid), {"loss/train": masked_mean(mse.detach(), mask, num_valid)}


def masked_mean(values: Tensor, mask: Tensor | None, num_valid: Tensor | None = None) -> Tensor:
    """Mean of values (B,) where mask, bool (B,), is True (None: of all values); 0 if no element of the mask is True.

    num_valid: scalar tensor, the divisor if the batch is distributed over several processes (default: mask.sum())."""
    if mask is None:
        return values.mean()
    return (values * mask).sum() / (mask.sum() if num_valid is None else num_valid).clamp(min=1e-6)


class FlowTargets(NamedTuple):
    """What the flow learns from: real latents (B, L, C, h, w), the last frame and the next, (B, 3, H, W), 0-1."""

    real_context: Tensor
    last_frame: Tensor
    next_frame: Tensor


def flow_targets(
    frames: Tensor, positions: Tensor, real_context: Tensor, device: torch.device
) -> FlowTargets:
    """Targets of windows at positions int64 (B, 2), row and t, with real_context (B, L, C, h, w), on `device`.

    frames: uint8 (N, T, 3, H, W), the recording's."""
    L = real_context.shape[1]
    last_frame, next_frame = (frames_at(frames, positions, t, device) for t in (L - 1, L))
    return FlowTargets(real_context, last_frame, next_frame)


def flow_loss(unet: UNet, actions: Tensor, targets: FlowTargets) -> Tensor:
    """The photometric loss of the flow of real contexts, with actions int64 (B, L); scalar.

    The flow learns from real contexts and frames alone: through the encoder the denoiser's loss would hardly tell it
    where to go, and generated frames may be some pixels away from the recording's."""
    flow = unet.flow(targets.real_context, actions)
    return photometric_loss(
        targets.last_frame, targets.next_frame, upsample_flow(flow, targets.last_frame.shape[-2:])
    )


@torch.no_grad()
def warp_context(unet: UNet, context: Tensor, actions: Tensor) -> Tensor:
    """`unet.warp_last_latent`, (B, C, h, w), without gradient: see `flow_loss`, which under autocast comes first, as
    weights cast here would be used there without their gradient."""
    return unet.warp_last_latent(context, actions)
