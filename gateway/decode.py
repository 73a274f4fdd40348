"""What turns an untrusted picture into a plain RGB PNG. Runs in a child process with little memory; imports Pillow only."""

from __future__ import annotations

import base64
import io
import os
import signal
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TypeVar

resource: ModuleType | None
try:
    import resource
except ImportError:  # on Windows
    resource = None

T = TypeVar("T")
_MEDIA_TYPES = ("image/png", "image/jpeg", "image/jpg", "image/webp")
FORMATS = ("PNG", "JPEG", "WEBP")
MEMORY_BYTES = 2 * 1024**3
PNG_BYTES = 99 * 1024**2  # ComfyUI takes uploads of 100 MiB
CPU_S = 20  # of a processor, for one picture or body


class PictureError(Exception):
    """The bytes are no picture that is taken; the text may be shown."""


def confine() -> None:
    """Limit this process before it sees any untrusted byte."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the gateway to handle
    if resource is None:
        return
    os.nice(5)  # whoever waits for an answer of the gateway goes first
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXCPU, _too_slow)


def _too_slow(*_: object) -> None:
    raise PictureError(f"The picture takes more than {CPU_S} s of a processor to decode.")


def limited(function: Callable[..., T], *args: object) -> T:
    """What the function makes of one picture or body, with its own share of the processor. Raises PictureError."""
    if resource is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + CPU_S, hard))
    return function(*args)


def to_png(source: bytes | Path, out: Path, max_pixels: int, max_bytes: int) -> None:
    """Write the picture as an upright RGB PNG without metadata, from its file or its data URI. Raises PictureError."""
    data = source.read_bytes() if isinstance(source, Path) else source
    if data[:5].lower() == b"data:":
        data = _from_data_uri(data, max_bytes)
    from PIL import Image, ImageFile, ImageOps

    ImageFile.LOAD_TRUNCATED_IMAGES = False
    Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as probe:
                width, height = probe.size
                if width < 16 or height < 16:
                    raise PictureError(f"A picture must be at least 16 x 16 pixels; got {width} x {height}.")
                probe.verify()
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:  # verify leaves a picture unusable
                image.load()
                image.getexif()  # read before the metadata go: damaged, they would make an upright copy or a PNG fail
                image.info.clear()
                plain = ImageOps.exif_transpose(image).convert("RGB")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureError(f"A picture must have at most {max_pixels} pixels.") from None
    except MemoryError:
        raise PictureError("The picture needs too much memory to decode.") from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error) as error:
        text = f"The picture can't be read ({type(error).__name__}). It must be a whole PNG, JPEG or WebP file."
        raise PictureError(text) from None
    plain.save(out, "PNG", compress_level=1)
    if out.stat().st_size > PNG_BYTES:
        raise PictureError(f"A picture must have at most {PNG_BYTES // 2**20} MiB as PNG. Make it smaller.")


def _from_data_uri(data: bytes, max_bytes: int) -> bytes:
    head, comma, text = data.partition(b",")
    media_type, *parameters = head[len("data:") :].decode("utf-8", "replace").lower().split(";")
    if not comma or "base64" not in parameters:
        raise PictureError("A data URI must look like data:image/png;base64,….")
    if media_type not in _MEDIA_TYPES:
        raise PictureError(f"A picture must be PNG, JPEG or WebP; the data URI says {media_type[:60] or 'nothing'}.")
    if len(text) * 3 // 4 > max_bytes + 3:
        raise PictureError(f"A picture must have at most {max_bytes // 1024 // 1024} MiB.")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise PictureError("The data URI's base64 is damaged.") from None
