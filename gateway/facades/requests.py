"""Requests as both of RunComfy's APIs have them: the ticket, status, result and cancel of a job. One door for the two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web

from ..errors import NotFound
from ..records import Job
from .operation import (
    IDEMPOTENCY_HEADER,
    INTEGER,
    STRING,
    SUBMIT_ERRORS,
    URI,
    WEBHOOK_QUERY,
    Call,
    Operation,
    Schema,
    finished,
    obj,
    one_of,
)

STATES = {"queued": "in_queue", "running": "in_progress", "succeeded": "completed", "failed": "completed"}
RESULTS = {"queued": "in_queue", "running": "in_progress"}
TICKET = obj(
    ("request_id", "status_url", "result_url", "cancel_url"),
    request_id=STRING,
    status_url=URI,
    result_url=URI,
    cancel_url=URI,
)
STATUS = obj(
    ("request_id", "status", "status_url", "result_url"),
    request_id=STRING,
    status=one_of("in_queue", "in_progress", "completed", "cancelled"),
    queue_position=INTEGER,
    stage=STRING,
    progress={"type": "number", "minimum": 0, "maximum": 1},
    status_url=URI,
    result_url=URI,
    cancel_url=URI,
    instance_id=STRING,
)
RESULT_STATES = one_of("succeeded", "failed", "in_queue", "in_progress", "cancelled")
CANCELLED = obj(
    ("request_id", "status", "outcome"),
    request_id=STRING,
    status=STRING,
    outcome=one_of("cancelled", "not_cancellable"),
)


@dataclass(frozen=True)
class Requests:
    """The requests of one API at ``path``, with ``{request_id}`` and maybe ``{deployment_id}`` (a workflow's name) in it.

    ``came_of`` makes what the result tells of a job, on top of its state and times; ``result`` is the result's schema.
    """

    api: Literal["model", "serverless"]
    tag: str
    path: str
    result: Schema
    came_of: Callable[[Call, Job], dict[str, Any]]

    def operations(self) -> list[Operation]:
        """Status, result and cancel."""
        known: dict[str, Any] = {"errors": (401, 403, 404, 503)}
        return [
            Operation("GET", f"{self.path}/status", self._status, "Where a job stands", self.tag,
                      answers={200: STATUS}, **known),
            Operation("GET", f"{self.path}/result", self._result, "What came of a job", self.tag,
                      answers={200: self.result}, **known),
            Operation("POST", f"{self.path}/cancel", self._cancel, "Stop a queued or running job", self.tag, "submit",
                      answers={202: CANCELLED}, **known),
        ]  # fmt: skip

    def submit(self, path: str, handler: Any, summary: str, body: Schema) -> Operation:
        """The operation that submits at this address."""
        return Operation(
            "POST",
            path,
            handler,
            summary,
            self.tag,
            "submit",
            body=body,
            query=WEBHOOK_QUERY,
            headers=IDEMPOTENCY_HEADER,
            answers={200: TICKET},
            errors=SUBMIT_ERRORS,
        )

    def ticket(self, call: Call, job: str) -> web.Response:
        """The answer to a submit."""
        return web.json_response({"request_id": job, **self._urls(call, job, call.request.path.split("/")[-2])})

    def _urls(self, call: Call, job_id: str, workflow: str) -> dict[str, str]:
        root = call.base + self.path.format(request_id=job_id, deployment_id=workflow)
        return {f"{what}_url": f"{root}/{what}" for what in ("status", "result", "cancel")}

    async def _job(self, call: Call) -> tuple[Job, int | None]:
        job, place = await call.service.status(call.part("request_id"), call.key)
        if call.request.match_info.get("deployment_id", job.workflow) != job.workflow:
            raise NotFound("There is no such request at this deployment.")
        return job, place

    async def _status(self, call: Call) -> web.Response:
        """Answer a status, with the stage and progress on top; ``completed`` says only that the job is over."""
        job, place = await self._job(call)
        urls = self._urls(call, job.id, job.workflow)
        body: dict[str, Any] = {"request_id": job.id, "status": STATES.get(job.state, job.state), **urls}
        if place is not None:
            body["queue_position"] = place
        if job.state == "running":
            body |= {
                "stage": "Cancelling" if job.cancel else job.stage,
                "progress": round(job.progress, 3),
                "instance_id": job.worker,
            }
        return web.json_response(body)

    async def _result(self, call: Call) -> web.Response:
        """Answer a result; early it tells the current state."""
        job, _ = await self._job(call)
        body = {"request_id": job.id, "status": RESULTS.get(job.state, job.state), **finished(job)}
        return web.json_response(body | self.came_of(call, job))

    async def _cancel(self, call: Call) -> web.Response:
        """Cancel a job: a superset of RunComfy's Model API, whose running jobs can't be cancelled."""
        job, _ = await self._job(call)
        outcome = "cancelled" if await call.service.cancel(job.id, call.key) else "not_cancellable"
        return web.json_response({"request_id": job.id, "status": "completed", "outcome": outcome}, status=202)
