"""Small animated pictures of latent videos, decoded by ComfyUI's own previewer."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import comfy.latent_formats
import folder_paths
import latent_preview
import torch
from PIL import Image

from .hand_over import handed_over
from .progress import progress_bar
from .types import Latent

LONGER_SIDE = 320
FRAME_MS = 250  # a latent frame is four video frames at 16 per second


def show_drafts(drafts: Latent) -> dict[str, Any]:
    """What a node shows of each video: an animated file in ComfyUI's temporary folder, of the predicted video if told."""
    latent, told = handed_over(drafts)
    samples = latent["samples"] if told is None else told.predicted
    pictures, show = [], progress_bar(len(samples))
    for number, video in enumerate(samples):
        pictures.append(animated(video))
        show(number + 1)
    return {"images": pictures, "animated": (True,)}


def animated(video: torch.Tensor) -> dict[str, str]:
    """One latent video ``[C, T, h, w]`` as an animated WebP; where it lies. An equal video has an equal name."""
    digest = hashlib.sha256(video.float().cpu().numpy().tobytes()).hexdigest()[:16]
    name = f"wan_flf2v_draft_{digest}.webp"
    path = Path(folder_paths.get_temp_directory()) / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        first, *rest = preview_frames(video)
        partial = path.with_suffix(".partial")
        first.save(partial, "WEBP", save_all=True, append_images=rest, duration=FRAME_MS, loop=0)
        os.replace(partial, path)
    return {"filename": name, "subfolder": "", "type": "temp"}


def preview_frames(video: torch.Tensor) -> list[Image.Image]:
    """One picture for each latent frame: by the preview method that ComfyUI was started with, or its plain one."""
    form = comfy.latent_formats.Wan21()
    latent = form.process_in(video.unsqueeze(0).float().cpu())
    previewer = latent_preview.get_previewer(latent.device, form) or latent_preview.Latent2RGBPreviewer(
        form.latent_rgb_factors, form.latent_rgb_factors_bias, form.latent_rgb_factors_reshape
    )
    frames = [previewer.decode_latent_to_preview(latent[:, :, at : at + 1]) for at in range(latent.shape[2])]
    scale = LONGER_SIDE / max(frames[0].size)
    size = (max(1, round(frames[0].width * scale)), max(1, round(frames[0].height * scale)))
    return [frame.resize(size, Image.Resampling.BICUBIC) for frame in frames]
