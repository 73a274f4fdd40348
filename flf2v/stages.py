"""The grids of several stages joined into one: each stage takes the steps of its own grid that lie on its side.

A stage's last step leads to the sigma that the next stage begins at, so both name one number and nothing is scaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import gcd

from .errors import FLF2VError
from .split import BY_BOUNDARY, TIE, Split, split_steps


def join_grids(high: Sequence[float], low: Sequence[float], boundary: float, high_steps: int = BY_BOUNDARY) -> Split:
    """The high-noise steps of the grid ``high``, then those of the grid ``low`` below the boundary.

    With ``high_steps`` set by hand the low-noise steps are those from the sigma on that ``high`` would have reached. One
    grid for both is split as it is. Raises FLF2VError as ``split_steps`` does.
    """
    split = split_steps(high, boundary, high_steps)
    if tuple(low) == tuple(high):
        return split
    limit = boundary if high_steps == BY_BOUNDARY else split.sigmas[split.high]
    return replace(split, sigmas=(*split.sigmas[: split.high], *(sigma for sigma in low if sigma < limit + TIE)))


def finer_steps(first_steps: int, steps: int, resolution: int) -> tuple[int, int]:
    """How many steps of what finer grid span the same as ``first_steps`` of ``steps``: (taken, total).

    ``total`` is the smallest of at least ``resolution`` for which ``taken`` is whole: taken / total = first_steps / steps;
    TripleKSampler's alignment.
    """
    unit = steps // gcd(steps, first_steps)
    total = -(-resolution // unit) * unit
    return total * first_steps // steps, total


def with_first(split: Split, first_steps: int, finer: Sequence[float], taken: int) -> Split:
    """The split with ``taken`` steps of a finer grid, for another model, in place of its first ``first_steps``.

    They lead to exactly the sigma where the split goes on; steps of the finer grid that don't lie above it are left out.
    """
    if not 0 <= first_steps <= split.high:
        raise FLF2VError(
            f"first_steps must be between 0 and the number of high-noise steps, here {split.high}; got {first_steps}."
        )
    rest = split.sigmas[first_steps:]
    before = tuple(sigma for sigma in finer[:taken] if sigma > rest[0] + TIE) if first_steps else ()
    return Split((*before, *rest), split.high - first_steps + len(before), split.boundary, len(before))
