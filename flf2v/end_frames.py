"""Repairs of a video's last frames: leave some out, or bring their colours to the given last frame."""

from __future__ import annotations

from collections.abc import Callable

import torch

from .colour import match_colours
from .errors import FLF2VError
from .report import check_frame


def trim_end(frames: torch.Tensor, count: int) -> torch.Tensor:
    """The frames without the last ``count``. Raises FLF2VError when fewer than one would be left."""
    if not 0 <= count < len(frames):
        raise FLF2VError(
            f"trim must be between 0 and {len(frames) - 1}, so that a frame is left of {len(frames)}; got {count}."
        )
    return frames[: len(frames) - count]


def match_end_colour(
    frames: torch.Tensor, last: torch.Tensor, count: int, each: Callable[[int], None] = lambda number: None
) -> torch.Tensor:
    """The frames with the colours of the last ``count`` moved towards those of the picture ``last``.

    Each channel's mean and deviation are matched (Reinhard et al. 2001, in RGB), by 1/count in the first of these frames
    and wholly in the last, so that no new step appears. ``each`` is told the number of every frame that is matched;
    beside the result no more than a few frames are held. Raises FLF2VError when ``count`` exceeds the number of frames.
    """
    if not 0 <= count <= len(frames):
        raise FLF2VError(f"match_colour must be between 0 and the number of frames, {len(frames)}; got {count}.")
    if count == 0:
        return frames
    check_frame(frames[0], [last])
    # the last frame's own correction for all: measured per frame it would undo real changes of light on the way
    match = match_colours(frames[-1], last)
    matched = frames.clone()
    for number, frame in enumerate(matched[-count:]):
        each(number)
        frame.copy_(match.moved(frame, (number + 1) / count))
    return matched
