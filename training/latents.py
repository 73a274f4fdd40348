"""The data set of the experts: latents of many clips and of their conditioning, made once, in resumable pieces."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from .clips import make_clip
from .experts import Latents
from .vae import grey_middle, to_vae

PIECE = 100  # clips in one file


@torch.no_grad()
def encode(vae: Any, video: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised latents of videos [B, 3, T, H, W] in -1..1, and those of their first-and-last-frame conditioning."""
    import comfy.latent_formats

    wan = comfy.latent_formats.Wan21()
    both = wan.process_in(vae.encode(torch.cat([video, grey_middle(video)])))
    clean, condition = both.chunk(2)
    return clean, condition


def write_pieces(folder: Path, vae: Any, photos: dict[str, torch.Tensor], seeds: Iterable[int], device: Any) -> None:
    """Write one file per PIECE clips below ``folder``, leaving out those that exist."""
    folder.mkdir(parents=True, exist_ok=True)
    chunk: list[int] = []
    for seed in seeds:
        chunk.append(seed)
        if len(chunk) < PIECE:
            continue
        path, group, chunk = folder / f"{chunk[0]:08d}.pt", chunk, []
        if path.exists():
            continue
        parts = []
        for begin in range(0, PIECE, 10):
            video = torch.stack([to_vae(make_clip(one, photos).frames()) for one in group[begin : begin + 10]])
            parts.append([part.half().cpu() for part in encode(vae, video.to(device))])
        partial = path.with_suffix(".partial")
        torch.save([torch.cat(part) for part in zip(*parts, strict=True)], partial)
        partial.replace(path)


class GrowingLatents:
    """The pieces in a folder, read again now and then while another process still writes them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seen = folder, 0
        self.clips = torch.empty(0)
        self.refresh()
        if not self.seen:
            raise SystemExit(f"There are no clips in {folder} yet: make some first, with --only clips.")

    def refresh(self) -> None:
        """Take in the pieces written since."""
        paths = sorted(self.folder.glob("*.pt"))
        if len(paths) > self.seen:
            pieces = [torch.load(path, weights_only=True) for path in paths]
            self.seen = len(paths)
            self.latents = Latents(*(torch.cat(part) for part in zip(*pieces, strict=True)))
            self.clips = self.latents.clips

    def batch(self, index: torch.Tensor, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """As of `Latents`."""
        return self.latents.batch(index, device)
