"""Write frames to mp4 or webm: through ComfyUI's own video class where it can, else with PyAV, which ComfyUI ships."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import torch
from comfy_api.latest import InputImpl, Types

from ..flf2v.errors import FLF2VError
from ..flf2v.sizes import check_size

FORMATS = ("mp4", "webm")
# Constant rate factors: (x264, VP9). "default" leaves mp4 to ComfyUI's own encoder settings.
QUALITIES: Mapping[str, tuple[int, int]] = {
    "default": (23, 31),
    "best": (12, 15),
    "high": (18, 24),
    "medium": (23, 31),
    "small": (30, 40),
}


def crop_to(images: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """The top left ``width`` x ``height`` of ``[F, H, W, C]`` frames; 0 keeps the side as decoded.

    Raises FLF2VError when the frames are smaller than asked, or the size cannot be a video's.
    """
    have_height, have_width = images.shape[1:3]
    width, height = width or have_width, height or have_height
    check_size(width, height)
    if width > have_width or height > have_height:
        raise FLF2VError(
            f"the frames are {have_width} x {have_height} pixels, too small for the asked {width} x {height}. "
            "Give the save node and the conditioning node the same width and height, or 0 here."
        )
    return images[:, :height, :width, :3]


def split_videos(images: torch.Tensor, frames_per_video: int) -> list[torch.Tensor]:
    """The frames of each video of a batch. Raises FLF2VError when they do not come out even."""
    count = images.shape[0]
    if not frames_per_video:
        return [images]
    if count % frames_per_video:
        raise FLF2VError(
            f"{count} frames cannot be split into videos of {frames_per_video} frames. "
            "Set frames_per_video to the length of the conditioning node, or 0 for one video."
        )
    return list(torch.split(images, frames_per_video))


def write_video(
    path: Path,
    images: torch.Tensor,
    frame_rate: float,
    *,
    container: str = "mp4",
    quality: str = "default",
    audio: Any | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write ``[F, H, W, 3]`` frames in [0, 1] as h264 (mp4) or VP9 (webm), both yuv420p."""
    rate = Fraction(frame_rate).limit_denominator(1001)
    if container == "mp4" and quality == "default":
        components = Types.VideoComponents(images=images, audio=audio, frame_rate=rate)
        InputImpl.VideoFromComponents(components).save_to(
            str(path), metadata=None if metadata is None else dict(metadata)
        )
        return
    _write_with_pyav(path, images, rate, container, QUALITIES[quality], audio, metadata)


def _write_with_pyav(
    path: Path,
    images: torch.Tensor,
    rate: Fraction,
    container: str,
    crf: tuple[int, int],
    audio: Any | None,
    metadata: Mapping[str, Any] | None,
) -> None:
    options = {"movflags": "use_metadata_tags+faststart"} if container == "mp4" else {}
    with av.open(str(path), mode="w", format=container, options=options) as output:
        for key, value in (metadata or {}).items():
            output.metadata[key] = json.dumps(value)
        if container == "mp4":
            stream = output.add_stream("h264", rate=rate, options={"crf": str(crf[0])})
        else:
            fast = {"crf": str(crf[1]), "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}
            stream = output.add_stream("libvpx-vp9", rate=rate, options=fast)
        stream.height, stream.width = images.shape[1:3]
        stream.pix_fmt = "yuv420p"
        sound = None
        if audio is not None:
            sound = output.add_stream("aac" if container == "mp4" else "libopus", rate=_sound_rate(audio, container))
        for image in images:
            pixels = (image * 255).clamp(0, 255).byte().cpu().numpy()
            output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        output.mux(stream.encode(None))
        if sound is not None:
            for packet in _encode_sound(sound, audio, images.shape[0] / rate):
                output.mux(packet)


def _sound_rate(audio: Any, container: str) -> int:
    return int(audio["sample_rate"]) if container == "mp4" else 48000  # Opus has no 44.1 kHz


def _encode_sound(stream: Any, audio: Any, seconds: Fraction) -> Any:
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
