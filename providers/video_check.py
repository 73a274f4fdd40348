"""Whether downloaded bytes are a whole video file, told from the container's own structure. Standard library only."""

from __future__ import annotations

from pathlib import Path

from .errors import DownloadError, DownloadRefused

_EBML = b"\x1a\x45\xdf\xa3"
_HEAD = 12


def ending(head: bytes) -> str:
    """``.mp4`` or ``.webm`` by the first 12 bytes of a file. Raises DownloadRefused for anything else."""
    if head[4:8] == b"ftyp":
        return ".mp4"
    if head[:4] == _EBML:
        return ".webm"
    raise DownloadRefused("What the provider offers as video is no MP4 or WebM file; it was not kept.")


def check_video(path: Path) -> str:
    """The ending for this file. Raises DownloadRefused when it is no video, DownloadError when its end is missing."""
    with path.open("rb") as file:
        kind = ending(file.read(_HEAD))
    if kind == ".mp4":
        _check_boxes(path)
    return kind


def _check_boxes(path: Path) -> None:
    """Walk the top-level boxes of an ISO base media file (ISO/IEC 14496-12 4.2) to its end."""
    size, position, kinds = path.stat().st_size, 0, set()
    with path.open("rb") as file:
        while position < size:
            file.seek(position)
            header = file.read(16)
            length, kind = int.from_bytes(header[:4], "big"), header[4:8]
            if length == 1:
                length = int.from_bytes(header[8:16], "big")
            elif length == 0:  # up to the end of the file
                length = size - position
            if len(header) < 8 or length < 8 or position + length > size:
                raise DownloadError("The video arrived incomplete: the file ends in the middle.")
            kinds.add(kind)
            position += length
    if b"moov" not in kinds:
        raise DownloadError("The video arrived incomplete: its index is missing.")
