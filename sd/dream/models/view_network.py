"""A small network of the agent's observations, for play: an agent in little, or the probe that laps are timed by."""

import torch.nn.functional as F
from torch import Tensor, nn

from dream.common.limits import STACK


class ViewNetwork(nn.Module):
    """Maps observations uint8 (B, STACK, OBS_SIZE, OBS_SIZE), oldest first, to outputs float32 (B, num_outputs)."""

    def __init__(
        self, num_outputs: int, channels: tuple[int, ...] = (16, 32, 32, 32), hidden: int = 64
    ) -> None:
        super().__init__()
        sizes = ((8, 4), (4, 2), (3, 2), (3, 1))  # kernel, stride; 84 -> 20 -> 9 -> 4 -> 2 pixels
        inputs = (STACK, *channels)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs[i], channels[i], kernel, stride) for i, (kernel, stride) in enumerate(sizes)
        )
        self.hidden, self.output = nn.Linear(channels[-1] * 4, hidden), nn.Linear(hidden, num_outputs)

    def forward(self, views: Tensor) -> Tensor:
        x = views.float() / 255 - 0.5
        for convolution in self.convolutions:
            x = F.silu(convolution(x))
        return self.output(F.silu(self.hidden(x.flatten(1))))
