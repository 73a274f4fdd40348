"""ComfyUI's values by name. Its classes are untyped, so a type checker sees Any where no library knows the type."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch

Model: TypeAlias = Any  # comfy.model_patcher.ModelPatcher
Vae: TypeAlias = Any  # comfy.sd.VAE
ClipVision: TypeAlias = Any  # comfy.clip_vision.ClipVisionModel
ClipVisionOutput: TypeAlias = Any  # comfy.clip_vision.Output
Conditioning: TypeAlias = list[list[Any]]  # pairs of a prompt's tokens [1, tokens, channels] and a dict
Latent: TypeAlias = dict[str, Any]  # "samples" [B, C, T, h, w], "noise_mask"?, "batch_index"?
Pictures: TypeAlias = torch.Tensor  # [frames, height, width, 3 or 4], 0 to 1
Video: TypeAlias = Any  # comfy_api.latest.Input.Video
Link: TypeAlias = list[Any]  # [node id, number of its output], as the prompt holds it
Input: TypeAlias = Any  # comfy_api.latest.io.Input
