"""The clip to encode, made chunk by chunk, so that it never exists as one tensor.

Shapes: pictures ``[F, H, W, 3]`` with values in [0, 1], float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch

from .frames import GREY, check_middle, count_given


@dataclass(frozen=True)
class Clip:
    """The given frames at both ends, mid grey between; all are fitted to ``width`` x ``height``.

    ``middle`` are given frames ``[H, W, 3]`` between the ends, by their numbers.
    """

    length: int
    width: int
    height: int
    start: torch.Tensor | None = None
    end: torch.Tensor | None = None
    middle: Mapping[int, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise FLF2VError when the given frames overlap."""
        check_middle(self.length, list(self.middle), *count_given(self.length, self.start, self.end))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape of the whole clip."""
        return self.length, self.height, self.width, 3

    def frames(self, first: int, last: int) -> torch.Tensor:
        """The pixels of the frames ``first`` up to, not including, ``last``: a new tensor."""
        pixels = torch.full((last - first, self.height, self.width, 3), GREY)
        for begin, given in self._given():
            shown = given[max(first - begin, 0) : max(last - begin, 0)]
            at = max(begin - first, 0)
            pixels[at : at + len(shown)] = shown
        return pixels

    def is_grey(self, first: int, last: int) -> bool:
        """Whether no picture gives any of these frames."""
        return all(last <= begin or begin + len(given) <= first for begin, given in self._given())

    def whole(self) -> torch.Tensor:
        """The pixels of all frames."""
        return self.frames(0, self.length)

    def _given(self) -> Iterator[tuple[int, torch.Tensor]]:
        """The given frames in runs, each with the number of its first."""
        if self.start is not None:
            yield 0, self.start
        for number, frame in self.middle.items():
            yield number, frame[None]
        if self.end is not None:
            yield self.length - len(self.end), self.end
