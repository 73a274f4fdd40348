"""Micro models from a folder, and one run of them through the package's own clips and masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from ..flf2v.clip import Clip as Given
from ..flf2v.frames import build_mask
from . import evaluate, experts, export
from .clips import FRAMES, SIZE
from .vae import new_vae, to_vae


class Models:
    """The weights of a folder as ``models``."""

    def __init__(self, folder: Path, dim: int = 12, layers: int = experts.LAYERS) -> None:
        self.vae = export.load_half(new_vae(dim), folder / export.VAE)
        pair = {}
        for side, name in export.EXPERTS.items():
            pair[side] = export.load_half(experts.new_expert(experts.DIM, layers, experts.FFN), folder / name)
            experts.without_text(pair[side])
        self.high, self.low = pair["high"], pair["low"]

    @torch.no_grad()
    def make(self, clips: Sequence[Given], masks: Sequence[torch.Tensor] | None = None) -> torch.Tensor:
        """The videos [N, F, H, W, 3] of the given frames; ``masks`` in place of what those are."""
        import comfy.latent_formats

        wan = comfy.latent_formats.Wan21()
        masks = [mask_of(clip) for clip in clips] if masks is None else masks
        condition = wan.process_in(self.vae.encode(torch.stack([to_vae(clip.whole()) for clip in clips])))
        noise = torch.randn(condition.shape, generator=torch.Generator().manual_seed(7))
        both = torch.cat([1 - torch.cat(list(masks)), condition], 1)
        latent = evaluate.sample(self.high, self.low, both, noise, experts.BOUNDARY)
        return evaluate.decode(self.vae, wan.process_out(latent))

    @torch.no_grad()
    def round_trip(self, videos: Sequence[torch.Tensor]) -> torch.Tensor:
        """The true videos after encoder and decoder."""
        return evaluate.decode(self.vae, self.vae.encode(torch.stack([to_vae(video) for video in videos])))


def given(start: torch.Tensor, end: torch.Tensor | None, middle: dict[int, torch.Tensor] | None = None) -> Given:
    """A clip with some first frames and a last one."""
    return Given(FRAMES, SIZE, SIZE, start, end, middle or {})


def mask_of(clip: Given) -> torch.Tensor:
    """The mask of a clip's given frames."""
    return build_mask(clip.length, SIZE // 8, SIZE // 8, clip.start, clip.end, list(clip.middle))
