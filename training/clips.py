"""Procedural clips with a known truth: textured shapes that move over moving backgrounds.

A clip is a pure function of its seed, so any frame can be drawn again, also with a shape somewhere else: that is how
`wan_flf2v.flf2v.report` can look for a shape in a generated frame. Everything moves at constant speed, because that is
what a first and a last frame determine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image

SIZE, FRAMES = 64, 17
TEXTURE = 160  # background textures are larger than the frame, so that the camera has room
SHAPES = ("disc", "square", "triangle", "star", "ring", "flower")
# Public domain or CC0, and in the scikit-image wheel itself.
PHOTOS = ("astronaut.png", "coffee.png", "rocket.jpg")


@dataclass
class Shape:
    """A shape's looks and path; lengths are fractions of the frame width, angles radians."""

    kind: str
    radius: tuple[float, float]
    start: tuple[float, float]
    end: tuple[float, float]
    angle: tuple[float, float]
    colours: torch.Tensor  # [2, 3]
    pattern: str
    frequency: float

    def centre(self, time: torch.Tensor) -> torch.Tensor:
        """Where the middle of the shape is at the times in 0..1: [T, 2] as (x, y) fractions."""
        start, end = torch.tensor(self.start), torch.tensor(self.end)
        return start + (end - start) * time[:, None]


@dataclass
class Clip:
    """One clip; ``shapes[0]`` is drawn last, so it is never hidden."""

    texture: torch.Tensor  # [3, TEXTURE, TEXTURE] in 0..1
    pan: tuple[float, float]
    zoom: float
    turn: float
    light: float
    shapes: list[Shape] = field(default_factory=list)
    size: int = SIZE

    def frames(self, count: int = FRAMES) -> torch.Tensor:
        """The whole clip: [count, size, size, 3] in 0..1."""
        return self.at(torch.linspace(0, 1, count))

    def at(self, time: torch.Tensor, centre: torch.Tensor | None = None) -> torch.Tensor:
        """The frames at the times in 0..1, ``centre`` [T, 2] moving the first shape elsewhere: [T, size, size, 3]."""
        grid = _pixel_grid(self.size).expand(len(time), -1, -1, -1)
        picture = self._background(grid, time)
        for shape in reversed(self.shapes):
            where = centre if centre is not None and shape is self.shapes[0] else shape.centre(time)
            colour, alpha = _draw(shape, grid, time, where, self.size)
            picture = picture + (colour - picture) * alpha
        gain = 1 + self.light * (time - 0.5)
        return (picture * gain[:, None, None, None]).clamp(0, 1)

    def _background(self, grid: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        moved = time - 0.5
        angle, scale = self.turn * moved, torch.exp(self.zoom * moved)
        x, y = grid[..., 0] - 0.5, grid[..., 1] - 0.5
        cos, sin = (torch.cos(angle) * scale)[:, None, None], (torch.sin(angle) * scale)[:, None, None]
        x, y = (
            cos * x - sin * y + self.pan[0] * moved[:, None, None],
            sin * x + cos * y + self.pan[1] * moved[:, None, None],
        )
        sample = torch.stack([x, y], -1) * (2 * self.size / self.texture.shape[-1])
        texture = self.texture[None].expand(len(time), -1, -1, -1)
        return F.grid_sample(texture, sample, padding_mode="reflection", align_corners=False).movedim(1, -1)


@lru_cache(maxsize=4)
def _pixel_grid(size: int) -> torch.Tensor:
    ticks = (torch.arange(size) + 0.5) / size
    return torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"), -1)[None]


def _draw(
    shape: Shape, grid: torch.Tensor, time: torch.Tensor, centre: torch.Tensor, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """A shape's colour [T, H, W, 3] and its coverage [T, H, W, 1] with an edge one pixel soft."""
    angle = shape.angle[0] + (shape.angle[1] - shape.angle[0]) * time
    radius = shape.radius[0] + (shape.radius[1] - shape.radius[0]) * time
    offset = (grid - centre[:, None, None]) / radius[:, None, None, None]
    cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    x, y = cos * offset[..., 0] + sin * offset[..., 1], cos * offset[..., 1] - sin * offset[..., 0]
    distance = _outside(shape.kind, x, y) * radius[:, None, None] * size
    alpha = (0.5 - distance).clamp(0, 1)[..., None]
    if shape.pattern == "gradient":
        mix = (0.5 + 0.5 * y).clamp(0, 1)
    elif shape.pattern == "stripes":
        mix = (0.5 + 2 * torch.sin(shape.frequency * x)).clamp(0, 1)
    else:
        mix = (0.5 + 3 * (torch.hypot(x, y) - 0.5)).clamp(0, 1)
    return shape.colours[0] + (shape.colours[1] - shape.colours[0]) * mix[..., None], alpha


def _outside(kind: str, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Roughly the distance to the shape's edge, negative inside, in radii."""
    far = torch.hypot(x, y)
    if kind == "disc":
        return far - 1
    if kind == "ring":
        return (far - 0.72).abs() - 0.28
    if kind == "square":
        return torch.maximum(x.abs(), y.abs()) - 0.82
    around = torch.atan2(y, x)
    if kind == "triangle":
        sector = 2 * math.pi / 3
        return far * torch.cos(torch.remainder(around + sector / 2, sector) - sector / 2) - 0.58
    if kind == "star":
        return (far - 0.78 - 0.24 * torch.cos(5 * around)) * 0.7
    return (far - 0.84 - 0.16 * torch.cos(6 * around)) * 0.8


class _Dice:
    """Seeded draws: one generator per clip, so that a clip does not depend on the ones before it."""

    def __init__(self, seed: int) -> None:
        self.random = torch.Generator().manual_seed(seed)

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.random))

    def chance(self, probability: float) -> bool:
        return self.between(0, 1) < probability

    def one_of(self, options: tuple[str, ...]) -> str:
        return options[int(torch.randint(len(options), (), generator=self.random))]

    def noise(self, *shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=self.random)


def make_clip(seed: int, photos: dict[str, torch.Tensor], size: int = SIZE) -> Clip:
    """The clip with this seed; ``photos`` are its possible backgrounds beside the drawn ones."""
    dice = _Dice(seed)
    texture = _photo(dice, photos) if photos and dice.chance(0.2) else _drawn_texture(dice)
    moves = dice.chance(0.7)
    pan_angle, pan = dice.between(0, 2 * math.pi), dice.between(0.04, 0.22) if moves and dice.chance(0.7) else 0.0
    clip = Clip(
        texture=texture,
        pan=(pan * math.cos(pan_angle), pan * math.sin(pan_angle)),
        zoom=dice.between(-0.25, 0.25) if moves and dice.chance(0.4) else 0.0,
        turn=dice.between(-0.25, 0.25) if moves and dice.chance(0.3) else 0.0,
        light=dice.between(-0.35, 0.35) if dice.chance(0.3) else 0.0,
        size=size,
    )
    hue = dice.between(0, 1)
    for index in range(2 if dice.chance(0.15) else 1):
        clip.shapes.append(_shape(dice, (hue + index * dice.between(0.3, 0.7)) % 1))
    return clip


def _shape(dice: _Dice, hue: float) -> Shape:
    radius = dice.between(0.17, 0.24)
    while True:  # a long enough path that stays inside the frame
        start, end = ((dice.between(radius, 1 - radius), dice.between(radius, 1 - radius)) for _ in range(2))
        if 0.4 < math.hypot(end[0] - start[0], end[1] - start[1]) < 0.75:
            break
    angle = dice.between(0, 2 * math.pi)
    growth = dice.between(-0.2, 0.2) if dice.chance(0.4) else 0.0
    return Shape(
        kind=dice.one_of(SHAPES),
        radius=(radius * (1 - growth / 2), radius * (1 + growth / 2)),
        start=start,
        end=end,
        angle=(angle, angle + (dice.between(-0.9, 0.9) if dice.chance(0.6) else 0.0)),
        colours=torch.stack([_hsv(hue, dice.between(0.75, 1), dice.between(0.75, 1)), _second_colour(dice, hue)]),
        pattern=dice.one_of(("gradient", "stripes", "rings")),
        frequency=dice.between(3, 7),
    )


def _second_colour(dice: _Dice, hue: float) -> torch.Tensor:
    return _hsv((hue + dice.between(-0.12, 0.12)) % 1, dice.between(0.2, 1), dice.between(0.35, 1))


def _drawn_texture(dice: _Dice) -> torch.Tensor:
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
        _hsv((hue + dice.between(-0.2, 0.2)) % 1, dice.between(0.05, 0.45), value)
        for value in (dice.between(0.15, 0.45), dice.between(0.55, 0.95))
    ]
    return ends[0][:, None, None] + (ends[1] - ends[0])[:, None, None] * mix


def _smooth_noise(dice: _Dice, cells: int) -> torch.Tensor:
    coarse = dice.noise(1, 1, cells, cells) * 2 - 1
    return F.interpolate(coarse, (TEXTURE, TEXTURE), mode="bicubic", align_corners=True)[0, 0]


def _photo(dice: _Dice, photos: dict[str, torch.Tensor]) -> torch.Tensor:
    """A random part of a random photo, sometimes mirrored: [3, TEXTURE, TEXTURE]."""
    photo = photos[dice.one_of(tuple(sorted(photos)))]
    side = int(min(photo.shape[1:]) * dice.between(0.55, 1))
    top, left = (int(dice.between(0, full - side)) for full in photo.shape[1:])
    part = photo[:, top : top + side, left : left + side]
    if dice.chance(0.5):
        part = part.flip(-1)
    return F.interpolate(part[None], (TEXTURE, TEXTURE), mode="bilinear", antialias=True, align_corners=False)[0]


def _hsv(hue: float, saturation: float, value: float) -> torch.Tensor:
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


def as_picture(frame: torch.Tensor) -> Image.Image:
    """A frame [H, W, 3] in 0..1 as an 8-bit picture."""
    return Image.fromarray((frame.clamp(0, 1) * 255).round().to(torch.uint8).numpy())
