"""The videos that a film is joined of: each a whole clip, in ComfyUI's temporary folder."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import folder_paths
import torch
from comfy_api.latest import InputImpl

from ...flf2v.colour import ColourMatch
from ...flf2v.sizes import Fit
from .codecs import encoding_of
from .families import check_latent, check_vae
from .join import Piece, join_videos
from .types import Latent, Pictures, Vae, Video
from .video_files import Names, VideoFiles, clear_errors, decode_into
from .videos import fitted_frames
from .writer import Contents

_ENCODING = encoding_of("mp4", "default", "auto", -1)
# x264 begins a group of pictures that stands for itself at the frames that stand alone
ENCODING = replace(_ENCODING, options={**_ENCODING.options, "forced-idr": "1"})
ANY_LENGTH = 2**30
KEPT = "ComfyUI keeps the segments that are done: queue again."


def temporary_folder() -> Path:
    """Where pieces and films lie until ComfyUI clears its temporary files at its next start."""
    folder = Path(folder_paths.get_temp_directory()) / "wan_flf2v"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass(frozen=True)
class Shown:
    """How a clip's frames are shown.

    It has ``carried`` frames of what is before it, and shares ``ending`` ones with what follows; its own last frames are
    ``kept`` for the next clip. The ``match`` that the carried ones were given is taken back in what is shown, wholly at the
    last of them and by a line to nothing at the clip's end, so that no step of colours appears.
    """

    width: int
    height: int
    frame_rate: float
    carried: int = 0
    kept: int = 0
    ending: int = 1
    match: ColourMatch | None = None

    def frames(self, frames: torch.Tensor, number: int, length: int) -> torch.Tensor:
        """These frames of a clip of ``length``, from ``number`` on."""
        frames = frames[:, : self.height, : self.width, :3]
        if self.match is None:
            return frames
        return self.match.inverse().faded(frames, number, max(self.carried, 1) - 1, length - 1)


class ClipFile(VideoFiles):
    """A clip's video, whole; ``tail`` are the last of its frames, as they are shown.

    Where it may be cut, groups of pictures begin: its last frame, and what it does not share with its neighbours.
    """

    def __init__(self, shown: Shown, length: int) -> None:
        rate = Fraction(shown.frame_rate).limit_denominator(1001)
        alone = frozenset([shown.carried, length - shown.ending, length - 1])
        contents = Contents(rate, shown.width, shown.height, alone=alone)
        names = Names(temporary_folder(), "clip", 1, ".mp4")
        super().__init__(names, ENCODING, contents, frames=length, frames_per_file=length)
        self.tail = torch.empty(0, shown.height, shown.width, 3)
        self._shown, self._length, self._count = shown, length, 0

    def write(self, video: int, frames: torch.Tensor) -> None:
        """Add the next frames."""
        frames = self._shown.frames(frames, self._count, self._length)
        self._count += len(frames)
        tail = torch.cat([self.tail, frames.float().cpu()])
        self.tail = tail[max(len(tail) - self._shown.kept, 0) :].clone()
        super().write(video, frames)


def write_latent(latent: Latent, vae: Vae, shown: Shown, node_id: str | None) -> ClipFile:
    """A clip's video of a latent, decoded chunk by chunk."""
    check_vae(vae)
    length = 4 * check_latent(latent).shape[2] - 3
    attempts: list[ClipFile] = []

    def attempt() -> ClipFile:
        attempts.append(ClipFile(shown, length))
        return attempts[-1]

    with clear_errors(temporary_folder(), KEPT):
        decode_into(attempt, latent, vae, node_id)
    return attempts[-1]


def write_images(images: Pictures, shown: Shown) -> ClipFile:
    """A clip's video of decoded frames."""
    file = ClipFile(shown, len(images))
    with clear_errors(temporary_folder(), KEPT), file:
        file.write(0, images)
    return file


def write_video(video: Video, shown: Shown, fit: Fit) -> tuple[ClipFile, Pictures]:
    """A given video as a clip, and its first frames, as many as are kept."""
    file, head = ClipFile(shown, ANY_LENGTH), torch.empty(0, shown.height, shown.width, 3)
    with clear_errors(temporary_folder(), KEPT), file:
        for frames in fitted_frames(video, shown.width, shown.height, fit):
            head = torch.cat([head, frames[: shown.kept - len(head)]])
            file.write(0, frames)
    return file, head


def join_film(paths: Sequence[Path], spans: Sequence[tuple[int, int | None]]) -> Any:
    """The film of these frames of each video, None for all to its end, as ComfyUI's VIDEO."""
    film = temporary_folder() / f"film_{uuid.uuid4().hex[:12]}.mp4"
    with clear_errors(film.parent, KEPT):
        join_videos([Piece(path, first, end) for path, (first, end) in zip(paths, spans, strict=True)], film)
    return video_of(film)


def video_of(path: str | Path) -> Any:
    """The video in a file, as ComfyUI's VIDEO."""
    return InputImpl.VideoFromFile(str(path))
