"""The sigmas that a run will really take, and the shifts that give a wanted split."""

from __future__ import annotations

import dataclasses
from typing import Any

import comfy.model_sampling
import comfy.samplers

from ...flf2v.errors import FLF2VError
from ...flf2v.shift import auto_shift
from ...flf2v.split import Split, check_hand_over, split_steps
from .families import check_families, family_of
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


def run_grid(model: Model, steps: int, sampler_name: str, scheduler: str, denoise: float) -> Grid:
    """The grid that ComfyUI's KSampler runs for this model: after discard-penultimate and denoise."""
    if not 0 < denoise <= 1:
        raise FLF2VError(f"denoise must be above 0 and at most 1; got {denoise:g}.")
    run = comfy.samplers.KSampler(model, steps, "cpu", sampler_name, scheduler, denoise).sigmas
    total_steps = steps if denoise > 0.9999 else int(steps / denoise)  # as KSampler.set_steps
    full = comfy.samplers.KSampler(model, total_steps, "cpu", sampler_name, scheduler).sigmas
    return Grid(tuple(run.tolist()), total_steps, len(full) - len(run))


def plan(
    model_high: Model,
    model_low: Model | None,
    steps: int,
    sampler_name: str,
    scheduler: str,
    boundary: float,
    high_steps: int,
    denoise: float,
) -> tuple[Grid, Split]:
    """The grid that will be run and its split. Raises FLF2VError for models or values that do not go together."""
    if high_steps > steps:
        raise FLF2VError(f"high_steps must be at most steps ({steps}), or -1 for the boundary; got {high_steps}.")
    family_of(model_high)
    grid = run_grid(model_high, steps, sampler_name, scheduler, denoise)
    split = split_steps(grid.sigmas, boundary, high_steps)
    if model_low is not None:
        check_families(model_high, model_low)
        low = run_grid(model_low, steps, sampler_name, scheduler, denoise)
        # With no step on one side the hand-over is where the other stage begins.
        check_hand_over(grid.sigmas, low.sigmas, min(split.high, split.steps - 1))
    return grid, split


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
    sigmas: list[float] = comfy.samplers.calculate_sigmas(flow_sampling(shift), scheduler, steps).tolist()
    return sigmas


def flow_sampling(shift: float) -> Any:
    """ComfyUI's own model sampling of a Wan model with this shift."""
    sampling = comfy.model_sampling.ModelSamplingDiscreteFlow()
    sampling.set_parameters(shift=shift, multiplier=1000)
    return sampling


def unshifted_times(scheduler: str, steps: int) -> list[float]:
    """The scheduler's grid before the shift, one time per step, falling from 1."""
    if scheduler in UNSHIFTABLE:
        raise FLF2VError(
            f"the scheduler {scheduler} does not follow shift. Use simple, normal, sgm_uniform, beta or ddim_uniform, "
            "or set high_steps on the sampler."
        )
    return scheduler_sigmas(scheduler, steps, 1.0)[:-1]


@dataclasses.dataclass(frozen=True)
class ShiftedModel:
    """As much of a model as ComfyUI's KSampler asks for a grid: its sampling."""

    sampling: Any

    def get_model_object(self, name: str) -> Any:
        """The model sampling."""
        return self.sampling
