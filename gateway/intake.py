"""Takes the pictures that a job or an upload brings: fetched, decoded and stored, for a key that has room for them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..workflows.examples import EXAMPLES, example_file
from .bodies import Scratch
from .database import new_id
from .decode import PictureError
from .dial import DialRefused
from .errors import Invalid, TooMany
from .pictures import PictureDecoder
from .shares import Places
from .tables import Asset, Job, Kind

if TYPE_CHECKING:
    from .service import JobService

_FETCHES = 16
_PER_KEY = 4


class PictureIntake:
    """See the module."""

    def __init__(self, service: JobService) -> None:
        self.decoder = PictureDecoder(service.settings.picture_pixels, service.settings.picture_bytes)
        self._service, self._assets = service, service.assets
        self._fetches = Places("fetching pictures", _FETCHES, _PER_KEY)

    async def take(self, pictures: Mapping[str, str], job: Job, scratch: Scratch) -> tuple[dict[str, str], list[str]]:
        """What each picture is stored as for this job, and the uploads that were used. Raises Invalid."""
        uploads: list[str] = []
        some = asyncio.Semaphore(_PER_KEY)  # so that one job's pictures don't wait for each other in the common lines

        async def one(name: str, text: str) -> str:
            async with some:
                return await self._picture(name, text, job, scratch, uploads)

        refs = await asyncio.gather(*(one(name, text) for name, text in pictures.items()), return_exceptions=True)
        for ref in refs:
            if isinstance(ref, BaseException):
                await self._service.call(self._assets.remove, jobs=[job.id])
                raise ref
        return dict(zip(pictures, map(str, refs), strict=True)), uploads

    async def _picture(self, field: str, text: str, job: Job, scratch: Scratch, uploads: list[str]) -> str:
        if text in EXAMPLES:
            return f"example:{example_file(text, self._service.settings.demo)}"
        source: bytes | Path
        try:
            if (own := self._service.links.asset_of(text)) is not None:
                asset = await self._service.call(self._assets.linked, own)
                shared = None
                if asset is not None and asset.complete and not asset.job:  # an upload is a plain picture already
                    shared = await self._service.call(self._assets.share, asset, job.id)
                if shared is not None:
                    uploads.append(own)
                    return f"asset:{shared.id}"
                if asset is None or not asset.job:
                    raise PictureError("The uploaded file is not there: it expired, or its upload was not finished.")
                if not asset.media_type.startswith("image/"):
                    raise PictureError(f"The link is that of a file of type {asset.media_type}, not of a picture.")
                source = await self._service.call(self._assets.load, asset)
            elif text[:5].lower() == "data:":
                source = scratch.long.get(text) or text.encode("utf-8", "surrogatepass")
            elif "://" in text:
                source = scratch.file(f"{new_id()}.fetched")
                async with self._fetches.hold(job.owner):
                    await self._service.dialer.get(text, self._service.settings.picture_bytes, source)
            else:
                raise PictureError("It must be an https URL, a data URI or the link of an upload, never a file name.")
            return f"asset:{(await self.store(source, 'picture.png', job.owner, scratch, job.id)).id}"
        except (PictureError, DialRefused) as error:
            raise Invalid(f"{field}: {error}", field=field) from None

    async def store(self, source: bytes | Path, filename: str, owner: str, scratch: Scratch, job: str = "") -> Asset:
        """Store a picture as a plain PNG, for a job or as an upload. Raises PictureError, TooMany or Unavailable."""
        png = await self.decoder.png(source, scratch.file(f"{new_id()}.png"), owner)
        await self.make_room(owner, png.stat().st_size)
        kind: Kind = "input" if job else "upload"
        return await self._service.call(
            self._assets.put, png, owner=owner, filename=_png_name(filename), media_type="image/png", job=job, kind=kind
        )

    async def make_room(self, owner: str, size: int) -> None:
        """Let a key's oldest uploads go when its pictures are too many. Raises TooMany when that does not help."""
        limit = self._service.settings.stored_bytes
        if not await self._service.call(self._assets.make_room, owner, size, limit):
            text = f"The pictures of a key's unfinished jobs may have {limit // 2**20} MiB together. Try again later."
            raise TooMany(text, retry_after_s=60)


def _png_name(filename: str) -> str:
    stem = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in filename.rsplit(".", 1)[0])
    return f"{stem[:80] or 'picture'}.png"
