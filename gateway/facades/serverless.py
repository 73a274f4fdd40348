"""RunComfy's serverless API: a deployment is a shipped workflow, its body ``overrides`` of bound inputs."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from ...workflows import Bindings
from ..errors import Invalid
from ..offer import Checker, Offer, every_workflow
from ..records import Job
from .operation import BOOLEAN, STRING, URI, Call, Operation, Schema, array, obj
from .requests import RESULT_STATES, Requests

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
        requests = requests_at(root)
        found += [
            requests.submit(
                f"{root}/{bindings.name}/inference",
                submit_to(bindings.name, requests),
                f"Run {bindings.title} with overrides",
                body_schema(bindings),
            )
            for bindings in every_workflow().values()
        ]
        path = f"{root}/{{deployment_id}}"
        query: dict[str, Schema] = {"includes": STRING}
        found += [
            Operation("GET", root, list_deployments, "The deployments that can be run now", TAG, query=query,
                      answers={200: array(DEPLOYMENT)}, errors=(401, 403, 422, 503)),
            Operation("GET", path, describe, "One deployment", TAG, query=query,
                      answers={200: DEPLOYMENT}, errors=(401, 403, 404, 422, 503)),
            *requests.operations(),
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


def submit_to(name: str, requests: Requests) -> Any:
    """The handler that submits to this deployment."""

    async def submit(call: Call) -> web.Response:
        body, checker = await call.json(), Checker(call.settings.limits, call.settings.demo)
        if body.get("workflow_api_json"):
            text = "A workflow of your own is not run here: whoever may send a graph may run code. Send overrides."
            raise Invalid(text, field="workflow_api_json")
        for field in body:
            if field not in ("overrides", "webhook", "webhook_intermediate_status", "workflow_api_json", "extra_data"):
                raise Invalid(f"{field[:60]} is not a field here; there are overrides and webhook.", field=field[:60])
        if not isinstance(body.get("webhook") or "", str):
            raise Invalid("webhook must be a URL.", field="webhook")

        def choose(offer: Offer) -> tuple[Bindings, dict[str, Any]]:
            bindings = offer.by_name(name)
            return bindings, checker.overrides(bindings, body.get("overrides"))

        webhook = str(body.get("webhook") or "")  # the one API that takes it in the body too
        told_all = call.query_bool("webhook_intermediate_status") or body.get("webhook_intermediate_status") is True
        job = await call.submit("serverless", body, choose, webhook=webhook, webhook_all=told_all)
        return requests.ticket(call, job)

    return submit


def requests_at(root: str) -> Requests:
    """The requests of the deployments at this address."""
    return Requests("serverless", TAG, f"{root}/{{deployment_id}}/requests/{{request_id}}", RESULT, came_of)


def came_of(call: Call, job: Job) -> dict[str, Any]:
    """What a job put out, by node and channel as ComfyUI's history has it, or why it failed."""
    told: dict[str, Any] = {"instance_id": job.worker} if job.worker else {}
    if job.state == "succeeded":
        told["outputs"] = outputs_at(job, [call.file_url(item) for item in job.outputs])
    if job.state == "failed":
        told["error"] = [{"errorCode": 500001, "error": job.error, "debugInfo": f"attempt {job.attempt}"}]
    return told


def outputs_at(job: Job, urls: list[str]) -> dict[str, Any]:
    """The links to what a job put out, by node and channel."""
    nodes: dict[str, dict[str, list[dict[str, str]]]] = {}
    for item, url in zip(job.outputs, urls, strict=True):
        file = {"url": url, "filename": str(item["filename"]), "subfolder": "", "type": "output"}
        nodes.setdefault(str(item["node"]), {}).setdefault(str(item["channel"]), []).append(file)
    return nodes


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
