"""One remote job from submit to video: journalled, resumed instead of paid twice, and collected.

The order that keeps money safe: claim the content in the journal, upload, write "submitting", send the submit once,
write the id, poll, download. After a crash anywhere the journal says what may be done next.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from types import TracebackType

from .calls import Picture, Status, Ticket, is_request_id, keeps_keys, split_url
from .download import Downloader, LinkExpired
from .errors import (
    BadInput,
    ConfigError,
    ConnectionLost,
    Flagged,
    JobCancelled,
    JobFailed,
    JobGone,
    JournalError,
    MaybeSubmitted,
    NotSent,
    ProviderError,
    RateLimited,
    ServerTrouble,
    StillRunning,
)
from .journal import KEEP_RESULT_S, Claim, Journal, Row
from .models import Job, Service
from .outcome import Outcome, Report, progress_text, silent
from .profiles import VENDOR_URLS, Profile
from .reconcile import Provider, find_lost_job
from .retry import Clock, Policy
from .runcomfy import RunComfy
from .transport import Transport
from .wavespeed import WaveSpeed

_log = logging.getLogger(__name__)
_URLS_ONLY = (
    " RunComfy's Model API documents pictures as public https URLs only: give URLs instead of pictures, or use a "
    "serverless deployment, which takes pictures directly."
)


def provider_of(service: Service, base_url: str) -> Provider:
    """The protocol of a service at this address."""
    if service == "wavespeed":
        return WaveSpeed()
    return RunComfy(serverless=service == "runcomfy-deployment", base_path=split_url(base_url).path)


class RemoteClient:
    """Runs jobs of one service with one profile. Use as an asynchronous context manager, once per event loop."""

    def __init__(
        self,
        profile: Profile,
        service: Service,
        journal: Journal,
        *,
        clock: Clock | None = None,
        policy: Policy | None = None,
        report: Report = silent,
        slot: AbstractAsyncContextManager[object] | None = None,
        downloader: Downloader | None = None,
    ) -> None:
        self.profile, self.service, self.journal = profile, service, journal
        self.clock, self.policy, self.report = clock or Clock(), policy or Policy(), report
        self.base_url = profile.serverless_base_url if service == "runcomfy-deployment" else profile.base_url
        self.provider = provider_of(service, self.base_url)
        self.vendor = self.provider.vendor
        self._slot = slot if slot is not None else nullcontext()
        self._downloader = downloader or Downloader(self.base_url, self.policy, self.clock)
        self._transport = Transport(profile, self.base_url, self.vendor, self.clock, self.policy)
        self._notes: list[str] = []

    async def __aenter__(self) -> RemoteClient:
        self.journal.prune()
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    async def generate(self, job: Job, *, wait: bool = True) -> Outcome:
        """The job's video; without ``wait`` only its request id. A job of the same content is collected, not paid again.

        Raises ProviderError's children; a job that has an id stays in the journal whatever happens.
        """
        async with self._slot:
            claim = await self._claim(job)
            if claim.kind == "finished" and claim.row.video_path is not None:
                return self._served(claim.row)
            if claim.kind == "new":
                row = await self._submit(claim.row, job)
            elif claim.kind == "uncertain":
                row = await self._resubmit(claim.row, job)
            else:
                row = claim.row
            if not wait:
                self.report(f"{self.vendor.title}: submitted as {row.request_id}")
                return self._outcome(row, collected=claim.kind != "new")
            return await self._follow(row, collected=claim.kind != "new")

    async def collect(self, request_id: str, model: str = "", *, wait: bool = True) -> Outcome:
        """The video of a job that is already submitted, here or elsewhere; submits nothing."""
        request_id = request_id.strip()
        if not is_request_id(request_id):
            raise BadInput(f"A request id has letters, digits, - and _ only; got {request_id[:80]!r}.")
        row = self.journal.adopt(
            Ticket(request_id, model), profile=self.profile.name, base_url=self.base_url, service=self.service
        )
        self._check_address(row)
        if row.state == "completed" and row.video_path is not None:
            return self._served(row)
        return await self._follow(row, collected=True, wait=wait)

    async def cancel(self, row: Row) -> str:
        """Ask the provider to stop a job; returns a sentence about what came of it."""
        self._check_address(row)
        said = await self._transport.run(self.provider.cancel(row.ticket))
        if said.startswith(("cancelled", "deleted")):
            self.journal.finish(row.row, "cancelled", response=row.response, error=said)
        return said

    def _check_address(self, row: Row) -> None:
        """Raise ConfigError for a job at another address than the profile's now: its key would go to another host."""
        if row.base_url != self.base_url:
            raise ConfigError(
                f"The job {row.ticket.request_id} is at {row.base_url}, but profile {self.profile.name} points to "
                f"{self.base_url} now."
            )

    async def _claim(self, job: Job) -> Claim:
        while True:
            claim = self.journal.claim(
                job.content_key(self.profile.name, self.base_url),
                profile=self.profile.name,
                base_url=self.base_url,
                service=self.service,
                model=job.model.id,
                inputs={**job.values, job.model.first_image: job.first.digest, job.model.last_image: job.last.digest},
                # what a vendor publishes says nothing about a gateway of one's own
                price=job.model.price(job.values) if self.profile.at_vendor else None,
            )
            if claim.kind != "busy":
                return claim
            self.report(f"{self.vendor.title}: the same job is being submitted elsewhere, waiting for its id")
            await self.clock.sleep(0.2)

    async def _submit(self, row: Row, job: Job) -> Row:
        try:
            self.report(f"{self.vendor.title}: sending the pictures")
            first, last = await asyncio.gather(self._upload(job.first), self._upload(job.last))
        except BaseException as error:
            self._release(row, f"not submitted: {error or type(error).__name__}")
            raise
        urls = {name: url for name, url in zip(self._pictures(job), (first, last), strict=True) if "://" in url[:8]}
        row = self.journal.uploaded(row, urls)
        return await self._send(row, job, first, last, row.idempotency_key if await self._keeps_keys() else "")

    async def _resubmit(self, row: Row, job: Job) -> Row:
        """The job of a submit whose answer was lost: asked for again where that makes no second one, else looked for."""
        fresh = self.clock.time() - row.created_at < KEEP_RESULT_S
        if fresh and await self._keeps_keys():
            sent = [row.uploads.get(name) for name in self._pictures(job)]
            first, last = [url or await self._upload(one) for url, one in zip(sent, (job.first, job.last), strict=True)]
            return await self._send(row, job, first, last, row.idempotency_key)
        return await self._reconcile(row, job.values, "its submit was cut off before an answer came")

    def _pictures(self, job: Job) -> tuple[str, str]:
        return job.model.first_image, job.model.last_image

    async def _keeps_keys(self) -> bool:
        """Whether a submit may be sent again under its key: at a gateway of one's own; no vendor documents it."""
        return self.base_url not in VENDOR_URLS and await self._transport.run(keeps_keys())

    async def _send(self, row: Row, job: Job, first: str, last: str, key: str) -> Row:
        self.report(f"{self.vendor.title}: submitting")

        def on_wire(sent: bool) -> None:
            if sent:
                self.journal.submitting(row.row)
            else:
                self.journal.not_sent(row.row)

        submit = self.provider.submit(job.model.id, job.body(first, last), key)
        task = asyncio.ensure_future(self._transport.run(submit, on_wire))
        try:
            ticket = await asyncio.shield(task)
        except asyncio.CancelledError:
            await self._abandon(row, task)
            raise
        except (ConnectionLost, ServerTrouble) as error:
            self.journal.uncertain(row.row, str(error))
            if key:
                text = f"The gateway at {self.base_url} did not answer the submit: {error} Run again: it stays one job."
                raise MaybeSubmitted(text, provider=self.vendor.name) from None
            return await self._reconcile(row, job.values, str(error))
        except ProviderError as error:
            self._release(row, str(error))
            if isinstance(error, BadInput) and self.service == "runcomfy" and (job.first.data or job.last.data):
                raise BadInput(str(error) + _URLS_ONLY, provider=error.provider) from None
            raise
        return self._remember(row, ticket)

    async def _upload(self, picture: Picture) -> str:
        return await self._transport.run(self.provider.upload(picture))

    def _release(self, row: Row, error: str) -> None:
        """Give the content free for another submit: this one was not made."""
        with suppress(JournalError):  # the first error is the one to tell
            self.journal.finish(row.row, "failed", error=error)

    def _remember(self, row: Row, ticket: Ticket) -> Row:
        try:
            self.journal.submitted(row.row, ticket)
        except JournalError as error:
            note = f"The job {ticket.request_id} is running, but its id could not be written down: {error}"
            self._notes.append(note)
            _log.error(note)
        return dataclasses.replace(
            row, state="running", request_id=ticket.request_id, links=ticket.links, submitted_at=self.clock.time()
        )

    async def _abandon(self, row: Row, task: asyncio.Task[Ticket]) -> None:
        """The user stopped during the submit: give its answer a moment, then write down what is known."""
        try:
            await asyncio.wait({task}, timeout=self.policy.interrupt_grace_s)
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        finally:  # also when the event loop itself ends during that moment
            self._write_down_abandoned(row, task)

    def _write_down_abandoned(self, row: Row, task: asyncio.Task[Ticket]) -> None:
        answered = task.done() and not task.cancelled()
        error = task.exception() if answered else None
        if answered and error is None:
            self._remember(row, task.result())
            return
        now = self.journal.get(row.row)
        if now is not None and now.state == "submitting":
            self.journal.uncertain(row.row, str(error or "stopped by the user before an answer came"))
        else:
            self._release(row, "stopped by the user before it was submitted")

    async def _reconcile(self, row: Row, values: Mapping[str, object], cause: str) -> Row:
        """The job that a lost submit made, found in the provider's history. Raises MaybeSubmitted where it cannot tell."""
        title = self.vendor.title
        self.report(f"{title}: the answer to the submit was lost, looking for the job")
        try:
            found = await find_lost_job(
                row,
                {**values, **row.uploads},
                self.provider,
                self._transport,
                self.journal,
                clock=self.clock,
                policy=self.policy,
            )
        except ProviderError as error:
            found, cause = None, f"{cause} The history could not be read either: {error}"
        if found is not None:
            self._notes.append(
                f"The answer to the submit was lost; job {found.request_id} of {title}'s history is taken for it."
            )
            return self._remember(row, Ticket(found.request_id, row.model))
        raise MaybeSubmitted(
            f"The job may have been created at {title} and was not resubmitted, as that could be charged twice: {cause} "
            f"Look at {self.vendor.jobs_page}. If the job is there: wan-flf2v jobs adopt {row.row} REQUEST_ID, then run "
            f"again (or give the id to Wan FLF2V Remote Fetch). If not: wan-flf2v jobs forget {row.row}, or another seed, "
            "and run again.",
            provider=self.vendor.name,
        )

    async def _follow(self, row: Row, *, collected: bool, wait: bool = True) -> Outcome:
        """Poll until the job has ended, then fetch its video."""
        status = await self._poll(row, wait=wait)
        if not status.finished:
            return self._outcome(row, status, collected=collected)
        self._raise_for(row, status)
        self.report(f"{self.vendor.title}: downloading the video")
        target = self.journal.videos / f"{self.vendor.name}-{row.ticket.request_id}"
        try:
            video = await self._downloader.fetch(status.outputs[0], target, self._report_bytes)
        except LinkExpired:
            status = await self._poll(row)  # the provider may sign a fresh address
            self._raise_for(row, status)
            video = await self._downloader.fetch(status.outputs[0], target, self._report_bytes)
        if any(status.nsfw):
            self._notes.append(f"{self.vendor.title}'s safety checker flagged this video as unsafe (NSFW).")
        self.journal.finish(row.row, "completed", response=status.response, video=video)
        self.report(f"{self.vendor.title}: done · {self.clock.time() - (row.submitted_at or row.created_at):.0f} s")
        outcome = self._outcome(row, status, collected=collected)
        return dataclasses.replace(outcome, video=video)

    def _report_bytes(self, received: int) -> None:
        self.report(f"{self.vendor.title}: downloading the video · {received / 2**20:.1f} MiB")

    async def _poll(self, row: Row, *, wait: bool = True) -> Status:
        started, failures, status = self.clock.time(), 0, None
        submitted, noted = row.submitted_at or row.created_at, None
        while True:
            pause = self.policy.poll_wait(self.clock.time() - started)
            try:
                status = await self._transport.run(self.provider.status(row.ticket))
                failures = 0
                self.report(progress_text(self.vendor.title, status, self.clock.time() - submitted, row.price))
                if status.finished or not wait:
                    return status
                if noted != (noted := (status.state, status.queue_position)):
                    with suppress(JournalError):  # a list may show it; the job does not depend on it
                        self.journal.seen(row.row, *noted)
            except (NotSent, ConnectionLost, ServerTrouble, RateLimited) as error:
                if not wait:
                    raise
                # The job goes on without us, so trouble in asking ends the waiting at the deadline only.
                status = None
                self.report(f"{self.vendor.title}: asking again after trouble ({error})")
                pause = max(pause, self.policy.backoff(failures, self.clock))
                if isinstance(error, RateLimited) and error.retry_after_s is not None:
                    pause = max(self.policy.poll_s, error.retry_after_s)
                failures += 1
            except JobGone as error:
                late = self.clock.time() - submitted > self.policy.unknown_grace_s
                now = self.journal.get(row.row)
                if now is not None and now.state == "cancelled":  # by the job list; some providers forget such a job
                    name = f"{self.vendor.title} job {row.request_id}"
                    raise JobCancelled(
                        f"{name} was cancelled. Run again to submit a new one.",
                        provider=self.vendor.name,
                        request_id=row.request_id or "",
                    ) from None
                # Right after the submit a provider may not know its own job yet; an id from elsewhere has no such excuse.
                if row.submitted_at is None or late:
                    self.journal.finish(row.row, "gone", response=row.response, error=str(error))
                    raise JobGone(f"Job {row.request_id}: {error}", request_id=row.request_id or "") from None
            waited = self.clock.time() - started
            if waited + pause > self.policy.deadline_s:
                raise StillRunning(
                    f"Job {row.request_id} was not finished at {self.vendor.title} after {waited:.0f} s of waiting. It goes "
                    "on there: run again to collect it (nothing is paid twice), or raise the waiting time.",
                    provider=self.vendor.name,
                    request_id=row.request_id or "",
                )
            await self._pause(pause, row, status)

    async def _pause(self, seconds: float, row: Row, status: Status | None) -> None:
        """Sleep, with the seconds on display running on."""
        while seconds > 0:
            await self.clock.sleep(min(1.0, seconds))
            seconds -= 1.0
            if status is not None and seconds > 0:
                waited = self.clock.time() - (row.submitted_at or row.created_at)
                self.report(progress_text(self.vendor.title, status, waited, row.price))

    def _raise_for(self, row: Row, status: Status) -> None:
        """Raise what a finished job without a video means, and write it down."""
        name = f"{self.vendor.title} job {row.request_id}"
        error: ProviderError | None = None
        if status.state == "cancelled":
            error = JobCancelled(f"{name} was cancelled ({status.raw_state}). Run again to submit a new one.")
        elif any(status.nsfw) and not status.outputs:
            error = Flagged(f"{name}: the safety checker flagged the video as unsafe (NSFW) and withheld it.")
        elif status.state == "failed":
            text = f"{name} failed: {status.error or 'the provider gave no reason'}"
            text = text if text.endswith(".") else f"{text}."
            if self.service == "runcomfy" and any(str(value).startswith("sha256:") for value in row.inputs.values()):
                text += _URLS_ONLY
            error = JobFailed(text)
        elif not status.outputs:
            error = JobFailed(f"{name} is finished, but the provider's answer names no video.")
        if error is not None:
            self.journal.finish(
                row.row,
                "cancelled" if status.state == "cancelled" else "failed",
                response=status.response,
                error=str(error),
            )
            error.provider, error.request_id = self.vendor.name, row.request_id or ""
            raise error

    def _served(self, row: Row) -> Outcome:
        self.report(f"{self.vendor.title}: served from the finished job {row.request_id}")
        return Outcome(row, self.vendor.title, video=row.video_path, notes=tuple(self._notes), collected=True)

    def _outcome(self, row: Row, status: Status | None = None, *, collected: bool) -> Outcome:
        seconds = None if row.submitted_at is None else self.clock.time() - row.submitted_at
        return Outcome(row, self.vendor.title, status, notes=tuple(self._notes), collected=collected, seconds=seconds)
