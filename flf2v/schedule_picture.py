"""The schedule as a picture, drawn with Pillow."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

from .drawing import BACKGROUND, BLUE, FAINT, GREEN, INK, ORANGE, RED
from .split import Split

SIZE = (768, 480)
MARGIN = (64, 56, 24, 56)  # left, top, right, bottom
FIRST, HIGH, LOW, BOUNDARY = RED, ORANGE, BLUE, GREEN


def draw_schedule(split: Split) -> Image.Image:
    """Sigma over steps, each stage's steps in its colour, the boundary."""
    image = Image.new("RGB", SIZE, BACKGROUND)
    draw = ImageDraw.Draw(image)
    font, title = ImageFont.load_default(size=15), ImageFont.load_default(size=20)
    left, top, right, bottom = MARGIN
    width, height = SIZE[0] - left - right, SIZE[1] - top - bottom

    def point(step: float, sigma: float) -> tuple[float, float]:
        return left + width * step / split.steps, top + height * (1 - sigma)

    for tick in range(0, 11, 2):
        y = point(0, tick / 10)[1]
        draw.line([(left, y), (left + width, y)], fill=FAINT)
        draw.text((left - 10, y), f"{tick / 10:.1f}", fill=INK, font=font, anchor="rm")
    every = max(1, -(-split.steps // 10))
    for step in range(0, split.steps + 1, every):
        draw.text((point(step, 0)[0], top + height + 8), str(step), fill=INK, font=font, anchor="mt")
    draw.text((left + width / 2, SIZE[1] - 8), "step", fill=INK, font=font, anchor="mb")
    y = point(0, split.boundary)[1]
    draw.line([(left, y), (left + width, y)], fill=BOUNDARY, width=2)
    draw.text((left + width, y - 4), f"boundary {split.boundary:g}", fill=BOUNDARY, font=font, anchor="rb")
    points = [point(step, sigma) for step, sigma in enumerate(split.sigmas)]
    first, high = split.first, split.high
    for colour, part in ((FIRST, points[: first + 1]), (HIGH, points[first : high + 1]), (LOW, points[high:])):
        if len(part) > 1:
            draw.line(part, fill=colour, width=3)
    for step, (x, y) in enumerate(points):
        colour = FIRST if step < first else HIGH if step < high else LOW
        draw.ellipse([x - 4, y - 4, x + 4, y + 4], fill=colour)
    x = points[split.high][0]
    for y in range(top, top + height, 10):
        draw.line([(x, y), (x, min(y + 5, top + height))], fill=INK)
    words = [(f"{first} first", FIRST)] if first else []
    words += [(f"{high - first} high", HIGH), (f"{split.low} low", LOW)]
    at = float(left)
    for number, (word, colour) in enumerate(words):
        word = f" + {word}" if number else word
        draw.text((at, 18), word, fill=colour, font=title)
        at += draw.textlength(word, font=title)
    hand_over = f"hand-over at step {split.high}, sigma {split.sigmas[split.high]:.3f}"
    draw.text((left + width, 22), hand_over, fill=INK, font=font, anchor="ra")
    return image
