"""Which steps the high-noise expert takes: the official rule on the grid of sigmas that will really be run.

Rule: a step belongs to the high-noise expert when its timestep is >= boundary x 1000; Wan 2.2 ``image2video.py``.
A sigma equal to the boundary up to rounding is a tie between platforms' float32; it goes to the low-noise expert, as in
the official UniPC run, whose grid starts at 0.999 instead of 1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import FLF2VError
from .shift import check_boundary

BY_BOUNDARY = -1
SAME = "same"
SHIFT_TOLERANCE = 1e-4
TIE = 1e-6


FEW_STEPS = 8  # more are not what a distilled model is run with
DISTILLED_FILE = re.compile(
    r"[248][-_ ]?steps?|distill|lightning|lightx2v|causvid|accvid|fast_?wan|turbo|rcm|dmd|lcm", re.I
)


@dataclass(frozen=True)
class Run:
    """What a run is asked for: ``high_steps`` -1 = by the boundary, ``denoise`` below 1 = the last part alone.

    ``steps_low`` 0 and "same" mean that the low-noise stage has the high-noise stage's; ``first_steps`` of the steps are
    made by another model before, in the finer steps of a schedule of at least ``first_resolution``.
    """

    steps: int
    sampler_name: str
    scheduler: str
    boundary: float = 0.9
    high_steps: int = BY_BOUNDARY
    denoise: float = 1.0
    steps_low: int = 0
    sampler_low: str = SAME
    scheduler_low: str = SAME
    first_steps: int = 0
    first_resolution: int = 20

    @property
    def of_low(self) -> Run:
        """The steps, sampler and scheduler of the low-noise stage, as a run without a split of its own."""
        sampler, scheduler = (
            same if own == SAME else own
            for own, same in ((self.sampler_low, self.sampler_name), (self.scheduler_low, self.scheduler))
        )
        return Run(self.steps_low or self.steps, sampler, scheduler, self.boundary, denoise=self.denoise)

    def of_first(self, steps: int) -> Run:
        """A run of so many steps for the model before both stages."""
        return Run(steps, self.sampler_name, self.scheduler, self.boundary, denoise=self.denoise)

    def check(self) -> None:
        """Raise FLF2VError for values that no model can run."""
        check_boundary(self.boundary)
        if self.high_steps > self.steps:
            raise FLF2VError(
                f"high_steps must be at most steps ({self.steps}), or -1 for the boundary; got {self.high_steps}."
            )
        if not 0 < self.denoise <= 1:
            raise FLF2VError(f"denoise must be above 0 and at most 1; got {self.denoise:g}.")
        if self.first_steps > self.steps:
            raise FLF2VError(f"first_steps must be at most steps ({self.steps}); got {self.first_steps}.")


@dataclass(frozen=True)
class Split:
    """A run of ``len(sigmas) - 1`` steps: the first ``high`` by the high-noise expert, the rest by the low-noise one.

    ``sigmas`` falls to 0 and starts at the first step that is run (denoise < 1 leaves the earlier ones out). Of the
    high-noise steps the first ``first`` are another model's.
    """

    sigmas: tuple[float, ...]
    high: int
    boundary: float
    first: int = 0

    @property
    def steps(self) -> int:
        """The number of steps in all."""
        return len(self.sigmas) - 1

    @property
    def low(self) -> int:
        """The number of low-noise steps."""
        return self.steps - self.high

    def describe(self) -> str:
        """The split in words: "10 high + 10 low", or "3 first + 1 high + 4 low"."""
        first = f"{self.first} first + " if self.first else ""
        return f"{first}{self.high - self.first} high + {self.low} low"


def steps_at_or_above(sigmas: Sequence[float], boundary: float) -> int:
    """How many steps of a falling grid (last entry = end, not a step) start at the boundary or above, ties left out."""
    return sum(1 for sigma in sigmas[:-1] if sigma >= boundary + TIE)


def split_steps(sigmas: Sequence[float], boundary: float, high_steps: int = BY_BOUNDARY) -> Split:
    """The split of this grid: by the boundary, or ``high_steps`` high-noise steps when that is not -1.

    Raises FLF2VError for a boundary outside (0, 1] or more high steps than steps.
    """
    check_boundary(boundary)
    steps = len(sigmas) - 1
    if steps < 1:
        raise FLF2VError("there is nothing to sample: steps x denoise leaves no step. Raise steps or denoise.")
    if high_steps == BY_BOUNDARY:
        high_steps = steps_at_or_above(sigmas, boundary)
    elif not 0 <= high_steps <= steps:
        raise FLF2VError(
            f"high_steps must be between 0 and {steps}, the number of steps that are run (-1 = by the boundary); "
            f"got {high_steps}."
        )
    return Split(tuple(float(sigma) for sigma in sigmas), high_steps, boundary)


def check_hand_over(high: Sequence[float], low: Sequence[float], at: int) -> None:
    """Raise FLF2VError when the two models' grids differ at step ``at``, where the latent changes hands.

    Each stage divides or multiplies by (1 - sigma), so a difference would scale the latent by (1 - s2) / (1 - s1).
    """
    if len(high) != len(low):
        raise FLF2VError(
            f"the two models run {len(high) - 1} and {len(low) - 1} steps. Send both through one Wan FLF2V Shift node."
        )
    first, second = float(high[at]), float(low[at])
    factor = hand_over_factor(first, second)
    if factor is not None:
        raise FLF2VError(
            f"the two models have different shifts: at the hand-over after step {at} the high-noise model is at sigma "
            f"{first:.4f} and the low-noise model at {second:.4f}, which would scale the latent by {factor:.3g}. "
            "Send both models through one Wan FLF2V Shift node."
        )


def hand_over_factor(first: float, second: float) -> float | None:
    """By what a latent that was left at one sigma and taken up at another would be scaled; None where they are alike."""
    if abs(first - second) <= SHIFT_TOLERANCE:
        return None
    return (1 - second) / (1 - first) if first < 1 else float("inf")


def is_distilled(steps: int, cfg: float | None, files: str) -> bool:
    """Whether a stage runs a model distilled for few steps: told by the names of its files, or by few steps at cfg 1.

    A LoRA alone tells nothing: most are of characters and styles.
    """
    return steps <= FEW_STEPS and (cfg == 1 or DISTILLED_FILE.search(files) is not None)


def guidance_warnings(cfg: float | None, distilled: bool) -> list[str]:
    """What is likely wrong with a stage's guidance."""
    if cfg is None or cfg <= 1 or not distilled:
        return []
    return [f"cfg is {cfg:g}, but a 4-step LoRA is distilled for cfg 1 and burns above it. Set cfg to 1."]


def warnings_for(split: Split, *, forced: bool, cfg: float | None = None, distilled: bool = False) -> list[str]:
    """What is likely wrong with a split that can be run, each with its cure; ``forced`` = high_steps set by hand."""
    found = []
    by_rule = steps_at_or_above(split.sigmas, split.boundary)
    if split.high == 0:
        found.append(
            "The high-noise model takes no step, so motion and layout come from the low-noise model alone. "
            "Raise shift, lower boundary, or set high_steps."
        )
    elif split.low == 0:
        found.append(
            "The low-noise model takes no step, so details stay unfinished. "
            "Lower shift, raise steps or boundary, or set high_steps."
        )
    if forced and split.high != by_rule:
        found.append(
            f"high_steps is set to {split.high}, but {by_rule} steps lie at or above the boundary {split.boundary:g}. "
            "Set high_steps to -1 to follow the boundary."
        )
    if distilled and split.steps <= FEW_STEPS and abs(split.high - split.steps / 2) > 1:
        found.append(
            f"A 4-step LoRA is trained for half high-noise steps; this is {split.describe()}. Use shift 5 with 4 steps."
        )
    return found + guidance_warnings(cfg, distilled)
