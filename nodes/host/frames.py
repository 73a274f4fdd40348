"""First and last frames encoded, and put into ComfyUI's conditioning with what CLIP vision sees."""

from __future__ import annotations

from dataclasses import dataclass

import comfy.clip_vision
import comfy.model_management
import node_helpers
import torch

from ...flf2v.clip import Clip
from ...flf2v.errors import FLF2VError
from ...flf2v.frames import SPATIAL_STRIDE, build_mask, check_length, fit_frames
from ...flf2v.sizes import Fit, Resize, check_size, render_size
from .encode import encode_clip
from .families import check_vae
from .memo import Memo, digest
from .types import ClipVision, ClipVisionOutput, Conditioning, Latent, Pictures, Vae

ENCODED: Memo[torch.Tensor] = Memo()
_seen: Memo[ClipVisionOutput] = Memo()


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


def apply_frames(
    positive: Conditioning,
    negative: Conditioning,
    frames: EncodedFrames,
    batch_size: int,
    clip_vision_start: ClipVisionOutput | None = None,
    clip_vision_end: ClipVisionOutput | None = None,
) -> tuple[Conditioning, Conditioning, Latent]:
    """Copies of both prompts with the frames and the CLIP vision that there is, and the empty latent to sample."""
    values = {"concat_latent_image": frames.latent, "concat_mask": frames.mask}
    vision = join_clip_vision(clip_vision_start, clip_vision_end)
    if vision is not None:
        values["clip_vision_output"] = vision
    positive, negative = (node_helpers.conditioning_set_values(prompt, values) for prompt in (positive, negative))
    return positive, negative, empty_latent(frames, batch_size)


def see_picture(model: ClipVision | None, picture: Pictures | None) -> ClipVisionOutput | None:
    """A picture as CLIP vision sees it, whole, as ComfyUI's CLIPVisionEncode with crop none."""
    if model is None or picture is None:
        return None
    key = (model.patcher.patches_uuid, digest(picture))
    return _seen.get(model, key, lambda: model.encode_image(picture, crop=False))


def join_clip_vision(start: ClipVisionOutput | None, end: ClipVisionOutput | None) -> ClipVisionOutput | None:
    """The CLIP vision of both pictures as Wan 2.1 FLF2V takes it: tokens one after the other, [1, 2 x 257, 1280]."""
    if start is None or end is None:
        return end if start is None else start
    first, last = start.penultimate_hidden_states, end.penultimate_hidden_states
    if first.shape != last.shape:
        raise FLF2VError(
            f"the CLIP vision of the first and of the last frame differ in shape ({list(first.shape)} and "
            f"{list(last.shape)}). Encode one picture each with the same CLIP vision model."
        )
    joined = comfy.clip_vision.Output()
    joined.penultimate_hidden_states = torch.cat([first, last], dim=-2)
    return joined
