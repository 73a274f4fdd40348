"""Two experts in one continuous run: the sampler's history goes on over the hand-over.

Each expert's part is a whole sampling run of ComfyUI's own, so loading, patches, wrappers, step caches and previews are
as in two KSamplerAdvanced, and memory holds one expert at a time. Only the sampler function between them is one call.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch

from ...flf2v.errors import FLF2VError
from ...flf2v.pausable import ModelCall, PausableSampler
from .families import Family, check_same_family, family_of
from .grids import SAMPLERS
from .types import Conditioning, Latent, Model

# Samplers that remember earlier steps, draw no noise, and ask the model for nothing but x and sigma.
_MULTISTEP = "uni_pc uni_pc_bh2 dpmpp_2m res_multistep ipndm ipndm_v deis lms gradient_estimation"
MULTISTEP = [name for name in _MULTISTEP.split() if name in SAMPLERS]


def check_sampler(sampler_name: str) -> None:
    """Raise FLF2VError unless this sampler has a history that can go on over the hand-over."""
    if sampler_name not in MULTISTEP:
        raise FLF2VError(
            f"keep_history works with samplers that remember earlier steps: {', '.join(MULTISTEP)}; got {sampler_name}. "
            "Choose one of them, or turn keep_history off."
        )


class ContinuousRun:
    """One sampler function over all ``sigmas`` as two of ComfyUI's samplers, run in this order.

    The first is left out where ``switch`` is 0.
    """

    def __init__(self, sampler_name: str, sigmas: torch.Tensor, switch: int) -> None:
        self._made_from = comfy.samplers.sampler_object(sampler_name)
        self._sigmas, self._running = sigmas, sigmas.clone()
        self.switch = switch
        self.steps = len(sigmas) - 1
        self.sampler = PausableSampler(self._made_from.sampler_function)
        weakref.finalize(self, self.sampler.stop)  # its thread waits for a part that may never be asked for

    def part(self, *, first: bool) -> tuple[Any, torch.Tensor]:
        """The first ``switch`` steps, or the rest: a sampler of ComfyUI's and its sigmas."""
        steps = slice(self.switch + 1) if first else slice(self.switch, None)
        sample = partial(self._sample, steps, float(self._sigmas[self.switch]) if first else -1.0)
        made_from = self._made_from
        sampler = comfy.samplers.KSAMPLER(sample, made_from.extra_options, made_from.inpaint_options)
        return sampler, self._sigmas[steps].clone()

    def _sample(
        self,
        steps: slice,
        last_sigma: float,
        model: Any,
        x: torch.Tensor,
        sigmas: torch.Tensor,
        extra_args: dict[str, Any],
        callback: Callable[[dict[str, Any]], None] | None,
        disable: Any,
        **options: Any,
    ) -> torch.Tensor:
        def denoise(call: ModelCall) -> torch.Tensor:
            denoised: torch.Tensor = model(call.x, call.sigma, **extra_args)
            return denoised

        if not self.sampler.started:
            self._running = self._running.to(sigmas)
            options |= {"extra_args": {"seed": extra_args.get("seed")}, "disable": not comfy.utils.PROGRESS_BAR_ENABLED}
            self.sampler.start(x, self._running, model=model, **options)
        self.sampler.served_by = model
        reached = self.sampler.serve(
            denoise, callback or (lambda values: None), lambda call: float(call.sigma[0]) <= last_sigma
        )
        sigmas.copy_(self._running[steps])  # uni_pc ends at 0.001 and tells its caller so by changing these
        return reached.x if isinstance(reached, ModelCall) else reached


@dataclass(frozen=True)
class PausedRun:
    """A continuous run at the hand-over, for the low-noise model to go on with, once."""

    run: ContinuousRun
    family: Family
    seed: int
    given: Latent
    latent: Latent


def begin(
    model: Model, steps: int, start_at_step: int, switch_at_step: int, sampler_name: str, scheduler: str
) -> ContinuousRun:
    """The run from a step on. Raises FLF2VError for a sampler without history or steps out of order."""
    check_sampler(sampler_name)
    sigmas = comfy.samplers.KSampler(model, steps, "cpu", sampler_name, scheduler).sigmas
    start, switch, last = start_at_step, switch_at_step, len(sigmas) - 1
    if not start <= switch <= last or start == last:
        raise FLF2VError(
            f"switch_at_step must lie between start_at_step and the last step ({last}); got {start} and {switch}."
        )
    return ContinuousRun(sampler_name, sigmas[start:], switch - start)


def sample_high(
    model: Model,
    positive: Conditioning,
    negative: Conditioning,
    cfg: float,
    latent_image: Latent,
    noise_seed: int,
    **steps: Any,
) -> PausedRun:
    """The high-noise model's part of a run, its latent as KSamplerAdvanced gives it; ``steps`` is what ``begin`` takes."""
    paused = PausedRun(begin(model, **steps), family_of(model), noise_seed, latent_image, latent_image)
    if not paused.run.switch:
        return paused
    return replace(paused, latent=_sample(model, (positive, negative), cfg, paused, first=True))


def sample_low(model: Model, positive: Conditioning, negative: Conditioning, cfg: float, paused: PausedRun) -> Latent:
    """The finished latent: the low-noise model's part of a run. Raises FLF2VError for a model of another family."""
    check_same_family(paused.family, family_of(model))
    if paused.run.switch == paused.run.steps:
        return paused.latent
    return _sample(model, (positive, negative), cfg, paused, first=False)


def _sample(
    model: Model, prompts: tuple[Conditioning, Conditioning], cfg: float, paused: PausedRun, *, first: bool
) -> Latent:
    run, given = paused.run, paused.given  # of the second part only a mask looks at it, as in one run
    latent = comfy.sample.fix_empty_latent_channels(model, given["samples"])
    noise = comfy.sample.prepare_noise(latent, paused.seed, given.get("batch_index"))
    sampler, sigmas = run.part(first=first)
    preview = latent_preview.prepare_callback(model, run.steps)
    try:
        samples = comfy.sample.sample_custom(
            model, noise, cfg, sampler, sigmas, *prompts, latent, noise_mask=given.get("noise_mask"), disable_pbar=True,
            callback=lambda step, denoised, x, _: preview(step, denoised, x, run.steps), seed=paused.seed,
        )  # fmt: skip
    except BaseException:
        run.sampler.stop()
        raise
    return {**given, "samples": samples}
