"""Muon for the hidden convolutions, AdamW for all other weights.

Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) orthogonalises the momentum of a weight matrix before
it steps. Its steps are scaled to the size of AdamW's (Liu et al. 2025, arXiv 2502.16982), so that both take one
learning rate. torch.optim.Muon computes the same more slowly: it multiplies the whole matrix in every iteration,
and always in bfloat16."""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import nn

from dream.common.errors import InputError

OPTIMIZERS = ("muon", "adamw")
MOMENTUM = 0.95
# Coefficients a, b, c of Jordan et al.: five iterations bring all but tiny singular values to about 0.7-1.2.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def newton_schulz(matrices: torch.Tensor) -> torch.Tensor:
    """About U V^T, for the singular value decompositions U S V^T of matrices float32 (B, n, m).

    After a division by the Frobenius norm, five times X <- p(X X^T) X with p(A) = a + b A + c A^2. All p commute,
    so their product is collected in one (n, n) matrix and the wide X is multiplied twice in all, not once per
    iteration."""
    if matrices.shape[1] > matrices.shape[2]:
        return newton_schulz(matrices.mT).mT
    a, b, c = NEWTON_SCHULZ
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    gram = x @ x.mT  # (B, n, n)
    identity = torch.eye(gram.shape[1], device=gram.device).expand_as(gram)
    polynomial = identity
    for _ in range(5):
        p = a * identity + b * gram + c * gram @ gram
        polynomial = p @ polynomial
        gram = p @ gram @ p
    return polynomial @ x


class Muon(torch.optim.Optimizer):
    """For matrices (n, m). The learning rate is that of `param_groups`."""

    def __init__(self, matrices: Sequence[nn.Parameter], weight_decay: float) -> None:
        super().__init__(matrices, {"lr": 0.0, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            by_shape = defaultdict(list)  # batched by shape: on a GPU the kernel launches are what takes time
            for matrix in group["params"]:
                if matrix.grad is None:  # belongs to a part that is not being trained now
                    continue
                by_shape[matrix.shape].append(matrix)
            for shape, matrices in by_shape.items():
                gradients, momenta = [matrix.grad for matrix in matrices], []
                for matrix in matrices:
                    if not self.state[matrix]:
                        self.state[matrix]["momentum"] = torch.zeros_like(matrix)
                    momenta.append(self.state[matrix]["momentum"])
                torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
                nesterov = torch._foreach_lerp(gradients, momenta, MOMENTUM)
                scale = 0.2 * max(shape) ** 0.5  # Liu et al., equation 4: root mean square 0.2
                steps = newton_schulz(torch.stack(nesterov)).unbind()
                torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(matrices, steps, alpha=-group["lr"] * scale)


class Optimizer:
    """Optimizer of models in channels_last memory; they must not be moved to another device afterwards.

    A model's `first_and_last_layers()` are its convolutions that AdamW trains: those from and to pictures or latents.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        weight_decay: float,
        lr_scales: Sequence[float] | None = None,
        optimizer_name: str = "muon",
    ) -> None:
        """lr_scales: factor of the learning rate for each model (default: 1). optimizer_name: one of OPTIMIZERS,
        for the hidden convolutions."""
        self.convolutions: list[nn.Parameter] = []
        self.matrices: list[nn.Parameter] = []  # views of the convolutions' weights
        self.optimizers: list[torch.optim.Optimizer] = []
        self.lr_scales: list[float] = []  # of each optimizer
        for model, lr_scale in zip(models, lr_scales or [1.0] * len(models), strict=True):
            convolutions = hidden_convolutions(model) if optimizer_name == "muon" else []
            others = [p for p in model.parameters() if not any(p is weight for weight in convolutions)]
            self.optimizers.append(torch.optim.AdamW(others, weight_decay=weight_decay))
            if convolutions:
                matrices = [nn.Parameter(as_matrix(weight.detach())) for weight in convolutions]
                self.convolutions += convolutions
                self.matrices += matrices
                self.optimizers.append(Muon(matrices, weight_decay))
            self.lr_scales += [lr_scale] * (len(self.optimizers) - len(self.lr_scales))

    def step(self, learning_rate: float) -> None:
        """One step along the gradients in the parameters, which are cleared."""
        for matrix, convolution in zip(self.matrices, self.convolutions, strict=True):
            matrix.grad = None if convolution.grad is None else as_matrix(convolution.grad)
            convolution.grad = None
        for optimizer, lr_scale in zip(self.optimizers, self.lr_scales, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = lr_scale * learning_rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict]:
        return [optimizer.state_dict() for optimizer in self.optimizers]

    def load_state_dict(self, states: list[dict]) -> None:
        """Raises InputError where the states are of a run before Muon was used."""
        if not isinstance(states, list):
            raise InputError("the run was begun by an older version: begin another with --init-from")
        for optimizer, state in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict(state)


def hidden_convolutions(model: nn.Module) -> list[nn.Parameter]:
    """Weights of the convolutions that are not among the model's `first_and_last_layers()`."""
    excluded = model.first_and_last_layers()
    return [m.weight for m in model.modules() if isinstance(m, nn.Conv2d) and m not in excluded]


def as_matrix(weight: torch.Tensor) -> torch.Tensor:
    """(outputs, inputs, k, k) in channels_last memory -> (outputs, k k inputs), a view. Raises ValueError
    elsewhere."""
    if not weight.is_contiguous(memory_format=torch.channels_last):
        raise ValueError("not in channels_last memory: a matrix of it would be a copy")
    return weight.permute(0, 2, 3, 1).flatten(1)
