"""Pictures at the door: a data URI, a URL or an upload becomes a plain PNG, in a child process, from file to file."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TypeVar

from .bodies import Json, Scratch, take_apart
from .decode import PictureError, confine, limited, to_png
from .errors import TooLarge, Unavailable
from .shares import Places

T = TypeVar("T")


class PictureDecoder:
    """Reads untrusted pictures and long bodies in child processes; what dies or hangs there costs its request alone."""

    def __init__(self, max_pixels: int, max_bytes: int = 2**30, processes: int = 2, patience_s: float = 60) -> None:
        self._most, self._patience_s = (max_pixels, max_bytes), patience_s
        self._places = Places("pictures", processes, max(1, processes // 2))
        self._idle = [_child() for _ in range(processes)]

    async def png(self, source: bytes | Path, out: Path, owner: str) -> Path:
        """The picture as a plain RGB PNG in ``out``, from a file or a data URI. Raises PictureError or Unavailable."""
        await self._work(owner, to_png, source, out, *self._most)
        return out

    async def json(self, path: Path, scratch: Scratch, owner: str) -> Json:
        """The value of a long body, its data URIs put aside. Raises BadRequest, TooLarge or Unavailable."""
        try:
            value, found = await self._work(owner, take_apart, path)
        except PictureError:
            raise TooLarge("The body takes too much time or memory to read.") from None
        scratch.long |= {text: path.with_name(text[-64:]) for text in found}
        return value

    async def _work(self, owner: str, function: Callable[..., T], *args: object) -> T:
        async with self._places.hold(owner):
            died = 0
            while died < 2:  # the first time it may have been somebody else's deed
                child = self._idle.pop()
                try:
                    work = child.submit(limited, function, *args)
                    return await asyncio.wait_for(asyncio.wrap_future(work), self._patience_s)
                except BrokenProcessPool:
                    died += 1
                    _end(child)
                    child = _child()
                except asyncio.TimeoutError:
                    _end(child)
                    child = _child()
                    text = "The gateway is too busy to read this request's pictures; try again."
                    raise Unavailable(text, retry_after_s=5) from None
                finally:
                    self._idle.append(child)
            raise PictureError("The picture takes too much time or memory to decode.")

    def close(self) -> None:
        """End the child processes."""
        for child in self._idle:
            _end(child)


def _child() -> ProcessPoolExecutor:
    spawn = multiprocessing.get_context("spawn")  # a fork would inherit keys and connections
    return ProcessPoolExecutor(1, mp_context=spawn, initializer=confine)


def _end(child: ProcessPoolExecutor) -> None:
    for process in list((child._processes or {}).values()):  # no public way to end a hung child
        process.kill()
    child.shutdown(wait=False, cancel_futures=True)
