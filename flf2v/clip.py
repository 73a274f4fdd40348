"""The clip to encode, made chunk by chunk, so that it never exists as one tensor.

Shapes: pictures ``[F, H, W, 3]`` with values in [0, 1], float32.
"""

from __future__ import annotations

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
    def grey(self) -> range:
        """The frames that are mid grey."""
        count_start, count_end = count_given(self.length, self.start, self.end)
        return range(count_start, self.length - count_end)

    def frames(self, first: int, last: int) -> torch.Tensor:
        """The pixels of the frames ``first`` up to, not including, ``last``: a new tensor."""
        pixels = torch.full((last - first, self.height, self.width, 3), GREY)
        if self.start is not None and first < self.grey.start:
            given = self.start[first:last]
            pixels[: given.shape[0]] = given
        if self.end is not None and last > self.grey.stop:
            given = self.end[max(first - self.grey.stop, 0) : last - self.grey.stop]
            pixels[pixels.shape[0] - given.shape[0] :] = given
        return pixels

    def whole(self) -> torch.Tensor:
        """The pixels of all frames."""
        return self.frames(0, self.length)
