"""From a latent, or from frames, to video files in ComfyUI's output folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import folder_paths
import torch
from comfy.cli_args import args

from ...flf2v.errors import FLF2VError
from ...flf2v.frames import check_pictures
from ...flf2v.names import expand_name
from ...flf2v.sizes import check_size
from . import unfinished
from .codecs import Encoding
from .families import check_latent, check_vae
from .types import Latent, Pictures, Vae
from .video_files import Names, VideoFiles, clear_errors, decode_into
from .writer import PICTURE, Contents, check_sound

LONGEST_NAME = 200  # bytes; file systems take 255, and a file that is not whole has a longer name
STRIDE = 8  # pixels of a frame to one of the latent, each way


@dataclass(frozen=True)
class Request:
    """What is to be saved: ``width``, ``height`` 0 as decoded; ``frames_per_video`` 0 for all; the node's ``hidden``."""

    hidden: Any
    encoding: Encoding
    frame_rate: float
    filename_prefix: str
    width: int
    height: int
    frames_per_video: int
    audio: Any = None
    playback: str = "once"


@dataclass(frozen=True)
class Saved:
    """The whole files (or folders of pictures), and the last frame of each, ``[n, H, W, 3]``."""

    paths: list[Path]
    subfolder: str
    last_frames: torch.Tensor

    @property
    def playable(self) -> list[str]:
        """What PyAV can open as a video."""
        return [str(path / PICTURE) if path.is_dir() else str(path) for path in self.paths]

    @property
    def shown(self) -> list[tuple[str, str]]:
        """The files as (name, folder below the output folder)."""
        found = []
        for path in self.paths:
            inside = sorted(path.iterdir()) if path.is_dir() else []
            found += [(file.name, os.path.join(self.subfolder, path.name)) for file in inside]
            found += [] if path.is_dir() else [(path.name, self.subfolder)]
        return found


def save_images(images: Pictures, request: Request) -> Saved:
    """Save frames as one video, or one for each ``frames_per_video``. Raises FLF2VError for what cannot be saved."""
    check_pictures(images)
    count, height, width = images.shape[:3]
    target = _Target(request, width, height, count)
    with clear_errors(target.names.folder), target.files(count) as files:
        files.write(0, images)
    return Saved(files.saved, target.subfolder, files.last_frames)


def save_latent(latent: Latent, vae: Vae, request: Request) -> Saved:
    """Decode and save each video of a latent, which stays on the disk until they are whole."""
    check_vae(vae)
    samples = check_latent(latent)
    videos, _, length, height, width = samples.shape
    count = 4 * length - 3
    target = _Target(request, width * STRIDE, height * STRIDE, count)
    kept = target.keep(samples)
    with clear_errors(target.names.folder, f"`wan-flf2v finish {kept}` does the rest."):
        files = decode_into(lambda: target.files(videos * count), latent, vae, request.hidden.unique_id)
        kept.unlink(missing_ok=True)
    return Saved(files.saved, target.subfolder, files.last_frames)


class _Target:
    """Where a request's files go and how they are written. Raises FLF2VError for what does not fit the frames."""

    def __init__(self, request: Request, width: int, height: int, count: int) -> None:
        self._request = request
        self._width, self._height = cropped_size(width, height, request)
        if request.audio is not None:
            check_sound(request.audio)
        self._frames_per_file = request.frames_per_video or count
        if count % self._frames_per_file:
            raise FLF2VError(
                f"{count} frames cannot be split into videos of {self._frames_per_file} frames. "
                "Set frames_per_video to the length of the conditioning node, or 0 for one video."
            )
        prefix = expand_name(request.filename_prefix, request.hidden.prompt or {}, datetime.now())
        output = folder_paths.get_output_directory()
        with clear_errors(Path(output) / os.path.dirname(prefix)):
            folder, name, number, self.subfolder, self._prefix = folder_paths.get_save_image_path(
                prefix, output, self._width, self._height
            )
        if len(name.encode()) > LONGEST_NAME:
            raise FLF2VError(
                f"filename_prefix gives a file name of {len(name.encode())} bytes; it may have {LONGEST_NAME}, beside its "
                "number and ending. Shorten it, or take a text out of it."
            )
        suffix = "" if request.encoding.codec is None else f".{request.encoding.format}"
        self.names = Names(Path(folder), name, number, suffix)

    def keep(self, samples: torch.Tensor) -> Path:
        """Write the latent beside the video to be."""
        hidden = self._request.hidden
        graph = unfinished.finish_graph(hidden.dynprompt, hidden.unique_id, {"filename_prefix": self._prefix})
        with clear_errors(self.names.folder):
            return unfinished.keep(self.names.folder, self.names.name, samples, graph, _metadata(hidden))

    def files(self, count: int) -> VideoFiles:
        """The files of a new attempt at ``count`` frames."""
        request = self._request
        rate = Fraction(request.frame_rate).limit_denominator(1001)
        contents = Contents(rate, self._width, self._height, request.audio, _metadata(request.hidden))
        return VideoFiles(
            self.names,
            request.encoding,
            contents,
            frames=count,
            frames_per_file=self._frames_per_file,
            playback=request.playback,
        )


def cropped_size(width: int, height: int, request: Request) -> tuple[int, int]:
    """The (width, height) to crop frames of this size to. Raises FLF2VError when they are smaller, or no video's size."""
    wanted = request.width or width, request.height or height
    check_size(*wanted)
    if wanted[0] > width or wanted[1] > height:
        raise FLF2VError(
            f"the frames are {width} x {height} pixels, too small for the asked {wanted[0]} x {wanted[1]}. "
            "Give the save node and the conditioning node the same width and height, or 0 here."
        )
    return wanted


def _metadata(hidden: Any) -> dict[str, Any]:
    """Prompt and workflow for the file; nothing where ComfyUI runs with --disable-metadata.

    A finished video carries those of the job that it was begun by.
    """
    if args.disable_metadata:
        return {}
    prompt = {} if hidden.prompt is None else {"prompt": hidden.prompt}
    return prompt | dict(hidden.extra_pnginfo or {})
