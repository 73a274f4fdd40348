"""Measures micro models on clips that training never saw: a fixed, seeded set.

A run is 20 Euler steps at shift 8 without guidance, as ComfyUI's ``euler`` with ``simple`` makes it. The shape of a
clip is looked for in a frame by drawing it, over the true background, at many places and taking the closest picture: a
cross-fade shows the shape at both ends of its path and so is found at one of them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import isfinite, isinf
from statistics import mean, median, stdev
from typing import Any

import torch

from ..flf2v.report import psnr
from .clips import FRAMES, Clip, make_clip
from .experts import BOUNDARY, Latents, shifted, velocity, with_mask
from .latents import encode, ends
from .vae import to_vae

FIRST_SEED, STEPS = 700_000, 20
NEAR = 0.15  # of the frame width


@dataclass(frozen=True)
class Variant:
    """A way to run the models; the first is the right one, each other leaves one part out."""

    name: str
    end_frame: bool = True
    flip_mask: bool = False
    boundary: float = BOUNDARY


VARIANTS = (
    Variant("as trained"),
    Variant("without the end frame", end_frame=False),
    Variant("mask flipped", flip_mask=True),
    Variant("high-noise expert only", boundary=0.0),
    Variant("low-noise expert only", boundary=2.0),
    Variant("hand-over at sigma 0.4", boundary=0.4),
)


@dataclass(frozen=True)
class Score:
    """Means over the clips in dB and in frame widths; ``near`` is the share of shapes within 15 % of their path.

    ``between`` is each clip's level over the frames between its ends, for comparisons clip by clip.
    """

    name: str
    first: float
    last: float
    middle: float
    off: float
    near: float
    between: tuple[float, ...]

    def row(self) -> str:
        """A Markdown table row."""
        levels = " | ".join(
            "exact" if isinf(level) else f"{level:.1f}"
            for level in (self.first, self.last, mean(self.between), self.middle)
        )
        return f"| {self.name} | {levels} | {self.off:.3f} | {self.near:.0%} |"

    def ahead_of(self, other: Score) -> tuple[float, float]:
        """How far this run is above the other between the ends, clip by clip: mean and standard error in dB."""
        steps = [here - there for here, there in zip(self.between, other.between, strict=True)]
        return mean(steps), stdev(steps) / len(steps) ** 0.5


def as_json(scores: list[Score]) -> str:
    """The scores as JSON; an exact end has no finite level and becomes null."""
    plain = []
    for one in scores:
        fields = {**asdict(one), "between": mean(one.between)}
        plain.append({n: v if isinstance(v, str) else round(v, 4) if isfinite(v) else None for n, v in fields.items()})
    return json.dumps(plain, indent=1) + "\n"


HEADER = (
    "| run | first frame, dB | last frame, dB | between, dB | middle frame, dB "
    "| shape off its path, frame widths (median) | within 15 % |\n|---|---|---|---|---|---|---|"
)


def unseen_clips(count: int) -> list[Clip]:
    """The clips of the measurements: drawn ones, so that they need no photo."""
    return [make_clip(FIRST_SEED + number, {}) for number in range(count)]


@torch.no_grad()
def sample(high: Any, low: Any, condition: torch.Tensor, noise: torch.Tensor, boundary: float) -> torch.Tensor:
    """Latents [B, 16, T, h, w] after all steps."""
    sigmas = shifted(torch.linspace(1, 0, STEPS + 1))
    latent = noise
    for sigma, after in pairwise(sigmas):
        model = high if sigma >= boundary else low
        latent = latent + (after - sigma) * velocity(model, latent, condition, sigma.expand(len(latent)))
    return latent


@torch.no_grad()
def run(vae: Any, high: Any, low: Any, clips: list[Clip], variant: Variant) -> torch.Tensor:
    """The frames that the models make of the clips' ends: [N, F, H, W, 3]."""
    import comfy.latent_formats

    video = torch.stack([to_vae(clip.frames()) for clip in clips])
    given = ends(len(clips))
    if not variant.end_frame:
        given[:, -1] = False
    clean, condition, mask = encode(vae, video, given)
    if variant.flip_mask:
        mask = 1 - mask
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(7))
    latent = sample(high, low, with_mask(condition, mask), noise, variant.boundary)
    return decode(vae, comfy.latent_formats.Wan21().process_out(latent))


@torch.no_grad()
def decode(vae: Any, latent: torch.Tensor) -> torch.Tensor:
    """Frames [N, F, H, W, 3] in 0..1 of latents as the VAE gives them."""
    frames: torch.Tensor = ((vae.decode(latent) + 1) / 2).clamp(0, 1).movedim(1, -1)
    return frames


@torch.no_grad()
def round_trip(vae: Any, clips: list[Clip]) -> torch.Tensor:
    """The true clips after encoder and decoder."""
    return decode(vae, vae.encode(torch.stack([to_vae(clip.frames()) for clip in clips])))


def cross_fade(clips: list[Clip]) -> torch.Tensor:
    """The rival: each clip's first picture faded into its last."""
    part = torch.linspace(0, 1, FRAMES)[:, None, None, None]
    ends = [clip.at(torch.tensor([0.0, 1.0])) for clip in clips]
    return torch.stack([end[0] * (1 - part) + end[1] * part for end in ends])


def find_shape(clip: Clip, frame: torch.Tensor, time: float) -> torch.Tensor:
    """Where the clip's first shape is in a frame [H, W, 3]: (x, y) in frame widths."""
    ticks = torch.linspace(0.1, 0.9, 17)
    places = torch.cartesian_prod(ticks, ticks)
    for step in (0.0125, 0.004):
        best = places[_distances(clip, frame, time, places).argmin()]
        around = torch.arange(-3, 4) * step
        places = best + torch.cartesian_prod(around, around)
    return places[_distances(clip, frame, time, places).argmin()]


def _distances(clip: Clip, frame: torch.Tensor, time: float, places: torch.Tensor) -> torch.Tensor:
    drawn = clip.at(torch.full((len(places),), time), places)
    return (drawn - frame).square().mean((1, 2, 3))


def score(name: str, frames: torch.Tensor, clips: list[Clip]) -> Score:
    """Compare generated frames with the true clips."""
    true = [clip.frames() for clip in clips]
    half = FRAMES // 2
    off = []
    for clip, video in zip(clips, frames, strict=True):
        place = clip.shapes[0].centre(torch.tensor([0.5]))[0]
        off.append(float((find_shape(clip, video[half], 0.5) - place).norm()))
    first, last, middle = (
        mean(psnr(video[at], real[at]) for video, real in zip(frames, true, strict=True)) for at in (0, -1, half)
    )
    between = tuple(
        mean(psnr(video[at], real[at]) for at in range(1, FRAMES - 1)) for video, real in zip(frames, true, strict=True)
    )
    return Score(name, first, last, middle, median(off), mean(float(value < NEAR) for value in off), between)


def measure_all(vae: Any, high: Any, low: Any, count: int = 48) -> list[Score]:
    """The VAE alone, the cross-fade and every variant on the unseen clips."""
    clips = unseen_clips(count)
    scores = [score("VAE round trip of the true clip", round_trip(vae, clips), clips)]
    scores.append(score("cross-fade", cross_fade(clips), clips))
    return scores + [score(variant.name, run(vae, high, low, clips, variant), clips) for variant in VARIANTS]


def held_out_latents(vae: Any, device: torch.device, count: int = 32) -> Latents:
    """Latents that the loss on unseen clips is measured on while the experts train."""
    video = torch.stack([to_vae(clip.frames()) for clip in unseen_clips(count)])
    return Latents(*encode(vae, video.to(device), ends(count)))
