"""What a finished video file is, in words."""

from __future__ import annotations

from pathlib import Path

import av


def describe_video(path: Path) -> str:
    """Path, size, frame count, rate and length of a saved video, read from the file itself."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or 0)
        seconds = stream.frames / rate if rate else 0.0
        return f"Saved {path}: {stream.width} x {stream.height}, {stream.frames} frames, {rate:g} fps, {seconds:.2f} s"
