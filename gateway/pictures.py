"""Pictures at the door: a data URI, a URL or an upload becomes a stored plain PNG, decoded in a child process."""

from __future__ import annotations

import asyncio
import base64
import binascii
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from .decode import CPU_S, PictureError, confine, to_png

_MEDIA_TYPES = ("image/png", "image/jpeg", "image/jpg", "image/webp")


class PictureDecoder:
    """Decodes untrusted pictures in child processes; one that dies or hangs costs its own request alone."""

    def __init__(self, max_pixels: int, processes: int = 2) -> None:
        self._max_pixels = max_pixels
        self._processes = processes
        self._gate = asyncio.Semaphore(processes)
        self._pool = self._new_pool()

    def _new_pool(self) -> ProcessPoolExecutor:
        spawn = multiprocessing.get_context("spawn")  # a fork would inherit keys and connections
        return ProcessPoolExecutor(self._processes, mp_context=spawn, initializer=confine)

    async def png(self, data: bytes) -> bytes:
        """The picture as a plain RGB PNG. Raises PictureError."""
        async with self._gate:
            pool = self._pool
            work = asyncio.get_running_loop().run_in_executor(pool, to_png, data, self._max_pixels)
            try:
                return await asyncio.wait_for(work, CPU_S)
            except (BrokenProcessPool, asyncio.TimeoutError):
                self._replace(pool)
                raise PictureError("The picture takes too much time or memory to decode.") from None

    def _replace(self, broken: ProcessPoolExecutor) -> None:
        if self._pool is broken:
            self._pool = self._new_pool()
        for process in list((broken._processes or {}).values()):  # no public way to end a hung child
            process.kill()
        broken.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """End the child processes."""
        for process in list((self._pool._processes or {}).values()):
            process.kill()
        self._pool.shutdown(wait=False, cancel_futures=True)


def from_data_uri(text: str, max_bytes: int) -> bytes:
    """The bytes in a base64 data URI of a picture. Raises PictureError."""
    head, comma, body = text.partition(",")
    media_type, *parameters = head[len("data:") :].lower().split(";")
    if not comma or "base64" not in parameters:
        raise PictureError("A data URI must look like data:image/png;base64,….")
    if media_type not in _MEDIA_TYPES:
        raise PictureError(f"A picture must be PNG, JPEG or WebP; the data URI says {media_type[:60] or 'nothing'}.")
    if len(body) * 3 // 4 > max_bytes + 3:
        raise PictureError(f"A picture must have at most {max_bytes // 1024 // 1024} MiB.")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise PictureError("The data URI's base64 is damaged.") from None
