"""Probes: small networks that are trained on real clips and applied to generated ones. No file access.

All probes share one architecture: the frames of a clip are pixel-unshuffled, so that fine detail is kept, and strided
convolutions reduce them to one vector, from which a linear layer predicts the target: the action, whether the clip is
generated, or the game's state. Longer clips are processed as pairs of consecutive frames.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dream.common.progress import progress_bar
from dream.common.runs import autocast

PATCH = 4  # pixels unshuffled into channels on each side
LEARNING_RATE = 5e-4  # at 1e-3 some seeds stay at chance level even on the training clips
PREDICT_BATCH = 64

Batches = Callable[[int], tuple[Tensor, Tensor]]  # step -> clips (B, T, 3, H, W), 0-1, and targets (B, ...)
Loss = Callable[[Tensor, Tensor], Tensor]


class ClipProbe(nn.Module):
    """A probe of clips of a fixed number of frames."""

    def __init__(self, num_frames: int, num_outputs: int, channels: int = 64) -> None:
        super().__init__()
        widths = (channels, 2 * channels, 2 * channels, 2 * channels)
        layers = [nn.PixelUnshuffle(PATCH), nn.Conv2d(3 * num_frames * PATCH**2, channels, 1)]
        for inputs, outputs in zip((channels, *widths), widths, strict=False):
            layers += [
                nn.Conv2d(inputs, outputs, 3, stride=2, padding=1),
                nn.GroupNorm(8, outputs),
                nn.SiLU(),
            ]
        self.convolutions = nn.Sequential(*layers)
        self.output = nn.Linear(widths[-1] * 6, num_outputs)

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (B, T, 3, H, W), 0-1 -> (B, num_outputs). H and W are cropped to multiples of PATCH."""
        H, W = (size // PATCH * PATCH for size in clips.shape[-2:])
        x = self.convolutions(clips[..., :H, :W].flatten(1, 2) * 2 - 1)
        return self.output(F.adaptive_avg_pool2d(x, (2, 3)).flatten(1)).float()


class FramePairProbe(nn.Module):
    """A probe of clips of any length: the mean output of a ClipProbe over all pairs of consecutive frames.

    A clip of 16 frames gives 15 training samples; a probe of all frames at once would get one.
    """

    def __init__(self, num_outputs: int) -> None:
        super().__init__()
        self.pair_probe = ClipProbe(2, num_outputs)

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (B, T, 3, H, W), 0-1, T at least 2 -> (B, num_outputs)."""
        pairs = torch.stack([clips[:, :-1], clips[:, 1:]], dim=2)  # (B, T - 1, 2, 3, H, W)
        return self.pair_probe(pairs.flatten(0, 1)).unflatten(0, pairs.shape[:2]).mean(dim=1)


def make_probe(num_frames: int | None, num_outputs: int, seed: int, device: torch.device) -> nn.Module:
    """An untrained ClipProbe of num_frames frames or, if num_frames is None, a FramePairProbe."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        probe = FramePairProbe(num_outputs) if num_frames is None else ClipProbe(num_frames, num_outputs)
    return probe.to(device, memory_format=torch.channels_last)


def train_probe(probe: nn.Module, batches: Batches, loss: Loss, num_steps: int) -> nn.Module:
    """Trains a probe for num_steps steps (Adam, cosine learning rate), freezes it and returns it."""
    device = next(probe.parameters()).device
    optimizer = torch.optim.Adam(probe.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    for step in progress_bar(range(num_steps), desc="training a probe", unit="step", leave=False):
        clips, targets = batches(step)
        with autocast(device):
            outputs = probe(clips)
        optimizer.zero_grad(set_to_none=True)
        loss(outputs, targets).backward()
        optimizer.step()
        schedule.step()
    return probe.eval().requires_grad_(False)


@torch.no_grad()
def predict(probe: nn.Module, clips: Tensor) -> Tensor:
    """Outputs of a probe (M, num_outputs), on the CPU, for clips (M, T, 3, H, W), 0-1."""
    device = next(probe.parameters()).device
    outputs = []
    for part in progress_bar(clips.split(PREDICT_BATCH), desc="probing", unit="batch", leave=False):
        with autocast(device):
            outputs.append(probe(part.to(device)).cpu())
    return torch.cat(outputs)


def accuracy_by_class(logits: Tensor, labels: Tensor, num_classes: int) -> tuple[float, list[float | None]]:
    """Accuracy of logits (M, A) for labels (M,): over all samples, and for each class (None without a sample)."""
    correct = logits.argmax(dim=1) == labels
    by_class = [
        correct[labels == c].float().mean().item() if (labels == c).any() else None
        for c in range(num_classes)
    ]
    return correct.float().mean().item(), by_class


def angle_error(vectors: Tensor, angles: Tensor) -> Tensor:
    """Absolute differences in radians (M,), 0 to pi, between the directions of vectors (M, 2), (cos, sin) of any
    length, and angles (M,) in radians."""
    difference = torch.atan2(vectors[:, 1], vectors[:, 0]) - angles
    return torch.atan2(difference.sin(), difference.cos()).abs()
