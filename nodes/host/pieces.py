"""The videos that a film is joined of: each a whole clip, in ComfyUI's temporary folder."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import InputImpl

from .codecs import encoding_of
from .families import check_vae
from .join import Piece, join_videos
from .types import Latent, Pictures, Vae
from .video_files import Names, VideoFiles, decode_into
from .writer import Contents

_ENCODING = encoding_of("mp4", "default", "auto", -1)
# x264 begins a group of pictures that stands for itself at the frames that stand alone
ENCODING = replace(_ENCODING, options={**_ENCODING.options, "forced-idr": "1"})


def temporary_folder() -> Path:
    """Where pieces and films lie until ComfyUI clears its temporary files at its next start."""
    folder = Path(folder_paths.get_temp_directory()) / "wan_flf2v"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_latent(latent: Latent, vae: Vae, size: tuple[int, int], frame_rate: float, node_id: str | None) -> Path:
    """A clip's video of a latent, decoded chunk by chunk."""
    check_vae(vae)
    frames = 4 * latent["samples"].shape[2] - 3
    return decode_into(lambda: _files(frames, size, frame_rate), latent, vae, node_id).saved[0]


def write_images(images: Pictures, size: tuple[int, int], frame_rate: float) -> Path:
    """A clip's video of decoded frames."""
    with _files(len(images), size, frame_rate) as files:
        files.write(0, images)
    return files.saved[0]


def _files(frames: int, size: tuple[int, int], frame_rate: float) -> VideoFiles:
    """The file of one clip; its last frame stands alone, so that a film can leave it out."""
    rate = Fraction(frame_rate).limit_denominator(1001)
    contents = Contents(rate, *size, alone=frozenset([frames - 1]))
    names = Names(temporary_folder(), "clip", 1, ".mp4")
    return VideoFiles(names, ENCODING, contents, frames=frames, frames_per_file=frames)


def join_film(paths: Sequence[Path], spans: Sequence[tuple[int, int]]) -> Any:
    """The film of these frames of each video, as ComfyUI's VIDEO."""
    film = temporary_folder() / f"film_{uuid.uuid4().hex[:12]}.mp4"
    join_videos([Piece(path, *span) for path, span in zip(paths, spans, strict=True)], film)
    return InputImpl.VideoFromFile(str(film))
