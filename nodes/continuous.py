"""Two experts in one continuous run: the sampler's history goes on over the hand-over.

Each expert's part is a whole sampling run of ComfyUI's own, so loading, patches, wrappers, step caches and previews are
as in two KSamplerAdvanced, and memory holds one expert at a time where that is all that fits. Only the sampler function
between them is one call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch
from comfy_api.latest import io

from ..flf2v.errors import FLF2VError
from ..flf2v.relay import ModelCall, SamplerRelay
from .host import check_families, schema
from .sampling_inputs import (
    expert_inputs,
    guidance_input,
    latent_outputs,
    low_prompt_inputs,
    prompt_inputs,
    seed_input,
)
from .schedule import scheduler_input

# Samplers that remember earlier steps, draw no noise, and ask the model for nothing but x and sigma.
MULTISTEP = (
    "uni_pc",
    "uni_pc_bh2",
    "dpmpp_2m",
    "res_multistep",
    "ipndm",
    "ipndm_v",
    "deis",
    "lms",
    "gradient_estimation",
)


def check_sampler(sampler_name: str) -> None:
    """Raise FLF2VError unless this sampler has a history that can go on over the hand-over."""
    if sampler_name not in MULTISTEP:
        raise FLF2VError(
            f"keep_history works with samplers that remember earlier steps: {', '.join(MULTISTEP)}; got {sampler_name}. "
            "Choose one of them, or turn keep_history off."
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
                io.Combo.Input("sampler_name", options=_available(), tooltip="A sampler that remembers earlier steps."),
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


class ContinuousRun:
    """One sampler function over all ``sigmas`` as two of ComfyUI's samplers, ``high`` and ``low``, run in this order."""

    def __init__(self, sampler_name: str, sigmas: torch.Tensor, switch: int, preview_model: Any) -> None:
        sampler = comfy.samplers.sampler_object(sampler_name)
        self.switch = switch
        self.sigmas_high = sigmas[: switch + 1].clone()
        self.sigmas_low = sigmas[switch:].clone()
        self.relay = SamplerRelay(sampler.sampler_function)
        self.high = comfy.samplers.KSAMPLER(self._sample_high, sampler.extra_options, sampler.inpaint_options)
        self.low = comfy.samplers.KSAMPLER(self._sample_low, sampler.extra_options, sampler.inpaint_options)
        self._sigmas = sigmas.clone()
        self._handed_over = float(sigmas[switch])
        self._preview = latent_preview.prepare_callback(preview_model, len(sigmas) - 1)

    def report(self, first_step: int) -> Any:
        """A callback that shows progress and previews over the whole run, for the part that begins at this step."""

        def show(step: int, denoised: torch.Tensor, x: torch.Tensor, _total: int) -> None:
            self._preview(first_step + step, denoised, x, len(self._sigmas) - 1)

        return show

    def _sample_high(
        self,
        model: Any,
        x: Any,
        sigmas: Any,
        extra_args: Any = None,
        callback: Any = None,
        disable: Any = None,
        **more: Any,
    ) -> torch.Tensor:
        self._sigmas = self._sigmas.to(sigmas)
        show = comfy.utils.PROGRESS_BAR_ENABLED
        self.relay.start(
            x, self._sigmas, model=model, extra_args={"seed": extra_args.get("seed")}, disable=not show, **more
        )
        reached = self._serve(model, extra_args, callback, 0, lambda call: float(call.sigma[0]) <= self._handed_over)
        return reached.x if isinstance(reached, ModelCall) else reached

    def _sample_low(
        self,
        model: Any,
        x: Any,
        sigmas: Any,
        extra_args: Any = None,
        callback: Any = None,
        disable: Any = None,
        **more: Any,
    ) -> torch.Tensor:
        result = self._serve(model, extra_args, callback, self.switch, lambda call: False)
        sigmas.copy_(self._sigmas[self.switch :])  # uni_pc ends at 0.001 and tells its caller so by changing these
        if isinstance(result, ModelCall):
            raise RuntimeError("the sampler did not finish")
        return result

    def _serve(
        self, model: Any, extra_args: Any, callback: Any, first_step: int, until: Callable[[ModelCall], bool]
    ) -> ModelCall | torch.Tensor:
        def denoise(call: ModelCall) -> torch.Tensor:
            denoised: torch.Tensor = model(call.x, call.sigma, **extra_args)
            return denoised

        def step_done(values: dict[str, Any]) -> None:
            if callback is not None:
                callback({**values, "i": values["i"] - first_step})

        self.relay.served_by = model
        return self.relay.serve(denoise, step_done, until)


def _available() -> list[str]:
    return [name for name in MULTISTEP if name in comfy.samplers.KSampler.SAMPLERS]
