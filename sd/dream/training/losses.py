"""One step of teaching the denoiser, and what it needs: the loss, the moving average, the windows. Pure tensors."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from dream.common.device import device_generator, to_device
from dream.common.distributed import SINGLE, Distributed
from dream.models.diffusion import (
    MOST_NOISE,
    add_noise,
    denoiser_loss,
    masked_mean,
    outlier_weight,
    sample_timesteps,
)
from dream.models.flow import photometric_loss, upsample_flow
from dream.models.unet import UNet

CONTEXT_NOISE = 0.3  # largest standard deviation of the noise added to the context of half the samples
NOISY_CONTEXTS = ("told", "untold", "off")


LIKE_REAL = 0.02  # weight of a pixel by which the flow of a dreamed context differs from that of the real one


class FlowTargets(NamedTuple):
    """Of the moments of a batch: real latents (B, L, C, h, w), the last frame and the next one (B, 3, H, W), 0-1."""

    context: Tensor
    last: Tensor
    following: Tensor


@dataclass(frozen=True)
class LossConfig:
    """How the denoiser is taught."""

    loss: str = "root"  # of LOSSES, diffusion.py
    context_noise: str = "told"  # is its level an input of the network?
    pure_noise_share: float = 0.8  # of the samples: one-step sampling is made of them alone


def training_loss(
    unet: UNet, context: Tensor, actions: Tensor, target: Tensor, fresh: Tensor, generator: torch.Generator,
    loss_config: LossConfig = LossConfig(), truth: FlowTargets | None = None, usual: Tensor | None = None,
    astray: Tensor | None = None, dist: Distributed = SINGLE,
) -> tuple[Tensor, dict[str, Tensor], Tensor, Tensor]:  # fmt: skip
    """The loss on target (B, C, h, w), given context (B, L, C, h, w) and actions (B, L); its metrics; the latents
    (B, C, h, w) predicted; and which of them, (B,) bool, began at pure noise: those are frames as play would show them.
    With several `dist` the first three are of this process's rows, and means over processes are those of the batch.

    Half of the contexts of real latents alone, `fresh` (B,) bool, get noise of a level that the model is told
    (GameNGen, arXiv 2408.14837, section 3.2.1). truth: what motion learns from (default: context and target). usual:
    (B,), errors beyond which a sample weighs less, see `denoiser_loss` and `warp_and_flow_loss`. astray: (B,) bool,
    those whose target is of another place (default: none): they begin at pure noise, and teach nothing here.
    `truth` and `usual` are of this process's rows.
    """
    B, device = len(target), target.device

    # drawn for the whole batch
    noisemaker = device_generator(device, generator)

    def noise_like(x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=noisemaker, device=device)

    noisy = fresh & (
        torch.rand(B, generator=generator) < (0.0 if loss_config.context_noise == "off" else 0.5)
    )
    level = to_device(torch.rand(B, generator=generator) * CONTEXT_NOISE * noisy, device)
    noise_of_context = noise_like(context)
    t = sample_timesteps(B, loss_config.pure_noise_share, generator)
    astray = torch.zeros(B, dtype=torch.bool) if astray is None else astray
    t = torch.where(astray, 1.0, t)
    pure, known = t == 1, to_device(~astray, device)
    prediction_type = unet.config.prediction_type
    if prediction_type == "noise":
        t = t.clamp(max=MOST_NOISE)
    noise, count = noise_like(target), known.sum() / dist.count

    # learned from
    context, actions, target, level, noise_of_context, t, known, noise = (
        dist.local_rows(each)
        for each in (context, actions, target, level, noise_of_context, to_device(t, device), known, noise)
    )
    context = context + level[:, None, None, None, None] * noise_of_context
    told = level if loss_config.context_noise == "told" else torch.zeros_like(level)
    z = add_noise(target, noise, t)
    moved, loss_of_motion = warp_and_flow_loss(unet, context, actions, target, truth, usual, known, count)
    predicted = unet(z, t, context, actions, told, moved)
    loss, metrics = denoiser_loss(
        predicted, target, t, prediction_type, loss_config.loss, usual, known, count
    )
    if loss_of_motion is not None:
        loss, metrics["loss/motion"] = loss + loss_of_motion, loss_of_motion.detach()
    return loss, metrics, predicted, pure


def warp_and_flow_loss(
    unet: UNet, context: Tensor, actions: Tensor, target: Tensor, truth: FlowTargets | None,
    usual: Tensor | None = None, known: Tensor | None = None, count: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """`unet.warp_last_latent`, and the loss of the flow that it goes by: None without motion. The denoiser's loss does not reach
    the flow, for through an encoder it would hardly tell it where to go. Nor do frames that the model dreamed: they may
    be beside the recording's by some pixels, which no flow should mend. They should move as the real ones do, the less
    the further they are from those (`outlier_weight`); what is of another place (not `known`) may move as it likes.
    """
    if not unet.config.use_flow:
        return context[:, -1], None
    _, decoder = unet.autoencoder
    if truth is None:
        with torch.no_grad():
            truth = FlowTargets(context, decoder(context[:, -1]), decoder(target))
    flow, real = unet.flow(torch.cat([context, truth.context]), actions.repeat(2, 1)).chunk(2)
    loss = photometric_loss(truth.last, truth.following, upsample_flow(real, truth.last.shape[-2:]))
    differences = (flow - real.detach()).abs().mean(dim=(1, 2, 3))
    beside = (context[:, -1] - truth.context[:, -1]).pow(2).mean(dim=(1, 2, 3))
    loss = loss + LIKE_REAL * masked_mean(differences * outlier_weight(beside, usual), known, count)
    return unet.warp_last_latent(context, actions, flow.detach()), loss


def flow_pretraining_loss(
    unet: UNet, actions: Tensor, truth: FlowTargets
) -> tuple[Tensor, dict[str, Tensor]]:
    """Of the flow alone, on real frames, and its metrics: several times as fast as a step of all, and what it foresees
    is what the denoiser begins from."""
    flow = unet.flow(truth.context, actions)
    loss = photometric_loss(truth.last, truth.following, upsample_flow(flow, truth.last.shape[-2:]))
    return loss, {"loss/motion": loss.detach()}


def update_ema(ema: UNet, unet: UNet, decay: float) -> None:
    """Moves each weight of `ema` a share 1 - decay of the way to that of `unet`."""
    get_ema_multi_avg_fn(decay)(list(ema.parameters()), list(unet.parameters()), None)
