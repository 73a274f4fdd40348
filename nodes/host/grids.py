"""The sigmas that a run will really take, and the shifts that give a wanted split."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import comfy.model_sampling
import comfy.samplers
import torch

from ...flf2v.errors import FLF2VError
from ...flf2v.shift import auto_shift
from ...flf2v.split import BY_BOUNDARY, Run, Split, check_hand_over, split_steps
from ...flf2v.stages import finer_steps, join_grids, with_first
from .families import Family, check_same_family, family_of
from .types import Model

SAMPLERS: list[str] = list(comfy.samplers.KSampler.SAMPLERS)
SCHEDULERS: list[str] = list(comfy.samplers.KSampler.SCHEDULERS)
DISCARDING: list[str] = [
    name for name in SAMPLERS if name in comfy.samplers.KSampler.DISCARD_PENULTIMATE_SIGMA_SAMPLERS
]
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


FIRST, HIGH, LOW = range(3)


@dataclasses.dataclass(frozen=True)
class Plan:
    """A run as the first model of it will make it: all that the models after it must fit to.

    ``two`` are the two stages, ``split`` the same with the steps of a model before them.
    """

    run: Run
    grid: Grid
    two: Split
    split: Split
    family: Family
    notes: tuple[str, ...] = ()
    noise_seed: int = 0

    @property
    def forced(self) -> bool:
        """Whether the split is set by hand."""
        return self.run.high_steps != BY_BOUNDARY

    def sigmas(self, stage: int) -> tuple[float, ...]:
        """The sigmas of the stage FIRST, HIGH or LOW; none for a stage without steps."""
        first, high = self.split.first, self.split.high
        begin, end = ((0, first), (first, high), (high, self.split.steps))[stage]
        return self.split.sigmas[begin : end + 1] if begin < end else ()

    def stages_before(self, stage: int) -> int:
        """How many stages before this one make steps: without any it adds the noise."""
        return sum(1 for each in range(stage) if self.sigmas(each))

    def check_model(self, stage: int, model: Model) -> None:
        """Raise FLF2VError unless this model of the stage HIGH or LOW goes on where the one before it ends."""
        check_same_family(self.family, family_of(model))
        # With no step on one side the hand-over is where the other stage begins.
        at = min(self.run.first_steps if stage == HIGH else self.two.high, len(self.grid.sigmas) - 2)
        check_hand_over(self.grid.sigmas, run_grid(model, self.run).sigmas, at)


def plan_run(model: Model, run: Run) -> Plan:
    """The grid that will be run and its split. Raises FLF2VError for a model or values that can't be run."""
    family, grid = family_of(model), run_grid(model, run)
    return Plan(run, grid, *split_run(model, run, grid), family)


def split_run(model: Model, run: Run, grid: Grid) -> tuple[Split, Split]:
    """The split of both stages, and the same with the steps of the model before them. Raises FLF2VError."""
    two = join_grids(grid.sigmas, run_grid(model, run.of_low).sigmas, run.boundary, run.high_steps)
    if not run.first_steps:
        return two, two
    taken, total = finer_steps(run.first_steps, run.steps, run.first_resolution)
    finer = run_grid(model, run.of_first(total))
    return two, with_first(two, run.first_steps, finer.sigmas, taken)


def sigmas_of(plan: Plan, stage: int) -> torch.Tensor:
    """The sigmas of a stage for ComfyUI's samplers; empty for a stage that makes no step."""
    return torch.tensor(plan.sigmas(stage))


def sampler_of(name: str) -> Any:
    """The sampler that KSampler takes by this name."""
    return comfy.samplers.sampler_object(name)


def same_grid(sampler_name: str) -> str:
    """One name for all samplers that run the same steps of a scheduler."""
    return DISCARDING[0] if sampler_name in DISCARDING else SAMPLERS[0]


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
