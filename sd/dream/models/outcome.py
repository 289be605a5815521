"""The outcome model: the reward of an action, and whether the episode ends after it. It makes a world model an
environment that agents can learn in.

It reads the same context latents and actions as the denoiser. The last action, which is about to be executed, is one
of them: without it the reward would be that of the average action, and an agent would learn nothing about its own."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dream.models.flow import GROUP_SIZE, PIXEL_UNSHUFFLE

ACTION_DIM = 16  # features of each action of the context
NUM_LEVELS = 3  # each at half the resolution of the one before it


@dataclass(frozen=True)
class OutcomeConfig:
    """Settings of the outcome model; they are stored in the model's checkpoint."""

    num_actions: int
    latent_channels: int = 4
    context: int = 4  # L
    channels: int = 64


class Outcome(NamedTuple):
    """Predictions for B samples."""

    reward: Tensor  # float32 (B,), in the units of the recording
    end_logit: Tensor  # float32 (B,): of the probability that the episode ends after the action


class OutcomeModel(nn.Module):
    """A small convolutional network, conditioned on the actions by a scale and a shift after each normalization."""

    def __init__(self, config: OutcomeConfig) -> None:
        super().__init__()
        self.config = config
        channels, actions = config.channels, config.context * ACTION_DIM
        self.action_embedding = nn.Embedding(config.num_actions, ACTION_DIM)
        self.conv_in = nn.Conv2d(
            config.latent_channels * config.context * PIXEL_UNSHUFFLE**2, channels, 3, padding=1
        )
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, stride=2, padding=1) for _ in range(NUM_LEVELS)
        )
        self.norms = nn.ModuleList(
            nn.GroupNorm(channels // GROUP_SIZE, channels, affine=False) for _ in range(NUM_LEVELS)
        )
        self.modulation = nn.Linear(actions, 2 * channels * NUM_LEVELS)
        self.hidden = nn.Linear(2 * channels + actions, channels)
        self.out = nn.Linear(channels, 2)
        # Of the recorded rewards: the network predicts them with mean 0 and standard deviation 1.
        self.register_buffer("reward_mean", torch.zeros(()))
        self.register_buffer("reward_std", torch.ones(()))

    def forward(self, context: Tensor, actions: Tensor) -> Outcome:
        """context: latents (B, L, C, h, w), oldest first, real or generated. actions: int64 (B, L); the outcome is that
        of the last one. h and w must be even."""
        action_features = self.action_embedding(actions).flatten(1)  # (B, L ACTION_DIM)
        scale, shift = self.modulation(action_features)[:, :, None, None].chunk(2, dim=1)
        scales, shifts = scale.chunk(NUM_LEVELS, dim=1), shift.chunk(NUM_LEVELS, dim=1)
        x = self.conv_in(F.pixel_unshuffle(context.flatten(1, 2), PIXEL_UNSHUFFLE))
        for conv, norm, scale, shift in zip(self.convs, self.norms, scales, shifts, strict=True):
            x = norm(conv(F.silu(x))) * (1 + scale) + shift
        x = F.silu(x)
        # The mean of the picture, and its most conspicuous place: a reward may depend on one small thing.
        features = torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3)), action_features], dim=1)
        reward, end_logit = self.out(F.silu(self.hidden(features))).float().unbind(dim=1)
        return Outcome(reward * self.reward_std + self.reward_mean, end_logit)
