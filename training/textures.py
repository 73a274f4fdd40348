"""Seeded draws, colours, and the pictures behind the drawn clips' shapes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image

TEXTURE = 160  # background textures are larger than the frame, so that the camera has room
# Public domain or CC0, and in the scikit-image wheel itself.
PHOTOS = ("astronaut.png", "coffee.png", "rocket.jpg")


class Dice:
    """Seeded draws: one generator per clip, so that a clip does not depend on the ones before it."""

    def __init__(self, seed: int) -> None:
        self.random = torch.Generator().manual_seed(seed)

    def between(self, low: float, high: float) -> float:
        """A number, evenly spread."""
        return low + (high - low) * float(torch.rand((), generator=self.random))

    def chance(self, probability: float) -> bool:
        """True as often as ``probability`` says."""
        return self.between(0, 1) < probability

    def one_of(self, options: tuple[str, ...]) -> str:
        """One of the options, all alike."""
        return options[int(torch.randint(len(options), (), generator=self.random))]

    def noise(self, *shape: int) -> torch.Tensor:
        """Numbers in 0..1 of this shape."""
        return torch.rand(shape, generator=self.random)


def drawn_texture(dice: Dice) -> torch.Tensor:
    """Clouds, waves or spots in muted colours: [3, TEXTURE, TEXTURE]."""
    kind = dice.one_of(("clouds", "clouds", "waves", "spots"))
    if kind == "clouds":
        field_ = sum(0.6**level * _smooth_noise(dice, cells) for level, cells in enumerate((4, 9, 18)))
    else:
        ticks = torch.linspace(0, 1, TEXTURE)
        y, x = torch.meshgrid(ticks, ticks, indexing="ij")
        angle, frequency = dice.between(0, math.pi), dice.between(10, 22)
        along = frequency * (x * math.cos(angle) + y * math.sin(angle)) + 2 * _smooth_noise(dice, 4)
        across = frequency * (y * math.cos(angle) - x * math.sin(angle)) + 2 * _smooth_noise(dice, 4)
        field_ = torch.sin(along) + (torch.sin(across) if kind == "spots" else 0.5 * _smooth_noise(dice, 6))
    height = torch.as_tensor(field_)
    mix = (height - height.min()) / (height.max() - height.min())
    hue = dice.between(0, 1)
    ends = [
        hsv((hue + dice.between(-0.2, 0.2)) % 1, dice.between(0.05, 0.45), value)
        for value in (dice.between(0.15, 0.45), dice.between(0.55, 0.95))
    ]
    return ends[0][:, None, None] + (ends[1] - ends[0])[:, None, None] * mix


def _smooth_noise(dice: Dice, cells: int) -> torch.Tensor:
    coarse = dice.noise(1, 1, cells, cells) * 2 - 1
    return F.interpolate(coarse, (TEXTURE, TEXTURE), mode="bicubic", align_corners=True)[0, 0]


def photo_texture(dice: Dice, photos: dict[str, torch.Tensor]) -> torch.Tensor:
    """A random part of a random photo, sometimes mirrored: [3, TEXTURE, TEXTURE]."""
    photo = photos[dice.one_of(tuple(sorted(photos)))]
    side = int(min(photo.shape[1:]) * dice.between(0.55, 1))
    top, left = (int(dice.between(0, full - side)) for full in photo.shape[1:])
    part = photo[:, top : top + side, left : left + side]
    if dice.chance(0.5):
        part = part.flip(-1)
    return F.interpolate(part[None], (TEXTURE, TEXTURE), mode="bilinear", antialias=True, align_corners=False)[0]


def hsv(hue: float, saturation: float, value: float) -> torch.Tensor:
    """Red, green and blue in 0..1 of a hue, saturation and value in 0..1."""
    steps = (torch.tensor([5.0, 3.0, 1.0]) + hue * 6) % 6
    return value - value * saturation * torch.minimum(steps, 4 - steps).clamp(0, 1)


def load_photos(folder: Path, names: tuple[str, ...] = PHOTOS) -> dict[str, torch.Tensor]:
    """The named photos of a folder as [3, H, W] in 0..1, no larger than 2 x TEXTURE on the short side."""
    photos = {}
    for name in names:
        picture = Image.open(folder / name).convert("RGB")
        scale = 2 * TEXTURE / min(picture.size)
        picture = picture.resize(
            (round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS
        )
        photos[name] = torch.from_numpy(np.asarray(picture).copy()).movedim(-1, 0).float() / 255
    return photos
