"""What encode and decode share to run chunk by chunk: ComfyUI's own VAE code with some of its parts exchanged.

Nothing here knows a version. What another pack replaced, and what a later ComfyUI may change, fails a check on a tiny
VAE, and the VAE is used as it is.
"""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Callable, Hashable
from typing import Any

import comfy.ldm.wan.vae as wan
import comfy.model_management
import torch

from .types import Vae

logger = logging.getLogger(__name__)
Layout = tuple[Any, ...]


class CannotStreamError(Exception):
    """ComfyUI asked for something that only the whole clip can answer, as it does when it encodes in tiles."""


def with_parts(module: torch.nn.Module, **parts: torch.nn.Module) -> Any:
    """A shallow copy of a module with other submodules in these places; the module itself is left as it is."""
    changed = copy.copy(module)
    changed._modules = {**module._modules, **parts}
    return changed


def with_model(vae: Vae, model: Any) -> Any:
    """A shallow copy of a VAE whose model is another object: ComfyUI still loads, offloads and makes room for the VAE's."""
    changed = copy.copy(vae)
    changed.first_stage_model = model
    return changed


def layout_of(model: Any) -> Layout:
    """What ``tiny_vae`` needs of a VAE's model."""
    return tuple(model.dim_mult), model.num_res_blocks, tuple(model.temperal_downsample)


def tiny_vae(layout: Layout, device: torch.device, generator: torch.Generator) -> Any:
    """A Wan VAE's model of few channels with random weights."""
    dim_mult, blocks, downsample = layout
    model = wan.WanVAE(8, 4, list(dim_mult), blocks, temperal_downsample=list(downsample))
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / max(weight[0].numel(), 1) ** 0.5)
    return model.to(device)


def same(streamed: torch.Tensor, expected: torch.Tensor) -> bool:
    """Bit for bit on the CPU; elsewhere as close as kernels that are chosen anew for each call can be."""
    tolerance = 0.0 if expected.device.type == "cpu" else 0.01 * float(expected.abs().max())
    return streamed.shape == expected.shape and torch.allclose(streamed, expected, rtol=0.0, atol=tolerance)


def check_once(check: Callable[..., bool]) -> Callable[..., bool]:
    """Make a check's answer remembered by its arguments; one that raises has failed, for a reason that is logged.

    A cancel and a lack of memory are no answers: they are passed on.
    """

    @functools.lru_cache(maxsize=8)
    def answer(*arguments: Hashable) -> bool:
        try:
            passed = check(*arguments)
            reason = "it does not give what the whole gives"
        except Exception as error:
            if isinstance(error, comfy.model_management.InterruptProcessingException) or is_out_of_memory(error):
                raise
            passed, reason = False, f"{type(error).__name__}: {error}"
        if not passed:
            logger.info("This ComfyUI's Wan VAE is not run chunk by chunk (%s: %s).", check.__name__, reason)
        return passed

    return answer


def is_out_of_memory(error: Exception) -> bool:
    """Whether ComfyUI takes this for a lack of memory, and answers it with tiles."""
    asked = getattr(comfy.model_management, "is_oom", None)  # later versions know more of them
    return bool(asked(error)) if asked else isinstance(error, comfy.model_management.OOM_EXCEPTION)
