"""The codecs that the writer can use, and which of them this PyAV has."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import av

from ...flf2v.errors import FLF2VError

QUALITIES = ("default", "best", "high", "medium", "small")
FORMATS = {"mp4": "h264", "webm": "vp9", "mov": "prores", "mkv": "ffv1", "png": None}  # and what "auto" means there


@dataclass(frozen=True)
class Codec:
    """How a codec is written: by the first of ``encoders`` that is there, its quality by ``levels`` of ``dial``."""

    encoders: tuple[str, ...]
    formats: tuple[str, ...]
    dial: str = ""
    levels: tuple[int, ...] = ()  # as QUALITIES
    max_crf: int = 63
    options: Mapping[str, str] = field(default_factory=dict)
    pixels: str = "yuv420p"
    tags: str = ""  # a bit stream filter that writes those which the encoder does not

    @property
    def source(self) -> str:
        """The format of the pixels that it is given: 8 or 16 bits a colour."""
        return "rgb24" if self.pixels in {"yuv420p", "bgr0"} else "rgb48le"

    def encoder(self) -> str | None:
        """The first encoder that this PyAV has and that takes the pixels."""
        for name in self.encoders:
            with contextlib.suppress(ValueError):  # there is no such encoder
                if any(known.name == self.pixels for known in av.codec.Codec(name, "w").video_formats or ()):
                    return name
        return None


_EIGHT_BIT = {
    "h264": Codec(("libx264", "h264"), ("mp4", "mov", "mkv"), "crf", (23, 12, 18, 23, 30), 51),
    "h265": Codec(
        ("libx265",), ("mp4", "mov", "mkv"), "crf", (28, 16, 22, 28, 34), 51, {"x265-params": "log-level=error"}
    ),
    "av1": Codec(
        ("libsvtav1", "libaom-av1"),
        ("mp4", "webm", "mkv"),
        "crf",
        (30, 15, 23, 30, 40),
        options={"preset": "8", "cpu-used": "6", "row-mt": "1"},  # each encoder takes those that it knows
    ),
    "vp9": Codec(
        ("libvpx-vp9",),
        ("webm", "mp4", "mkv"),
        "crf",
        (31, 15, 24, 31, 40),
        options={"b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"},
    ),
}
_KNOWN = {
    **_EIGHT_BIT,
    **{f"{name} 10-bit": replace(codec, pixels="yuv420p10le") for name, codec in _EIGHT_BIT.items()},
    "prores": Codec(
        ("prores_ks",),
        ("mov", "mkv"),
        "profile",
        (2, 3, 3, 2, 1),
        pixels="yuv422p10le",
        tags="prores_metadata=color_primaries=bt709:color_trc=bt709",
    ),
    "ffv1": Codec(("ffv1",), ("mkv",), pixels="bgr0"),
    "ffv1 16-bit": Codec(("ffv1",), ("mkv",), pixels="rgb48le"),
}
CODECS: Mapping[str, Codec] = {name: codec for name, codec in _KNOWN.items() if codec.encoder()}


@dataclass(frozen=True)
class Encoding:
    """What is asked for: a format, and a codec with its encoder's options, or none for pictures."""

    format: str
    codec: Codec | None
    options: Mapping[str, str]

    @property
    def bits(self) -> int:
        """The bits of a colour that the writer takes."""
        return 16 if self.codec is not None and self.codec.source == "rgb48le" else 8


def encoding_of(format: str, quality: str, codec: str, crf: int) -> Encoding:
    """The encoding of the node's widgets; ``crf`` -1 leaves it to ``quality``.

    Raises FLF2VError for a codec that this PyAV has not or that does not fit, and for a crf that it has not.
    """
    name = (FORMATS[format] or "") if codec == "auto" else codec
    chosen = CODECS.get(name)
    if format == "png":
        if codec != "auto" or crf >= 0:
            raise FLF2VError('format png writes lossless pictures: set codec to "auto" and crf to -1.')
        return Encoding(format, None, {})
    if chosen is None:
        raise FLF2VError(f"this PyAV cannot write {name}; it can write {', '.join(CODECS)}.")
    if format not in chosen.formats:
        raise FLF2VError(f"{name} cannot be saved as {format}; set format to {' or '.join(chosen.formats)}.")
    if crf < 0:
        level = chosen.levels[QUALITIES.index(quality)] if chosen.levels else 0
    elif chosen.dial != "crf":
        raise FLF2VError(f"{name} has no crf; set crf to -1.")
    elif crf > chosen.max_crf:
        raise FLF2VError(f"crf of {name} must be at most {chosen.max_crf}; got {crf}.")
    else:
        level = crf
    return Encoding(format, chosen, {**chosen.options, **({chosen.dial: str(level)} if chosen.dial else {})})
