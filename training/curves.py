"""The training logs as one picture."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SIZE, PANEL, MARGIN = (960, 640), (420, 250), 50
BACKGROUND, INK, FAINT = "#1b1d22", "#e6e6e6", "#4a4e57"
COLOURS = ("#ff9f45", "#4aa8ff", "#9be37a", "#d98cff", "#ff6b6b")


def draw_curves(work: Path, path: Path) -> None:
    """Write a picture of what was trained: the VAE's PSNR and the experts' losses over their steps."""
    panels = (
        (
            "VAE: PSNR of unseen clips, dB",
            [("pyramid", "psnr"), ("vae", "psnr"), ("vae", "end_psnr")],
        ),
        ("experts: training loss", [(side, "loss") for side in ("high", "low")]),
        ("error of the clean latent, sigma 1", [("high", "held_out_100")]),
        ("error of the clean latent, sigma 0.5", [("low", "held_out_50")]),
    )
    drawn = []
    for title, lines in panels:
        curves = [(f"{log} {column}", _column(work / f"{log}.csv", column)) for log, column in lines]
        if curves := [(name, values) for name, values in curves if len(values) > 1]:
            drawn.append((title, curves))
    image = Image.new("RGB", (SIZE[0], SIZE[1] // 2 * math.ceil(len(drawn) / 2)), BACKGROUND)
    for number, (title, curves) in enumerate(drawn):
        left = MARGIN + (number % 2) * (PANEL[0] + MARGIN)
        top = MARGIN + (number // 2) * (PANEL[1] + MARGIN)
        _panel(ImageDraw.Draw(image), (left, top), title, curves)
    image.save(path, optimize=True)


def _column(path: Path, column: str) -> list[tuple[float, float]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [(float(row["step"]), float(row[column])) for row in csv.DictReader(file)]


def _panel(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], title: str, curves: list[tuple[str, list[tuple[float, float]]]]
) -> None:
    font = ImageFont.load_default(size=13)
    left, top, wide, high = corner[0], corner[1], PANEL[0] - 20, PANEL[1] - 60
    draw.text((left, top - 6), title, fill=INK, font=font, anchor="lb")
    draw.rectangle([left, top, left + wide, top + high], outline=FAINT)
    steps = [step for _, points in curves for step, _ in points]
    values = [value for _, points in curves for _, value in points]
    low, span = min(values), max(max(values) - min(values), 1e-6)
    for at, value in ((top, low + span), (top + high, low)):
        draw.text((left - 4, at), f"{value:.3g}", fill=INK, font=font, anchor="rm")
    for number, (name, points) in enumerate(curves):
        colour = COLOURS[number]
        draw.line(
            [(left + wide * x / max(steps), top + high * (1 - (y - low) / span)) for x, y in points],
            fill=colour,
            width=2,
        )
        draw.text((left + number * 105, top + high + 6), name, fill=colour, font=font)
    draw.text((left + wide, top + high + 22), f"step {max(steps):.0f}", fill=INK, font=font, anchor="ra")
