"""The check of a picture file before it is uploaded."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from ..flf2v.errors import FLF2VError
from ..flf2v.sizes import MAX_SIZE, MIN_SIZE, check_picture_size
from .errors import CliError


def check_picture(path: Path, field: str) -> None:
    """Raise CliError unless ``path`` is a picture that decodes whole and has a usable size. ``field`` is its title."""
    if path.is_dir():
        raise CliError(f"{field}: {path} is a folder; give a picture file.")
    if not path.is_file():
        raise CliError(f"{field}: there is no file {path}.")
    try:
        with Image.open(path) as image:
            check_picture_size(*image.size)  # from the header, before any pixel is decoded
            image.load()
    except FLF2VError as error:
        raise CliError(f"{field}: {path.name}: {error}") from None
    except Image.DecompressionBombError:
        raise CliError(
            f"{field}: {path.name} has too many pixels; a picture must be between {MIN_SIZE} and {MAX_SIZE} pixels "
            "on each side. Scale it down first."
        ) from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise CliError(
            f"{field}: {path.name} is no picture that can be read ({type(error).__name__}). Give a PNG, JPEG or WebP."
        ) from None
