"""Write the trained models as ComfyUI's core loaders take them: fp16 safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

VAE = "vae/wan_flf2v_micro_vae.safetensors"
EXPERTS = {
    "high": "diffusion_models/wan_flf2v_micro_high_noise.safetensors",
    "low": "diffusion_models/wan_flf2v_micro_low_noise.safetensors",
}


def save_half(model: Any, path: Path) -> None:
    """Write a model's weights in half precision, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    weights = {name: value.detach().cpu().half().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, partial, metadata={"license": "Apache-2.0", "source": "wan-flf2v training"})
    partial.replace(path)


def load_half(model: Any, path: Path) -> Any:
    """The model with a file's weights, in float32 and ready to use."""
    model.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return model.eval()


def load_average(model: Any, path: Path) -> Any:
    """The model with the averaged weights of a checkpoint."""
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["ema"])
    return model.eval()
