"""First and last frames encoded, and put into ComfyUI's conditioning with what CLIP vision sees."""

from __future__ import annotations

from dataclasses import dataclass

import comfy.clip_vision
import comfy.model_management
import node_helpers
import torch

from ...flf2v.clip import Clip
from ...flf2v.errors import FLF2VError
from ...flf2v.frames import (
    SPATIAL_STRIDE,
    build_mask,
    check_length,
    check_middle,
    count_given,
    fit_frames,
    read_frame_numbers,
    weaken,
)
from ...flf2v.sizes import Fit, Resize, check_size, render_size
from .encode import encode_clip
from .families import check_vae
from .memo import Memo, digest
from .types import ClipVision, ClipVisionOutput, Conditioning, Latent, Pictures, Vae

ENCODED: Memo[torch.Tensor] = Memo()
_seen: Memo[ClipVisionOutput] = Memo()


@dataclass(frozen=True)
class EncodedFrames:
    """Given frames, encoded: ``latent`` [1, 16, T, h, w] and ``mask`` [1, 4, T, h, w] (0 = given).

    ``middle`` are the numbers of those between the ends.
    """

    latent: torch.Tensor
    mask: torch.Tensor
    middle: tuple[int, ...] = ()


def encode_frames(
    vae: Vae,
    width: int,
    height: int,
    length: int,
    fit: Fit,
    start_image: Pictures | None = None,
    end_image: Pictures | None = None,
    resize: Resize = "bilinear",
    middle_images: Pictures | None = None,
    middle_frames: str = "",
) -> EncodedFrames:
    """Encode the given frames with grey between them. Raises FLF2VError for values that cannot work.

    A middle frame is written into the clip at its own number, so the latent frame that holds it carries it, and the mask's
    channel of it, one of four, says which frame of those is given.
    """
    check_size(width, height)
    check_length(length)
    check_vae(vae)
    if start_image is None and end_image is None and middle_images is None:
        raise FLF2VError("no picture is connected. Connect start_image, end_image or both.")
    numbers = _middle_numbers(middle_images, middle_frames)
    check_middle(length, numbers, *count_given(length, start_image, end_image))
    start, end, middle = (
        None if pictures is None else fit_frames(pictures, width, height, fit, resize)
        for pictures in (start_image, end_image, middle_images)
    )
    render_width, render_height = render_size(width, height)
    mask = build_mask(length, render_height // SPATIAL_STRIDE, render_width // SPATIAL_STRIDE, start, end, numbers)
    clip = Clip(
        length,
        render_width,
        render_height,
        start,
        end,
        {} if middle is None else dict(zip(numbers, middle, strict=True)),
    )
    pictures = (digest(start), digest(end), digest(middle), numbers)
    key = (vae.patcher.patches_uuid, vae.vae_dtype, vae.device, clip.shape, *pictures)
    return EncodedFrames(ENCODED.get(vae.first_stage_model, key, lambda: encode_clip(vae, clip)), mask, numbers)


def _middle_numbers(pictures: Pictures | None, text: str) -> tuple[int, ...]:
    """The frame number of each picture."""
    numbers, count = read_frame_numbers(text), 0 if pictures is None else len(pictures)
    if len(numbers) != count:
        raise FLF2VError(
            f"middle_images needs a number in middle_frames for each picture; got {count} pictures and "
            f"{len(numbers)} numbers."
        )
    return numbers


def apply_frames(
    positive: Conditioning,
    negative: Conditioning,
    frames: EncodedFrames,
    batch_size: int,
    clip_vision_start: ClipVisionOutput | None = None,
    clip_vision_end: ClipVisionOutput | None = None,
    middle_strength: float = 1.0,
) -> tuple[Conditioning, Conditioning, Latent]:
    """Copies of both prompts with the frames and the CLIP vision that there is, and the empty latent to sample."""
    mask = weaken(frames.mask, frames.middle, middle_strength)
    values = {"concat_latent_image": frames.latent, "concat_mask": mask}
    vision = join_clip_vision(clip_vision_start, clip_vision_end)
    if vision is not None:
        values["clip_vision_output"] = vision
    positive, negative = (node_helpers.conditioning_set_values(prompt, values) for prompt in (positive, negative))
    _, *size = frames.latent.shape
    latent = torch.zeros([batch_size, *size], device=comfy.model_management.intermediate_device())
    return positive, negative, {"samples": latent}


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
