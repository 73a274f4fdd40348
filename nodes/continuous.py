"""Two experts in one continuous run: a node for each part, and the node that puts them together."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .host.continuous import MULTISTEP, sample_high, sample_low
from .host.expansion import GraphBuilder, composite_schema
from .host.schema import part_schema
from .host.types import Link
from .inputs import (
    expert_inputs,
    guidance_input,
    latent_outputs,
    low_prompt_inputs,
    prompt_inputs,
    scheduler_input,
    seed_input,
)

PAUSED = io.Custom("WAN_FLF2V_PAUSED_RUN")


class WanFLF2VContinuousSampler(io.ComfyNode):
    """The latent video, sampled by both experts in one continuous run."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        count = {"min": 0, "max": 10000}
        return composite_schema(
            node_id="WanFLF2VContinuousSampler",
            display_name="Wan FLF2V Continuous Sampler",
            description="What Wan FLF2V Two-Stage Sampler becomes with keep_history: one run of a multistep sampler whose "
            "memory of earlier steps goes on when the low-noise model takes over.",
            search_aliases=["moe sampler", "multistep", "uni_pc", "keep history"],
            inputs=[
                *expert_inputs(),
                *prompt_inputs(),
                seed_input("Seed."),
                io.Int.Input("steps", default=20, min=1, max=10000, tooltip="Steps of the whole schedule."),
                io.Int.Input("start_at_step", default=0, **count, tooltip="The first step that is run."),
                io.Int.Input("switch_at_step", default=10, **count, tooltip="The low-noise model's first step."),
                guidance_input("cfg", 4.0, "Guidance of the first part."),
                guidance_input("cfg_low", 4.0, "Guidance after it."),
                io.Combo.Input("sampler_name", options=MULTISTEP, tooltip="A sampler that remembers earlier steps."),
                scheduler_input("The scheduler of the whole run."),
                *low_prompt_inputs("model"),
            ],
            outputs=latent_outputs("The latent at the hand-over."),
        )

    @classmethod
    async def execute(
        cls,
        model_high: Link,
        model_low: Link,
        positive: Link,
        negative: Link,
        cfg: Any,
        cfg_low: Any,
        positive_low: Link | None = None,
        negative_low: Link | None = None,
        **of_high: Any,
    ) -> io.NodeOutput:
        graph = GraphBuilder()
        high = {"model": model_high, "positive": positive, "negative": negative, "cfg": cfg, **of_high}
        prompts = {"positive": positive_low or positive, "negative": negative_low or negative}
        sampled = add_continuous_run(graph, high, {"model": model_low, **prompts, "cfg": cfg_low})
        return io.NodeOutput(*sampled, expand=graph.finalize())


def add_continuous_run(graph: GraphBuilder, high: dict[str, Any], low: dict[str, Any]) -> tuple[Link, Link]:
    """Put both parts with these inputs into the graph; links to the finished latent and to the one at the hand-over."""
    # latent_image and paused last: what the last input needs runs first
    latent_image = high.pop("latent_image")
    first = graph.node("WanFLF2VContinuousHigh", id="part_high", **high, latent_image=latent_image)
    second = graph.node("WanFLF2VContinuousLow", id="part_low", **low, paused=first.out(0))
    return second.out(0), first.out(1)


class WanFLF2VContinuousHigh(io.ComfyNode):
    """The high-noise part of a continuous run."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        count = {"min": 0, "max": 10000}
        return part_schema(
            node_id="WanFLF2VContinuousHigh",
            display_name="Wan FLF2V Continuous Run, High Noise",
            inputs=[
                io.Model.Input("model"),
                *prompt_inputs(),
                seed_input("Seed."),
                io.Int.Input("steps", **count),
                io.Int.Input("start_at_step", **count),
                io.Int.Input("switch_at_step", **count),
                guidance_input("cfg", 4.0, "Guidance."),
                io.Combo.Input("sampler_name", options=MULTISTEP),
                scheduler_input("The scheduler."),
            ],
            outputs=[PAUSED.Output("out_paused"), io.Latent.Output("latent")],
        )

    @classmethod
    def fingerprint_inputs(cls, **_: Any) -> float:
        return float("nan")  # a paused run goes on once

    @classmethod
    def execute(cls, **given: Any) -> io.NodeOutput:
        paused = sample_high(**given)
        return io.NodeOutput(paused, paused.latent)


class WanFLF2VContinuousLow(io.ComfyNode):
    """The low-noise part of a continuous run."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return part_schema(
            node_id="WanFLF2VContinuousLow",
            display_name="Wan FLF2V Continuous Run, Low Noise",
            inputs=[
                io.Model.Input("model"),
                *prompt_inputs()[:2],
                guidance_input("cfg", 4.0, "Guidance."),
                PAUSED.Input("paused"),
            ],
            outputs=[io.Latent.Output("latent")],
        )

    @classmethod
    def execute(cls, **given: Any) -> io.NodeOutput:
        return io.NodeOutput(sample_low(**given))
