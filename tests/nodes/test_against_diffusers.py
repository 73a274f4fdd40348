"""The continuous run's numbers are those of diffusers' solvers, which keep their history over the switch of experts.

ComfyUI's uni_pc and dpmpp_2m use the half log-SNR -log(sigma) for every model, which is diffusers' without
``use_flow_sigmas`` on x / sqrt(1 + sigma^2); uni_pc is of order 3 and ends at sigma 0.001. Wan's own UniPC uses
log((1 - sigma) / sigma), order 2 and ends at 0, so ComfyUI's differs from it with one expert as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch

diffusers = pytest.importorskip("diffusers", minversion="0.35", reason="the extra dev brings it")

STEPS, SWITCH = 9, 4
# simple at shift 5 with 9 steps; sigma 1 is where a flow's video is all noise
SIGMAS = torch.tensor([5 * t / (1 + 4 * t) for t in (1 - i / STEPS for i in range(STEPS))] + [0.0]).double()


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    """Both sides in float64, so that nothing is left of rounding."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def high(x: torch.Tensor, sigma: torch.Tensor, **_: Any) -> torch.Tensor:
    return torch.tanh(1.3 * x) * 0.8 + 0.1 * sigma


def low(x: torch.Tensor, sigma: torch.Tensor, **_: Any) -> torch.Tensor:
    return torch.sin(2 * x) * (1 - sigma / 2) - 0.3


def noise() -> torch.Tensor:
    return torch.randn(1, 4, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def continuous(sampler: str, preview_model: Any) -> torch.Tensor:
    """Both experts in one continuous run."""
    from wan_flf2v.nodes.host.continuous import ContinuousRun

    run = ContinuousRun(sampler, SIGMAS.clone(), SWITCH)
    options: dict[str, Any] = {"extra_args": {"seed": 0}, "callback": None, "disable": True}
    try:
        latent = noise()
        for model, first in ((high, True), (low, False)):
            part, sigmas = run.part(first=first)
            latent = part.sampler_function(model, latent, sigmas, **options)
        return latent
    finally:
        run.sampler.stop()


def diffusers_run(scheduler: Any, sigmas: torch.Tensor, *, forget: bool = False) -> torch.Tensor:
    """The loop of diffusers' Wan pipeline: one scheduler, whose model changes at the switch."""
    scheduler.set_timesteps(STEPS)
    scheduler.sigmas, scheduler.timesteps = sigmas, torch.arange(STEPS)
    scheduler.set_begin_index(0)
    scale = (1 + sigmas**2).sqrt()
    x = noise() / scale[0]
    for i, timestep in enumerate(scheduler.timesteps):
        if forget and i == SWITCH:
            scheduler.lower_order_nums, scheduler.last_sample = 0, None
        denoised = (high if i < SWITCH else low)(x * scale[i], sigmas[i])
        x = scheduler.step(denoised, timestep, x).prev_sample
    return x * scale[-1]


def scheduler_for(sampler: str) -> tuple[Any, torch.Tensor]:
    """diffusers' scheduler with the settings of ComfyUI's sampler, and the sigmas that ComfyUI runs."""
    if sampler == "dpmpp_2m":
        settings = {"algorithm_type": "dpmsolver++", "solver_order": 2, "solver_type": "midpoint"}
        return diffusers.DPMSolverMultistepScheduler(prediction_type="sample", **settings), SIGMAS.clone()
    solver = "bh2" if sampler.endswith("bh2") else "bh1"
    scheduler = diffusers.UniPCMultistepScheduler(prediction_type="sample", solver_order=3, solver_type=solver)
    return scheduler, torch.cat([SIGMAS[:-1], torch.tensor([0.001])])


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
@pytest.mark.parametrize("sampler", ["uni_pc", "uni_pc_bh2", "dpmpp_2m"])
def test_the_continuous_run_is_diffusers_run(comfy: ModuleType, load_model: Callable[[str], Any], sampler: str) -> None:
    ours = continuous(sampler, load_model("high_noise"))
    scheduler, sigmas = scheduler_for(sampler)
    theirs = diffusers_run(scheduler, sigmas)
    # DPMSolverMultistepScheduler computes its steps in float32, whatever it is given
    assert (ours - theirs).abs().max() < (1e-6 if sampler == "dpmpp_2m" else 1e-10)
    anew = diffusers_run(scheduler, sigmas, forget=True)
    assert (anew - theirs).abs().max() > 1e-2, "a run that forgets at the switch is another one"


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_a_joined_grid_in_stages_is_diffusers_run_of_its_sigmas(comfy: ModuleType) -> None:
    import comfy.samplers

    from wan_flf2v.flf2v.split import Run
    from wan_flf2v.nodes.host.grids import run_grid, shifted_model, split_run

    run = Run(20, "euler", "simple", steps_low=4, first_steps=1)
    _, split = split_run(shifted_model(5), run, run_grid(shifted_model(5), run))
    assert split.describe() == "1 first + 7 high + 2 low"
    sigmas = torch.tensor(split.sigmas)
    models = (lambda x, sigma, **_: x / 2 + sigma, high, low)
    ends = (0, split.first, split.high, split.steps)
    euler, ours = comfy.samplers.sampler_object("euler").sampler_function, noise()
    for stage, model in enumerate(models):
        ours = euler(model, ours, sigmas[ends[stage] : ends[stage + 1] + 1], disable=True)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=sigmas[:-1].tolist())
    theirs = noise()
    for step, timestep in enumerate(scheduler.timesteps):
        stage = sum(step >= end for end in ends[1:])
        denoised = models[stage](theirs, sigmas[step])
        theirs = scheduler.step((theirs - denoised) / sigmas[step], timestep, theirs).prev_sample
    assert (ours - theirs).abs().max() < 1e-5  # this scheduler computes in float32
