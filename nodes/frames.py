"""The inputs that the conditioning nodes share, and the one encode behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import comfy.model_management
import torch
from comfy_api.latest import io

from ..flf2v.clip import Clip
from ..flf2v.errors import FLF2VError
from ..flf2v.frames import MIN_LENGTH, SPATIAL_STRIDE, build_mask, check_length, fit_frames
from ..flf2v.sizes import FITS, MAX_SIZE, Fit, check_size, render_size
from .host import check_vae
from .size_inputs import pixels_input
from .vae_stream import encode_clip


@dataclass(frozen=True)
class EncodedFrames:
    """First and last frames, encoded: ``latent`` [1, 16, T, h, w] and ``mask`` [1, 4, T, h, w] (0 = given)."""

    latent: torch.Tensor
    mask: torch.Tensor


def size_inputs() -> list[Any]:
    """width, height and length, as every conditioning node shows them."""
    size = "Even; a size that is no multiple of 16 is rendered larger and cropped back by Wan FLF2V Save Video."
    return [
        pixels_input("width", f"Width of the video in pixels. {size}"),
        pixels_input("height", f"Height of the video in pixels. {size}"),
        io.Int.Input(
            "length",
            default=81,
            min=MIN_LENGTH,
            max=MAX_SIZE,
            step=4,
            tooltip="Number of frames, 4n + 1 (77, 81, 85 …). Wan is trained on 81 frames at 16 per second; "
            "longer clips tend to return to the first frame.",
        ),
    ]


def batch_size_input() -> Any:
    """batch_size, as every conditioning node shows it."""
    return io.Int.Input(
        "batch_size", default=1, min=1, max=4096, tooltip="How many videos to sample at once from different noise."
    )


def fit_input() -> Any:
    """fit, as every conditioning node shows it."""
    return io.Combo.Input(
        "fit",
        options=list(FITS),
        default="crop",
        tooltip="How a picture of another aspect is brought to the size: crop cuts the middle out, stretch distorts it, "
        "pad adds black bars. The same for both pictures.",
    )


START_TOOLTIP = "The first frame, or several frames that the video starts with."
END_TOOLTIP = "The last frame, or several frames that the video ends with."


def check_door(width: int | None, height: int | None, length: int | None) -> bool | str:
    """What ComfyUI's validation asks before a prompt is queued: True, or the message. None stands for a linked value."""
    try:
        if width is not None and height is not None:
            check_size(width, height)
        if length is not None:
            check_length(length)
    except FLF2VError as error:
        return str(error)
    return True


def encode_frames(
    vae: Any,
    width: int,
    height: int,
    length: int,
    fit: Fit,
    start: torch.Tensor | None,
    end: torch.Tensor | None,
) -> EncodedFrames:
    """Encode the given frames with grey between them. Raises FLF2VError for values that cannot work."""
    check_size(width, height)
    check_length(length)
    check_vae(vae)
    if start is None and end is None:
        raise FLF2VError("no picture is connected. Connect start_image, end_image or both.")
    start = None if start is None else fit_frames(start, width, height, fit)
    end = None if end is None else fit_frames(end, width, height, fit)
    render_width, render_height = render_size(width, height)
    mask = build_mask(length, render_height // SPATIAL_STRIDE, render_width // SPATIAL_STRIDE, start, end)
    return EncodedFrames(encode_clip(vae, Clip(length, render_width, render_height, start, end)), mask)


def empty_latent(frames: EncodedFrames, batch_size: int) -> dict[str, torch.Tensor]:
    """The latent to sample, zeros of ``[batch_size, 16, T, h, w]``."""
    _, channels, latents, height, width = frames.latent.shape
    device = comfy.model_management.intermediate_device()
    return {"samples": torch.zeros([batch_size, channels, latents, height, width], device=device)}
