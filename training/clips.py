"""Procedural clips with a known truth: textured shapes that move over moving backgrounds.

A clip is a pure function of its seed, so any frame can be drawn again, also with a shape somewhere else: that is how
`wan_flf2v.flf2v.report` can look for a shape in a generated frame. Everything moves at constant speed, because that is
what a first and a last frame determine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image, ImageDraw, ImageFont

from .textures import Dice, drawn_texture, hsv, photo_texture

SIZE, FRAMES = 64, 17
LETTER = 32  # pixels across, about as large as letters are drawn
SHAPES = ("disc", "square", "triangle", "star", "ring", "flower")


@dataclass
class Shape:
    """A shape's looks and path; lengths are fractions of the frame width, angles radians.

    A ``kind`` of one character is that letter.
    """

    kind: str
    radius: tuple[float, float]
    start: tuple[float, float]
    end: tuple[float, float]
    angle: tuple[float, float]
    colours: torch.Tensor  # [2, 3]
    pattern: str = "flat"
    frequency: float = 0.0

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

    def cover(self, time: torch.Tensor) -> torch.Tensor:
        """How much of each pixel the first shape covers, in 0..1, as if it were alone: [T, size, size, 1]."""
        grid = _pixel_grid(self.size).expand(len(time), -1, -1, -1)
        return _draw(self.shapes[0], grid, time, self.shapes[0].centre(time), self.size)[1]

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
    if len(shape.kind) == 1:
        alpha = F.grid_sample(
            _letter(shape.kind).expand(len(time), 1, -1, -1), torch.stack([x, y], -1), align_corners=False
        )
        alpha = alpha.movedim(1, -1)
    else:
        distance = _outside(shape.kind, x, y) * radius[:, None, None] * size
        alpha = (0.5 - distance).clamp(0, 1)[..., None]
    if shape.pattern == "flat":
        return shape.colours[0].expand(*x.shape, 3), alpha
    if shape.pattern == "gradient":
        mix = (0.5 + 0.5 * y).clamp(0, 1)
    elif shape.pattern == "stripes":
        mix = (0.5 + 2 * torch.sin(shape.frequency * x)).clamp(0, 1)
    else:
        mix = (0.5 + 3 * (torch.hypot(x, y) - 0.5)).clamp(0, 1)
    return shape.colours[0] + (shape.colours[1] - shape.colours[0]) * mix[..., None], alpha


@lru_cache(maxsize=64)
def _letter(letter: str) -> torch.Tensor:
    """A letter's coverage over -1..1 in both directions, filling them nearly: [LETTER, LETTER]."""
    picture = Image.new("L", (LETTER, LETTER))
    font = ImageFont.load_default(size=1.2 * LETTER)
    ImageDraw.Draw(picture).text((LETTER / 2, LETTER / 2), letter, fill=255, font=font, anchor="mm", stroke_width=1)
    return torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(LETTER, LETTER).float() / 255


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


def make_clip(seed: int, photos: dict[str, torch.Tensor], size: int = SIZE) -> Clip:
    """The clip with this seed; ``photos`` are its possible backgrounds beside the drawn ones."""
    dice = Dice(seed)
    texture = photo_texture(dice, photos) if photos and dice.chance(0.2) else drawn_texture(dice)
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


def _shape(dice: Dice, hue: float) -> Shape:
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
        colours=torch.stack([hsv(hue, dice.between(0.75, 1), dice.between(0.75, 1)), _second_colour(dice, hue)]),
        pattern=dice.one_of(("gradient", "stripes", "rings")),
        frequency=dice.between(3, 7),
    )


def _second_colour(dice: Dice, hue: float) -> torch.Tensor:
    return hsv((hue + dice.between(-0.12, 0.12)) % 1, dice.between(0.2, 1), dice.between(0.35, 1))


def as_picture(frame: torch.Tensor) -> Image.Image:
    """A frame [H, W, 3] in 0..1 as an 8-bit picture."""
    return Image.fromarray((frame.clamp(0, 1) * 255).round().to(torch.uint8).numpy())
