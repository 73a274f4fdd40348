"""The flow shift and its inverse, and the shift that puts a wanted number of steps above the boundary.

Sigma runs from 1 (noise) to 0 (video); the model's timestep is 1000 sigma.
Formula: sigma(t) = s t / (1 + (s - 1) t); Wan 2.2 ``fm_solvers_unipc.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .errors import FLF2VError

MAX_SHIFT = 100.0


def shift_at(t: float, boundary: float) -> float:
    """The shift that moves the unshifted time ``t`` exactly onto ``boundary``: b (1 - t) / (t (1 - b))."""
    if t <= 0:
        return math.inf
    return boundary * (1 - t) / (t * (1 - boundary))


def shift_interval(times: Sequence[float], high_steps: int, boundary: float) -> tuple[float, float]:
    """The half-open interval of shifts with exactly ``high_steps`` steps at or above ``boundary``.

    ``times`` is the scheduler's unshifted grid, falling from 1, one entry per step.
    """
    return shift_at(times[high_steps - 1], boundary), shift_at(times[high_steps], boundary)


def auto_shift(times: Sequence[float], high_steps: int, boundary: float) -> float:
    """A shift well inside the interval that gives exactly ``high_steps`` high-noise steps.

    The ends of the interval are float ties, so the geometric mean is taken, rounded to two decimals where that stays
    inside. Raises FLF2VError when no shift up to 100 does it.
    """
    steps = len(times)
    check_boundary(boundary)
    if boundary == 1:
        raise FLF2VError("boundary must be below 1 for an automatic shift; got 1. Wan 2.2 I2V uses 0.9.")
    if not 1 <= high_steps < steps:
        raise FLF2VError(f"high_steps must be between 1 and {steps - 1} for {steps} steps; got {high_steps}.")
    low, high = shift_interval(times, high_steps, boundary)
    floor, ceiling = max(low, min(1.0, high / 2)), min(high, MAX_SHIFT)
    if floor >= ceiling:
        raise FLF2VError(
            f"no shift up to {MAX_SHIFT:g} gives {high_steps} of {steps} steps at or above {boundary:g}. "
            "Ask for fewer high steps, or set high_steps on the sampler."
        )
    shift = math.sqrt(floor * ceiling)
    rounded = round(shift, 2)
    return rounded if floor < rounded < ceiling else shift


def check_boundary(boundary: float) -> None:
    """Raise FLF2VError unless the boundary lies in (0, 1]."""
    if not 0 < boundary <= 1:
        raise FLF2VError(
            f"boundary must be above 0 and at most 1 (a sigma, not a step or a percentage); got {boundary:g}. "
            "Wan 2.2 I2V uses 0.9, T2V 0.875."
        )
