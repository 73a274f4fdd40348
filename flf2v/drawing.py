"""What the drawn pictures share: colours, and the way into a node's output."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

BACKGROUND, INK, FAINT = "#1b1d22", "#e6e6e6", "#4a4e57"
ORANGE, BLUE, GREEN, RED = "#ff9f45", "#4aa8ff", "#9be37a", "#ff6d92"


def picture_tensor(picture: Image.Image) -> torch.Tensor:
    """The picture as ComfyUI takes it: ``[1, H, W, 3]``, 0 to 1."""
    return torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255.0).unsqueeze(0)
