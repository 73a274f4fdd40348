"""Muon for weights of any rank: momentum made orthogonal, each tensor taken as a matrix of its output channels."""

from __future__ import annotations

from collections import defaultdict
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
            alike = defaultdict(list)  # those of one shape are made orthogonal at once
            for weight in group["params"]:
                if weight.grad is not None:
                    alike[weight.shape].append(weight)
            for weights in alike.values():
                grads = [weight.grad for weight in weights]
                for weight in weights:
                    self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                momenta = [self.state[weight]["momentum"] for weight in weights]
                torch._foreach_lerp_(momenta, grads, 1 - group["momentum"])
                directions = torch.stack(torch._foreach_lerp(grads, momenta, group["momentum"])).flatten(2)
                updates = _orthogonal(directions) * (0.2 * max(directions.shape[1:]) ** 0.5) * -group["lr"]
                torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(weights, list(updates.view(-1, *weights[0].shape)))


def _orthogonal(matrices: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Nearly U V^T of each matrix [N, rows, columns], by a quintic Newton-Schulz iteration (Keller Jordan, Muon, 2024)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    turned = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if turned else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: torch.Tensor = x.mT if turned else x
    return result
