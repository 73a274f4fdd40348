"""The two-stage sampler: expands into one or two of ComfyUI's own KSamplerAdvanced.

There is no sampling loop here: previews, progress, patches and interrupts are ComfyUI's, and an edit of the low-noise
stage alone does not run the high-noise stage again.
"""

from __future__ import annotations

import logging
from typing import Any

from comfy_api.latest import io
from comfy_execution.graph_utils import GraphBuilder

from ..flf2v.split import BY_BOUNDARY, warnings_for
from .continuous import check_sampler
from .host import RAW_LINK, check_families, raw_links, schema
from .schedule import boundary_input, denoise_input, high_steps_input, plan, sampler_inputs, step_inputs

logger = logging.getLogger(__name__)
TO_THE_END = 10000
SEEDS = 2**64
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
                io.Model.Input("model_high", tooltip="The high-noise model, after Wan FLF2V Shift."),
                io.Model.Input("model_low", tooltip="The low-noise model, after the same Wan FLF2V Shift."),
                io.Conditioning.Input("positive", tooltip="The prompt with the frames.", extra_dict=RAW_LINK),
                io.Conditioning.Input("negative", tooltip="The negative prompt with the frames.", extra_dict=RAW_LINK),
                io.Latent.Input("latent_image", tooltip="The latent to sample.", extra_dict=RAW_LINK),
                io.Int.Input(
                    "noise_seed",
                    default=0,
                    min=0,
                    max=SEEDS - 1,
                    control_after_generate=True,
                    tooltip="The seed of the noise. Samplers that draw noise use the next seed in the low-noise stage.",
                ),
                *step_inputs()[:1],
                io.Float.Input(
                    "cfg",
                    default=4.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    tooltip="Guidance of the high-noise stage (and of both while cfg_low is 0): 3.5 to 4 for Wan 2.2, "
                    "1 with a 4-step LoRA.",
                ),
                io.Float.Input(
                    "cfg_low",
                    default=0.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    tooltip="Guidance of the low-noise stage; 0 = same as cfg.",
                ),
                *sampler_inputs(),
                boundary_input(),
                high_steps_input(),
                denoise_input(),
                io.Conditioning.Input(
                    "positive_low",
                    optional=True,
                    tooltip="Another prompt for the low-noise stage.",
                    extra_dict=RAW_LINK,
                ),
                io.Conditioning.Input(
                    "negative_low",
                    optional=True,
                    tooltip="Another negative prompt for the low-noise stage.",
                    extra_dict=RAW_LINK,
                ),
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
                io.Latent.Output("latent", display_name="latent", tooltip="The finished latent video."),
                io.Latent.Output(
                    "high_noise_latent",
                    display_name="high_noise_latent",
                    tooltip="The latent at the hand-over, with its leftover noise.",
                ),
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
        distilled = steps <= FEW_STEPS and bool(model_high.patches or model_low.patches)
        for note in warnings_for(split, forced=high_steps != BY_BOUNDARY, cfg=cfg, distilled=distilled):
            logger.warning("Wan FLF2V Two-Stage Sampler: %s", note)

        links = raw_links(cls.hidden)
        shared = {"steps": grid.total_steps, "sampler_name": sampler_name, "scheduler": scheduler}
        switch = grid.start + split.high
        graph = GraphBuilder()
        if keep_history:
            check_sampler(sampler_name)
        if keep_history and split.high and split.low:
            lows = {"positive_low": positive_low, "negative_low": negative_low}
            both = graph.node(
                "WanFLF2VContinuousSampler",
                id="both",
                model_high=links["model_high"],
                model_low=links["model_low"],
                positive=positive,
                negative=negative,
                latent_image=latent_image,
                noise_seed=noise_seed,
                start_at_step=grid.start,
                switch_at_step=switch,
                cfg=cfg,
                cfg_low=cfg_low or cfg,
                **shared,
                **{name: link for name, link in lows.items() if link is not None},
            )
            return io.NodeOutput(both.out(0), both.out(1), split.high, expand=graph.finalize())
        high_latent = latent = latent_image
        if split.high:
            high_latent = latent = graph.node(
                "KSamplerAdvanced",
                id="high",
                model=links["model_high"],
                add_noise="enable",
                noise_seed=noise_seed,
                cfg=cfg,
                positive=positive,
                negative=negative,
                latent_image=latent_image,
                start_at_step=grid.start,
                end_at_step=switch if split.low else TO_THE_END,
                return_with_leftover_noise="enable" if split.low else "disable",
                **shared,
            ).out(0)
        if split.low:
            latent = graph.node(
                "KSamplerAdvanced",
                id="low",
                model=links["model_low"],
                add_noise="disable" if split.high else "enable",
                # the same seed would draw the first stage's noise a second time
                noise_seed=(noise_seed + 1) % SEEDS if split.high else noise_seed,
                cfg=cfg_low or cfg,
                positive=positive if positive_low is None else positive_low,
                negative=negative if negative_low is None else negative_low,
                latent_image=high_latent,
                start_at_step=switch,
                end_at_step=TO_THE_END,
                return_with_leftover_noise="disable",
                **shared,
            ).out(0)
        return io.NodeOutput(latent, high_latent, split.high, expand=graph.finalize())
