"""The sigmas that a run will really take, and the shifts that give a wanted split."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import comfy.model_sampling
import comfy.samplers

from ...flf2v.errors import FLF2VError
from ...flf2v.shift import auto_shift
from ...flf2v.split import BY_BOUNDARY, Run, Split, check_hand_over, split_steps
from .families import Family, check_same_family, family_of
from .types import Model

SAMPLERS: list[str] = list(comfy.samplers.KSampler.SAMPLERS)
SCHEDULERS: list[str] = list(comfy.samplers.KSampler.SCHEDULERS)
UNSHIFTABLE = ("karras", "exponential", "linear_quadratic", "kl_optimal")


@dataclasses.dataclass(frozen=True)
class Grid:
    """The sigmas of a run and how KSamplerAdvanced has to be asked for it.

    ``sigmas`` are the ones that are run; ``total_steps`` and ``start`` are KSamplerAdvanced's steps and start_at_step.
    """

    sigmas: tuple[float, ...]
    total_steps: int
    start: int


def run_grid(model: Model, run: Run) -> Grid:
    """The grid that ComfyUI's KSampler runs for this model: after discard-penultimate and denoise."""
    run.check()
    taken = comfy.samplers.KSampler(model, run.steps, "cpu", run.sampler_name, run.scheduler, run.denoise).sigmas
    total_steps = run.steps if run.denoise > 0.9999 else int(run.steps / run.denoise)  # as KSampler.set_steps
    full = comfy.samplers.KSampler(model, total_steps, "cpu", run.sampler_name, run.scheduler).sigmas
    return Grid(tuple(taken.tolist()), total_steps, len(full) - len(taken))


@dataclasses.dataclass(frozen=True)
class Plan:
    """A run as the high-noise model will make it: all that the low-noise model must fit to."""

    run: Run
    grid: Grid
    split: Split
    family: Family
    notes: tuple[str, ...] = ()

    @property
    def forced(self) -> bool:
        """Whether the split is set by hand."""
        return self.run.high_steps != BY_BOUNDARY

    def check_low(self, model: Model) -> None:
        """Raise FLF2VError unless this low-noise model goes on where the high-noise one ends."""
        check_same_family(self.family, family_of(model))
        # With no step on one side the hand-over is where the other stage begins.
        at = min(self.split.high, self.split.steps - 1)
        check_hand_over(self.grid.sigmas, run_grid(model, self.run).sigmas, at)


def plan_run(model_high: Model, run: Run) -> Plan:
    """The grid that will be run and its split. Raises FLF2VError for a model or values that can't be run."""
    family, grid = family_of(model_high), run_grid(model_high, run)
    return Plan(run, grid, split_steps(grid.sigmas, run.boundary, run.high_steps), family)


def find_shift(steps: int, high_steps: int, scheduler: str, boundary: float) -> float:
    """The shift that gives exactly ``high_steps``, proven on the scheduler's grid. Raises FLF2VError where none does."""
    shift = auto_shift(unshifted_times(scheduler, steps), high_steps, boundary)
    found = split_steps(scheduler_sigmas(scheduler, steps, shift), boundary).high
    if found != high_steps:
        raise FLF2VError(
            f"with the scheduler {scheduler} no shift gives {high_steps} of {steps} steps (the nearest gives {found}). "
            "Use the scheduler simple, or set high_steps on the sampler."
        )
    return shift


def scheduler_sigmas(scheduler: str, steps: int, shift: float) -> list[float]:
    """The scheduler's grid for a flow model of this shift, as ComfyUI computes it."""
    sigmas: list[float] = comfy.samplers.calculate_sigmas(_flow_sampling(shift), scheduler, steps).tolist()
    return sigmas


def unshifted_times(scheduler: str, steps: int) -> list[float]:
    """The scheduler's grid before the shift, one time per step, falling from 1."""
    if scheduler in UNSHIFTABLE:
        raise FLF2VError(
            f"the scheduler {scheduler} does not follow shift. Use simple, normal, sgm_uniform, beta or ddim_uniform, "
            "or set high_steps on the sampler."
        )
    return scheduler_sigmas(scheduler, steps, 1.0)[:-1]


def shifted_model(shift: float) -> Model:
    """As much of a Wan model with this shift as ComfyUI's KSampler asks for a grid: its sampling."""
    sampling = _flow_sampling(shift)
    return SimpleNamespace(get_model_object=lambda name: sampling)


def _flow_sampling(shift: float) -> Any:
    sampling = comfy.model_sampling.ModelSamplingDiscreteFlow()
    sampling.set_parameters(shift=shift, multiplier=1000)
    return sampling
