"""What every training loop needs: averaged weights, checkpoints that are whole or absent, and a log."""

from __future__ import annotations

import contextlib
import csv
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch


class Ema:
    """An exponential moving average of a model's weights, faster at the start."""

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        self.decay, self.count = decay, 0
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: torch.nn.Module) -> None:
        """Take one step's weights in."""
        self.count += 1
        decay = min(self.decay, self.count / (self.count + 10))
        for name, value in model.state_dict().items():
            self.weights[name].lerp_(value, 1 - decay)

    @contextlib.contextmanager
    def applied(self, model: torch.nn.Module) -> Iterator[None]:
        """The model with the averaged weights, for as long as the block runs."""
        kept = {name: value.detach().clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self.weights)
        try:
            yield
        finally:
            model.load_state_dict(kept)


def save_checkpoint(path: Path, model: torch.nn.Module, optimizer: Any, ema: Ema, step: int) -> None:
    """Write all that resuming needs."""
    optimizers = optimizer if isinstance(optimizer, (list, tuple)) else [optimizer]
    partial = path.with_suffix(".partial")
    state = {
        "model": model.state_dict(),
        "optimizers": [one.state_dict() for one in optimizers],
        "ema": ema.weights,
        "count": ema.count,
        "step": step,
    }
    torch.save(state, partial)
    partial.replace(path)


def load_checkpoint(path: Path, model: torch.nn.Module, optimizer: Any, ema: Ema) -> int:
    """The step to go on from; 0 where there is no checkpoint."""
    if not path.exists():
        return 0
    optimizers = optimizer if isinstance(optimizer, (list, tuple)) else [optimizer]
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    for one, saved in zip(optimizers, state["optimizers"], strict=True):
        one.load_state_dict(saved)
    ema.weights = {name: value.to(next(model.parameters()).device) for name, value in state["ema"].items()}
    ema.count = state["count"]
    return int(state["step"])


class Log:
    """Appends rows to a CSV file and prints them."""

    def __init__(self, path: Path, columns: tuple[str, ...]) -> None:
        self.path, self.columns, self.begun = path, columns, time.monotonic()
        if not path.exists():
            self._append(("seconds", *columns))

    def write(self, *values: float) -> None:
        """One row, stamped with the seconds since this run began."""
        row = [f"{time.monotonic() - self.begun:.0f}", *(f"{value:.5g}" for value in values)]
        self._append(row)
        print(" ".join(f"{name}={value}" for name, value in zip(("s", *self.columns), row, strict=True)), flush=True)

    def _append(self, row: Any) -> None:
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerow(row)


def descend(
    path: Path,
    model: torch.nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    ema: Ema,
    log: Log,
    *,
    loss_of: Callable[[int], Any],
    measure: Callable[[], Sequence[float]],
    steps: int,
    minutes: float,
    rate: float,
    warm: int = 50,
    end_rate: float = 0.05,
) -> None:
    """Step down the loss until ``steps`` or ``minutes``; resumes from, and writes, the checkpoint at ``path``.

    The rate rises over ``warm`` steps and falls in a line to ``end_rate`` of it. Every 100 steps the log gets the mean
    loss and what ``measure`` says of the averaged weights.
    """
    step = load_checkpoint(path, model, optimizers, ema)
    begun, losses = time.monotonic(), []
    while step < steps and time.monotonic() - begun < 60 * minutes:
        progress = max(step / steps, (time.monotonic() - begun) / (60 * minutes))
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = rate * min(1, (step + 1) / warm) * (end_rate + (1 - end_rate) * (1 - progress))
        loss = loss_of(step)
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        ema.update(model)
        losses.append(loss.item())
        step += 1
        if step % 100 == 0 or step == steps:
            with ema.applied(model), torch.no_grad():
                log.write(step, sum(losses) / len(losses), *measure())
            losses = []
            save_checkpoint(path, model, optimizers, ema, step)
    save_checkpoint(path, model, optimizers, ema, step)
