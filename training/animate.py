"""The README's animation: what the micro models make of two pictures, beside a cross-fade of the same pictures.

``python -m wan_flf2v.training.animate pictures`` draws the demo's two pictures, a clip of the unseen set; then
``python -m wan_flf2v.training.animate demo.mp4 animation.webp`` takes the demo's video.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from ..flf2v.video_frames import VideoFrames
from .clips import as_picture, make_clip
from .evaluate import FIRST_SEED

SCALE, MARGIN, LABEL = 4, 12, 30
BACKGROUND, INK = "#1b1d22", "#e6e6e6"
FRAME_MS, HOLD_MS = 80, 900
DEMO_SEED = FIRST_SEED + 2
PICTURES = tuple(Path(__file__).parents[1] / "cli" / "pictures" / f"micro_{end}.png" for end in ("first", "last"))


def animate(video: torch.Tensor, first: Image.Image, last: Image.Image, out: Path) -> None:
    """Write an animated WebP of the video [F, H, W, 3] beside the cross-fade, both enlarged and held at their ends."""
    size = (video.shape[2] * SCALE, video.shape[1] * SCALE)
    begin, end = (picture.convert("RGB").resize(size, Image.Resampling.BICUBIC) for picture in (first, last))
    pages = []
    for index, frame in enumerate(video):
        page = Image.new("RGB", (2 * size[0] + 3 * MARGIN, size[1] + MARGIN + LABEL), BACKGROUND)
        page.paste(as_picture(frame).resize(size, Image.Resampling.BICUBIC), (MARGIN, MARGIN))
        page.paste(Image.blend(begin, end, index / (len(video) - 1)), (size[0] + 2 * MARGIN, MARGIN))
        draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=16)
        for place, words in enumerate(("micro Wan, first + last frame", "cross-fade of the same frames")):
            left = MARGIN + place * (size[0] + MARGIN)
            draw.text((left + size[0] / 2, size[1] + MARGIN + 6), words, fill=INK, font=font, anchor="mt")
        pages.append(page)
    wait = [HOLD_MS if index in (0, len(pages) - 1) else FRAME_MS for index in range(len(pages))]
    pages[0].save(out, save_all=True, append_images=pages[1:], duration=wait, loop=0, quality=80, method=4)


def draw_pictures() -> None:
    """Write the demo's first and last picture."""
    for path, frame in zip(PICTURES, make_clip(DEMO_SEED, {}).at(torch.tensor([0.0, 1.0])), strict=True):
        as_picture(frame).save(path, optimize=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["pictures"]:
        draw_pictures()
    else:
        ends = [Image.open(path) for path in PICTURES]
        animate(torch.stack(list(VideoFrames(sys.argv[1]))), ends[0], ends[1], Path(sys.argv[2]))
