"""Files of ComfyUI's input folder, by name."""

from __future__ import annotations

import os
from pathlib import Path

import folder_paths
from PIL import Image

from ...flf2v.errors import FLF2VError
from ...flf2v.sizes import check_picture_size


def input_file(name: str, whose: str) -> Path:
    """The file of this name, as LoadImage and LoadVideo take it. Raises FLF2VError, which calls it ``whose``."""
    plain, annotated = folder_paths.annotated_filepath(name)  # "a.png [output]" lies in the output folder
    folder = Path(os.path.abspath(annotated or folder_paths.get_input_directory()))
    path = Path(os.path.abspath(folder / str(plain)))  # links in the folder may lead elsewhere, as for LoadImage
    if not path.is_relative_to(folder):
        raise FLF2VError(f"{whose} must be in ComfyUI's input folder; got {name!r}.")
    if not path.is_file():
        raise FLF2VError(
            f"{whose}: there is no file {name!r} in ComfyUI's input folder. Upload it, or correct the name."
        )
    return path


def input_picture(name: str, whose: str) -> Path:
    """As ``input_file``, of a picture that can be a frame. Only its header is read."""
    path = input_file(name, whose)
    try:
        with Image.open(path) as image:
            size = image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise FLF2VError(f"{whose}: {name!r} is no picture that can be read. Give a PNG, JPEG or WebP.") from None
    try:
        check_picture_size(*size)
    except FLF2VError as error:
        raise FLF2VError(f"{whose}: {error}") from None
    return path
