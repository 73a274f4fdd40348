"""What a video shows: its frames, how near they are to a picture, and where a drawn disc is."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import av
from PIL import Image, ImageChops, ImageDraw, ImageOps, ImageStat

SKY, DISC = (120, 170, 220), (220, 60, 40)


def images(data: bytes) -> list[Image.Image]:
    """Every frame of a video."""
    with av.open(io.BytesIO(data)) as container:
        return [frame.to_image() for frame in container.decode(video=0)]


def frames(data: bytes) -> int:
    """How many frames of a video can be decoded."""
    return len(images(data))


def distance(frame: Image.Image, picture: Path) -> float:
    """The mean difference of a frame from a picture that was cropped to its shape."""
    with Image.open(picture) as opened:
        fitted = ImageOps.fit(opened.convert("RGB"), frame.size)
    return sum(ImageStat.Stat(ImageChops.difference(frame, fitted)).mean)


def disc(ground: Image.Image, centre: float, colour: Any) -> Image.Image:
    """A disc in one flat colour, as a person draws it; its centre is at this share of the width."""
    x, y, radius = centre * ground.width, ground.height / 2, 0.14 * ground.height
    ImageDraw.Draw(ground).ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return ground


def drawn(centre: float) -> Image.Image:
    return disc(Image.new("RGB", (512, 512), SKY), centre, DISC)


def share_at(frame: Image.Image, centre: float) -> float:
    """How much of the disc is at this place: 1 for all of it, 0 for none."""
    there = disc(Image.new("L", frame.size), centre, 255)
    colour = ImageStat.Stat(frame, there).mean
    axis = [end - start for start, end in zip(SKY, DISC, strict=True)]
    along = sum((value - start) * part for value, start, part in zip(colour, SKY, axis, strict=True))
    return along / sum(part * part for part in axis)
