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
        self.live = list(model.state_dict().values())
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take one step's weights in."""
        self.count += 1
        decay = min(self.decay, self.count / (self.count + 10))
        torch._foreach_lerp_(list(self.weights.values()), self.live, 1 - decay)

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


EVERY = 20.0  # seconds between two lines of a log, each with a checkpoint


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


def as_graph(take: Callable[..., Any], batch: tuple[torch.Tensor, ...]) -> Callable[..., Any]:
    """The step ``take`` as one CUDA graph: what is small then costs its kernels, not their launches.

    The steps before the capture (at rate 0) make what optimizers and libraries make at their first use.
    """
    kept = [tensor.clone() for tensor in batch]
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with kept[0].device, torch.cuda.stream(side):
        for _ in range(3):
            take(*kept)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with kept[0].device, torch.cuda.graph(graph):
        loss = take(*kept)

    def replay(*tensors: torch.Tensor) -> Any:
        for old, new in zip(kept, tensors, strict=True):
            old.copy_(new)
        graph.replay()
        return loss.clone()

    return replay


def descend(
    path: Path,
    model: torch.nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    ema: Ema,
    log: Log,
    *,
    batch_of: Callable[[int], tuple[torch.Tensor, ...]],
    loss_of: Callable[..., Any],
    measure: Callable[[], Sequence[float]],
    steps: int,
    minutes: float,
    rate: float,
    warm: int = 50,
    end_rate: float = 0.05,
) -> None:
    """Step down the loss until ``steps`` or ``minutes``; resumes from, and writes, the checkpoint at ``path``.

    ``loss_of`` gets the tensors that ``batch_of`` makes for a step, always of the same shapes: a GPU runs a step as one
    CUDA graph. The rate rises over ``warm`` steps and falls in a line to ``end_rate`` of it. Every EVERY
    seconds the log gets the mean loss and what ``measure`` says of the averaged weights.
    """
    step = load_checkpoint(path, model, optimizers, ema)
    device = next(model.parameters()).device
    now = torch.tensor(0.0, device=device) if device.type == "cuda" else 0.0
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    for group in groups:
        group["lr"], group["capturable"] = now, device.type == "cuda"

    def take(*tensors: torch.Tensor) -> Any:
        loss = loss_of(*tensors)
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        return loss.detach()

    def keep() -> None:
        if losses:
            with ema.applied(model), torch.no_grad():
                log.write(step, float(torch.stack(losses).mean()), *measure())
            losses.clear()
        save_checkpoint(path, model, optimizers, ema, step)

    if device.type == "cuda":
        take = as_graph(take, batch_of(step))
    losses: list[torch.Tensor] = []
    begun = kept_at = time.monotonic()
    while step < steps and time.monotonic() - begun < 60 * minutes:
        progress = max(step / steps, (time.monotonic() - begun) / (60 * minutes))
        lr = rate * min(1, (step + 1) / warm) * (end_rate + (1 - end_rate) * (1 - progress))
        for group in groups:
            group["lr"] = now.fill_(lr) if isinstance(now, torch.Tensor) else lr
        losses.append(take(*batch_of(step)))
        ema.update()
        step += 1
        if time.monotonic() - kept_at > EVERY:
            keep()
            kept_at = time.monotonic()
    keep()
