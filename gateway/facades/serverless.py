"""RunComfy's serverless API: a deployment is a shipped workflow, its body ``overrides`` of bound inputs."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from ...workflows import Bindings
from ..errors import Invalid, NotFound
from ..offer import Checker, every_workflow
from ..records import Job
from .operation import (
    BOOLEAN,
    IDEMPOTENCY_HEADER,
    STRING,
    SUBMIT_ERRORS,
    URI,
    WEBHOOK_QUERY,
    Call,
    Operation,
    Schema,
    array,
    finished,
    obj,
)
from .runcomfy import CANCELLED, RESULT_STATES, RESULTS, STATUS, TICKET, accept, cancel, status_body

TAG = "RunComfy serverless"
VERSIONS = ("v1", "v2")
FILE = obj(("url", "filename", "type"), url=URI, filename=STRING, subfolder=STRING, type=STRING)
RESULT = obj(
    ("request_id", "status", "created_at"),
    request_id=STRING,
    status=RESULT_STATES,
    outputs={"type": "object", "additionalProperties": {"type": "object", "additionalProperties": array(FILE)}},
    error=array(obj(("errorCode", "error"), errorCode={"type": "integer"}, error=STRING, debugInfo=STRING)),
    created_at={"type": "string", "format": "date-time"},
    finished_at={"type": "string", "format": "date-time"},
    instance_id=STRING,
)
DEPLOYMENT = obj(
    ("id", "name", "status", "is_enabled"),
    id=STRING,
    name=STRING,
    status=STRING,
    is_enabled=BOOLEAN,
    payload={"type": "object"},
)


def operations() -> list[Operation]:
    """Every address of this API, under both versions that clients use."""
    found = []
    for version in VERSIONS:
        root = f"/prod/{version}/deployments"
        for bindings in every_workflow().values():
            found.append(
                Operation(
                    "POST",
                    f"{root}/{bindings.name}/inference",
                    submit_to(bindings.name, version),
                    f"Run {bindings.title} with overrides",
                    TAG,
                    "submit",
                    body=body_schema(bindings),
                    query=WEBHOOK_QUERY,
                    headers=IDEMPOTENCY_HEADER,
                    answers={200: TICKET},
                    errors=SUBMIT_ERRORS,
                )
            )
        path = f"{root}/{{deployment_id}}"
        request = f"{path}/requests/{{request_id}}"
        errors: dict[str, Any] = {"errors": (401, 403, 404, 503)}
        query: dict[str, Schema] = {"includes": STRING}
        found += [
            Operation("GET", root, list_deployments, "The deployments that can be run now", TAG, query=query,
                      answers={200: array(DEPLOYMENT)}, errors=(401, 403, 422, 503)),
            Operation("GET", path, describe, "One deployment", TAG, query=query,
                      answers={200: DEPLOYMENT}, errors=(401, 403, 404, 422, 503)),
            Operation("GET", f"{request}/status", status, "Where a job stands", TAG, answers={200: STATUS}, **errors),
            Operation("GET", f"{request}/result", result, "What came of a job", TAG, answers={200: RESULT}, **errors),
            Operation("POST", f"{request}/cancel", cancel_of, "Stop a queued or running job", TAG, "submit",
                      answers={202: CANCELLED}, **errors),
        ]  # fmt: skip
    return found


def body_schema(bindings: Bindings) -> Schema:
    """The overrides that a deployment takes."""
    nodes: dict[str, dict[str, Any]] = {}
    required: dict[str, list[str]] = {}
    for field in {**bindings.fields, **bindings.extra}.values():
        for target in field.bind:
            if target.transform == "constant":
                continue
            kind = "number" if field.type == "float" else field.type
            nodes.setdefault(target.node, {})[target.input] = {"type": kind, "title": field.title}
            if field.required:
                required.setdefault(target.node, []).append(target.input)
    overrides = {
        node: {
            "type": "object",
            "required": ["inputs"],
            "additionalProperties": False,
            "properties": {
                "inputs": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": inputs,
                    **({"required": required[node]} if node in required else {}),
                }
            },
        }
        for node, inputs in nodes.items()
    }
    schema: dict[str, Any] = {
        "type": "object",
        "required": ["overrides"],
        "additionalProperties": False,
        "properties": {
            "overrides": {
                "type": "object",
                "required": sorted(required),
                "additionalProperties": False,
                "properties": overrides,
            },
            "webhook": URI,
            "webhook_intermediate_status": BOOLEAN,
        },
    }
    return schema


def submit_to(name: str, version: str) -> Any:
    """The handler that submits to this deployment."""

    async def submit(call: Call) -> web.Response:
        bindings = (await call.service.offer()).by_name(name)
        body = await call.json()
        if body.get("workflow_api_json"):
            text = "A workflow of your own is not run here: whoever may send a graph may run code. Send overrides."
            raise Invalid(text, field="workflow_api_json")
        for field in body:
            if field not in ("overrides", "webhook", "webhook_intermediate_status", "workflow_api_json", "extra_data"):
                raise Invalid(f"{field[:60]} is not a field here; there are overrides and webhook.", field=field[:60])
        if not isinstance(body.get("webhook") or "", str):
            raise Invalid("webhook must be a URL.", field="webhook")
        values = Checker(call.settings.limits, call.settings.demo).overrides(bindings, body.get("overrides"))
        return await accept(call, "serverless", bindings, values, body, urls_of(call, name, version))

    return submit


def urls_of(call: Call, name: str, version: str) -> Any:
    """Makes the three addresses of a request."""

    def urls(job_id: str) -> dict[str, str]:
        root = f"{call.base}/prod/{version}/deployments/{name}/requests/{job_id}"
        return {f"{what}_url": f"{root}/{what}" for what in ("status", "result", "cancel")}

    return urls


async def _job(call: Call) -> tuple[Job, int | None]:
    job, place = await call.service.status(call.part("request_id"), call.key)
    if job.workflow != call.part("deployment_id"):
        raise NotFound("There is no such request at this deployment.")
    return job, place


async def status(call: Call) -> web.Response:
    """Answer a status."""
    job, place = await _job(call)
    version = call.request.path.split("/")[2]
    return web.json_response(status_body(job, place, urls_of(call, job.workflow, version)(job.id)))


async def result(call: Call) -> web.Response:
    """Answer a result: outputs by node and channel, as ComfyUI's history has them."""
    job, _ = await _job(call)
    body: dict[str, Any] = {"request_id": job.id, "status": RESULTS.get(job.state, job.state), **finished(job)}
    if job.worker:
        body["instance_id"] = job.worker
    if job.state == "succeeded":
        body["outputs"] = outputs_at(job, [call.file_url(item) for item in job.outputs])
    if job.state == "failed":
        body["error"] = [{"errorCode": 500001, "error": job.error, "debugInfo": f"attempt {job.attempt}"}]
    return web.json_response(body)


def outputs_at(job: Job, urls: list[str]) -> dict[str, Any]:
    """The links to what a job put out, by node and channel."""
    nodes: dict[str, dict[str, list[dict[str, str]]]] = {}
    for item, url in zip(job.outputs, urls, strict=True):
        file = {"url": url, "filename": str(item["filename"]), "subfolder": "", "type": "output"}
        nodes.setdefault(str(item["node"]), {}).setdefault(str(item["channel"]), []).append(file)
    return nodes


async def cancel_of(call: Call) -> web.Response:
    """Cancel a job of this deployment."""
    await _job(call)
    return await cancel(call)


async def list_deployments(call: Call) -> web.Response:
    """List the deployments."""
    found = (await call.service.offer()).workflows.values()
    return web.json_response([_entry(call, bindings) for bindings in found])


async def describe(call: Call) -> web.Response:
    """One deployment, with ``includes=payload`` its workflow and the inputs that may be overridden."""
    return web.json_response(_entry(call, (await call.service.offer()).by_name(call.part("deployment_id"))))


def _entry(call: Call, bindings: Bindings) -> dict[str, Any]:
    data: dict[str, Any] = {"id": bindings.name, "name": bindings.title, "status": "standby", "is_enabled": True}
    if "payload" in call.query_text("includes"):
        defaults = {name: field.default for name, field in bindings.fields.items() if field.default is not None}
        overrides = bindings.overrides(defaults)
        data["payload"] = {"workflow_api_json": dict(bindings.graph), "overrides": overrides}
    return data
