"""What the frame accounting must know of a video model; another model needs another of these, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from .errors import FLF2VError


@dataclass(frozen=True)
class VideoModel:
    """A model whose clips have ``stride`` x n + 1 frames, at least ``min_length``, made at ``frame_rate`` per second."""

    stride: int
    min_length: int
    length: int
    frame_rate: int

    def check_length(self, length: int) -> None:
        """Raise FLF2VError for a length that the model can't make; any but stride x n + 1 would lose the last frame."""
        if length >= self.min_length and (length - 1) % self.stride == 0:
            return
        rule = f"{self.stride}n + 1"
        if length < self.min_length:
            raise FLF2VError(
                f"length must be at least {self.min_length} frames and {rule}; got {length}. Use {self.min_length}."
            )
        below = (length - 1) // self.stride * self.stride + 1
        raise FLF2VError(
            f"length must be {rule} frames, so that the last frame is not lost in the VAE; got {length}. "
            f"Use {below} or {below + self.stride}."
        )

    def length_of(self, seconds: float) -> int:
        """The frames of a clip from time 0 to ``seconds``, both ends counted. Raises FLF2VError, never rounds."""
        unit = Fraction(self.stride, self.frame_rate)
        units = Fraction(str(seconds)) / unit
        below = int(units)
        if units != below or below < 1:
            below = max(below, 1)
            raise FLF2VError(
                f"seconds must be a multiple of {float(unit):g}, because clips have {self.stride}n + 1 frames at "
                f"{self.frame_rate} per second; got {seconds:g}. Use {float(below * unit):g} or "
                f"{float((below + 1) * unit):g}."
            )
        return below * self.stride + 1


WAN = VideoModel(stride=4, min_length=5, length=81, frame_rate=16)
