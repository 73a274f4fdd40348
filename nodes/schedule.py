"""Shift, automatic shift and the schedule of a two-stage run."""

from __future__ import annotations

from typing import Any

import comfy.model_sampling
import comfy.samplers
import torch
from comfy_api.latest import io
from comfy_extras.nodes_model_advanced import ModelSamplingSD3

from ..flf2v.errors import FLF2VError
from ..flf2v.shift import MAX_SHIFT, auto_shift
from ..flf2v.split import BY_BOUNDARY, Split, check_hand_over, split_steps, warnings_for
from .host import Grid, check_families, family_of, run_grid, schema
from .plot import draw_schedule

UNSHIFTABLE = ("karras", "exponential", "linear_quadratic", "kl_optimal")


def boundary_input() -> Any:
    """boundary, as every scheduling node shows it."""
    return io.Float.Input(
        "boundary",
        default=0.9,
        min=0.0,
        max=1.0,
        step=0.005,
        tooltip="The sigma at which the low-noise model takes over: 0.9 for Wan 2.2 I2V, 0.875 for T2V. "
        "Steps at or above it are high-noise steps.",
    )


def step_inputs(steps: int = 20) -> list[Any]:
    """steps, sampler_name, scheduler: as KSampler shows them."""
    return [
        io.Int.Input("steps", default=steps, min=1, max=10000, tooltip="Steps of both stages together."),
        *sampler_inputs(),
    ]


def sampler_inputs() -> list[Any]:
    """sampler_name and scheduler, as KSampler shows them."""
    return [
        io.Combo.Input(
            "sampler_name",
            options=list(comfy.samplers.KSampler.SAMPLERS),
            default="euler",
            tooltip="The sampler of both stages.",
        ),
        scheduler_input("The scheduler of both stages; simple is what Wan was released with."),
    ]


def scheduler_input(tooltip: str) -> Any:
    """scheduler, as KSampler shows it."""
    return io.Combo.Input(
        "scheduler", options=list(comfy.samplers.KSampler.SCHEDULERS), default="simple", tooltip=tooltip
    )


def high_steps_input() -> Any:
    """high_steps with -1 for the boundary."""
    return io.Int.Input(
        "high_steps",
        default=BY_BOUNDARY,
        min=-1,
        max=10000,
        tooltip="Number of high-noise steps; -1 takes the steps at or above the boundary.",
    )


def denoise_input() -> Any:
    """denoise, as KSampler shows it."""
    return io.Float.Input(
        "denoise",
        default=1.0,
        min=0.01,
        max=1.0,
        step=0.01,
        tooltip="1 starts from noise; less starts later on the schedule and keeps more of the latent.",
    )


def plan(
    model_high: Any,
    model_low: Any | None,
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


class WanFLF2VShift(io.ComfyNode):
    """One shift on both experts."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="WanFLF2VShift",
            display_name="Wan FLF2V Shift",
            description="Sets the same flow shift on the high- and the low-noise model. A higher shift spends more steps "
            "at high noise: more motion and layout, less detail.",
            search_aliases=["ModelSamplingSD3", "flow shift", "sigma shift"],
            inputs=[
                io.Model.Input("model_high", tooltip="The high-noise model, or the only one (Wan 2.1)."),
                io.Model.Input("model_low", optional=True, tooltip="The low-noise model; leave open for Wan 2.1."),
                io.Float.Input(
                    "shift",
                    default=8.0,
                    min=0.01,
                    max=MAX_SHIFT,
                    step=0.01,
                    tooltip="8 in ComfyUI's Wan 2.2 template, 5 in the official code and with 4-step LoRAs, "
                    "16 in the official Wan 2.1 FLF2V.",
                ),
            ],
            outputs=[
                io.Model.Output("out_high", display_name="model_high", tooltip="The high-noise model with the shift."),
                io.Model.Output(
                    "out_low",
                    display_name="model_low",
                    tooltip="The low-noise model with the shift; empty without one.",
                ),
            ],
        )

    @classmethod
    def execute(cls, model_high: Any, shift: float, model_low: Any = None) -> io.NodeOutput:
        for model in (model_high, model_low):
            if model is not None:
                family_of(model)
        patch = ModelSamplingSD3().patch  # clones the model; nothing is changed in place
        return io.NodeOutput(patch(model_high, shift)[0], None if model_low is None else patch(model_low, shift)[0])


class WanFLF2VAutoShift(io.ComfyNode):
    """The shift that gives a wanted number of high-noise steps."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="WanFLF2VAutoShift",
            display_name="Wan FLF2V Auto Shift",
            description="Finds the shift at which exactly high_steps of the steps lie at or above the boundary, "
            "aimed well inside the range of shifts that do.",
            search_aliases=["shift scheduler", "auto shift", "moe shift"],
            inputs=[
                io.Int.Input(
                    "steps",
                    default=4,
                    min=2,
                    max=10000,
                    tooltip="Steps of both stages together. Samplers that leave out the last but one step "
                    "(uni_pc, dpm_2) need one more here.",
                ),
                io.Int.Input("high_steps", default=2, min=1, max=9999, tooltip="Wanted number of high-noise steps."),
                scheduler_input("The scheduler that the sampler will use; karras and the like do not follow shift."),
                boundary_input(),
            ],
            outputs=[io.Float.Output("shift", display_name="shift", tooltip="For Wan FLF2V Shift.")],
        )

    @classmethod
    def execute(cls, steps: int, high_steps: int, scheduler: str, boundary: float) -> io.NodeOutput:
        return io.NodeOutput(find_shift(steps, high_steps, scheduler, boundary))


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


class WanFLF2VSchedule(io.ComfyNode):
    """The schedule of a two-stage run: numbers, plot and report."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="WanFLF2VSchedule",
            display_name="Wan FLF2V Schedule",
            description="Shows what a two-stage run will do: its sigmas, where the low-noise model takes over, a plot "
            "and a report. The two-stage sampler computes the same by itself.",
            search_aliases=["sigmas", "split sigmas", "boundary", "plot sigmas"],
            inputs=[
                io.Model.Input("model_high", tooltip="The high-noise model, after the shift."),
                io.Model.Input(
                    "model_low", optional=True, tooltip="The low-noise model, to check that they go together."
                ),
                *step_inputs(),
                boundary_input(),
                high_steps_input(),
                denoise_input(),
            ],
            outputs=[
                io.Int.Output("split_step", display_name="split_step", tooltip="Number of high-noise steps."),
                io.Sigmas.Output("sigmas", display_name="sigmas", tooltip="All sigmas that are run."),
                io.Sigmas.Output("sigmas_high", display_name="sigmas_high", tooltip="The high-noise stage's sigmas."),
                io.Sigmas.Output("sigmas_low", display_name="sigmas_low", tooltip="The low-noise stage's sigmas."),
                io.Image.Output("plot", display_name="plot", tooltip="Sigma over steps with the boundary."),
                io.String.Output("report", display_name="report", tooltip="The same in words, with warnings."),
            ],
        )

    @classmethod
    def execute(
        cls,
        model_high: Any,
        steps: int,
        sampler_name: str,
        scheduler: str,
        boundary: float,
        high_steps: int,
        denoise: float,
        model_low: Any = None,
    ) -> io.NodeOutput:
        _, split = plan(model_high, model_low, steps, sampler_name, scheduler, boundary, high_steps, denoise)
        sigmas = torch.tensor(split.sigmas)
        notes = warnings_for(split, forced=high_steps != BY_BOUNDARY)
        report = describe(split, sampler_name, scheduler, notes)
        return io.NodeOutput(
            split.high, sigmas, sigmas[: split.high + 1], sigmas[split.high :], draw_schedule(split), report
        )


def describe(split: Split, sampler_name: str, scheduler: str, notes: list[str]) -> str:
    """The schedule in a few lines of text."""
    lines = [
        f"{split.describe()}, {sampler_name} / {scheduler}, boundary {split.boundary:g}",
        f"hand-over at step {split.high} of {split.steps}, sigma {split.sigmas[split.high]:.4f}",
        "sigmas " + ", ".join(f"{sigma:.4f}" for sigma in split.sigmas),
    ]
    return "\n".join(lines + [f"Warning: {note}" for note in notes])
