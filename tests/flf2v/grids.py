"""Grids of the simple scheduler, by the formula of the flow shift."""

from __future__ import annotations


def shift_sigma(t: float, shift: float) -> float:
    """The sigma at the unshifted time ``t`` in [0, 1]."""
    return shift * t / (1 + (shift - 1) * t)
