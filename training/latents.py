"""The data set of the experts: latents of many clips and of their conditioning, made once, in resumable pieces."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from .clips import FRAMES
from .drawn import any_clip
from .experts import Latents
from .vae import GREY, to_vae

PIECE = 100  # clips in one file


def ends(count: int, frames: int = FRAMES) -> torch.Tensor:
    """Which frames are given where the first and the last one are: [count, frames]."""
    given = torch.zeros(count, frames, dtype=torch.bool)
    given[:, [0, -1]] = True
    return given


def draw_given(seed: int) -> torch.Tensor:
    """Which frames of the clip with this seed the experts are given in training: [FRAMES].

    Half of the clips both ends alone; a quarter one or two frames between them, too; a quarter the first 5 or 9 frames
    and, two times of three, the last one.
    """
    random = torch.Generator().manual_seed(seed)
    given, (kind, count) = ends(1)[0], torch.randint(4, (2,), generator=random).tolist()
    if kind == 2:
        given[1 + torch.randperm(FRAMES - 2, generator=random)[: 1 + count % 2]] = True
    elif kind == 3:
        given[: (5, 9)[count % 2]] = True
        given[-1] = bool(torch.randint(3, (), generator=random))
    return given


def mask_of(given: torch.Tensor) -> torch.Tensor:
    """The model's mask of given frames [B, F]: [B, 4, T, 1, 1], 1 = given; the first frame counts four times."""
    rows = torch.cat([given[:, :1].expand(-1, 3), given], 1).float()
    return rows.view(len(given), -1, 4).transpose(1, 2)[..., None, None]


@torch.no_grad()
def encode(vae: Any, video: torch.Tensor, given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Normalised latents of videos [B, 3, F, H, W] in -1..1, those of their ``given`` frames [B, F], and their masks."""
    import comfy.latent_formats

    wan = comfy.latent_formats.Wan21()
    shown = torch.where(given.to(video.device)[:, None, :, None, None], video, GREY)
    clean, condition = wan.process_in(vae.encode(torch.cat([video, shown]))).chunk(2)
    return clean, condition, mask_of(given).to(clean)


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
            some = group[begin : begin + 10]
            video = torch.stack([to_vae(any_clip(one, photos).frames()) for one in some])
            given = torch.stack([draw_given(one) for one in some])
            parts.append([part.half().cpu() for part in encode(vae, video.to(device), given)])
        partial = path.with_suffix(".partial")
        torch.save([torch.cat(part) for part in zip(*parts, strict=True)], partial)
        partial.replace(path)


class GrowingLatents:
    """The pieces in a folder, read again now and then while another process still writes them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seen = folder, 0
        self.clips, self.seeds = torch.empty(0), torch.empty(0)
        self.refresh()
        if not self.seen:
            raise SystemExit(f"There are no clips in {folder} yet: make some first, with --only clips.")

    def refresh(self) -> None:
        """Take in the pieces written since."""
        paths = sorted(self.folder.glob("*.pt"))
        if len(paths) > self.seen:
            pieces = [torch.load(path, weights_only=True) for path in paths]
            self.seen = len(paths)
            self.seeds = torch.cat([int(path.stem) + torch.arange(PIECE) for path in paths])
            self.latents = Latents(*(torch.cat(part) for part in zip(*pieces, strict=True)))
            self.clips = self.latents.clips

    def batch(self, index: torch.Tensor, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """As of `Latents`."""
        return self.latents.batch(index, device)
