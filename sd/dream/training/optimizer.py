"""Which optimizer moves which weights: Muon those of the hidden convolutions, AdamW all others.

Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) makes the momentum of a weight matrix orthogonal before it
steps. Its steps are scaled to the size of AdamW's (Liu et al. 2025, arXiv 2502.16982), so both take one learning rate.
torch.optim.Muon does the same, slower: it multiplies the whole matrix in every iteration, always in bfloat16.
"""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import nn

from dream.common.errors import InputError

HIDDEN = ("muon", "adamw")
MOMENTUM = 0.95
# a, b, c of Jordan et al.: all singular values to about 1 in five steps
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Nearly U V^T, for the singular value decompositions U S V^T of matrices (B, n, m), n <= m or not; float32.

    Newton-Schulz: X <- p(X X^T) X, p(A) = a + b A + c A^2. All p commute, so they are gathered in one (n, n) matrix and
    the wide X is multiplied twice, not in each iteration.
    """
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonal(matrices.mT).mT
    a, b, c = NEWTON_SCHULZ
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    gram = x @ x.mT  # (B, n, n)
    identity = torch.eye(gram.shape[1], device=gram.device).expand_as(gram)
    gathered = identity
    for _ in range(5):
        p = a * identity + b * gram + c * gram @ gram
        gathered = p @ gathered
        gram = p @ gram @ p
    return gathered @ x


class Muon(torch.optim.Optimizer):
    """Of matrices (n, m). The learning rate is that of `param_groups`."""

    def __init__(self, matrices: Sequence[nn.Parameter], weight_decay: float) -> None:
        super().__init__(matrices, {"lr": 0.0, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            by_shape = defaultdict(list)  # one shape goes together: a GPU waits for launches, not for sums
            for matrix in group["params"]:
                if matrix.grad is None:  # of a part that does not learn now
                    continue
                by_shape[matrix.shape].append(matrix)
            for shape, matrices in by_shape.items():
                gradients, momenta = [matrix.grad for matrix in matrices], []
                for matrix in matrices:
                    if not self.state[matrix]:
                        self.state[matrix]["momentum"] = torch.zeros_like(matrix)
                    momenta.append(self.state[matrix]["momentum"])
                torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
                ahead = torch._foreach_lerp(gradients, momenta, MOMENTUM)  # Nesterov's
                size = 0.2 * max(shape) ** 0.5  # Liu et al., equation 4: root mean square 0.2
                steps = orthogonal(torch.stack(ahead)).unbind()
                torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(matrices, steps, alpha=-group["lr"] * size)


class Optimizer:
    """Of models that lie in channels_last memory, on the device where they stay.

    A model's `first_and_last_layers()` are its convolutions that AdamW moves: those from and to pictures or latents.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        weight_decay: float,
        shares: Sequence[float] | None = None,
        hidden: str = "muon",
    ) -> None:
        """shares: of the learning rate, one for each model (default: all of it). hidden: of HIDDEN, what moves the
        hidden convolutions."""
        self.convolutions: list[nn.Parameter] = []
        self.matrices: list[nn.Parameter] = []  # each is the memory of a convolution
        self.parts: list[torch.optim.Optimizer] = []
        self.shares: list[float] = []  # of each part
        for model, share in zip(models, shares or [1.0] * len(models), strict=True):
            convolutions = hidden_convolutions(model) if hidden == "muon" else []
            rest = [p for p in model.parameters() if not any(p is weight for weight in convolutions)]
            self.parts.append(torch.optim.AdamW(rest, weight_decay=weight_decay))
            if convolutions:
                matrices = [nn.Parameter(as_matrix(weight.detach())) for weight in convolutions]
                self.convolutions += convolutions
                self.matrices += matrices
                self.parts.append(Muon(matrices, weight_decay))
            self.shares += [share] * (len(self.parts) - len(self.shares))

    def step(self, learning_rate: float) -> None:
        """One step along the gradients that stand in the parameters; they are gone after it."""
        for matrix, convolution in zip(self.matrices, self.convolutions, strict=True):
            matrix.grad = None if convolution.grad is None else as_matrix(convolution.grad)
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
            raise InputError("the run was begun by an older version: begin another with --init-from")
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)


def hidden_convolutions(model: nn.Module) -> list[nn.Parameter]:
    first_and_last_layers = model.first_and_last_layers()
    return [m.weight for m in model.modules() if isinstance(m, nn.Conv2d) and m not in first_and_last_layers]


def as_matrix(weight: torch.Tensor) -> torch.Tensor:
    """(outputs, inputs, k, k) in channels_last memory as (outputs, k k inputs), a view. ValueError elsewhere."""
    if not weight.is_contiguous(memory_format=torch.channels_last):
        raise ValueError("not in channels_last memory: a matrix of it would be a copy")
    return weight.permute(0, 2, 3, 1).flatten(1)
