"""Videos of several segments become one film; decoded and encoded anew, for they come from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av

from .errors import CliError

CRF = "17"


def join_videos(parts: Sequence[tuple[Path, int]], out: Path) -> None:
    """Write the film of these videos, each without as many last frames as it says. Raises CliError for unlike sizes."""
    partial = out.with_name(f"{out.name}.partial")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with av.open(str(partial), "w", format="mp4") as film:
            stream = None
            for number, (path, dropped) in enumerate(parts, 1):
                with av.open(str(path)) as video:
                    source = video.streams.video[0]
                    if stream is None:
                        rate = Fraction(source.average_rate or 16)
                        stream = film.add_stream("libx264", rate=rate, options={"crf": CRF})
                        stream.width, stream.height, stream.pix_fmt = source.width, source.height, "yuv420p"
                    if (source.width, source.height) != (stream.width, stream.height):
                        sizes = f"{source.width} x {source.height}, the first {stream.width} x {stream.height}"
                        raise CliError(f"segment {number}: its video has {sizes}. Ask for one size for all segments.")
                    held: list[av.VideoFrame] = []
                    for frame in video.decode(source):
                        held.append(frame)
                        if len(held) > dropped:
                            shown = held.pop(0)
                            shown.pts = None
                            film.mux(stream.encode(shown))
            if stream is not None:
                film.mux(stream.encode())
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
