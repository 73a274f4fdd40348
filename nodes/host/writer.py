"""Write frames as a video file with PyAV, which ComfyUI ships, or as PNG pictures: codecs, colour, sound, metadata.

Video is BT.709 and says so (matrix, primaries, transfer, range), so that every player shows the colours as given.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import av
import numpy.typing as npt
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ...flf2v.errors import FLF2VError

Pixels = npt.NDArray[Any]  # [n, H, W, 3], uint8 or uint16
BT709, RGB = 1, 0  # ITU-T H.273: of matrix, primaries and transfer alike; as matrix, none
LIMITED, FULL = 1, 2
PICTURE = "%05d.png"  # the name of one picture of many, also to PyAV
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
    "prores": Codec(("prores_ks",), ("mov", "mkv"), "profile", (2, 3, 3, 2, 1), pixels="yuv422p10le"),
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


@dataclass
class Contents:
    """What goes into a file beside the frames."""

    rate: Fraction
    width: int
    height: int
    audio: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    alone: frozenset[int] = frozenset()  # frames that can be left out without encoding again


class VideoWriter:
    """A video file; pixels are as ``codec.source`` says."""

    def __init__(self, path: Path, encoding: Encoding, codec: Codec, contents: Contents) -> None:
        self.path = path
        self._codec = codec
        self._contents = contents
        self._count = 0
        self._reformatter = VideoReformatter()
        muxer = "matroska" if encoding.format == "mkv" else encoding.format
        boxes = {"movflags": "use_metadata_tags+faststart"} if encoding.format in {"mp4", "mov"} else {}
        self._output = av.open(str(path), "w", format=muxer, options=boxes)
        for key, value in contents.metadata.items():
            self._output.metadata[key] = json.dumps(value)
        self._stream = self._output.add_stream(codec.encoder(), rate=contents.rate, options=dict(encoding.options))
        self._stream.width, self._stream.height, self._stream.pix_fmt = contents.width, contents.height, codec.pixels
        context = self._stream.codec_context
        if boxes and codec.encoders == ("libx265",):
            context.codec_tag = "hvc1"  # the one that Apple's players take
        self._rgb = not codec.pixels.startswith("yuv")
        context.colorspace, context.color_range = (RGB, FULL) if self._rgb else (BT709, LIMITED)
        # of its ways to halve the colour planes AREA alone rounds to the nearest
        yuv = {"dst_colorspace": BT709, "dst_color_range": LIMITED, "interpolation": "AREA"}
        self._conversion: dict[str, Any] = {} if self._rgb else yuv
        context.color_primaries = context.color_trc = BT709
        self._sound = None if contents.audio is None else self._add_sound(encoding.format)

    def encode(self, pixels: Pixels) -> None:
        """Add frames."""
        for number, picture in enumerate(pixels, self._count):
            frame = av.VideoFrame.from_ndarray(picture, format=self._codec.source)
            frame = self._reformatter.reformat(frame, format=self._codec.pixels, **self._conversion)
            if not self._rgb:
                frame.colorspace, frame.color_range = BT709, LIMITED
                if hasattr(frame, "color_primaries"):  # since PyAV 16; ProRes repeats the frames' tags
                    frame.color_primaries = frame.color_trc = BT709
            if number in self._contents.alone:
                frame.pict_type = PictureType.I
            self._output.mux(self._stream.encode(frame))
        self._count += len(pixels)

    def finish(self) -> None:
        """Flush the encoder, add the sound and close the file."""
        self._output.mux(self._stream.encode(None))
        if self._sound is not None:
            for packet in _encode_sound(self._sound, self._contents.audio, self._count / self._contents.rate):
                self._output.mux(packet)
        self._output.close()

    def discard(self) -> None:
        """Remove the file."""
        with contextlib.suppress(OSError):  # the disk may be full
            self._output.close()
        self.path.unlink(missing_ok=True)

    def _add_sound(self, format: str) -> Any:
        if format == "webm":
            return self._output.add_stream("libopus", rate=48000)  # Opus has no 44.1 kHz
        return self._output.add_stream("aac", rate=int(self._contents.audio["sample_rate"]))


class PictureWriter:
    """A folder of PNG pictures, 8 bits a colour; each carries the metadata, as ComfyUI's own do."""

    def __init__(self, path: Path, contents: Contents) -> None:
        self.path = path
        self._count = 0
        shutil.rmtree(path, ignore_errors=True)  # what a killed attempt left
        self._metadata = PngInfo()
        for key, value in contents.metadata.items():
            self._metadata.add_text(key, json.dumps(value))
        path.mkdir()

    def encode(self, pixels: Pixels) -> None:
        """Add frames."""
        for picture in pixels:
            self._count += 1
            Image.fromarray(picture).save(self.path / (PICTURE % self._count), pnginfo=self._metadata, compress_level=4)

    def finish(self) -> None:
        """Nothing is left to write."""

    def discard(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)


Writer: TypeAlias = VideoWriter | PictureWriter


def open_writer(path: Path, encoding: Encoding, contents: Contents) -> Writer:
    """The writer of one video: a file, or a folder of pictures."""
    if encoding.codec is None:
        return PictureWriter(path, contents)
    return VideoWriter(path, encoding, encoding.codec, contents)


def _encode_sound(stream: Any, audio: Any, seconds: Fraction) -> Iterator[Any]:
    """The packets of the first waveform, cut to the video's length and resampled to what the encoder takes."""
    rate = int(audio["sample_rate"])
    waveform = audio["waveform"][0, :, : int(rate * seconds) + 1].float().cpu().contiguous().numpy()
    frame = av.AudioFrame.from_ndarray(waveform, format="fltp", layout="mono" if waveform.shape[0] == 1 else "stereo")
    frame.sample_rate = rate
    frame.pts = 0
    resampler = av.AudioResampler(stream.format, stream.layout, stream.rate, frame_size=stream.frame_size or None)
    for resampled in [*resampler.resample(frame), *resampler.resample(None)]:
        yield from stream.encode(resampled)
    yield from stream.encode(None)
