"""Muon for weights of any rank: momentum made orthogonal, each tensor taken as a matrix of its output channels."""

from __future__ import annotations

from typing import Any

import torch


class Muon(torch.optim.Optimizer):
    """Steps of the size that AdamW's would have (0.2 x root of the larger side), so that learning rates carry over."""

    def __init__(self, params: Any, lr: float, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every weight that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
                direction = weight.grad.lerp(state["momentum"], group["momentum"]).flatten(1)
                update = _orthogonal(direction) * (0.2 * max(direction.shape) ** 0.5)
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(update.view(weight.shape), alpha=-group["lr"])


def _orthogonal(matrix: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Nearly U V^T of the matrix, by a quintic Newton-Schulz iteration (Keller Jordan, Muon, 2024)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    turned = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if turned else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: torch.Tensor = x.T if turned else x
    return result
