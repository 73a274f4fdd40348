"""One sampler function over both experts, in ComfyUI's own sampling runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.samplers
import comfy.utils
import latent_preview
import torch

from ...flf2v.errors import FLF2VError
from ...flf2v.relay import ModelCall, SamplerRelay
from .grids import SAMPLERS
from .types import Model

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
    """One sampler function over all ``sigmas`` as two of ComfyUI's samplers, ``high`` and ``low``, run in this order."""

    def __init__(self, sampler_name: str, sigmas: torch.Tensor, switch: int, preview_model: Model) -> None:
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
