"""The one encode behind the conditioning nodes."""

from __future__ import annotations

from dataclasses import dataclass

import comfy.model_management
import torch

from ...flf2v.clip import Clip
from ...flf2v.errors import FLF2VError
from ...flf2v.frames import SPATIAL_STRIDE, build_mask, check_length, fit_frames
from ...flf2v.sizes import Fit, Resize, check_size, render_size
from .encode import encode_clip
from .families import check_vae
from .memo import Memo, digest
from .types import Latent, Pictures, Vae

ENCODED: Memo[torch.Tensor] = Memo()


@dataclass(frozen=True)
class EncodedFrames:
    """First and last frames, encoded: ``latent`` [1, 16, T, h, w] and ``mask`` [1, 4, T, h, w] (0 = given)."""

    latent: torch.Tensor
    mask: torch.Tensor


def encode_frames(
    vae: Vae,
    width: int,
    height: int,
    length: int,
    fit: Fit,
    start_image: Pictures | None = None,
    end_image: Pictures | None = None,
    resize: Resize = "bilinear",
) -> EncodedFrames:
    """Encode the given frames with grey between them. Raises FLF2VError for values that cannot work."""
    check_size(width, height)
    check_length(length)
    check_vae(vae)
    if start_image is None and end_image is None:
        raise FLF2VError("no picture is connected. Connect start_image, end_image or both.")
    start, end = (
        None if pictures is None else fit_frames(pictures, width, height, fit, resize)
        for pictures in (start_image, end_image)
    )
    render_width, render_height = render_size(width, height)
    mask = build_mask(length, render_height // SPATIAL_STRIDE, render_width // SPATIAL_STRIDE, start, end)
    clip = Clip(length, render_width, render_height, start, end)
    key = (vae.patcher.patches_uuid, vae.vae_dtype, vae.device, clip.shape, digest(start), digest(end))
    return EncodedFrames(ENCODED.get(vae.first_stage_model, key, lambda: encode_clip(vae, clip)), mask)


def empty_latent(frames: EncodedFrames, batch_size: int) -> Latent:
    """The latent to sample, zeros of ``[batch_size, 16, T, h, w]``."""
    _, channels, latents, height, width = frames.latent.shape
    device = comfy.model_management.intermediate_device()
    return {"samples": torch.zeros([batch_size, channels, latents, height, width], device=device)}
