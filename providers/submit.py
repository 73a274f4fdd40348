"""The submit of a claimed job, which may cost money: sent once, written down before and after, and never guessed at.

In this order: upload, write "submitting", send, write the id. After a crash anywhere the journal says what may be done next.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Mapping
from contextlib import suppress

from .calls import Picture, Ticket, keeps_keys
from .errors import BadInput, ConnectionLost, JournalError, MaybeSubmitted, ProviderError, ServerTrouble
from .journal import KEEP_RESULT_S
from .models import Job
from .profiles import VENDOR_URLS
from .reconcile import find_lost_job
from .remote import URLS_ONLY, Remote
from .row import Claim, Row

_log = logging.getLogger(__name__)


async def claim(remote: Remote, job: Job) -> Claim:
    """What to do about a job, once no other process is submitting the same."""
    while True:
        found = remote.journal.claim(
            job.content_key(remote.profile.name, remote.base_url),
            profile=remote.profile.name,
            base_url=remote.base_url,
            service=remote.service,
            model=job.model.id,
            inputs={**job.values, job.model.first_image: job.first.digest, job.model.last_image: job.last.digest},
            # what a vendor publishes says nothing about a gateway of one's own
            price=job.model.price(job.values) if remote.profile.at_vendor else None,
        )
        if found.kind != "busy":
            return found
        remote.report(f"{remote.vendor.title}: the same job is being submitted elsewhere, waiting for its id")
        await remote.clock.sleep(0.2)


async def submit(remote: Remote, row: Row, job: Job) -> Row:
    """The row of a new job with its request id; what was surely not sent is free again. Raises ProviderError's children."""
    try:
        remote.report(f"{remote.vendor.title}: sending the pictures")
        first, last = await asyncio.gather(_upload(remote, job.first), _upload(remote, job.last))
    except BaseException as error:
        _release(remote, row, f"not submitted: {error or type(error).__name__}")
        raise
    urls = {name: url for name, url in zip(_pictures(job), (first, last), strict=True) if "://" in url[:8]}
    row = remote.journal.uploaded(row, urls)
    return await _send(remote, row, job, first, last, row.idempotency_key if await _keeps_keys(remote) else "")


async def resubmit(remote: Remote, row: Row, job: Job) -> Row:
    """The job of a submit whose answer was lost: asked for again where that makes no second one, else looked for."""
    fresh = remote.clock.time() - row.created_at < KEEP_RESULT_S
    if fresh and await _keeps_keys(remote):
        sent = [row.uploads.get(name) for name in _pictures(job)]
        first, last = [url or await _upload(remote, one) for url, one in zip(sent, (job.first, job.last), strict=True)]
        return await _send(remote, row, job, first, last, row.idempotency_key)
    return await _reconcile(remote, row, job.values, "its submit was cut off before an answer came")


def _pictures(job: Job) -> tuple[str, str]:
    return job.model.first_image, job.model.last_image


async def _keeps_keys(remote: Remote) -> bool:
    """Whether a submit may be sent again under its key: at a gateway of one's own; no vendor documents it."""
    return remote.base_url not in VENDOR_URLS and await remote.transport.run(keeps_keys())


async def _send(remote: Remote, row: Row, job: Job, first: str, last: str, key: str) -> Row:
    remote.report(f"{remote.vendor.title}: submitting")

    def on_wire(sent: bool) -> None:
        if sent:
            remote.journal.submitting(row.row)
        else:
            remote.journal.not_sent(row.row)

    call = remote.provider.submit(job.model.id, job.body(first, last), key)
    task = asyncio.ensure_future(remote.transport.run(call, on_wire))
    try:
        ticket = await asyncio.shield(task)
    except asyncio.CancelledError:
        await _abandon(remote, row, task)
        raise
    except (ConnectionLost, ServerTrouble) as error:
        remote.journal.uncertain(row.row, str(error))
        if key:
            text = f"The gateway at {remote.base_url} did not answer the submit: {error} Run again: it stays one job."
            raise MaybeSubmitted(text, provider=remote.vendor.name) from None
        return await _reconcile(remote, row, job.values, str(error))
    except ProviderError as error:
        _release(remote, row, str(error))
        if isinstance(error, BadInput) and remote.service == "runcomfy" and (job.first.data or job.last.data):
            raise BadInput(str(error) + URLS_ONLY, provider=error.provider) from None
        raise
    return _remember(remote, row, ticket)


async def _upload(remote: Remote, picture: Picture) -> str:
    return await remote.transport.run(remote.provider.upload(picture))


def _release(remote: Remote, row: Row, error: str) -> None:
    """Give the content free for another submit: this one was not made."""
    with suppress(JournalError):  # the first error is the one to tell
        remote.journal.finish(row.row, "failed", error=error)


def _remember(remote: Remote, row: Row, ticket: Ticket) -> Row:
    try:
        remote.journal.submitted(row.row, ticket)
    except JournalError as error:
        note = f"The job {ticket.request_id} is running, but its id could not be written down: {error}"
        remote.notes.append(note)
        _log.error(note)
    return dataclasses.replace(
        row, state="running", request_id=ticket.request_id, links=ticket.links, submitted_at=remote.clock.time()
    )


async def _abandon(remote: Remote, row: Row, task: asyncio.Task[Ticket]) -> None:
    """The user stopped during the submit: give its answer a moment, then write down what is known."""
    try:
        await asyncio.wait({task}, timeout=remote.policy.interrupt_grace_s)
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    finally:  # also when the event loop itself ends during that moment
        _write_down_abandoned(remote, row, task)


def _write_down_abandoned(remote: Remote, row: Row, task: asyncio.Task[Ticket]) -> None:
    answered = task.done() and not task.cancelled()
    error = task.exception() if answered else None
    if answered and error is None:
        _remember(remote, row, task.result())
        return
    now = remote.journal.get(row.row)
    if now is not None and now.state == "submitting":
        remote.journal.uncertain(row.row, str(error or "stopped by the user before an answer came"))
    else:
        _release(remote, row, "stopped by the user before it was submitted")


async def _reconcile(remote: Remote, row: Row, values: Mapping[str, object], cause: str) -> Row:
    """The job that a lost submit made, found in the provider's history. Raises MaybeSubmitted where it cannot tell."""
    title = remote.vendor.title
    remote.report(f"{title}: the answer to the submit was lost, looking for the job")
    try:
        found = await find_lost_job(remote, row, {**values, **row.uploads})
    except ProviderError as error:
        found, cause = None, f"{cause} The history could not be read either: {error}"
    if found is not None:
        remote.notes.append(
            f"The answer to the submit was lost; job {found.request_id} of {title}'s history is taken for it."
        )
        return _remember(remote, row, Ticket(found.request_id, row.model))
    raise MaybeSubmitted(
        f"The job may have been created at {title} and was not resubmitted, as that could be charged twice: {cause} "
        f"Look at {remote.vendor.jobs_page}. If the job is there: wan-flf2v jobs adopt {row.row} REQUEST_ID, then run "
        f"again (or give the id to Wan FLF2V Remote Fetch). If not: wan-flf2v jobs forget {row.row}, or another seed, "
        "and run again.",
        provider=remote.vendor.name,
    )
