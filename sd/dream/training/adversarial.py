"""The adversarial loss: a discriminator, trained together with the denoiser, and its gradient on predicted latents.

Where the next frame cannot be known, such as the next dash of a kerb that comes over the horizon, the mean of all
possibilities has the least error, and it is a blur. A discriminator (Goodfellow et al. 2014, arXiv
1406.2661) recognises the blur. It sees one latent at a time, so it asks for pictures of the game and leaves what
happens in them to the other losses; for rollouts off the data (rollout_pool.py) it is the only loss. Relativistic,
with gradient penalties on real and generated latents (R3GAN: Huang et al. 2024, arXiv 2501.05441)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dream.common.device import mask_indices
from dream.common.distributed import SINGLE, Distributed
from dream.common.runs import autocast
from dream.models.discriminator import Discriminator

GRADIENT_PENALTY = 20.0  # weight of the squared gradient: keeps the discriminator from saturating early
LEARNING_RATE = 5e-4
WARMUP_STEPS = 300  # over which the generator's loss grows: an untrained discriminator knows nothing
# The scale of the generator's loss is measured on rows with a target. Where few of them have one, their discriminator
# gradient is not taken to be smaller than this fraction of what all rows suggest: the scale stays bounded.
MIN_NORM_FRACTION = 0.1


class AdversarialLoss:
    """A discriminator and its optimizer.

    The generator's gradient is scaled to a fixed fraction of the other losses' gradient at the predicted latents, as
    VQGAN (Esser et al. 2021, arXiv 2012.09841, equation 7) does at the last layer."""

    def __init__(
        self, latent_channels: int, weight: float, device: torch.device, dist: Distributed = SINGLE
    ) -> None:
        """weight: size of the generator's gradient at the predicted latents, relative to that of the other losses.
        dist: latents are this process's rows; means over processes are those of the whole batch."""
        self.discriminator = Discriminator(latent_channels).to(device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(
            self.discriminator.parameters(), LEARNING_RATE, betas=(0.0, 0.99), weight_decay=1e-3
        )
        self.weight, self.step, self.dist = weight, 0, dist

    def generator_loss(
        self, loss: Tensor, predicted: Tensor, real: Tensor, mask: Tensor, has_target: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Trains the discriminator for a step; returns what to add to `loss`, which depends on `predicted`, and
        metrics.

        predicted, real: latents (B, C, h, w). mask: bool (B,), the rows that are judged. has_target: bool (B,), the
        rows on which `loss` has a gradient, against which the generator's is scaled. Both masks are on the CPU."""
        has_target = mask_indices(has_target[mask], real.device)
        mask = mask_indices(mask, real.device)
        fake_grad, metrics = self.train_step(predicted.detach()[mask], real[mask])
        (loss_grad,) = torch.autograd.grad(loss, predicted, retain_graph=True)
        weight = self.weight * min(1.0, self.step / WARMUP_STEPS)
        sums = [
            loss_grad[mask].square().sum(),
            fake_grad[has_target].square().sum(),
            fake_grad.square().sum(),
        ]
        counts = [torch.full_like(sums[0], len(rows)) for rows in (has_target, mask)]
        # square roots, so that a ratio of counts becomes the ratio of the norms that it suggests
        loss_norm, fake_norm, fake_norm_all, with_target, judged = self.dist.mean(
            torch.stack(sums + counts)
        ).sqrt()
        expected = fake_norm_all * with_target / judged.clamp(min=1e-12)
        scale = weight * loss_norm / torch.maximum(fake_norm, MIN_NORM_FRACTION * expected).clamp(min=1e-12)
        return (predicted[mask] * (fake_grad * scale)).sum(), metrics

    def train_step(self, fake: Tensor, real: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """One step of the discriminator on latents (B, C, h, w). Returns the gradient (B, C, h, w) of the
        generator's loss with respect to `fake`, before the step (the penalty has computed it anyway), and
        metrics."""
        count = self.dist.mean(torch.full((), float(len(fake)), device=fake.device))
        fake, real = fake.clone().requires_grad_(), real.clone().requires_grad_()
        with autocast(fake.device):
            fake_logits, real_logits = self.discriminator(fake), self.discriminator(real)
            gradients = torch.autograd.grad(
                (fake_logits + real_logits).sum(), (fake, real), create_graph=True
            )
        penalty = sum(gradient.pow(2).sum() for gradient in gradients) / count
        loss = F.softplus(fake_logits - real_logits).sum() / count + GRADIENT_PENALTY / 2 * penalty
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.dist.average_gradients(self.discriminator.parameters())
        self.optimizer.step()
        self.step += 1
        logit_gap = (real_logits - fake_logits).detach()
        dloss_dlogit = -logit_gap.sigmoid() / count  # of softplus(logit_gap).mean(), in fake_logits
        fake_grad = dloss_dlogit[:, None, None, None] * gradients[0].detach()
        metrics = {
            "gan/accuracy": (logit_gap > 0).sum() / count,
            "gan/logit_gap": logit_gap.sum() / count,
            "gan/gradient_penalty": penalty.detach(),
        }
        return fake_grad, metrics

    def state_dict(self) -> dict:
        return {
            "model": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }

    def load_state_dict(self, state: dict) -> None:
        self.discriminator.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
