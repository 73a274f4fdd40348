"""Draw the example pictures: the same hills at dawn, in the morning and at noon, with a ball that rolls along the path.

``python cli/draw_pictures.py`` writes ``pictures/first.png``, ``middle.png`` (for the storyboard) and ``last.png``.
"""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

SIZE = 480
SCALE = 2  # drawn larger and scaled down, for smooth edges


def mix(first: tuple[int, int, int], last: tuple[int, int, int], part: float) -> tuple[int, int, int]:
    """The colour ``part`` of the way from ``first`` to ``last``."""
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(first, last, strict=True))
    return red, green, blue


def draw_scene(time: float) -> Image.Image:
    """The scene at ``time`` in [0, 1]: 0 is dawn with the ball on the left, 1 is noon with the ball on the right."""
    size = SIZE * SCALE
    image = Image.new("RGB", (size, size))
    draw = ImageDraw.Draw(image)
    top, low = mix((40, 48, 110), (86, 160, 230), time), mix((240, 140, 90), (200, 230, 250), time)
    for row in range(size):
        draw.line([(0, row), (size, row)], fill=mix(top, low, row / size))
    angle = math.radians(200 + 70 * time)
    x, y = size * (0.5 + 0.42 * math.cos(angle)), size * (0.55 + 0.42 * math.sin(angle))
    glow = Image.new("L", (size, size))
    ImageDraw.Draw(glow).ellipse([x - 90, y - 90, x + 90, y + 90], fill=150)
    image.paste((255, 240, 200), mask=glow.filter(ImageFilter.GaussianBlur(50)))
    draw = ImageDraw.Draw(image)
    draw.ellipse([x - 55, y - 55, x + 55, y + 55], fill=mix((255, 170, 80), (255, 246, 210), time))
    for level, (height, dark, light) in enumerate(
        [
            (0.62, (60, 50, 90), (110, 150, 170)),
            (0.72, (40, 50, 70), (80, 150, 90)),
            (0.84, (30, 44, 44), (60, 130, 60)),
        ]
    ):
        hill = [
            (i, size * (height - 0.05 * math.sin(i / size * (3 + 2 * level) + 1.7 * level)))
            for i in range(0, size + 8, 8)
        ]
        draw.polygon([*hill, (size, size), (0, size)], fill=mix(dark, light, time))
    draw.line([(0, size * 0.93), (size, size * 0.93)], fill=mix((90, 70, 60), (190, 160, 110), time), width=44)
    ball, radius = size * (0.14 + 0.72 * time), 58
    draw.ellipse([ball - radius, size * 0.87 - radius, ball + radius, size * 0.87 + radius], fill=(206, 44, 44))
    turn = time * 0.72 * size / radius
    for spoke in (0.0, math.pi / 2):
        dx, dy = radius * 0.8 * math.cos(turn + spoke), radius * 0.8 * math.sin(turn + spoke)
        draw.line([(ball - dx, size * 0.87 - dy), (ball + dx, size * 0.87 + dy)], fill=(250, 220, 200), width=9)
    return image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    for name, moment in (("first.png", 0.0), ("middle.png", 0.5), ("last.png", 1.0)):
        draw_scene(moment).save(Path(__file__).with_name("pictures") / name, optimize=True)
