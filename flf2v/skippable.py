"""Leave out the layers of a causal encoder whose output repeats, because nothing but equal frames goes in.

A causal convolution's output depends on the last few frames alone, its receptive field. Between the two pictures all
frames are the same grey: once they fill the receptive field, every further chunk of them gives the same output and
leaves the same frames in the layers' memory. At full resolution that is so after ten frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


class SkippableBlock(torch.nn.Module):
    """Layers in a row, called like one of them; computed as long as their output still changes.

    ``reach`` is how many frames of the clip before its own an output frame depends on, and ``stride`` how many frames of
    the clip one frame of the input stands for. Tensors are ``[B, C, T, H, W]``.
    """

    def __init__(self, layers: Sequence[torch.nn.Module], reach: int, stride: int) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(layers)
        self.reach = reach
        self.stride = stride
        self._equal_frames = 0
        self._slots = 0
        self._taken = torch.Size()
        self._kept: torch.Tensor | None = None

    def begin(self, equal_frames: int) -> None:
        """The clip's next chunk ends with so many equal frames, all of it among them; 0 for a chunk that is not equal."""
        self._equal_frames = equal_frames
        if not equal_frames:
            self._kept = None

    def forward(self, x: torch.Tensor, memory: list[Any], index: list[int], **options: Any) -> torch.Tensor:
        """The output of the layers. Each keeps what it needs of earlier frames in ``memory``, and advances ``index``."""
        if self._kept is not None and x.shape == self._taken:
            index[0] += self._slots
            return self._kept
        first, self._taken = index[0], x.shape
        for layer in self.layers:
            x = layer(x, memory, index, **options)
        self._slots = index[0] - first
        if self._equal_frames >= self.reach + self._taken[2] * self.stride:
            self._kept = x  # nothing but equal frames went into any of it: the next call would give the same
        return x
