"""The videos that a film is joined of: each a whole clip, in ComfyUI's temporary folder."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import folder_paths
import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy.utils import ProgressBar
from comfy_api.latest import InputImpl

from .decode import DecodeWholeError, decode_streamed, decode_whole
from .families import check_vae
from .join import Piece, join_videos
from .progress import show_on_node
from .types import Latent, Pictures, Vae
from .video_files import Names, VideoFiles
from .writer import Contents, Writer, encoding_of, open_writer

CHUNK = 16
_ENCODING = encoding_of("mp4", "default", "auto", -1)
# x264 begins a group of pictures that stands for itself at the frames that stand alone
ENCODING = replace(_ENCODING, options={**_ENCODING.options, "forced-idr": "1"})


def temporary_folder() -> Path:
    """Where pieces and films lie until ComfyUI clears its temporary files at its next start."""
    folder = Path(folder_paths.get_temp_directory()) / "wan_flf2v"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class PieceWriter:
    """Writes one clip's video; its last frame stands alone, so that a film can leave it out."""

    def __init__(self, frames: int, size: tuple[int, int], frame_rate: float, node_id: str | None) -> None:
        self._frames = frames
        self._size = size
        self._rate = Fraction(frame_rate).limit_denominator(1001)
        self._node_id = node_id

    def from_latent(self, latent: Latent, vae: Vae) -> Path:
        """The video of a latent, decoded chunk by chunk."""
        check_vae(vae)
        samples = latent["samples"]
        try:
            with self._files() as files:
                decode_streamed(vae, samples, files.write)
        except DecodeWholeError as reason:
            show_on_node(f"Decoding: {reason}", self._node_id)
            return self.from_images(decode_whole(vae, samples, reason)[0])
        return files.saved[0]

    def from_images(self, images: Pictures) -> Path:
        """The video of decoded frames."""
        with self._files() as files:
            for some in torch.split(images, CHUNK):
                files.write(0, some)
        return files.saved[0]

    def _files(self) -> VideoFiles:
        bar = ProgressBar(self._frames)

        def progress(frames: int) -> None:
            throw_exception_if_processing_interrupted()
            bar.update(frames)

        return VideoFiles(
            Names(temporary_folder(), "clip", 1, ".mp4"),
            self._open,
            size=self._size,
            frames_per_file=self._frames,
            bits=8,
            playback="once",
            progress=progress,
        )

    def _open(self, path: Path) -> Writer:
        contents = Contents(self._rate, *self._size, alone=frozenset([self._frames - 1]))
        return open_writer(path, ENCODING, contents)


def join_film(paths: Sequence[Path], spans: Sequence[tuple[int, int]]) -> Any:
    """The film of these frames of each video, as ComfyUI's VIDEO."""
    film = temporary_folder() / f"film_{uuid.uuid4().hex[:12]}.mp4"
    join_videos([Piece(path, *span) for path, span in zip(paths, spans, strict=True)], film)
    return InputImpl.VideoFromFile(str(film))
