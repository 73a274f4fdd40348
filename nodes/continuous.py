"""Two experts in one continuous run: the sampler's history goes on over the hand-over.

Each expert's part is a whole sampling run of ComfyUI's own, so loading, patches, wrappers, step caches and previews are
as in two KSamplerAdvanced, and memory holds one expert at a time where that is all that fits. Only the sampler function
between them is one call.
"""

from __future__ import annotations

from typing import Any

import comfy.sample
import comfy.samplers
import torch
from comfy_api.latest import io

from ..flf2v.errors import FLF2VError
from .host.continuous import ContinuousRun, available_samplers, check_sampler
from .host.families import check_families
from .host.schema import schema
from .inputs import (
    expert_inputs,
    guidance_input,
    latent_outputs,
    low_prompt_inputs,
    prompt_inputs,
    scheduler_input,
    seed_input,
)


class WanFLF2VContinuousSampler(io.ComfyNode):
    """The latent video, sampled by both experts in one continuous run."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        count = {"min": 0, "max": 10000}
        return schema(
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
                io.Combo.Input(
                    "sampler_name", options=available_samplers(), tooltip="A sampler that remembers earlier steps."
                ),
                scheduler_input("The scheduler of the whole run."),
                *low_prompt_inputs("model"),
            ],
            outputs=latent_outputs("The latent at the hand-over."),
        )

    @classmethod
    def execute(
        cls,
        model_high: Any,
        model_low: Any,
        positive: Any,
        negative: Any,
        latent_image: dict[str, Any],
        noise_seed: int,
        steps: int,
        start_at_step: int,
        switch_at_step: int,
        cfg: float,
        cfg_low: float,
        sampler_name: str,
        scheduler: str,
        positive_low: Any = None,
        negative_low: Any = None,
    ) -> io.NodeOutput:
        check_families(model_high, model_low)
        check_sampler(sampler_name)
        sigmas = comfy.samplers.KSampler(model_high, steps, "cpu", sampler_name, scheduler).sigmas
        if not start_at_step < switch_at_step < len(sigmas) - 1:
            raise FLF2VError(
                f"switch_at_step must lie between start_at_step and the last step ({len(sigmas) - 1}) with a step on each "
                f"side; got {start_at_step} and {switch_at_step}. Use KSampler (Advanced) for one model alone."
            )
        run = ContinuousRun(sampler_name, sigmas[start_at_step:], switch_at_step - start_at_step, model_high)
        latent = comfy.sample.fix_empty_latent_channels(model_high, latent_image["samples"])
        mask = latent_image.get("noise_mask")
        noise = comfy.sample.prepare_noise(latent, noise_seed, latent_image.get("batch_index"))
        shared = {"noise_mask": mask, "seed": noise_seed, "disable_pbar": True}
        try:
            high = comfy.sample.sample_custom(
                model_high, noise, cfg, run.high, run.sigmas_high, positive, negative, latent,
                callback=run.report(0), **shared,
            )  # fmt: skip
            low = comfy.sample.sample_custom(
                model_low, torch.zeros_like(noise), cfg_low, run.low, run.sigmas_low,
                positive if positive_low is None else positive_low,
                negative if negative_low is None else negative_low,
                high, callback=run.report(run.switch), **shared,
            )  # fmt: skip
        finally:
            run.relay.stop()
        return io.NodeOutput({**latent_image, "samples": low}, {**latent_image, "samples": high})
