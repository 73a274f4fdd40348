"""Requests as both of RunComfy's APIs have them: the ticket, status, result and cancel of a job. One door for the two."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from ..errors import NotFound
from ..records import Job
from .call import Call, finished

STATES = {"queued": "in_queue", "running": "in_progress", "succeeded": "completed", "failed": "completed"}
RESULTS = {"queued": "in_queue", "running": "in_progress"}


def ticket(call: Call, path: str) -> web.Response:
    """The answer to a submit: the job's id, which this path ends with, and the addresses below it."""
    return web.json_response({"request_id": path.rpartition("/")[2], **_urls(call, path)})


async def status(call: Call) -> web.Response:
    """Answer a status, with the stage and progress on top; ``completed`` says only that the job is over."""
    job, place = await job_of(call)
    urls = _urls(call, call.request.path.rpartition("/")[0])
    body: dict[str, Any] = {"request_id": job.id, "status": STATES.get(job.state, job.state), **urls}
    if place is not None:
        body["queue_position"] = place
    if job.state == "running":
        stage = "Cancelling" if job.cancel else job.stage
        body |= {"stage": stage, "progress": round(job.progress, 3), "instance_id": job.worker}
    return web.json_response(body)


def result(job: Job, came_of: dict[str, Any]) -> web.Response:
    """The answer to a question for a result; early it tells the current state."""
    state = {"request_id": job.id, "status": RESULTS.get(job.state, job.state)}
    return web.json_response(state | finished(job) | came_of)


async def cancel(call: Call) -> web.Response:
    """Cancel a job: a superset of RunComfy's Model API, whose running jobs can't be cancelled."""
    job, _ = await job_of(call)
    outcome = "cancelled" if await call.service.cancel(job.id, call.key) else "not_cancellable"
    return web.json_response({"request_id": job.id, "status": "completed", "outcome": outcome}, status=202)


async def job_of(call: Call) -> tuple[Job, int | None]:
    """The job that the address names, and its place while it waits. Raises NotFound, also at another deployment."""
    job, place = await call.service.status(call.part("request_id"), call.key)
    if call.request.match_info.get("deployment_id", job.workflow) != job.workflow:
        raise NotFound("There is no such request at this deployment.")
    return job, place


def _urls(call: Call, path: str) -> dict[str, str]:
    return {f"{what}_url": f"{call.base}{path}/{what}" for what in ("status", "result", "cancel")}
