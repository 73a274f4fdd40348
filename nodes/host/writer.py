"""Write frames as a video file with PyAV, which ComfyUI ships, or as PNG pictures: colour, sound, metadata.

Video is BT.709 and says so (matrix, primaries, transfer, range), so that every player shows the colours as given.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import av
import numpy.typing as npt
from av.bitstream import BitStreamFilterContext
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ...flf2v.errors import FLF2VError
from ...flf2v.frames import is_finite
from .codecs import Codec, Encoding

Pixels = npt.NDArray[Any]  # [n, H, W, 3], uint8 or uint16
BT709, RGB = 1, 0  # ITU-T H.273: of matrix, primaries and transfer alike; as matrix, none
LIMITED, FULL = 1, 2
LAYOUTS = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")  # of 1 to 8 channels, as FFmpeg has them
PICTURE = "%05d.png"  # the name of one picture of many, also to PyAV


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
        encoder = codec.encoder()
        if encoder == "libsvtav1":
            os.environ.setdefault("SVT_LOG", "1")  # errors alone; else it prints a dozen lines for each file
        self._stream = self._output.add_stream(encoder, rate=contents.rate, options=dict(encoding.options))
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
        self._tags = BitStreamFilterContext(codec.tags, self._stream) if codec.tags else None
        self._sound = None if contents.audio is None else self._add_sound(encoding.format)

    def encode(self, pixels: Pixels) -> None:
        """Add frames."""
        for number, picture in enumerate(pixels, self._count):
            frame = av.VideoFrame.from_ndarray(picture, format=self._codec.source)
            frame = self._reformatter.reformat(frame, format=self._codec.pixels, **self._conversion)
            if not self._rgb:
                frame.colorspace, frame.color_range = BT709, LIMITED
            if number in self._contents.alone:
                frame.pict_type = PictureType.I
            self._mux(frame)
        self._count += len(pixels)

    def finish(self) -> None:
        """Flush the encoder, add the sound and close the file."""
        self._mux(None)
        if self._sound is not None:
            for packet in _encode_sound(self._sound, self._contents.audio, self._count / self._contents.rate):
                self._output.mux(packet)
        self._output.close()

    def _mux(self, frame: Any) -> None:
        """Encode a frame, or with None what is left of them."""
        for packet in self._stream.encode(frame):
            self._output.mux(packet if self._tags is None else self._tags.filter(packet))

    def discard(self) -> None:
        """Remove the file."""
        with contextlib.suppress(OSError):  # the disk may be full
            self._output.close()
        self.path.unlink(missing_ok=True)

    def _add_sound(self, format: str) -> Any:
        encoder, rate = "libopus" if format == "webm" else "aac", self._contents.audio["sample_rate"]
        rates = sorted(av.codec.Codec(encoder, "w").audio_rates or ())
        return self._output.add_stream(encoder, rate=next((each for each in rates if each >= rate), rates[-1]))


class PictureWriter:
    """A folder of PNG pictures, 8 bits a colour; each carries the metadata, as ComfyUI's own do."""

    def __init__(self, path: Path, contents: Contents) -> None:
        self.path = path
        self._count = 0
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


def check_sound(audio: Any) -> None:
    """Raise FLF2VError for sound that cannot be encoded."""
    waveform = audio["waveform"]
    if waveform.ndim != 3 or not waveform.numel() or waveform.shape[1] > len(LAYOUTS) or not is_finite(waveform):
        raise FLF2VError(
            f"audio must be [1 or more, 1 to {len(LAYOUTS)} channels, 1 or more samples] of finite numbers; got "
            f"{list(waveform.shape)}. Disconnect it, or connect another."
        )


def _encode_sound(stream: Any, audio: Any, seconds: Fraction) -> Iterator[Any]:
    """The packets of the first waveform, cut to the video's length and resampled to what the encoder takes."""
    rate = int(audio["sample_rate"])
    waveform = audio["waveform"][0, :, : int(rate * seconds) + 1].float().cpu()
    # one channel's sample after the other's: PyAV takes no 8 planes
    samples = waveform.T.reshape(1, -1).numpy()
    frame = av.AudioFrame.from_ndarray(samples, format="flt", layout=LAYOUTS[len(waveform) - 1])
    frame.sample_rate = rate
    frame.pts = 0
    resampler = av.AudioResampler(stream.format, stream.layout, stream.rate, frame_size=stream.frame_size or None)
    for resampled in [*resampler.resample(frame), *resampler.resample(None)]:
        yield from stream.encode(resampled)
    yield from stream.encode(None)
