"""Leave out the layers of a causal encoder that a repeated input has brought to rest.

A layer's output depends on its input and on what it remembers of earlier frames. So when it gets the same frames again,
and the last call left its memory as it was, it would give the same output to the bit. The layers at full resolution come
to rest after a few chunks, long before the whole encoder does, and they take most of the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class _Rest:
    taken: torch.Tensor
    output: torch.Tensor


class Stretch:
    """Layers in a row that are called once each per chunk; ``memories`` are the convolutions in them that are causal.

    ``layers`` stand in for them: called in the same way, they compute, or hand on what is kept. ``following`` are the
    stretches further down, whose rest ends with this one's.
    """

    def __init__(
        self, layers: Sequence[torch.nn.Module], memories: Sequence[torch.nn.Module], following: Sequence[Stretch] = ()
    ) -> None:
        last = len(layers) - 1
        self.layers = [_Layer(self, layer, i == 0, i == last) for i, layer in enumerate(layers)]
        self._memories = list(memories)
        self._following = list(following)
        self._rest: _Rest | None = None
        self._taken: torch.Tensor | None = None
        self._unchanged = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """See what the layers remember change, as long as this is open."""
        with ExitStack() as stack:
            for memory in self._memories:
                stack.callback(memory.register_forward_pre_hook(self._look, with_kwargs=True).remove)
            yield

    def begin(self, taken: torch.Tensor) -> None:
        """The input of the first layer has come."""
        if self._rest is not None and not _equal(self._rest.taken, taken):
            self.disturb()
        self._taken = taken
        self._unchanged = 0

    def disturb(self) -> None:
        """Forget what is kept, here and further down."""
        self._rest = None
        for stretch in self._following:
            stretch.disturb()

    @property
    def resting(self) -> bool:
        """Whether the layers need not be computed."""
        return self._rest is not None

    def end(self, output: torch.Tensor) -> torch.Tensor:
        """The output of the last layer: the kept one while at rest."""
        if self._rest is None and self._taken is not None and self._unchanged == len(self._memories):
            self._rest = _Rest(self._taken, output)
        self._taken = None
        return output if self._rest is None else self._rest.output

    def _look(self, layer: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        # before the layer computes: the old memory is then still there, and nothing else is
        slots = options.get("cache_list")
        memory = slots[options["cache_idx"]] if slots is not None else args[1]
        full = isinstance(memory, torch.Tensor) and memory.shape[2] == layer.kernel_size[0] - 1
        self._unchanged += full and _leave(args[0], memory)


class _Layer(torch.nn.Module):
    """Stands in for one layer of a stretch."""

    def __init__(self, stretch: Stretch, layer: torch.nn.Module, first: bool, last: bool) -> None:
        super().__init__()
        self.layer = layer
        self._stretch = stretch
        self._first = first
        self._last = last
        self._slots = 0

    def forward(self, x: torch.Tensor, *state: Any, **options: Any) -> torch.Tensor:
        """What the layer gives for the same arguments; at rest, ``x`` up to the last layer, which gives the output."""
        if self._first:
            self._stretch.begin(x)
        index = state[1] if len(state) > 1 else [0]
        if self._stretch.resting:
            index[0] += self._slots
        else:
            start = index[0]
            x = self.layer(x, *state, **options)
            self._slots = index[0] - start
        return self._stretch.end(x) if self._last else x


def _leave(frames: torch.Tensor, memory: torch.Tensor) -> bool:
    """Whether these frames ``[B, C, T, H, W]`` leave a memory of the last ones as it is."""
    new = min(memory.shape[2], frames.shape[2])
    kept = memory.shape[2] - new
    return _equal(memory[:, :, kept:], frames[:, :, frames.shape[2] - new :]) and (
        kept == 0 or _equal(memory[:, :, :kept], memory[:, :, new:])
    )


def _equal(first: torch.Tensor, second: torch.Tensor) -> bool:
    return first is second or (
        first.shape == second.shape and first.dtype == second.dtype and torch.equal(first, second)
    )
