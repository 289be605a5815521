"""Does a latent look like one of the game's? A judge that is taught beside the model, and pushes it towards yes.

The nearest guess at what cannot be known is a blur: where the next dash of a kerb lies that came over the horizon, a
model taught by squared error paints all of it grey, and goes on from there. A discriminator (Goodfellow et al. 2014,
arXiv 1406.2661) takes grey for what it is. It sees one latent, so it asks for pictures of the game and leaves what
happens in them to the other loss. Of walks astray (streams.py), which have no other, nothing more is asked.
Relativistic, with both gradient penalties (Huang et al. 2024, arXiv 2501.05441).
"""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dream.common.device import mask_indices
from dream.common.distributed import SINGLE, Distributed
from dream.common.runs import autocast
from dream.models.flow import FOLD, OCTAVES, position_features

CHANNELS = (64, 96, 128)  # at 1/2, 1/4 and 1/8 of the latent's resolution
PENALTY = 20.0  # of a squared gradient, by which a judge that is sure too early is held back
LEARNING_RATE = 5e-4
BEGINNING = 300  # steps in which its push grows: at first it knows nothing


class Discriminator(nn.Module):
    """From latents (B, C, h, w) to how real they look, (B,): a mean over patches of several sizes."""

    def __init__(self, latent_channels: int) -> None:
        super().__init__()
        inputs = (latent_channels * FOLD**2 + 4 * OCTAVES, *CHANNELS)
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride=stride, padding=1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(after, after, 3, padding=1),
                nn.LeakyReLU(0.2),
            )
            for stride, (before, after) in zip((1, 2, 2), itertools.pairwise(inputs), strict=True)
        )
        self.verdicts = nn.ModuleList(nn.Conv2d(width, 1, 1) for width in CHANNELS)

    def forward(self, latents: Tensor) -> Tensor:
        x = F.pixel_unshuffle(latents, FOLD)
        x = torch.cat([x, position_features(*x.shape[-2:], x).expand(len(x), -1, -1, -1)], dim=1)
        found = []
        for stage, verdict in zip(self.stages, self.verdicts, strict=True):
            x = stage(x)
            found.append(verdict(x).float().mean(dim=(1, 2, 3)))
        return torch.stack(found).mean(dim=0)


class AdversarialLoss:
    """A discriminator and its optimizer."""

    def __init__(
        self, latent_channels: int, share: float, device: torch.device, dist: Distributed = SINGLE
    ) -> None:
        """share: of the size of the other loss's gradient at the predicted latents, that of the push. shards: latents
        are this process's rows, and means over processes those of the batch."""
        self.discriminator = Discriminator(latent_channels).to(device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(
            self.discriminator.parameters(), LEARNING_RATE, betas=(0.0, 0.99), weight_decay=1e-3
        )
        self.share, self.step, self.dist = share, 0, dist

    def push(
        self, loss: Tensor, predicted: Tensor, real: Tensor, judged: Tensor, known: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The discriminator learns from latents (B, C, h, w), predicted and real, those that are `judged`, (B,) bool;
        then what to add to `loss`, which depends on `predicted`, and the metrics. Its strength is measured where the
        truth is known, (B,) bool: elsewhere the loss does not pull. Both masks are on the CPU, whatever the device."""
        judged, known = mask_indices(judged, real.device), mask_indices(known[judged], real.device)
        away, metrics = self.learn(predicted.detach()[judged], real[judged])
        (pull,) = torch.autograd.grad(loss, predicted, retain_graph=True)
        strength = self.share * min(1.0, self.step / BEGINNING)
        squares = torch.stack([pull[judged].square().sum(), away[known].square().sum()])
        pulled, beside = self.dist.mean(squares).sqrt()
        push = away * (strength * pulled / beside.clamp(min=1e-12))
        return (predicted[judged] * push).sum(), metrics

    def learn(self, fake: Tensor, real: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """One step on latents (B, C, h, w); the gradient (B, C, h, w) of the loss of those who made the fake ones, as
        it stood before the step: the penalty has it at hand; and the metrics."""
        count = self.dist.mean(torch.full((), float(len(fake)), device=fake.device))
        fake, real = fake.clone().requires_grad_(), real.clone().requires_grad_()
        with autocast(fake.device):
            of_fake, of_real = self.discriminator(fake), self.discriminator(real)
            gradients = torch.autograd.grad((of_fake + of_real).sum(), (fake, real), create_graph=True)
        penalty = sum(gradient.pow(2).sum() for gradient in gradients) / count
        loss = F.softplus(of_fake - of_real).sum() / count + PENALTY / 2 * penalty
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.dist.average_gradients(self.discriminator.parameters())
        self.optimizer.step()
        self.step += 1
        apart = (of_real - of_fake).detach()
        slope = -apart.sigmoid() / count  # of softplus(apart).mean(), in of_fake
        away = slope[:, None, None, None] * gradients[0].detach()
        metrics = {
            "right": (apart > 0).sum() / count,
            "apart": apart.sum() / count,
            "penalty": penalty.detach(),
        }
        return away, {f"discriminator/{name}": metric for name, metric in metrics.items()}

    def state(self) -> dict:
        return {
            "model": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }

    def restore(self, state: dict) -> None:
        self.discriminator.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
