"""How a video moves: when it arrives, whether it dissolves, flickers, or breaks at a joint.

Frames are ``[H, W, 3]`` with values in [0, 1]; each is looked at once, in its order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .errors import FLF2VError

SMALLEST_CHANGE = 1 / 2550  # a tenth of an 8-bit level: below it change is rounding
ARRIVED = 0.1  # of the way to the last picture's neighbourhood
NEAR = 8  # steps on each side of a joint that say what is usual there


@dataclass(frozen=True)
class Joint:
    """How two clips go together at the frame with this number, which both share; steady motion has 1 and 0.

    seam_ratio: the larger of the two steps at the frame over the median step near it. velocity_break: mean absolute
    difference of these two steps, less what is usual near it, over the mean step near it; 2 for motion that stops or
    turns back there.
    """

    frame: int
    seam_ratio: float
    velocity_break: float


class Motion:
    """What is measured from frame to frame; of the frames two are held.

    With ``first`` and ``last``, pictures of the frames' size, also the way between them.
    """

    def __init__(self, first: torch.Tensor | None = None, last: torch.Tensor | None = None) -> None:
        self.change: list[float] = []
        self.flicker: list[float] = []
        self.off_fade: list[float] = []
        self._bend: list[float] = []
        self._to_last: list[float] = []
        self._off_ends: list[float] = []
        self._latest: torch.Tensor | None = None
        self._step: torch.Tensor | None = None
        self._last = last
        self._fade: tuple[torch.Tensor, torch.Tensor] | None = None
        if first is not None and last is not None:
            way = last - first
            if float(way.square().mean()) >= SMALLEST_CHANGE**2:  # equal pictures have no cross-fade
                self._fade = first, way

    def add(self, frame: torch.Tensor) -> None:
        """Measure the next frame."""
        step = None if self._latest is None else frame - self._latest
        if step is not None:
            self.change.append(float(step.abs().mean()))
        if step is not None and self._step is not None:
            self._bend.append(float((step - self._step).abs().mean()))
            back = torch.minimum(step.abs(), self._step.abs()) * (step * self._step < 0)
            self.flicker.append(float(back.mean()))
        if self._last is not None:
            self._to_last.append(float((frame - self._last).square().mean().sqrt()))
        if self._fade is not None:
            first, way = self._fade
            self.off_fade.append(distance_from_cross_fade(frame, first, way))
            half = 0.5 * float(way.square().mean().sqrt())
            from_first = float((frame - first).square().mean().sqrt())
            self._off_ends.append(min(from_first, self._to_last[-1]) / half)
        self._latest, self._step = frame, step

    def arrival(self) -> float | None:
        """The share of the length after which no frame is far from the last picture any more.

        Near is a tenth of the way from the first frame's distance down to the last frame's. None without a last picture,
        for a video that starts with it, and for one whose end is not twice as near as its start.
        """
        if not self._to_last or self._to_last[0] < SMALLEST_CHANGE or self._to_last[-1] > 0.5 * self._to_last[0]:
            return None
        bound = self._to_last[-1] + ARRIVED * (self._to_last[0] - self._to_last[-1])
        away = [number for number, distance in enumerate(self._to_last) if distance > bound + SMALLEST_CHANGE]
        return (away[-1] + 1) / (len(self._to_last) - 1)

    def dissolve(self) -> float | None:
        """How much of the middle third's difference from the nearer picture a cross-fade of the two explains.

        1 - sum(r^2) / sum(d^2) over its frames: r the distance from the best cross-fade, d the one from the nearer
        picture. 1 is a dissolve, 1/4 a shape that stands apart from both its places, 0 a frame that is one of the two.
        """
        if self._fade is None:
            return None
        third = len(self.off_fade) // 3
        middle = slice(third, len(self.off_fade) - third)
        whole = sum(value**2 for value in self._off_ends[middle])
        if whole < SMALLEST_CHANGE:
            return 0.0
        return 1 - sum(value**2 for value in self.off_fade[middle]) / whole

    def joints(self, frames: Sequence[int]) -> list[Joint]:
        """The joint at each of these frames. Raises FLF2VError for a number without two frames on each side."""
        return [self._joint(number) for number in frames]

    def _joint(self, number: int) -> Joint:
        count = len(self.change) + 1
        if not 2 <= number <= count - 3:
            raise FLF2VError(
                f"a joint must have two frames on each side: between 2 and {count - 3} for {count} frames; got {number}."
            )
        here = slice(number - 1, number + 1)
        steps = torch.tensor(_around(self.change, here.start, here.stop))
        bends = torch.tensor(_around(self._bend, number - 2, number + 1))  # the two beside it touch its steps too
        usual, mean = (max(float(value), SMALLEST_CHANGE) for value in (steps.median(), steps.mean()))
        bend = self._bend[number - 1] - (float(bends.median()) if len(bends) else 0.0)
        return Joint(number, max(self.change[here]) / usual, max(bend, 0.0) / mean)


def _around(values: list[float], start: int, stop: int) -> list[float]:
    """What lies near this part, without it."""
    return values[max(0, start - NEAR) : start] + values[stop : stop + NEAR]


def distance_from_cross_fade(frame: torch.Tensor, first: torch.Tensor, way: torch.Tensor) -> float:
    """A frame's RMS distance from the best cross-fade ``first + part * way``, over half the RMS of the whole way."""
    offset, line = (frame - first).flatten(), way.flatten()
    part = (offset @ line / line.square().sum()).clamp(0, 1)
    return float((offset - part * line).square().mean().sqrt() / (0.5 * line.square().mean().sqrt()))
