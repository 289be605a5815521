"""Which optimizer moves which weights: Muon those of the hidden convolutions, AdamW all others.

Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) makes the momentum of a weight matrix orthogonal before it
steps. Its steps are scaled to the size of AdamW's (Liu et al. 2025, arXiv 2502.16982), so both take one learning rate.
"""

from collections.abc import Sequence

import torch
from torch import nn

from dream.errors import BadInput


class Optimizer:
    """Of models that lie in channels_last memory, on the device where they stay.

    A model's `ends()` are its convolutions that AdamW moves: those from and to pictures or latents.
    """

    def __init__(
        self, models: Sequence[nn.Module], weight_decay: float, shares: Sequence[float] | None = None
    ) -> None:
        """shares: of the learning rate, one for each model (default: all of it)."""
        self.convolutions: list[nn.Parameter] = []
        self.matrices: list[nn.Parameter] = []  # torch's Muon wants matrices: each is a convolution's memory
        self.parts: list[torch.optim.Optimizer] = []
        self.shares: list[float] = []  # of each part
        for model, share in zip(models, shares or [1.0] * len(models), strict=True):
            hidden = hidden_convolutions(model)
            matrices = [nn.Parameter(as_matrix(weight.detach())) for weight in hidden]
            rest = [p for p in model.parameters() if not any(p is weight for weight in hidden)]
            self.convolutions += hidden
            self.matrices += matrices
            self.parts += [
                torch.optim.Muon(matrices, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
                torch.optim.AdamW(rest, weight_decay=weight_decay),
            ]
            self.shares += [share, share]

    def step(self, learning_rate: float) -> None:
        """One step along the gradients that stand in the parameters; they are gone after it."""
        for matrix, convolution in zip(self.matrices, self.convolutions, strict=True):
            matrix.grad = as_matrix(convolution.grad)
            convolution.grad = None
        for part, share in zip(self.parts, self.shares, strict=True):
            for group in part.param_groups:
                group["lr"] = share * learning_rate
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict]:
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict]) -> None:
        """Raises BadInput where they are of a run from before there was Muon."""
        if not isinstance(states, list):
            raise BadInput("the run was begun by an older version: begin another with --init-from")
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)


def hidden_convolutions(model: nn.Module) -> list[nn.Parameter]:
    ends = model.ends()
    return [m.weight for m in model.modules() if isinstance(m, nn.Conv2d) and m not in ends]


def as_matrix(weight: torch.Tensor) -> torch.Tensor:
    """(outputs, inputs, k, k) in channels_last memory as (outputs, k k inputs), a view. ValueError elsewhere."""
    if not weight.is_contiguous(memory_format=torch.channels_last):
        raise ValueError("not in channels_last memory: a matrix of it would be a copy")
    return weight.permute(0, 2, 3, 1).flatten(1)
