"""ComfyUI's VIDEO as frames, a file's as they are read."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from comfy_api.latest import InputImpl

from ...flf2v.errors import FLF2VError
from ...flf2v.frames import fit_frames
from ...flf2v.sizes import Fit
from ...flf2v.video_frames import VideoFrames
from .types import Pictures, Video


def frames_of(video: Video) -> VideoFrames | Pictures:
    """A file's frames as they are read; of another video those that it already holds."""
    if not isinstance(video, InputImpl.VideoFromFile):
        frames: torch.Tensor = video.get_components().images
        return frames
    trimmed = video.get_active_trim_window() if hasattr(video, "get_active_trim_window") else ()  # later ComfyUIs'
    return VideoFrames(video.get_stream_source(), *trimmed)


def check_rate(video: Video, frame_rate: float, name: str) -> None:
    """Raise FLF2VError for a video, called ``name``, that plays at another rate than the film."""
    rate = float(video.get_frame_rate())
    if abs(rate / frame_rate - 1) > 0.005:
        raise FLF2VError(
            f"{name} has {rate:g} frames per second and the film {frame_rate:g}: set frame_rate to {rate:g}, or bring the "
            f"video to {frame_rate:g} first."
        )


def fitted_frames(video: Video, width: int, height: int, fit: Fit) -> Iterator[torch.Tensor]:
    """A video's frames in this size, some at a time: ``[n, height, width, 3]``."""
    frames = iter(frames_of(video))
    while chunk := list(islice(frames, 16)):
        yield fit_frames(torch.stack(chunk), width, height, fit)[:, :height, :width]
