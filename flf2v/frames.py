"""The fitted frames and the mask behind first/last-frame conditioning.

Shapes: pictures ``[F, H, W, C]`` with values in [0, 1], masks and latents ``[B, C, T, H/8, W/8]``; F pixel frames are
T = (F - 1) / 4 + 1 latent frames in the Wan 2.1 VAE. Masks are ComfyUI's: 0 = given, 1 = to generate.
Layout: Wan 2.1 ``first_last_frame2video.py``; ComfyUI stores 1 - mask and inverts it in ``concat_cond``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate, pad

from .errors import FLF2VError
from .sizes import RESIZES, Fit, Resize, check_picture_size, place, render_size
from .video_model import WAN

TEMPORAL_STRIDE, MIN_LENGTH = WAN.stride, WAN.min_length
SPATIAL_STRIDE = 8
GREY = 0.5  # becomes exactly 0 in the VAE's [-1, 1]
check_length = WAN.check_length


def latent_length(length: int) -> int:
    """The number of latent frames T of a clip of ``length`` = 4n + 1 pixel frames."""
    return (length - 1) // TEMPORAL_STRIDE + 1


def fit_frames(frames: torch.Tensor, width: int, height: int, fit: Fit, resize: Resize = "bilinear") -> torch.Tensor:
    """``[F, H, W, C]`` pictures as RGB in the render size of ``width`` x ``height``: ``[F, render H, render W, 3]``.

    Scaled into the asked size; ``bilinear`` is ComfyUI's, without antialiasing. ``pad`` leaves black bars. Where the asked
    size is no multiple of 16, the last row and column are repeated to the right and below; the saved video is cropped
    back to the top left.
    """
    check_pictures(frames)
    check_picture_size(frames.shape[2], frames.shape[1])
    placement = place(frames.shape[2], frames.shape[1], width, height, fit)
    x, y, source_width, source_height = placement.source
    left, top, inner_width, inner_height = placement.target
    pixels = frames[:, y : y + source_height, x : x + source_width, :3].movedim(-1, 1)
    pixels = _scaled(pixels, inner_width, inner_height, resize)
    if (inner_width, inner_height) != (width, height):
        pixels = pad(pixels, (left, width - left - inner_width, top, height - top - inner_height))
    render_width, render_height = render_size(width, height)
    if (render_width, render_height) != (width, height):
        pixels = pad(pixels, (0, render_width - width, 0, render_height - height), mode="replicate")
    return pixels.movedim(1, -1)


def check_pictures(frames: torch.Tensor) -> None:
    """Raise FLF2VError unless there is a picture or more, in colour and in finite numbers."""
    if frames.ndim != 4 or frames.shape[-1] < 3 or not len(frames):
        raise FLF2VError(
            f"a picture must be [1 or more frames, height, width, 3 or more channels]; got {list(frames.shape)}."
        )
    if not is_finite(frames):
        raise FLF2VError(
            "a picture holds values that are no numbers (NaN), so it shows nothing. Look at what makes it."
        )


def is_finite(values: torch.Tensor) -> bool:
    """Whether no value is NaN or infinite, told by their sum: one pass and no copy."""
    return math.isfinite(float(values.sum(dtype=torch.float32)))


def fit_to_video(picture: torch.Tensor, size: Sequence[int], fit: Fit, resize: Resize = "bilinear") -> torch.Tensor:
    """One picture ``[1, H, W, C]`` as the conditioning prepares it, cropped to height and width ``size``: ``[H, W, 3]``."""
    height, width = size
    return fit_frames(picture, width, height, fit, resize)[0, :height, :width]


def _scaled(pixels: torch.Tensor, width: int, height: int, resize: Resize) -> torch.Tensor:
    """``[F, C, H, W]`` pictures in another size."""
    if resize not in RESIZES:
        raise FLF2VError(f"resize must be one of {', '.join(RESIZES)}; got {resize!r}.")
    if resize != "lanczos":
        return interpolate(pixels, size=(height, width), mode=resize)
    scaled = pixels.new_empty((*pixels.shape[:2], height, width))
    for plane, target in zip(pixels.flatten(0, 1), scaled.flatten(0, 1), strict=True):
        picture = Image.fromarray(plane.float().cpu().numpy())  # 32-bit values: nothing is rounded
        target.copy_(torch.from_numpy(np.array(picture.resize((width, height), Image.Resampling.LANCZOS))))
    return scaled.clamp_(0, 1)  # Lanczos overshoots at edges


def build_mask(
    length: int,
    latent_height: int,
    latent_width: int,
    start: torch.Tensor | None,
    end: torch.Tensor | None,
    middle: Iterable[int] = (),
) -> torch.Tensor:
    """The mask ``[1, 4, T, H/8, W/8]``: per pixel frame 0 = given, 1 = to generate; frame 0 counts four times.

    ``middle`` are the numbers of further given frames.
    """
    count_start, count_end = count_given(length, start, end)
    latents = latent_length(length)
    mask = torch.ones((1, 1, latents * TEMPORAL_STRIDE, latent_height, latent_width))
    if count_start:
        mask[:, :, : count_start + TEMPORAL_STRIDE - 1] = 0.0
    if count_end:
        mask[:, :, -count_end:] = 0.0
    mask = mask.view(1, latents, TEMPORAL_STRIDE, latent_height, latent_width).transpose(1, 2)
    return weaken(mask, middle, 1.0)


def weaken(mask: torch.Tensor, middle: Iterable[int], strength: float) -> torch.Tensor:
    """The mask with 1 - ``strength`` for the frames with these numbers, each none of the first frame's four."""
    weakened = mask.clone()
    for number in middle:
        latent, part = divmod(number + TEMPORAL_STRIDE - 1, TEMPORAL_STRIDE)
        weakened[:, part, latent] = 1 - strength
    return weakened


def read_frame_numbers(text: str, name: str = "middle_frames") -> tuple[int, ...]:
    """The numbers in a text such as "24, 48". Raises FLF2VError, which says the input's ``name``, for anything else."""
    try:
        return tuple(int(part) for part in text.replace(",", " ").split())
    except ValueError:
        raise FLF2VError(f'{name} must be frame numbers such as "24, 48", from 0; got {text!r}.') from None


def check_middle(length: int, numbers: Sequence[int], count_start: int = 1, count_end: int = 1) -> None:
    """Raise FLF2VError for numbers of middle frames that are not free, ``count_start`` and ``count_end`` being given."""
    first, last = max(count_start, 1), length - 1 - max(count_end, 1)
    for number in numbers:
        if not first <= number <= last:
            raise FLF2VError(
                f"middle_frames must be between {first} and {last}, what start_image and end_image leave of {length} "
                f"frames; got {number}."
            )
    if len(set(numbers)) < len(numbers):
        raise FLF2VError(f"middle_frames must name each frame once; got {', '.join(map(str, numbers))}.")


def count_given(length: int, start: torch.Tensor | None, end: torch.Tensor | None) -> tuple[int, int]:
    """The number of given frames at the start and at the end. Raises FLF2VError when they overlap."""
    count_start = 0 if start is None else start.shape[0]
    count_end = 0 if end is None else end.shape[0]
    if count_start + count_end > length:
        raise FLF2VError(
            f"{count_start} start and {count_end} end frames do not fit into a length of {length} frames. "
            "Give fewer frames or a longer length."
        )
    return count_start, count_end
