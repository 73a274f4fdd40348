"""Join encoded videos by copying their packets: nothing is decoded or encoded again, and memory stays what it is.

The videos must come from one encoder with the same settings, and be cut where a group of pictures begins.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from ...flf2v.errors import FLF2VError


@dataclass(frozen=True)
class Piece:
    """A video file and which of its frames are taken: ``first`` up to, not including, ``end``; None for its own."""

    path: Path
    first: int
    end: int | None


def join_videos(pieces: Sequence[Piece], path: Path) -> None:
    """Write the taken frames of all pieces, one after the other, to ``path``, in the container that its name says.

    Raises FLF2VError for a piece that is gone, differs in its encoding, or can't be cut there without encoding again.
    """
    unfinished = path.with_name(f"{path.stem}.part{path.suffix}")
    options = {"movflags": "faststart"} if path.suffix in (".mp4", ".mov") else {}
    try:
        with av.open(str(unfinished), "w", options=options) as film:
            stream, encoding, begin = None, None, 0
            for piece in pieces:
                count = 0
                with _open(piece.path) as video:
                    source = video.streams.video[0]
                    if stream is None:
                        stream, encoding = film.add_stream_from_template(source, opaque=True), _encoding(source)
                    elif _encoding(source) != encoding:
                        raise FLF2VError(f"{piece.path.name} is encoded otherwise than the videos before it.")
                    for packet in _packets(video, source, piece, begin):
                        packet.stream = stream
                        film.mux(packet)
                        count += 1
                begin += count
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _open(path: Path) -> Any:
    try:
        return av.open(str(path))
    except FileNotFoundError:
        raise FLF2VError(
            f"the video of a segment is gone: {path}. Clear ComfyUI's node cache (Free model and node cache) "
            "and run again, which makes it anew."
        ) from None


def _encoding(stream: Any) -> tuple[Any, ...]:
    """What two streams must have in common to be played as one."""
    codec = stream.codec_context
    return codec.name, codec.width, codec.height, codec.pix_fmt, stream.average_rate, bytes(codec.extradata or b"")


def _packets(video: Any, stream: Any, piece: Piece, begin: int) -> Iterator[Any]:
    """The packets of the taken frames, timed so that the first one is frame ``begin``, in units of a frame."""
    rate = stream.average_rate
    end = stream.frames if piece.end is None else piece.end
    taken, passed = 0, False
    for packet in video.demux(stream):
        if packet.dts is None:  # the empty one at the end
            continue
        number, order = (round(time * packet.time_base * rate) for time in (packet.pts, packet.dts))
        passed |= number >= end
        if not piece.first <= number < end:
            continue
        # in the order of decoding: what comes later is needed for nothing before it
        if passed or not (taken or (number == piece.first and packet.is_keyframe)):
            raise FLF2VError(
                f"{piece.path.name} can't be cut to the frames {piece.first} to {end - 1} without encoding it again."
            )
        packet.time_base, packet.duration = 1 / rate, 1
        packet.pts, packet.dts = number - piece.first + begin, order - piece.first + begin
        taken += 1
        yield packet
    if taken != end - piece.first:
        raise FLF2VError(f"{piece.path.name} has {taken} of the frames {piece.first} to {end - 1}.")
