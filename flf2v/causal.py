"""Encode a clip chunk by chunk with a causal video encoder, and reuse what causality makes exact.

A causal encoder's output depends on the frames so far alone, and it carries all it remembers of them in a list of
tensors, its state. So the outputs and the state after a chunk serve every clip that begins with the same frames, and
once a repeated chunk leaves the state unchanged it will give the same output for as long as it repeats.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from .clip import Clip, chunk_spans

State = list[Any]
Outputs = list[torch.Tensor | None]


class CausalEncoder(Protocol):
    """An encoder that is driven chunk by chunk; one frame first, then ``chunk`` at a time.

    ``cycle`` is the number of chunks after which it is in the same phase again.
    """

    chunk: int
    cycle: int

    def new_state(self) -> State:
        """The state before the first frame."""
        ...

    def step(self, pixels: torch.Tensor, state: State, final: bool) -> torch.Tensor | None:
        """Encode the next frames ``[F, H, W, 3]``; changes ``state``'s entries, never the tensors in it.

        None when the output is to come with a later chunk.
        """
        ...


@dataclass(frozen=True)
class Prefix:
    """The outputs and the state after some first chunks of a clip."""

    outputs: Outputs
    state: State

    @property
    def nbytes(self) -> int:
        """The memory that keeping this takes."""
        return sum(item.nbytes for item in [*self.outputs, *self.state] if isinstance(item, torch.Tensor))


class PrefixStore:
    """Encoded prefixes within a bound of memory; the least recently used is dropped first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Hashable, tuple[bytes, ...]], Prefix] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """The memory that is held."""
        return sum(prefix.nbytes for prefix in list(self._kept.values()))

    def longest(self, context: Hashable, digests: Sequence[bytes]) -> Prefix | None:
        """The longest kept prefix of these chunks in the same context (encoder, size, type)."""
        for count in range(len(digests), 0, -1):
            key = (context, tuple(digests[:count]))
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        return None

    def keep(self, context: Hashable, digests: Sequence[bytes], prefix: Prefix, limit: int) -> None:
        """Keep a prefix and drop others until all are within ``limit`` bytes; not kept when it is larger itself."""
        if prefix.nbytes > limit:
            return
        self._kept[(context, tuple(digests))] = prefix
        while self.nbytes > limit:
            self._kept.popitem(last=False)

    def forget(self, belongs: Callable[[Any], bool] = lambda context: True) -> None:
        """Drop every prefix whose context ``belongs``."""
        for key in list(self._kept):  # may run in the midst of anything, when an encoder is garbage collected
            if belongs(key[0]):
                self._kept.pop(key, None)


def encode_causal(
    encoder: CausalEncoder,
    clip: Clip,
    resume: Callable[[Sequence[bytes]], Prefix | None],
    keep: Callable[[Sequence[bytes], Prefix], None],
    progress: Callable[[int, int], None],
) -> list[torch.Tensor]:
    """The encoder's outputs for the whole clip, in order, bit for bit as without any reuse.

    ``resume`` finds a kept prefix among the digests it is given; ``keep`` is offered the prefix that does not depend
    on the end frames; ``progress`` is told done and total before each chunk and at the end.
    """
    spans = chunk_spans(clip.length, encoder.chunk)
    digests = [clip.digest(*span) for span in spans]
    last = len(spans) - 1
    shared = min(last, next(i for i, (_, stop) in enumerate(spans) if i == last or stop > clip.first_end_frame))
    outputs: Outputs = []
    state = encoder.new_state()
    found = resume(digests[:last])
    if found is not None:
        outputs, state = list(found.outputs), list(found.state)
    resumed = len(outputs)
    before: tuple[int, State] | None = None  # the state at an earlier chunk, while the outputs repeat
    while (done := len(outputs)) <= last:
        progress(done, len(spans))
        if before is not None and done == before[0] + encoder.cycle:
            if _same(before[1], state):
                outputs += outputs[-encoder.cycle :] * ((_run_end(digests, done - 1) - done) // encoder.cycle)
            before = None
        elif before is None and _repeats(outputs, digests, encoder.cycle):
            before = done, list(state)
        done = len(outputs)
        if done == shared > resumed:
            keep(digests[:shared], Prefix(list(outputs), list(state)))
        outputs.append(encoder.step(clip.frames(*spans[done]), state, done == last))
    progress(len(spans), len(spans))
    return [output for output in outputs if output is not None]


def _repeats(outputs: Outputs, digests: Sequence[bytes], cycle: int) -> bool:
    """Whether the last two cycles had equal inputs and outputs, and more than one cycle of the same follows."""
    done = len(outputs)
    if done < 2 * cycle or _run_end(digests, done - 2 * cycle) <= done + cycle:
        return False
    return _same(outputs[-2 * cycle : -cycle], outputs[-cycle:])


def _run_end(digests: Sequence[bytes], start: int) -> int:
    """The index after the chunks that equal the one at ``start``; the clip's last chunk never counts as one of them."""
    last = len(digests) - 1
    return next((i for i in range(start, last) if digests[i] != digests[start]), last)


def _same(first: Sequence[Any], second: Sequence[Any]) -> bool:
    return len(first) == len(second) and all(
        a is b or (isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) and torch.equal(a, b))
        for a, b in zip(first, second, strict=True)
    )
