"""A submitted job until its video is here: polled, downloaded, and what its end means written down."""

from __future__ import annotations

import dataclasses
from contextlib import suppress

from .calls import Status
from .download import LinkExpired
from .errors import (
    ConnectionLost,
    Flagged,
    JobCancelled,
    JobFailed,
    JobGone,
    JournalError,
    NotSent,
    ProviderError,
    RateLimited,
    ServerTrouble,
    StillRunning,
)
from .outcome import Outcome, progress_text
from .remote import URLS_ONLY, Remote
from .row import Row


async def follow(remote: Remote, row: Row, *, collected: bool, wait: bool = True) -> Outcome:
    """Poll until the job has ended, then fetch its video; without ``wait`` ask once. Raises ProviderError's children."""

    def report_bytes(received: int) -> None:
        remote.report(f"{remote.vendor.title}: downloading the video · {received / 2**20:.1f} MiB")

    status = await _poll(remote, row, wait=wait)
    if not status.finished:
        return remote.outcome(row, status, collected=collected)
    _raise_for(remote, row, status)
    remote.report(f"{remote.vendor.title}: downloading the video")
    target = remote.journal.videos / f"{remote.vendor.name}-{row.ticket.request_id}"
    try:
        video = await remote.downloader.fetch(status.outputs[0], target, report_bytes)
    except LinkExpired:
        status = await _poll(remote, row)  # the provider may sign a fresh address
        _raise_for(remote, row, status)
        video = await remote.downloader.fetch(status.outputs[0], target, report_bytes)
    if any(status.nsfw):
        remote.notes.append(f"{remote.vendor.title}'s safety checker flagged this video as unsafe (NSFW).")
    remote.journal.finish(row.row, "completed", response=status.response, video=video)
    remote.report(f"{remote.vendor.title}: done · {remote.clock.time() - (row.submitted_at or row.created_at):.0f} s")
    return dataclasses.replace(remote.outcome(row, status, collected=collected), video=video)


async def _poll(remote: Remote, row: Row, *, wait: bool = True) -> Status:
    started, failures, status = remote.clock.time(), 0, None
    submitted, noted = row.submitted_at or row.created_at, None
    while True:
        pause = remote.policy.poll_wait(remote.clock.time() - started)
        try:
            status = await remote.transport.run(remote.provider.status(row.ticket))
            failures = 0
            remote.report(progress_text(remote.vendor.title, status, remote.clock.time() - submitted, row.price))
            if status.finished or not wait:
                return status
            if noted != (noted := (status.state, status.queue_position)):
                with suppress(JournalError):  # a list may show it; the job does not depend on it
                    remote.journal.seen(row.row, *noted)
        except (NotSent, ConnectionLost, ServerTrouble, RateLimited) as error:
            if not wait:
                raise
            # The job goes on without us, so trouble in asking ends the waiting at the deadline only.
            status = None
            remote.report(f"{remote.vendor.title}: asking again after trouble ({error})")
            pause = max(pause, remote.policy.backoff(failures, remote.clock))
            if isinstance(error, RateLimited) and error.retry_after_s is not None:
                pause = max(remote.policy.poll_s, error.retry_after_s)
            failures += 1
        except JobGone as error:
            late = remote.clock.time() - submitted > remote.policy.unknown_grace_s
            now = remote.journal.get(row.row)
            if now is not None and now.state == "cancelled":  # by the job list; some providers forget such a job
                name = f"{remote.vendor.title} job {row.request_id}"
                raise JobCancelled(
                    f"{name} was cancelled. Run again to submit a new one.",
                    provider=remote.vendor.name,
                    request_id=row.request_id or "",
                ) from None
            # Right after the submit a provider may not know its own job yet; an id from elsewhere has no such excuse.
            if row.submitted_at is None or late:
                remote.journal.finish(row.row, "gone", response=row.response, error=str(error))
                raise JobGone(f"Job {row.request_id}: {error}", request_id=row.request_id or "") from None
        waited = remote.clock.time() - started
        if waited + pause > remote.policy.deadline_s:
            raise StillRunning(
                f"Job {row.request_id} was not finished at {remote.vendor.title} after {waited:.0f} s of waiting. It goes "
                "on there: run again to collect it (nothing is paid twice), or raise the waiting time.",
                provider=remote.vendor.name,
                request_id=row.request_id or "",
            )
        await _pause(remote, pause, row, status)


async def _pause(remote: Remote, seconds: float, row: Row, status: Status | None) -> None:
    """Sleep, with the seconds on display running on."""
    while seconds > 0:
        await remote.clock.sleep(min(1.0, seconds))
        seconds -= 1.0
        if status is not None and seconds > 0:
            waited = remote.clock.time() - (row.submitted_at or row.created_at)
            remote.report(progress_text(remote.vendor.title, status, waited, row.price))


def _raise_for(remote: Remote, row: Row, status: Status) -> None:
    """Raise what a finished job without a video means, and write it down."""
    name = f"{remote.vendor.title} job {row.request_id}"
    error: ProviderError | None = None
    if status.state == "cancelled":
        error = JobCancelled(f"{name} was cancelled ({status.raw_state}). Run again to submit a new one.")
    elif any(status.nsfw) and not status.outputs:
        error = Flagged(f"{name}: the safety checker flagged the video as unsafe (NSFW) and withheld it.")
    elif status.state == "failed":
        text = f"{name} failed: {status.error or 'the provider gave no reason'}"
        text = text if text.endswith(".") else f"{text}."
        if remote.service == "runcomfy" and any(str(value).startswith("sha256:") for value in row.inputs.values()):
            text += URLS_ONLY
        error = JobFailed(text)
    elif not status.outputs:
        error = JobFailed(f"{name} is finished, but the provider's answer names no video.")
    if error is not None:
        remote.journal.finish(
            row.row,
            "cancelled" if status.state == "cancelled" else "failed",
            response=status.response,
            error=str(error),
        )
        error.provider, error.request_id = remote.vendor.name, row.request_id or ""
        raise error
