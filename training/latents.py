"""The data set of the experts: latents of many clips and of their conditioning, made once, in resumable pieces."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from .clips import FRAMES
from .experts import Latents
from .vae import GREY, Drawings

PIECE = 100  # clips in one file
AT_ONCE = {"cpu": 2, "cuda": PIECE}  # clips encoded together


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
    both = vae.encode(torch.cat([video, shown])).float()
    clean, condition = wan.process_in(both).chunk(2)
    return clean, condition, mask_of(given).to(clean)


def write_pieces(
    folder: Path, vae: Any, photos: dict[str, torch.Tensor], firsts: Iterable[int], device: Any, workers: int
) -> None:
    """Write one file per PIECE clips below ``folder``, from each first seed on, leaving out those that exist."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {first: folder / f"{first:08d}.pt" for first in firsts}
    missing = [first for first, path in paths.items() if not path.exists()]
    seeds = [first + number for first in missing for number in range(PIECE)]
    drawn = DataLoader(Drawings(seeds, photos), batch_size=PIECE, num_workers=workers)
    for first, video in zip(missing, drawn, strict=True):
        given = torch.stack([draw_given(first + number) for number in range(PIECE)])
        parts = zip(*(torch.split(some, AT_ONCE[device.type]) for some in (video, given)), strict=True)
        with torch.autocast(device.type, torch.bfloat16):
            encoded = [encode(vae, some.to(device), which) for some, which in parts]
        partial = paths[first].with_suffix(".partial")
        torch.save([torch.cat(part).half().cpu() for part in zip(*encoded, strict=True)], partial)
        partial.replace(paths[first])


class GrowingLatents:
    """The pieces in a folder, read again now and then while another process still writes them."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.folder, self.device = folder, device
        self.seen: set[Path] = set()
        self.parts: list[torch.Tensor] = []
        self.refresh()
        if not self.seen:
            raise SystemExit(f"There are no clips in {folder} yet: make some first, with --only clips.")

    def refresh(self) -> None:
        """Take in the pieces written since."""
        new = sorted(set(self.folder.glob("*.pt")) - self.seen)
        if new:
            self.seen |= set(new)
            pieces = [torch.load(path, map_location=self.device, weights_only=True) for path in new]
            self.parts = [torch.cat(part) for part in zip(*([self.parts] if self.parts else []), *pieces, strict=True)]

    def __len__(self) -> int:
        return len(self.parts[0])

    def batch(self, index: torch.Tensor, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """As of `Latents`."""
        return Latents(*self.parts).batch(index, device)
