"""A report's plot over the frames and a video's filmstrip, drawn with Pillow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from .drawing import BACKGROUND, BLUE, FAINT, GREEN, INK, ORANGE
from .report import Report

SIZE = (768, 670)
LEFT, RIGHT, PANEL, GAP, TOP = 70, 24, 128, 30, 30
STRIP_WIDTH, STRIP_PICTURES = 1280, 9


def draw_report(report: Report) -> Image.Image:
    """Brightness, change, sharpness and flicker over the frames, one panel each, with lines at arrival and joints."""
    image = Image.new("RGB", SIZE, BACKGROUND)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=14)
    panels = (
        ("mean brightness", report.luma, ORANGE, 0.0),
        ("change from frame to frame", report.change, BLUE, 0.5),
        ("sharpness", report.sharpness, GREEN, 0.0),
        ("flicker", report.flickers, BLUE, 1.0),
    )
    wide = (SIZE[0] - LEFT - RIGHT) / max(1, report.frames - 1)
    marks = [(float(joint.frame), f"joint {joint.frame}", ORANGE, SIZE[1] - 24) for joint in report.joints]
    if report.arrival is not None:
        marks.append((report.arrival * (report.frames - 1), "arrival", GREEN, 18))
    for number, words, colour, y in marks:
        x = LEFT + number * wide
        draw.line([(x, TOP), (x, SIZE[1] - 40)], fill=colour)
        draw.text((min(x, SIZE[0] - 50), y), words, fill=colour, font=font, anchor="mb")
    for number, (title, values, colour, shift) in enumerate(panels):
        top = TOP + number * (PANEL + GAP)
        low, high = 0.0 if number else min(values), max(values)
        if high - low < 1e-3:
            high = low + 1e-3
        draw.text((LEFT, top - 4), title, fill=colour, font=font, anchor="lb")
        for level, y in ((high, top), (low, top + PANEL)):
            draw.line([(LEFT, y), (SIZE[0] - RIGHT, y)], fill=FAINT)
            draw.text((LEFT - 8, y), f"{level:.3g}", fill=INK, font=font, anchor="rm")
        points = [
            (LEFT + (index + shift) * wide, top + PANEL * (high - value) / (high - low))
            for index, value in enumerate(values)
        ]
        draw.line(points, fill=colour, width=2)
        for x, height in points:
            draw.ellipse([x - 2, height - 2, x + 2, height + 2], fill=colour)
    draw.text((SIZE[0] - RIGHT, SIZE[1] - 6), f"frame 0 to {report.frames - 1}", fill=INK, font=font, anchor="rb")
    return image


def draw_filmstrip(
    frames: Iterable[torch.Tensor],
    total: int,
    each: Callable[[int], None] = lambda number: None,
    joints: Sequence[int] = (),
) -> Image.Image:
    """Nine of the ``total`` frames or fewer side by side, evenly spaced, the first and the last among them.

    ``each`` is told the number of every frame. The frame of each joint and both beside it are shown too, marked.
    """
    marked = {number + beside for number in joints for beside in (-1, 0, 1)}
    indices = {round(float(index)) for index in torch.linspace(0, total - 1, min(STRIP_PICTURES, total))} | marked
    width = max(1, STRIP_WIDTH // len(indices))
    pictures = {}
    for number, frame in enumerate(frames):
        each(number)
        if number in indices:
            pictures[number] = _small(frame, width)
    strip = Image.new("RGB", (width * len(indices), pictures[0].height + 22), BACKGROUND)
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(size=14)
    for place, (index, picture) in enumerate(pictures.items()):
        strip.paste(picture, (place * width + 1, 0))
        colour = ORANGE if index in marked else INK
        draw.text((place * width + width / 2, picture.height + 18), str(index), fill=colour, font=font, anchor="mb")
    return strip


def _small(frame: torch.Tensor, width: int) -> Image.Image:
    """A frame, 2 pixels narrower than its place of this width."""
    height = max(1, round(width * frame.shape[0] / frame.shape[1]))
    pixels = (frame.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    return Image.fromarray(np.ascontiguousarray(pixels)).resize((width - 2, height), Image.Resampling.BICUBIC)
