"""Clips as a person draws them: flat shapes and letters, cut by the edge, crossing each other, or a camera over a photo.

As those of ``clips`` a pure function of the seed, at constant speed. Seeds from HAND_DRAWN on are of this kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch

from .clips import SHAPES, SIZE, Clip, Shape, make_clip
from .textures import TEXTURE, Dice, drawn_texture, hsv, photo_texture

HAND_DRAWN = 1_000_000
SCENES = ("inside", "inside", "inside", "cut", "cut", "cut", "crossing", "crossing", "camera", "still")
LETTERS = ("A", "B", "C", "E", "F", "G", "H", "K", "L", "M", "P", "R", "S", "T", "X", "Z")
PLAIN = ("disc", "square", "triangle", "letter")
Point = tuple[float, float]


def any_clip(seed: int, photos: dict[str, torch.Tensor]) -> Clip:
    """The clip with this seed, of either kind; photos are in the hand-drawn ones."""
    return draw_clip(seed, photos) if seed >= HAND_DRAWN else make_clip(seed, {})


def draw_clip(seed: int, photos: dict[str, torch.Tensor], size: int = SIZE) -> Clip:
    """The hand-drawn clip with this seed."""
    dice = Dice(seed)
    scene = dice.one_of(SCENES)
    camera = scene == "camera" or dice.chance(0.15)
    texture = _behind(dice, photos, plain=scene != "camera")
    turn, pan = dice.between(0, 2 * math.pi), dice.between(0.05, 0.4) if camera else 0.0
    clip = Clip(
        texture=texture,
        pan=(pan * math.cos(turn), pan * math.sin(turn)),
        zoom=dice.between(-0.5, 0.5) if camera and dice.chance(0.5) else 0.0,
        turn=dice.between(-0.25, 0.25) if camera and dice.chance(0.2) else 0.0,
        light=0.0,
        size=size,
    )
    if scene != "camera":
        paths = {"inside": _inside, "cut": _cut, "crossing": _inside, "still": _still}
        first = _shape(dice, dice.one_of((*PLAIN, *PLAIN, "letter", "letter", *SHAPES)), clip.texture, paths[scene])
        clip.shapes.append(first)
        if scene == "crossing":
            clip.shapes.append(_shape(dice, dice.one_of(PLAIN), clip.texture, lambda dice, _: _across(dice, first)))
    return clip


def plain_clip(seed: int, size: int = SIZE) -> Clip:
    """One flat shape over one flat colour; PLAIN in turn, every other four cut by the edge.

    At least half of the shape is in view in the middle of the clip, and a tenth at either end, or they don't tell its way.
    """
    dice = Dice(HAND_DRAWN + seed)
    path = _cut if seed // len(PLAIN) % 2 else _inside
    while True:
        texture = _flat(dice)
        shape = _shape(dice, PLAIN[seed % len(PLAIN)], texture, path)
        clip = Clip(texture=texture, pan=(0.0, 0.0), zoom=0.0, turn=0.0, light=0.0, shapes=[shape], size=size)
        centred = replace(clip, shapes=[replace(shape, start=(0.5, 0.5), end=(0.5, 0.5))])
        times = torch.tensor([0.0, 0.5, 1.0])
        seen, whole = (one.cover(times).sum((1, 2, 3)) for one in (clip, centred))
        if bool((seen >= whole * torch.tensor([0.1, 0.5, 0.1])).all()):
            return clip


def _shape(dice: Dice, kind: str, texture: torch.Tensor, path: Callable[[Dice, float], tuple[Point, Point]]) -> Shape:
    radius = dice.between(0.12, 0.27)
    start, end = path(dice, radius)
    angle = dice.between(0, 2 * math.pi) if kind != "letter" and dice.chance(0.4) else 0.0
    growth = dice.between(-0.3, 0.3) if dice.chance(0.25) else 0.0
    colour = _apart(dice, texture.flatten(1).mean(1))
    return Shape(
        kind=dice.one_of(LETTERS) if kind == "letter" else kind,
        radius=(radius * (1 - growth / 2), radius * (1 + growth / 2)),
        start=start,
        end=end,
        angle=(angle, angle + (dice.between(-0.7, 0.7) if dice.chance(0.25) else 0.0)),
        colours=colour.expand(2, 3),
    )


def _inside(dice: Dice, radius: float) -> tuple[Point, Point]:
    """Wholly in view, 0.1 to 0.7 apart."""
    while True:
        start, end = ((dice.between(radius, 1 - radius), dice.between(radius, 1 - radius)) for _ in range(2))
        if _near_enough(dice, start, end):
            return start, end


def _cut(dice: Dice, radius: float) -> tuple[Point, Point]:
    """Cut by an edge at one end or at both, or just outside it, 0.1 to 0.7 apart."""
    while True:
        points = [[dice.between(radius, 1 - radius), dice.between(radius, 1 - radius)] for _ in range(2)]
        which, axis = dice.one_of(("start", "end", "both")), int(dice.chance(0.5))
        beyond = radius * (dice.between(0.8, 1.1) if dice.chance(0.15) else dice.between(-0.7, 0.5))
        side = dice.chance(0.5)
        for number, name in enumerate(("start", "end")):
            if which in (name, "both"):
                points[number][axis] = 1 + beyond if side else -beyond
        start, end = ((x, y) for x, y in points)
        if _near_enough(dice, start, end):
            return start, end


def _near_enough(dice: Dice, start: Point, end: Point) -> bool:
    """Whether two places are about as far apart as wanted: all distances from 0.1 to 0.7 alike."""
    return abs(math.dist(start, end) - dice.between(0.1, 0.7)) < 0.05


def _still(dice: Dice, radius: float) -> tuple[Point, Point]:
    """Where it was, or next to it."""
    start = dice.between(radius / 2, 1 - radius / 2), dice.between(radius / 2, 1 - radius / 2)
    if dice.chance(0.5):
        return start, start
    return start, (start[0] + dice.between(-0.08, 0.08), start[1] + dice.between(-0.08, 0.08))


def _across(dice: Dice, other: Shape) -> tuple[Point, Point]:
    """A way across the other shape's, met near the middle of both."""
    x, y = ((a + b) / 2 + dice.between(-0.1, 0.1) for a, b in zip(other.start, other.end, strict=True))
    along = math.atan2(other.end[1] - other.start[1], other.end[0] - other.start[0])
    angle, half = along + dice.between(math.pi / 4, 7 * math.pi / 4), dice.between(0.1, 0.3)
    step = half * math.cos(angle), half * math.sin(angle)
    return (x - step[0], y - step[1]), (x + step[0], y + step[1])


def _behind(dice: Dice, photos: dict[str, torch.Tensor], *, plain: bool) -> torch.Tensor:
    """One flat colour, two, a drawn texture or a photo; for a camera the latter two: [3, TEXTURE, TEXTURE]."""
    kind = dice.between(0, 1) if plain else dice.between(0.65, 1)
    if kind < 0.5:
        return _flat(dice)
    if kind < 0.65:
        ground = _flat(dice)
        ground[:, int(dice.between(0.4, 0.6) * TEXTURE) :] = _colour(dice)[:, None, None]
        return ground
    if photos and dice.chance(0.6):
        return photo_texture(dice, photos)
    return drawn_texture(dice)


def _flat(dice: Dice) -> torch.Tensor:
    return _colour(dice)[:, None, None].repeat(1, TEXTURE, TEXTURE)


def _colour(dice: Dice) -> torch.Tensor:
    """White, grey, black or a strong colour, as a paint program offers them."""
    if dice.chance(0.35):
        return torch.full((3,), dice.between(0, 1) ** 0.5)
    return hsv(dice.between(0, 1), dice.between(0.3, 1), dice.between(0.4, 1))


def _apart(dice: Dice, other: torch.Tensor) -> torch.Tensor:
    """A colour that is easily told from the other."""
    while True:
        colour = _colour(dice)
        if float((colour - other).norm()) > 0.5:
            return colour
