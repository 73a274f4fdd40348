"""Shift, automatic shift and the schedule of a two-stage run."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..flf2v.drawing import picture_tensor
from ..flf2v.schedule_picture import draw_schedule
from ..flf2v.shift import MAX_SHIFT
from ..flf2v.split import Run, warnings_for
from .host.expansion import GraphBuilder, composite_schema
from .host.grids import FIRST, LOW, Plan, find_shift, plan_run, sigmas_of
from .host.schema import schema
from .host.types import Link, Model
from .inputs import boundary_input, denoise_input, own_inputs, scheduler_input, split_inputs, steps_input


class WanFLF2VShift(io.ComfyNode):
    """One shift on both experts."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return composite_schema(
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
    async def execute(cls, model_high: Link, shift: Any, model_low: Link | None = None) -> io.NodeOutput:
        graph = GraphBuilder()
        shifted = [
            None if model is None else graph.node("ModelSamplingSD3", model=model, shift=shift).out(0)
            for model in (model_high, model_low)
        ]
        return io.NodeOutput(*shifted, expand=graph.finalize())


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
                steps_input(),
                *split_inputs(),
                denoise_input(),
                *own_inputs(),
            ],
            outputs=[
                io.Int.Output("split_step", display_name="split_step", tooltip="Number of high-noise steps."),
                io.Sigmas.Output("sigmas", display_name="sigmas", tooltip="All sigmas that are run."),
                io.Sigmas.Output("sigmas_high", display_name="sigmas_high", tooltip="The high-noise stage's sigmas."),
                io.Sigmas.Output("sigmas_low", display_name="sigmas_low", tooltip="The low-noise stage's sigmas."),
                io.Image.Output("plot", display_name="plot", tooltip="Sigma over steps with the boundary."),
                io.String.Output("report", display_name="report", tooltip="The same in words, with warnings."),
                io.Sigmas.Output(
                    "sigmas_first", display_name="sigmas_first", tooltip="The sigmas of model_first's steps."
                ),
            ],
        )

    @classmethod
    def execute(cls, model_high: Model, model_low: Model | None = None, **run: Any) -> io.NodeOutput:
        """``run`` is what Run has."""
        plan = plan_run(model_high, Run(**run))
        if model_low is not None:
            plan.check_model(LOW, model_low)
        split, sigmas = plan.split, torch.tensor(plan.split.sigmas)
        report = describe(plan, warnings_for(plan.two, forced=plan.forced))
        plot = picture_tensor(draw_schedule(split))
        high, low = sigmas[split.first : split.high + 1], sigmas[split.high :]
        return io.NodeOutput(split.high, sigmas, high, low, plot, report, sigmas_of(plan, FIRST))


def describe(plan: Plan, notes: list[str]) -> str:
    """The schedule in a few lines of text."""
    split = plan.split
    run, low = plan.run, plan.run.of_low
    same = (low.sampler_name, low.scheduler, low.steps) == (run.sampler_name, run.scheduler, run.steps)
    own = "" if same else f", low {low.sampler_name} / {low.scheduler}, {low.steps} steps"
    lines = [
        f"{split.describe()}, {run.sampler_name} / {run.scheduler}{own}, boundary {split.boundary:g}",
        f"hand-over at step {split.high} of {split.steps}, sigma {split.sigmas[split.high]:.4f}",
        "sigmas " + ", ".join(f"{sigma:.4f}" for sigma in split.sigmas),
    ]
    return "\n".join(lines + [f"Warning: {note}" for note in notes])
