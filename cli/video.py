"""What a finished video file is, in words and as a row of frames in the terminal."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import av

FRAMES = 6


def describe_video(path: Path) -> str:
    """Path, size, frame count, rate and length of a saved video, read from the file itself."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or 0)
        seconds = stream.frames / rate if rate else 0.0
        return f"Saved {path}: {stream.width} x {stream.height}, {stream.frames} frames, {rate:g} fps, {seconds:.2f} s"


def terminal_filmstrip(path: Path) -> str:
    """Frames of the video, first to last, in coloured half blocks: "" where the terminal doesn't say it has the colours."""
    if os.environ.get("COLORTERM") not in ("truecolor", "24bit") and "WT_SESSION" not in os.environ:
        return ""
    with av.open(str(path)) as container:
        frames = [frame.to_image() for frame in container.decode(video=0)]
    width = min(24, shutil.get_terminal_size().columns // FRAMES - 1)
    height = max(2, round(width * frames[0].height / frames[0].width / 2) * 2)
    shown = [
        frames[round(index * (len(frames) - 1) / (FRAMES - 1))].resize((width, height)).load()
        for index in range(FRAMES)
    ]
    lines = []
    for y in range(0, height, 2):
        line = ""
        for pixels in shown:
            for x in range(width):
                (r, g, b), (r2, g2, b2) = pixels[x, y], pixels[x, y + 1]
                line += f"\x1b[38;2;{r};{g};{b};48;2;{r2};{g2};{b2}m▀"  # the upper pixel on the lower one
            line += "\x1b[0m "
        lines.append(line)
    return "\n".join(lines)
