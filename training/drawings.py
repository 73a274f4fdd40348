"""Measures micro models on flat shapes as a person draws them: how much of the shape is where it truly is in the middle.

A pixel is the shape's where its colour is nearer to the shape's than to the background's. Of the pixels at the true place
those count where a cross-fade of the true ends does not show the shape, too: the truth scores 1, a cross-fade and a frame
without the shape 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import quantiles

import torch

from .clips import FRAMES, Clip
from .drawn import PLAIN, plain_clip
from .evaluate import FIRST_SEED, VARIANTS, cross_fade, round_trip, run
from .shipped import Models

CLIPS, BATCH = 256, 64  # nine in ten of fewer are told by a few clips
NEARER = 0.55  # of the way from the background's colour to the shape's; a cross-fade halfway has 0.5


@dataclass(frozen=True)
class Shares:
    """What one run has at the shapes' true places, clip by clip."""

    name: str
    values: tuple[float, ...]

    def row(self) -> str:
        """A Markdown table row: median, the lowest tenth's bound, and the medians of each shape and of cut ones."""
        kinds = [self.values[number :: len(PLAIN)] for number in range(len(PLAIN))]
        whole, cut = (
            [v for number, v in enumerate(self.values) if bool(number // len(PLAIN) % 2) is c] for c in (False, True)
        )
        cells = [f"{_median(values):.2f}" for values in (*kinds, whole, cut)]
        return f"| {self.name} | {_median(self.values):.2f} | {quantiles(self.values, n=10)[0]:.2f} | {' | '.join(cells)} |"


HEADER = (
    "| run | median | nine in ten above | disc | box | triangle | letter | wholly in view | cut by the edge |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def _median(values: Sequence[float]) -> float:
    return float(torch.tensor(values).median())


def drawings(count: int = CLIPS) -> list[Clip]:
    """Unseen clips of one flat shape over a flat colour, 0.1 to 0.7 frame widths apart, half of them cut by the edge."""
    return [plain_clip(FIRST_SEED + number) for number in range(count)]


def share_at_place(clip: Clip, frame: torch.Tensor, time: float = 0.5) -> float:
    """The share of a clip's first shape that a frame [H, W, 3] has at its true place, in 0..1."""
    behind = replace(clip, shapes=[]).at(torch.tensor([time]))[0]
    way = clip.shapes[0].colours[0] - behind
    seen = ((frame - behind) * way).sum(-1) / way.square().sum(-1) > NEARER
    first, true, last = clip.cover(torch.tensor([0.0, time, 1.0]))[..., 0]
    telling = (true > NEARER) & (first + (last - first) * time <= NEARER)
    return float(seen[telling].float().mean())


def shares(name: str, frames: torch.Tensor, clips: Sequence[Clip]) -> Shares:
    """The shares in the middle frames of videos [N, F, H, W, 3]."""
    return Shares(
        name, tuple(share_at_place(clip, video[FRAMES // 2]) for clip, video in zip(clips, frames, strict=True))
    )


def measure_drawings(models: Models, count: int = CLIPS) -> None:
    """Print the shares of the VAE alone, of a cross-fade and of the models."""
    clips = drawings(count)
    ways: dict[str, Callable[[list[Clip]], torch.Tensor]] = {
        "VAE round trip of the true clip": lambda some: round_trip(models.vae, some),
        "cross-fade": cross_fade,
        VARIANTS[0].name: lambda some: run(models.vae, models.high, models.low, some, VARIANTS[0]),
    }
    print(HEADER)
    for name, make in ways.items():
        frames = torch.cat([make(clips[at : at + BATCH]) for at in range(0, count, BATCH)])
        print(shares(name, frames, clips).row(), flush=True)
