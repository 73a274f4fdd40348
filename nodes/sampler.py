"""The two-stage sampler: expands into one or two of ComfyUI's own KSamplerAdvanced.

There is no sampling loop here: previews, progress, patches and interrupts are ComfyUI's, and an edit of the low-noise
stage alone does not run the high-noise stage again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from comfy_api.latest import io

from ..flf2v.split import BY_BOUNDARY, Split, warnings_for
from .host.continuous import check_sampler
from .host.expansion import GraphBuilder
from .host.families import check_families
from .host.grids import plan
from .host.schema import RAW_LINK, raw_links, schema
from .inputs import (
    SEEDS,
    boundary_input,
    denoise_input,
    expert_inputs,
    guidance_input,
    high_steps_input,
    latent_outputs,
    low_prompt_inputs,
    prompt_inputs,
    sampler_inputs,
    seed_input,
    step_inputs,
)

logger = logging.getLogger(__name__)
TO_THE_END = 10000
_RAW = {"extra_dict": RAW_LINK}
FEW_STEPS = 8  # a run this short that carries a LoRA is taken for a distilled one


class WanFLF2VTwoStageSampler(io.ComfyNode):
    """The latent video, sampled by the high-noise and then by the low-noise model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="WanFLF2VTwoStageSampler",
            display_name="Wan FLF2V Two-Stage Sampler",
            description="Samples with the high-noise model down to the boundary and with the low-noise model from there, "
            "by the official rule on the steps that are really run. Bit for bit what two KSampler (Advanced) with the "
            "same split give.",
            search_aliases=["KSampler Advanced", "moe sampler", "high low noise", "wan 2.2 sampler"],
            enable_expand=True,
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
            inputs=[
                *expert_inputs(),
                *prompt_inputs(**_RAW),
                seed_input("The seed of the noise. Samplers that draw noise use the next seed in the low-noise stage."),
                *step_inputs()[:1],
                guidance_input(
                    "cfg",
                    4.0,
                    "Guidance of the high-noise stage (and of both while cfg_low is 0): 3.5 to 4 for Wan 2.2, "
                    "1 with a 4-step LoRA.",
                ),
                guidance_input("cfg_low", 0.0, "Guidance of the low-noise stage; 0 = same as cfg."),
                *sampler_inputs(),
                boundary_input(),
                high_steps_input(),
                denoise_input(),
                *low_prompt_inputs("stage", **_RAW),
                io.Boolean.Input(
                    "keep_history",
                    optional=True,
                    default=False,
                    tooltip="One continuous run: a multistep sampler (uni_pc, dpmpp_2m, res_multistep …) keeps what it "
                    "remembers of the high-noise steps, as in Wan's own code. Off: two KSampler (Advanced), where it "
                    "starts anew and an edit of the low-noise stage does not run the high-noise one again.",
                ),
            ],
            outputs=[
                *latent_outputs("The latent at the hand-over, with its leftover noise."),
                io.Int.Output("split_step", display_name="split_step", tooltip="Number of high-noise steps."),
            ],
        )

    @classmethod
    def execute(
        cls,
        model_high: Any,
        model_low: Any,
        positive: Any,
        negative: Any,
        latent_image: Any,
        noise_seed: int,
        steps: int,
        cfg: float,
        cfg_low: float,
        sampler_name: str,
        scheduler: str,
        boundary: float,
        high_steps: int,
        denoise: float,
        positive_low: Any = None,
        negative_low: Any = None,
        keep_history: bool = False,
    ) -> io.NodeOutput:
        check_families(model_high, model_low)
        grid, split = plan(model_high, model_low, steps, sampler_name, scheduler, boundary, high_steps, denoise)
        if keep_history:
            check_sampler(sampler_name)
        distilled = steps <= FEW_STEPS and bool(model_high.patches or model_low.patches)
        for note in warnings_for(split, forced=high_steps != BY_BOUNDARY, cfg=cfg, distilled=distilled):
            logger.warning("Wan FLF2V Two-Stage Sampler: %s", note)
        links = raw_links(cls.hidden)
        run = _Run(
            split,
            grid.start,
            noise_seed,
            latent_image,
            high=_Stage(links["model_high"], positive, negative, cfg),
            low=_Stage(
                links["model_low"],
                positive if positive_low is None else positive_low,
                negative if negative_low is None else negative_low,
                cfg_low or cfg,
            ),
            shared={"steps": grid.total_steps, "sampler_name": sampler_name, "scheduler": scheduler},
        )
        graph = GraphBuilder()
        expand = _one_run if keep_history and split.high and split.low else _stage_by_stage
        latent, high_latent = expand(graph, run)
        return io.NodeOutput(latent, high_latent, split.high, expand=graph.finalize())


@dataclass(frozen=True)
class _Stage:
    """What one expert is asked with: links to its model and prompts, and its guidance."""

    model: Any
    positive: Any
    negative: Any
    cfg: float

    def inputs(self) -> dict[str, Any]:
        """As KSamplerAdvanced names them."""
        return {"model": self.model, "positive": self.positive, "negative": self.negative, "cfg": self.cfg}


@dataclass(frozen=True)
class _Run:
    """A run of both stages; ``start`` is KSamplerAdvanced's first step, ``shared`` its inputs that both stages have."""

    split: Split
    start: int
    noise_seed: int
    latent_image: Any
    high: _Stage
    low: _Stage
    shared: dict[str, Any]

    @property
    def switch(self) -> int:
        """The low-noise model's first step."""
        return self.start + self.split.high


def _one_run(graph: Any, run: _Run) -> tuple[Any, Any]:
    """The finished latent and the one at the hand-over, of one continuous run."""
    high, low = run.high, run.low
    both = graph.node(
        "WanFLF2VContinuousSampler",
        id="both",
        model_high=high.model,
        model_low=low.model,
        positive=high.positive,
        negative=high.negative,
        positive_low=low.positive,
        negative_low=low.negative,
        latent_image=run.latent_image,
        noise_seed=run.noise_seed,
        start_at_step=run.start,
        switch_at_step=run.switch,
        cfg=high.cfg,
        cfg_low=low.cfg,
        **run.shared,
    )
    return both.out(0), both.out(1)


def _stage_by_stage(graph: Any, run: _Run) -> tuple[Any, Any]:
    """The finished latent and the one at the hand-over, of a KSamplerAdvanced for each stage that has steps."""
    high_latent = latent = run.latent_image
    if run.split.high:
        high_latent = latent = graph.node(
            "KSamplerAdvanced",
            id="high",
            add_noise="enable",
            noise_seed=run.noise_seed,
            latent_image=run.latent_image,
            start_at_step=run.start,
            end_at_step=run.switch if run.split.low else TO_THE_END,
            return_with_leftover_noise="enable" if run.split.low else "disable",
            **run.high.inputs(),
            **run.shared,
        ).out(0)
    if run.split.low:
        latent = graph.node(
            "KSamplerAdvanced",
            id="low",
            add_noise="disable" if run.split.high else "enable",
            # the same seed would draw the first stage's noise a second time
            noise_seed=(run.noise_seed + 1) % SEEDS if run.split.high else run.noise_seed,
            latent_image=high_latent,
            start_at_step=run.switch,
            end_at_step=TO_THE_END,
            return_with_leftover_noise="disable",
            **run.low.inputs(),
            **run.shared,
        ).out(0)
    return latent, high_latent
