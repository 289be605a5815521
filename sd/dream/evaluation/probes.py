"""Small networks that learn from real frames and are then asked about dreamed ones. Pure tensors.

All are the same network: a clip of a few frames, cut into patches so that fine detail is seen, goes through strided
convolutions to one vector. What it answers is the caller's: which action, real or dreamed, how fast, where. Of a long
clip it looks at every two frames that follow one another.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dream.common.runs import autocast

PATCH = 4  # pixels folded into channels on each side
LEARNING_RATE = 5e-4  # at 1e-3 some seeds stay at chance, on the clips they learn from too
EVALUATE_BATCH = 64

Batches = Callable[[int], tuple[Tensor, Tensor]]  # step -> clips (B, T, 3, H, W), 0-1, and answers (B, ...)
Loss = Callable[[Tensor, Tensor], Tensor]


class Judge(nn.Module):
    def __init__(self, num_frames: int, num_answers: int, channels: int = 64) -> None:
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
        self.answer = nn.Linear(widths[-1] * 6, num_answers)

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (B, T, 3, H, W), 0-1 -> (B, num_answers). H and W of any size; what a patch cannot cover is cut off."""
        H, W = (size // PATCH * PATCH for size in clips.shape[-2:])
        x = self.convolutions(clips[..., :H, :W].flatten(1, 2) * 2 - 1)
        return self.answer(F.adaptive_avg_pool2d(x, (2, 3)).flatten(1)).float()


class PairJudge(nn.Module):
    """Of clips of any length: the mean of what a Judge says of each frame and the next.

    One that took all frames of a clip at once would have a clip to learn from where this one has a dozen.
    """

    def __init__(self, num_answers: int) -> None:
        super().__init__()
        self.of_two = Judge(2, num_answers)

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (B, T, 3, H, W), T at least 2 -> (B, num_answers)."""
        pairs = torch.stack([clips[:, :-1], clips[:, 1:]], dim=2)  # (B, T - 1, 2, 3, H, W)
        return self.of_two(pairs.flatten(0, 1)).unflatten(0, pairs.shape[:2]).mean(dim=1)


def new_judge(num_frames: int | None, num_answers: int, seed: int, device: torch.device) -> nn.Module:
    """A Judge of clips of num_frames, or where that is None a PairJudge."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        judge = PairJudge(num_answers) if num_frames is None else Judge(num_frames, num_answers)
    return judge.to(device, memory_format=torch.channels_last)


def train_judge(judge: nn.Module, batches: Batches, loss: Loss, num_steps: int) -> nn.Module:
    """Teaches it for `num_steps` steps (Adam, half a cosine), then freezes it. Returns it."""
    device = next(judge.parameters()).device
    optimizer = torch.optim.Adam(judge.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    for step in range(num_steps):
        clips, answers = batches(step)
        with autocast(device):
            told = judge(clips)
        optimizer.zero_grad(set_to_none=True)
        loss(told, answers).backward()
        optimizer.step()
        schedule.step()
    return judge.eval().requires_grad_(False)


@torch.no_grad()
def ask(judge: nn.Module, clips: Tensor) -> Tensor:
    """What a judge says of clips (M, T, 3, H, W), 0-1: (M, num_answers), on the CPU."""
    device = next(judge.parameters()).device
    answers = []
    for part in clips.split(EVALUATE_BATCH):
        with autocast(device):
            answers.append(judge(part.to(device)).cpu())
    return torch.cat(answers)


def accuracy_by_class(told: Tensor, truth: Tensor, num_classes: int) -> tuple[float, list[float | None]]:
    """Share of logits told (M, A) whose largest is truth (M,): over all, and of each class (None where it has none)."""
    right = told.argmax(dim=1) == truth
    each = [
        right[truth == c].float().mean().item() if (truth == c).any() else None for c in range(num_classes)
    ]
    return right.float().mean().item(), each


def angle_error(told: Tensor, truth: Tensor) -> Tensor:
    """Radians, 0 to pi, between angles told as (cos, sin) (M, 2), of any length, and true ones (M,)."""
    difference = torch.atan2(told[:, 1], told[:, 0]) - truth
    return torch.atan2(difference.sin(), difference.cos()).abs()
