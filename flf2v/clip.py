"""The clip to encode, made chunk by chunk, so that it never exists as one tensor.

Shapes: pictures ``[F, H, W, 3]`` with values in [0, 1], float32.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .frames import GREY, count_given


@dataclass(frozen=True)
class Clip:
    """The given frames at both ends, mid grey between; ``start`` and ``end`` are fitted to ``width`` x ``height``."""

    length: int
    width: int
    height: int
    start: torch.Tensor | None = None
    end: torch.Tensor | None = None

    def __post_init__(self) -> None:
        """Raise FLF2VError when the given frames overlap."""
        count_given(self.length, self.start, self.end)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape of the whole clip."""
        return self.length, self.height, self.width, 3

    @property
    def first_end_frame(self) -> int:
        """The index of the first frame that ``end`` gives; ``length`` without one."""
        return self.length - (0 if self.end is None else self.end.shape[0])

    def frames(self, first: int, last: int) -> torch.Tensor:
        """The pixels of the frames ``first`` up to, not including, ``last``: a new tensor."""
        pixels = torch.full((last - first, self.height, self.width, 3), GREY)
        if self.start is not None and first < self.start.shape[0]:
            given = self.start[first:last]
            pixels[: given.shape[0]] = given
        if self.end is not None and last > self.first_end_frame:
            given = self.end[max(first - self.first_end_frame, 0) : last - self.first_end_frame]
            pixels[pixels.shape[0] - given.shape[0] :] = given
        return pixels

    def whole(self) -> torch.Tensor:
        """The pixels of all frames."""
        return self.frames(0, self.length)

    def digest(self, first: int, last: int) -> bytes:
        """What tells these frames from others of the same size; equal for any grey frames of the same number."""
        count_start = 0 if self.start is None else self.start.shape[0]
        if first >= count_start and last <= self.first_end_frame:
            return b"grey %d" % (last - first)
        return hashlib.blake2b(self.frames(first, last).numpy().data, digest_size=16).digest()


def chunk_spans(length: int, chunk: int) -> Sequence[tuple[int, int]]:
    """How a causal video encoder takes ``length`` frames: the first alone, then ``chunk`` at a time."""
    return [(0, 1), *((first, first + chunk) for first in range(1, length, chunk))]
