"""Two experts in one continuous run: the sampler's history goes on over the hand-over.

Each expert's part is a whole sampling run of ComfyUI's own, so loading, patches, wrappers, step caches and previews are
as in two KSamplerAdvanced, and memory holds one expert at a time. Only the sampler function between them is one call.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

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

Prompts: TypeAlias = tuple[Conditioning, Conditioning]
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


def available_samplers() -> list[str]:
    """The samplers with a history that this ComfyUI has."""
    return [name for name in MULTISTEP if name in SAMPLERS]


class ContinuousRun:
    """One sampler function over all ``sigmas`` as two of ComfyUI's samplers, ``high`` and ``low``, run in this order.

    ``high`` is left out where ``switch`` is 0.
    """

    def __init__(self, sampler_name: str, sigmas: torch.Tensor, switch: int) -> None:
        self._made_from = comfy.samplers.sampler_object(sampler_name)
        self.switch = switch
        self.steps = len(sigmas) - 1
        self.sigmas_high = sigmas[: switch + 1].clone()
        self.sigmas_low = sigmas[switch:].clone()
        self.sampler = PausableSampler(self._made_from.sampler_function)
        weakref.finalize(self, self.sampler.stop)  # its thread waits for a part that may never be asked for
        self._sigmas = sigmas.clone()
        self._handed_over = float(sigmas[switch])

    @property
    def high(self) -> Any:
        """The first ``switch`` steps as a sampler of ComfyUI's."""
        return comfy.samplers.KSAMPLER(
            self._sample_high, self._made_from.extra_options, self._made_from.inpaint_options
        )

    @property
    def low(self) -> Any:
        """The rest."""
        return comfy.samplers.KSAMPLER(self._sample_low, self._made_from.extra_options, self._made_from.inpaint_options)

    def report(self, model: Model, first_step: int) -> Any:
        """A callback that shows progress and previews over the whole run, for the part that begins at this step."""
        preview = latent_preview.prepare_callback(model, self.steps)

        def show(step: int, denoised: torch.Tensor, x: torch.Tensor, _total: int) -> None:
            preview(first_step + step, denoised, x, self.steps)

        return show

    def _sample_high(
        self, model: Any, x: Any, sigmas: Any, extra_args: Any, callback: Any, disable: Any, **options: Any
    ) -> torch.Tensor:
        self._start(model, x, sigmas, extra_args, options)
        reached = self._serve(model, extra_args, callback, 0, lambda call: float(call.sigma[0]) <= self._handed_over)
        return reached.x if isinstance(reached, ModelCall) else reached

    def _sample_low(
        self, model: Any, x: Any, sigmas: Any, extra_args: Any, callback: Any, disable: Any, **options: Any
    ) -> torch.Tensor:
        if not self.sampler.started:
            self._start(model, x, sigmas, extra_args, options)
        result = self._serve(model, extra_args, callback, self.switch, lambda call: False)
        sigmas.copy_(self._sigmas[self.switch :])  # uni_pc ends at 0.001 and tells its caller so by changing these
        if isinstance(result, ModelCall):
            raise RuntimeError("the sampler did not finish")
        return result

    def _start(self, model: Any, x: Any, sigmas: Any, extra_args: Any, options: dict[str, Any]) -> None:
        self._sigmas = self._sigmas.to(sigmas)
        options["disable"] = not comfy.utils.PROGRESS_BAR_ENABLED
        self.sampler.start(x, self._sigmas, model=model, extra_args={"seed": extra_args.get("seed")}, **options)

    def _serve(
        self, model: Any, extra_args: Any, callback: Any, first_step: int, until: Callable[[ModelCall], bool]
    ) -> ModelCall | torch.Tensor:
        def denoise(call: ModelCall) -> torch.Tensor:
            denoised: torch.Tensor = model(call.x, call.sigma, **extra_args)
            return denoised

        def step_done(values: dict[str, Any]) -> None:
            if callback is not None:
                callback({**values, "i": values["i"] - first_step})

        self.sampler.served_by = model
        return self.sampler.serve(denoise, step_done, until)


@dataclass(frozen=True)
class PausedRun:
    """A continuous run at the hand-over, for the low-noise model to go on with, once."""

    run: ContinuousRun
    family: Family
    seed: int
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
    model: Model, prompts: Prompts, cfg: float, latent_image: Latent, seed: int, run: ContinuousRun
) -> PausedRun:
    """The high-noise model's part of the run, with its latent as ``KSamplerAdvanced`` gives it."""
    paused = PausedRun(run, family_of(model), seed, latent_image)
    if not run.switch:
        return paused
    return replace(paused, latent=_sample(model, prompts, cfg, paused, first=True))


def sample_low(model: Model, prompts: Prompts, cfg: float, paused: PausedRun) -> Latent:
    """The finished latent: the low-noise model's part of a run. Raises FLF2VError for a model of another family."""
    check_same_family(paused.family, family_of(model))
    if paused.run.switch == paused.run.steps:
        return paused.latent
    return _sample(model, prompts, cfg, paused, first=False)


def _sample(model: Model, prompts: Prompts, cfg: float, paused: PausedRun, *, first: bool) -> Latent:
    run, given = paused.run, paused.latent
    latent = comfy.sample.fix_empty_latent_channels(model, given["samples"])
    noise = comfy.sample.prepare_noise(latent, paused.seed, given.get("batch_index"))
    if not first and run.switch:
        noise = torch.zeros_like(noise)  # the high-noise part has added it
    part, sigmas = (run.high, run.sigmas_high) if first else (run.low, run.sigmas_low)
    try:
        samples = comfy.sample.sample_custom(
            model, noise, cfg, part, sigmas, *prompts, latent, noise_mask=given.get("noise_mask"), disable_pbar=True,
            callback=run.report(model, 0 if first else run.switch), seed=paused.seed,
        )  # fmt: skip
    except BaseException:
        run.sampler.stop()
        raise
    return {**given, "samples": samples}
