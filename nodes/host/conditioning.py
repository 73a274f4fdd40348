"""Frames and CLIP vision put into ComfyUI's conditioning."""

from __future__ import annotations

import comfy.clip_vision
import node_helpers
import torch

from ...flf2v.errors import FLF2VError
from .frames import EncodedFrames, empty_latent
from .memo import Memo, digest
from .types import ClipVision, ClipVisionOutput, Conditioning, Latent, Pictures

_seen: Memo[ClipVisionOutput] = Memo()


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
