"""Colours of one picture brought to those of another, and that undone step by step along a clip.

Frames are ``[..., H, W, 3]`` with values in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class ColourMatch:
    """x becomes (x - ``mean``) * ``scale`` + ``goal``, channel by channel (Reinhard et al. 2001, in RGB)."""

    mean: torch.Tensor
    scale: torch.Tensor
    goal: torch.Tensor

    def moved(self, frames: torch.Tensor, part: float | torch.Tensor = 1.0) -> torch.Tensor:
        """The frames moved by ``part`` of the whole way, and not beyond [0, 1]."""
        mean, scale, goal = (each.to(frames.device, frames.dtype) for each in (self.mean, self.scale, self.goal))
        return (frames + ((frames - mean) * scale + goal - frames) * part).clamp(0, 1)

    def inverse(self) -> ColourMatch:
        """What brings moved frames back."""
        return ColourMatch(self.goal, 1 / self.scale, self.mean)

    def faded(self, frames: torch.Tensor, number: int, first: int, last: int) -> torch.Tensor:
        """Frames of a clip from ``number`` on: moved wholly up to frame ``first``, by a line to nothing at ``last``."""
        numbers = torch.arange(number, number + len(frames), device=frames.device)
        part = ((last - numbers) / (last - first)).clamp(0, 1)
        return self.moved(frames, part[:, None, None, None])


def match_colours(frame: torch.Tensor, picture: torch.Tensor) -> ColourMatch:
    """What gives ``frame`` [H, W, 3] the mean and the deviation of ``picture``'s channels; the latter at most doubled."""
    picture = picture.to(frame.device, frame.dtype)
    scale = (picture.std((0, 1)) / frame.std((0, 1)).clamp(min=1e-4)).clamp(0.5, 2)
    return ColourMatch(frame.mean((0, 1)), scale, picture.mean((0, 1)))
