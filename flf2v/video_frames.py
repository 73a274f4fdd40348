"""The frames of a video file, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import av
import numpy as np
import torch

from .errors import FLF2VError


@dataclass(frozen=True)
class VideoFrames:
    """Each iteration decodes the file anew, one frame at a time, turned as it is shown: ``[H, W, 3]`` in [0, 1], 8 bits.

    ``start`` and ``duration`` are seconds; duration 0 goes on to the end. Iterating raises FLF2VError where there is
    nothing to be read.
    """

    source: str | BytesIO
    start: float = 0.0
    duration: float = 0.0

    def __iter__(self) -> Iterator[torch.Tensor]:
        name = "the video" if isinstance(self.source, BytesIO) else self.source
        if isinstance(self.source, BytesIO):
            self.source.seek(0)
        empty = True
        try:
            with av.open(self.source) as container:
                if not container.streams.video:
                    raise FLF2VError(f"{name} has no video stream.")
                stream = container.streams.video[0]
                first, end = (int(at / stream.time_base) for at in (self.start, self.start + self.duration))
                for frame in container.decode(stream):
                    if self.duration and frame.pts >= end:
                        break
                    if not self.start or frame.pts >= first:
                        pixels = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                        yield torch.from_numpy(np.ascontiguousarray(pixels)).float() / 255
                        empty = False
        except av.FFmpegError as error:
            raise FLF2VError(f"{name} is no video that can be read: {error}") from None
        if empty:
            raise FLF2VError(f"{name} holds no frame.")

    def size(self) -> tuple[int, int]:
        """Height and width of the first frame. Raises FLF2VError as iterating does."""
        height, width, _ = next(iter(self)).shape
        return height, width
