"""Frames as they come, some at a time, into the files of one or several videos; a file gets its name when it is whole."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ...flf2v.errors import FLF2VError
from .codecs import Encoding
from .decode import DecodeWholeError, decode_streamed, decode_whole
from .progress import progress_bar, show_on_node
from .types import Latent, Vae
from .writer import Contents, Pixels, Writer, open_writer

CHUNK = 16
PLAYBACKS = ("once", "loop", "ping-pong")
ABANDONED_S = 86400.0  # a file that grew no more for so long is nobody's
_PROCESS = uuid.uuid4().hex[:8]  # several ComfyUIs may write into one folder, from several machines


@dataclass(frozen=True)
class Names:
    """Where the files go: ``<folder>/<name>_<number>_<suffix>``, counted from ``number``."""

    folder: Path
    name: str
    number: int
    suffix: str

    def preliminary(self, index: int) -> Path:
        """The path of a file that is not whole yet: hidden, no video by its ending, and this process's alone."""
        return self.folder / f".{self.name}_{self.number:05}_{index}_{_PROCESS}.partial"

    def clear(self) -> None:
        """Remove the files of this name that a killed process left before they were whole."""
        for path in self.folder.glob(f".{glob.escape(self.name)}_*.partial"):
            with suppress(FileNotFoundError):  # another process clears them, too
                if time.time() - path.stat().st_mtime > ABANDONED_S:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def give(self, path: Path) -> Path:
        """Give a whole file the next name that is free; returns it."""
        number = self.number
        while (final := self.folder / f"{self.name}_{number:05}_{self.suffix}").exists():
            number += 1
        os.replace(path, final)
        return final


class Playback:
    """Passes frames to a writer in the order in which they are to be seen.

    "loop" leaves the last of ``frames`` out, for a video that ends on its first. "ping-pong" also goes back, the two ends
    once each, by a nameless file of raw frames.
    """

    def __init__(self, writer: Writer, playback: str, frames: int) -> None:
        self._writer = writer
        self._shown = max(frames - (playback == "loop"), 1)
        raw = playback == "ping-pong"
        self._raw = tempfile.TemporaryFile(dir=writer.path.parent) if raw else None  # noqa: SIM115 - closed at the end
        self._last: Pixels | None = None
        self._count = 0

    def encode(self, pixels: Pixels) -> None:
        """Write some frames."""
        if self._raw is not None:
            self._raw.write(pixels.tobytes())
        self._writer.encode(pixels[: max(self._shown - self._count, 0)])
        self._last = pixels[-1:]
        self._count += len(pixels)

    def finish(self) -> Path:
        """Write what comes after the last frame and make the file whole."""
        if self._last is not None and self._raw is not None:
            for number in range(self._count - 2, 0, -1):
                self._raw.seek(number * self._last.nbytes)
                raw = np.frombuffer(self._raw.read(self._last.nbytes), self._last.dtype)
                self._writer.encode(raw.reshape(self._last.shape))
            self._raw.close()
        self._writer.finish()
        return self._writer.path

    def discard(self) -> None:
        """Leave nothing behind."""
        if self._raw is not None:
            self._raw.close()
        self._writer.discard()


class VideoFiles:
    """A context manager that takes frames and leaves ``saved`` files; none when it is left by an exception.

    Frames of ``[n, H, W, 3]`` in [0, 1], ``frames`` in all, become 8 or 16 bits a colour, and are encoded on a thread of
    their own while the next ones are made.
    """

    def __init__(
        self,
        names: Names,
        encoding: Encoding,
        contents: Contents,
        *,
        frames: int,
        frames_per_file: int,
        playback: str = "once",
    ) -> None:
        self.saved: list[Path] = []
        self._names = names
        self._encoding = encoding
        self._contents = contents
        self._frames_per_file = frames_per_file
        self._playback = playback
        self._show = progress_bar(frames)
        self._written: dict[int, int] = defaultdict(int)
        self._files: dict[tuple[int, int], Playback] = {}  # by the video and the part of it
        self._last_frames: dict[tuple[int, int], torch.Tensor] = {}
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def __enter__(self) -> VideoFiles:
        self._names.clear()
        return self

    def write(self, video: int, frames: torch.Tensor) -> None:
        """Add the next frames of a video; of larger ones the top left."""
        for some in torch.split(frames[:, : self._contents.height, : self._contents.width, :3], CHUNK):
            self._write(video, some)

    def _write(self, video: int, frames: torch.Tensor) -> None:
        self._show(sum(self._written.values()) + len(frames))
        pixels = to_pixels(frames, self._encoding.bits)
        while len(pixels):
            part, used = divmod(self._written[video], self._frames_per_file)
            now = pixels[: self._frames_per_file - used]
            pixels, frames_now, frames = pixels[len(now) :], frames[: len(now)], frames[len(now) :]
            self._last_frames[video, part] = frames_now[-1:].float().cpu().clone()
            self._written[video] += len(now)
            if self._pending is not None:
                self._pending.result()
            self._pending = self._thread.submit(self._encode, (video, part), now)

    def _encode(self, key: tuple[int, int], pixels: Pixels) -> None:
        if key not in self._files:
            path = self._names.preliminary(len(self._files))
            writer = open_writer(path, self._encoding, self._contents)
            self._files[key] = Playback(writer, self._playback, self._frames_per_file)
        self._files[key].encode(pixels)

    @property
    def last_frames(self) -> torch.Tensor:
        """The last frame of each file, ``[n, H, W, 3]``."""
        return torch.cat([self._last_frames[key] for key in sorted(self._last_frames)])

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._thread.shutdown()
        whole = False
        try:
            if kind is None:
                if self._pending is not None:
                    self._pending.result()
                paths = [self._files[key].finish() for key in sorted(self._files)]
                self.saved = [self._names.give(path) for path in paths]
                whole = True
        finally:
            if not whole:
                for file in self._files.values():
                    file.discard()


def decode_into(files: Callable[[], VideoFiles], latent: Latent, vae: Vae, node_id: str | None) -> VideoFiles:
    """The written files of a latent's videos; ``files`` makes those of an attempt, of which there may be two."""
    try:
        with files() as written:
            decode_streamed(vae, latent["samples"], written.write)
    except DecodeWholeError as reason:
        show_on_node(f"Decoding: {reason}", node_id)
        with files() as written:
            for number, frames in enumerate(decode_whole(vae, latent["samples"], reason)):
                written.write(number, frames)
    return written


_NO_FOLDER = (PermissionError, NotADirectoryError, FileExistsError)


@contextmanager
def clear_errors(folder: Path, still: str = "ComfyUI still has the latent: queue again.") -> Iterator[None]:
    """Turn what the disk refuses into one message, which ends with what is ``still`` there."""
    try:
        yield
    except OSError as error:
        do = "Make it a folder that ComfyUI may write to" if isinstance(error, _NO_FOLDER) else "Make room there"
        raise FLF2VError(f"nothing can be written to {folder} ({error.strerror or error}). {do}. {still}") from error


def to_pixels(frames: torch.Tensor, bits: int) -> Pixels:
    """Frames in [0, 1] as 8 or 16 bits a colour, rounded to the nearest."""
    top = 2**bits - 1
    whole = (frames.float() * top).round_().clamp_(0, top)
    pixels: Pixels = whole.to(torch.uint8 if bits == 8 else torch.int32).cpu().numpy()
    return pixels if bits == 8 else pixels.astype(np.uint16)
