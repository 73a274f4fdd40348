"""The job service that every facade calls: accept, show, cancel, delete; pictures in, links out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import sqlalchemy as sa
import sqlalchemy.exc

from ..workflows import Bindings
from ..workflows.examples import EXAMPLES
from .assets import AssetStore
from .batches import Batches
from .bodies import Scratch
from .database import Database, is_away
from .dial import Dialer, DialRefused
from .errors import Invalid, NotFound, TooMany, Unavailable
from .intake import PictureIntake
from .jobs import NOBODY, JobStore, Verdict
from .keys import KeyStore, shared_secret
from .offer import WAVESPEED_MODEL, Offer, is_plain
from .settings import Settings
from .signing import Links, WebhookSigner
from .tables import JOBS, Job, Key
from .workers import WorkerStore

T = TypeVar("T")
Choose = Callable[[Offer], tuple[Bindings, dict[str, Any]]]
FAULTS = (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.DataError)  # what one job of a batch can bring about
_OFFER_S = 1.0
_ID = re.compile(r"[0-9a-f-]{36}")
_NO_JOB = "There is no such request. It may have expired, or belong to another key."
log = logging.getLogger(__name__)


class JobService:
    """See the module. A job lives in the table and in the queue, from one transaction on. Blocks while it is made."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.jobs, self.workers = JobStore(database), WorkerStore(database, settings)
        self.assets, self.keys = AssetStore(database, settings.data), KeyStore(database)
        self.dialer = Dialer(settings.trusted_origins, settings.fetch_s, settings.egress_proxy)
        self.links = Links(shared_secret(database, "links"), settings.link_s)
        self.signer = WebhookSigner(shared_secret(database, "webhooks"), self.keys)
        self.commits: Batches[Job, tuple[Verdict, str]] = Batches(
            lambda jobs: self.call(self.jobs.add, jobs, *self._room), FAULTS
        )
        self.intake = PictureIntake(self)
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="database")
        self._offer: tuple[float, Offer] = (-_OFFER_S, Offer())

    async def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run a blocking store method in a thread. Raises Unavailable while the database is away or read-only."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: function(*args, **kwargs))
        except sqlalchemy.exc.SQLAlchemyError as error:
            if not is_away(error):
                raise
            log.error("the database is away", extra={"problem": type(error).__name__})
            text = "The database does not answer, so whether this call was carried out is not known; repeat it later. "
            raise Unavailable(f"{text}A submit is safe to repeat under its Idempotency-Key.", retry_after_s=5) from None

    async def submit(self, job: Job, choose: Choose, scratch: Scratch) -> str:
        """The id of the accepted job, which is on the disk then. Raises TooMany, Invalid or Unavailable.

        What can refuse it is asked before anything is fetched or stored for it, and an idempotency key first of all: its
        job answers even when nothing can be run now and links have expired.
        """
        if job.idempotency_key and (known := await self._ask(job)) is not None:
            return known
        if job.webhook:
            self._check_webhook(job.webhook)
        bindings, values = choose(await self.offer())
        listed = bindings.model if bindings.storyboard else WAVESPEED_MODEL
        job.model = {"model": bindings.model, "serverless": bindings.name, "wavespeed": listed}[job.api]
        job.workflow, pictures = bindings.name, bindings.pictures(values)
        bring = not all(name in EXAMPLES for name in pictures.values())
        if bring and not job.idempotency_key and (known := await self._ask(job)) is not None:
            return known
        stored, uploads = await self.intake.take(pictures, job, scratch)
        job.values = bindings.with_pictures(values, stored) | ({"uploads": uploads} if uploads else {})
        verdict = await self.commits.ask(job)
        if bring and verdict != ("accepted", job.id):
            await self.call(self.assets.remove, jobs=[job.id])
        return self._said(verdict) or job.id

    async def _ask(self, job: Job) -> str | None:
        return self._said(await self.call(self.jobs.ask, job, *self._room))

    @property
    def _room(self) -> tuple[int, int]:
        queued = self.settings.queued_jobs
        return queued, max(1, int(queued * self.settings.queue_share)) if self.settings.auth else queued

    def _said(self, verdict: tuple[Verdict, str] | None) -> str | None:
        """The id of the job that answers, if there is one. Raises TooMany or Invalid."""
        if verdict is None:
            return None
        queued, share = self._room
        if verdict[0] in ("full", "share"):
            full = f"The queue is full ({queued} jobs wait)"
            why = full if verdict[0] == "full" else f"This key has {share} jobs waiting, its part of the queue"
            raise TooMany(f"{why}; nothing was accepted. Try later.", retry_after_s=30)
        if verdict[0] == "reused":
            text = "This Idempotency-Key was used for another body or another webhook."
            raise Invalid(text, field="Idempotency-Key")
        return verdict[1]

    async def offer(self) -> Offer:
        """What can be run now; looked up at most once a second."""
        made, offer = self._offer
        now = asyncio.get_running_loop().time()
        if now - made >= _OFFER_S:
            offer = Offer.of(await self.call(self.workers.offering))
            self._offer = (now, offer)
        return offer

    def _check_webhook(self, url: str) -> None:
        if not is_plain(url):
            raise Invalid("webhook must not have NUL characters or halves of surrogate pairs.", field="webhook")
        try:
            self.dialer.check(url)
        except DialRefused as error:
            raise Invalid(f"webhook: {error}", field="webhook") from None

    async def job(self, job_id: str, key: Key) -> Job:
        """One of the key's jobs. Raises NotFound, also for another key's job."""
        return (await self.status(job_id, key))[0]

    async def status(self, job_id: str, key: Key) -> tuple[Job, int | None]:
        """One of the key's jobs and, while it waits, its place in the queue: 1 is next. Raises NotFound."""
        found = await self.call(self.jobs.look, job_id) if _ID.fullmatch(job_id) else None
        if found is None or found[0].owner != key.id:
            raise NotFound(_NO_JOB)
        return found

    async def cancel(self, job_id: str, key: Key) -> bool:
        """Cancel a queued or running job; False when it was over. Raises NotFound."""
        outcome = await self.call(self.jobs.cancel, job_id, key.id) if _ID.fullmatch(job_id) else "unknown"
        if outcome == "unknown":
            raise NotFound(_NO_JOB)
        return outcome != "over"

    async def delete(self, job_ids: list[str], key: Key) -> int:
        """Forget the key's jobs with all that is stored of them, stopping what still runs; returns how many there were."""
        mine = [job_id for job_id in job_ids if _ID.fullmatch(job_id)]
        for job_id in mine:
            with contextlib.suppress(NotFound):
                await self.cancel(job_id, key)
        jobs = [await self.call(self.jobs.get, job_id) for job_id in mine]
        uploads = {upload for job in jobs if job and job.owner == key.id for upload in job.values.get("uploads", ())}
        found = await self.call(self.jobs.disown, mine, key.id)
        for upload in uploads:
            if not await self.call(self.jobs.names, key.id, upload):
                await self.call(self.assets.remove, [upload])
        await self.forget(JOBS.c.owner == NOBODY)
        return found

    async def forget(self, which: sa.ColumnElement[bool]) -> None:
        """Drop the jobs that have ended and of which this is true, with all that is stored of them."""
        while ended := await self.call(self.jobs.ended, which):
            await self.call(self.assets.remove, jobs=ended)
            await self.call(self.jobs.forget, ended)
            await self.call(self.jobs.database.wipe)

    def close(self) -> None:
        """End the threads, child processes and connections."""
        self.jobs.database.close()
        self.intake.decoder.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
