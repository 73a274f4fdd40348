"""The job service that every facade calls: accept, show, cancel, delete; pictures in, links out."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import sqlalchemy.exc

from ..workflows import Bindings
from .assets import Asset, AssetStore
from .batches import Batches
from .decode import PictureError
from .dial import Dialer, DialRefused
from .engines import JobEngine
from .errors import BadRequest, Invalid, NotFound, TooMany, Unavailable
from .examples import example_file, is_example
from .jobs import JobStore, Verdict
from .keys import Key
from .links import Links
from .offer import Offer, is_plain
from .pictures import PictureDecoder, base64_of
from .records import Job, NewJob
from .settings import Settings
from .shares import Shares
from .workers import WorkerStore

T = TypeVar("T")
_FETCHES = 16
_OFFER_S = 1.0
_ID = re.compile(r"[0-9a-f-]{36}")
_NO_JOB = "There is no such request. It may have expired, or belong to another key."
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Accepted:
    """A job that is on the disk. ``repeated``: this idempotency key was answered before, with this very job."""

    job_id: str
    repeated: bool


class JobService:
    """See the module. Every job lives in the table; the engine is told of it later, by the upkeep."""

    def __init__(
        self,
        settings: Settings,
        *,
        jobs: JobStore,
        assets: AssetStore,
        workers: WorkerStore,
        engine: JobEngine,
        decoder: PictureDecoder,
        dialer: Dialer,
        links: Links,
        webhook_secret: str,
    ) -> None:
        self.settings = settings
        self.jobs, self.assets, self.workers, self.engine = jobs, assets, workers, engine
        self.decoder, self.dialer, self.links = decoder, dialer, links
        self.webhook_secret = webhook_secret
        self.arrived = asyncio.Event()
        self.commits = Batches(self._commit)
        self.looks = Batches(self._look)
        self._fetches = Shares("fetching pictures", _FETCHES, _FETCHES // 4)
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="database")
        self._offer: tuple[float, Offer] = (-_OFFER_S, Offer())

    async def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run a blocking store method in a thread. Raises Unavailable when the database can't be reached."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: function(*args, **kwargs))
        except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.TimeoutError) as error:
            log.error("the database failed", extra={"problem": type(error).__name__})
            raise Unavailable(
                "The database does not answer; nothing was changed by this call.", retry_after_s=5
            ) from None

    async def _commit(self, jobs: list[NewJob]) -> list[tuple[Verdict, str]]:
        verdicts = await self.call(self.jobs.add, jobs, self.settings.limits.queued_jobs)
        self.arrived.set()
        return verdicts

    async def _look(self, wanted: list[tuple[str, bool]]) -> list[tuple[Job | None, int | None]]:
        jobs, places = await self.call(
            self.jobs.look, [job for job, _ in wanted], [job for job, place in wanted if place]
        )
        return [(jobs.get(job), places.get(job) if place else None) for job, place in wanted]

    async def submit(self, job: NewJob) -> Accepted:
        """Accept a checked job; returns once it is on the disk. Raises TooMany, Invalid or Unavailable."""
        if job.webhook:
            self._check_webhook(job.webhook)
        verdict, job_id = await self.commits.ask(job)
        if verdict == "full":
            text = f"The queue is full ({self.settings.limits.queued_jobs} jobs wait); nothing was accepted. Try later."
            raise TooMany(text, retry_after_s=30)
        if verdict == "reused":
            raise Invalid("This Idempotency-Key was used for another body.", field="Idempotency-Key")
        return Accepted(job_id, verdict == "repeated")

    async def offer(self) -> Offer:
        """What can be run now; looked up at most once a second."""
        made, offer = self._offer
        now = asyncio.get_running_loop().time()
        if now - made >= _OFFER_S:
            offer = Offer.of(await self.call(self.workers.offering))
            self._offer = (now, offer)
        return offer

    async def take_pictures(self, bindings: Bindings, values: Mapping[str, Any], key: Key) -> dict[str, Any]:
        """The values with every picture stored here. Raises Invalid."""
        taken = dict(values)
        names = [name for name in (bindings.first_image, bindings.last_image) if name in taken]
        refs = await asyncio.gather(*(self._picture(name, str(taken[name]), key) for name in names))
        return taken | dict(zip(names, refs, strict=True))

    async def _picture(self, field: str, text: str, key: Key) -> str:
        if is_example(text):
            return f"example:{example_file(text, self.settings.demo)}"
        data: bytes | str
        own = self.links.asset_of(text)
        try:
            if own is not None:
                asset = await self.call(self.assets.get, own)
                if asset is None or not asset.complete:
                    raise PictureError("The uploaded file is not there: it expired, or its upload was not finished.")
                if not asset.job:  # an upload is a plain picture already
                    return f"asset:{asset.id}"
                if not asset.media_type.startswith("image/"):
                    raise PictureError(f"The link is that of a file of type {asset.media_type}, not of a picture.")
                data = await self.call(self.assets.load, asset)
            elif text[:5].lower() == "data:":
                data = base64_of(text, self.settings.limits.picture_bytes)
            elif "://" in text:
                async with self._fetches.hold(key.id):
                    data = await self.dialer.get(text, self.settings.limits.picture_bytes)
            else:
                raise PictureError("It must be an https URL, a data URI or the link of an upload, never a file name.")
            return f"asset:{(await self.store_picture(data, 'picture.png', key)).id}"
        except (PictureError, DialRefused) as error:
            raise Invalid(f"{field}: {error}", field=field) from None

    async def store_picture(self, data: bytes | str, filename: str, key: Key) -> Asset:
        """Store a picture as a plain PNG. Raises PictureError, TooMany or Unavailable."""
        await self.check_uploads(key)
        png = await self.decoder.png(data, key.id)
        return await self.call(self.assets.put, png, owner=key.id, filename=_png_name(filename), media_type="image/png")

    async def check_uploads(self, key: Key) -> None:
        """Raise TooMany when a key has too many uploads lying here."""
        limit = self.settings.limits.uploads_per_key
        if await self.call(self.assets.count, key.id) >= limit:
            raise TooMany(f"A key may have {limit} pictures stored; they go after some days.", retry_after_s=3600)

    def _check_webhook(self, url: str) -> None:
        if not is_plain(url):
            raise Invalid("webhook must not have NUL characters or halves of surrogate pairs.", field="webhook")
        try:
            self.dialer.check(url)
        except DialRefused as error:
            raise Invalid(f"webhook: {error}", field="webhook") from None

    async def job(self, job_id: str, key: Key) -> Job:
        """One of the key's jobs. Raises NotFound, also for another key's job."""
        return (await self._seen(job_id, key, place=False))[0]

    async def status(self, job_id: str, key: Key) -> tuple[Job, int | None]:
        """One of the key's jobs and, while it waits, its place in the queue: 1 is next. Raises NotFound."""
        return await self._seen(job_id, key, place=True)

    async def _seen(self, job_id: str, key: Key, *, place: bool) -> tuple[Job, int | None]:
        job, position = await self.looks.ask((job_id, place)) if _ID.fullmatch(job_id) else (None, None)
        if job is None or job.owner != key.id:
            raise NotFound(_NO_JOB)
        return job, position

    async def cancel(self, job_id: str, key: Key) -> bool:
        """Cancel a queued or running job; False when it was over. Raises NotFound."""
        outcome = await self.call(self.jobs.cancel, job_id, key.id) if _ID.fullmatch(job_id) else "unknown"
        if outcome == "unknown":
            raise NotFound(_NO_JOB)
        if outcome == "cancelled":
            with contextlib.suppress(
                Exception
            ):  # the job is over in any case: a worker that takes it up finds that out
                await self.call(self.engine.cancel, job_id)
        return outcome != "over"

    async def delete(self, job_ids: list[str], key: Key) -> int:
        """Forget the key's jobs, cancelling what still runs; returns how many there were."""
        for job_id in job_ids:
            with contextlib.suppress(NotFound):
                await self.cancel(job_id, key)
        gone = await self.call(self.jobs.delete, [job_id for job_id in job_ids if _ID.fullmatch(job_id)], key.id)
        await self.call(self.assets.remove_of_jobs, gone)
        with contextlib.suppress(Exception):
            await self.call(self.engine.forget, gone)
        return len(gone)

    def close(self) -> None:
        """End the threads and child processes."""
        self.decoder.close()
        self._threads.shutdown(wait=False, cancel_futures=True)


def request_digest(path: str, body: object) -> str:
    """What tells two requests under one idempotency key apart."""
    return hashlib.sha256(f"{path}\n{json.dumps(body, sort_keys=True)}".encode()).hexdigest()


def with_idempotency(job: NewJob, key: str | None, path: str, body: object) -> NewJob:
    """The job under an ``Idempotency-Key`` header, if there is one. Raises BadRequest."""
    if key is None:
        return job
    if not key or len(key) > 255 or not key.isprintable():
        raise BadRequest("An Idempotency-Key has 1 to 255 printable characters.")
    return replace(job, idempotency_key=key, digest=request_digest(path, body))


def _png_name(filename: str) -> str:
    stem = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in filename.rsplit(".", 1)[0])
    return f"{stem[:80] or 'picture'}.png"
