"""What tests of Wan FLF2V Save Video need: its widgets, frames to save, and a file read back."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

DEFAULTS: dict[str, Any] = {
    "frame_rate": 16.0,
    "filename_prefix": "test/clip",
    "format": "mp4",
    "quality": "default",
    "width": 0,
    "height": 0,
    "frames_per_video": 0,
}
Save = Callable[..., list[Path]]


def with_hidden(node: Any, hidden: dict[Any, Any]) -> Any:
    """The node as ComfyUI's executor prepares it; newer versions wrap the hidden inputs once more."""
    (name,) = inspect.signature(node.PREPARE_CLASS_CLONE).parameters
    return node.PREPARE_CLASS_CLONE(hidden if name == "hidden_inputs" else {"hidden_inputs": hidden})


def clip(count: int = 6, height: int = 48, width: int = 64) -> torch.Tensor:
    """A left-to-right ramp that brightens from frame to frame."""
    ramp = torch.linspace(0, 1, width).view(1, 1, width, 1).expand(count, height, width, 3)
    return (ramp * torch.linspace(0.3, 1, count).view(count, 1, 1, 1)).contiguous()


def read(path: Path) -> tuple[Any, np.ndarray[Any, Any]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        facts = {
            "codec": stream.codec_context.name,
            "pixels": stream.codec_context.pix_fmt,
            "rate": stream.average_rate,
            "size": (stream.width, stream.height),
            "audio": [(s.codec_context.name, s.codec_context.sample_rate) for s in container.streams.audio],
            "metadata": dict(container.metadata),
        }
    return facts, np.stack(frames)
