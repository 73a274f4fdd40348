"""RunComfy's two APIs: the Model API takes a workflow's flat fields, the serverless API ``overrides`` of its node inputs."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from ...workflows import Bindings
from ...workflows.examples import MICRO_SIDE, MICRO_VALUES
from ..errors import Invalid, NotFound
from ..offer import Offer
from ..tables import Job
from .call import Call, iso

STATES = {"queued": "in_queue", "running": "in_progress", "succeeded": "completed", "failed": "completed"}
RESULTS = {"queued": "in_queue", "running": "in_progress"}
_MODELS = "/v1/models/"
_BODY = ("overrides", "webhook", "webhook_intermediate_status", "workflow_api_json", "extra_data")


async def submit_fields(call: Call) -> web.Response:
    """Submit a job to the model that the address names."""
    model, body = call.request.path.removeprefix(_MODELS), await call.json()

    def choose(offer: Offer) -> tuple[Bindings, dict[str, Any]]:
        bindings = offer.by_model(model)
        return bindings, call.checker.model(bindings, body)

    told_all = call.query_bool("webhook_intermediate_status")
    return _ticket(call, "/v1/requests", await call.submit("model", body, choose, webhook_all=told_all))


async def submit_overrides(call: Call) -> web.Response:
    """Submit a job to the deployment that the address names."""
    deployment, body = call.request.path.removesuffix("/inference"), await call.json()
    if body.get("workflow_api_json"):
        text = "A workflow of your own is not run here: whoever may send a graph may run code. Send overrides."
        raise Invalid(text, field="workflow_api_json")
    for field in body:
        if field not in _BODY:
            raise Invalid(f"{field[:60]} is not a field here; there are overrides and webhook.", field=field[:60])
    webhook = body.get("webhook") or ""  # the one API that takes it in the body too
    if not isinstance(webhook, str):
        raise Invalid("webhook must be a URL.", field="webhook")

    def choose(offer: Offer) -> tuple[Bindings, dict[str, Any]]:
        bindings = offer.by_name(deployment.rpartition("/")[2])
        return bindings, call.checker.overrides(bindings, body.get("overrides"))

    told_all = call.query_bool("webhook_intermediate_status") or body.get("webhook_intermediate_status") is True
    job = await call.submit("serverless", body, choose, webhook=webhook, webhook_all=told_all)
    return _ticket(call, f"{deployment}/requests", job)


async def status(call: Call) -> web.Response:
    """Answer a status, with the stage and progress on top; ``completed`` says only that the job is over."""
    job, place = await _job(call)
    urls = _urls(call, call.request.path.rpartition("/")[0])
    body: dict[str, Any] = {"request_id": job.id, "status": STATES.get(job.state, job.state), **urls}
    if place is not None:
        body["queue_position"] = place
    if job.state == "running":
        stage = "Cancelling" if job.cancel else job.stage
        body |= {"stage": stage, "progress": round(job.progress, 3), "instance_id": job.worker}
    return web.json_response(body)


async def model_result(call: Call) -> web.Response:
    """Answer the links to what a job put out, or why it failed; early its state."""
    job, _ = await _job(call)
    told = {"error": job.error} if job.state == "failed" else {}
    return _result(job, {"output": _by_kind(call, job)} if job.state == "succeeded" else told)


async def deployment_result(call: Call) -> web.Response:
    """As ``model_result``, by node and channel as ComfyUI's history has it."""
    job, _ = await _job(call)
    told: dict[str, Any] = {"instance_id": job.worker} if job.worker else {}
    if job.state == "succeeded":
        told["outputs"] = by_node(job, call.service.links.of(job.outputs, call.base))
    if job.state == "failed":
        told["error"] = [{"errorCode": 500001, "error": job.error, "debugInfo": f"attempt {job.attempt}"}]
    return _result(job, told)


async def cancel(call: Call) -> web.Response:
    """Cancel a job: a superset of RunComfy's Model API, whose running jobs can't be cancelled."""
    job, _ = await _job(call)
    outcome = "cancelled" if await call.service.cancel(job.id, call.key) else "not_cancellable"
    return web.json_response({"request_id": job.id, "status": "completed", "outcome": outcome}, status=202)


async def _job(call: Call) -> tuple[Job, int | None]:
    job, place = await call.service.status(call.part("request_id"), call.key)
    if call.request.match_info.get("deployment_id", job.workflow) != job.workflow:
        raise NotFound("There is no such request at this deployment.")
    return job, place


def _ticket(call: Call, path: str, job: str) -> web.Response:
    return web.json_response({"request_id": job, **_urls(call, f"{path}/{job}")})


def _urls(call: Call, path: str) -> dict[str, str]:
    return {f"{what}_url": f"{call.base}{path}/{what}" for what in ("status", "result", "cancel")}


def _result(job: Job, told: dict[str, Any]) -> web.Response:
    state = {"request_id": job.id, "status": RESULTS.get(job.state, job.state)}
    return web.json_response(state | finished(job) | told)


def finished(job: Job) -> dict[str, Any]:
    """A job's times."""
    times = {"created_at": iso(job.created_at), "finished_at": iso(job.finished_at)}
    return {name: time for name, time in times.items() if time is not None}


def _by_kind(call: Call, job: Job) -> dict[str, Any]:
    """The links to what a job put out: of each kind the first, and all."""
    kinds: dict[str, list[str]] = {}
    for item, url in zip(job.outputs, call.service.links.of(job.outputs, call.base), strict=True):
        kinds.setdefault("image" if str(item["media_type"]).startswith("image/") else "video", []).append(url)
    return {name: urls[0] for name, urls in kinds.items()} | {f"{name}s": urls for name, urls in kinds.items()}


def by_node(job: Job, urls: list[str]) -> dict[str, Any]:
    """The links to what a job put out, by node and channel."""
    nodes: dict[str, dict[str, list[dict[str, str]]]] = {}
    for item, url in zip(job.outputs, urls, strict=True):
        file = {"url": url, "filename": str(item["filename"]), "subfolder": "", "type": "output"}
        nodes.setdefault(str(item["node"]), {}).setdefault(str(item["channel"]), []).append(file)
    return nodes


def event_of(job: Job, event: str, urls: list[str]) -> dict[str, Any]:
    """The body of a webhook."""
    body: dict[str, Any] = {"request_id": job.id, "deployment_id": job.model, "status": event, **finished(job)}
    if event == "in_progress":
        return {**body, "started_at": iso(job.started_at)}
    body["outcome"] = event
    if event == "succeeded":
        body["outputs"] = by_node(job, urls)
    if event == "failed":
        body["error"] = {"type": "execution_error", "message": job.error}
    return body


async def list_models(call: Call) -> web.Response:
    """List what can be run."""
    limit, offset = call.query_int("limit", 100, 1, 100), call.query_int("offset", 0, 0, 1000)
    search, kind, category = (call.query_text(name).lower() for name in ("search", "kind", "category"))
    schema = call.query_bool("include_schema")
    entries = [_model(call, bindings, schema=schema) for bindings in (await call.service.offer()).workflows.values()]
    found = [
        item
        for item in entries
        if search in f"{item['model_id']} {item['display_name']}".lower()
        and kind in ("", item["kind"])
        and (not category or category in item["categories"])
    ]
    page = {"models": found[offset : offset + limit], "total": len(found), "limit": limit, "offset": offset}
    return web.json_response(page)


async def describe_model(call: Call) -> web.Response:
    """Describe the model that the address names."""
    bindings = (await call.service.offer()).by_model(call.request.path.removeprefix(_MODELS))
    return web.json_response(_model(call, bindings, schema=True))


def _model(call: Call, bindings: Bindings, *, schema: bool) -> dict[str, Any]:
    data: dict[str, Any] = {
        "model_id": bindings.model,
        "display_name": bindings.title,
        "description": bindings.description,
        "categories": ["image-to-video"],
        "kind": "community",
        "base_price_usd": 0,
        "price_unit": "output",
    }
    if schema:
        data["input_schema"] = bindings.input_schema()
    if call.settings.demo:
        data["note"] = (
            f"Demo: micro models. Every video, and each segment of a storyboard, is a real transition, soft, {MICRO_SIDE} "
            f"pixels on its longer side and {MICRO_VALUES['67_length']} frames long, whatever size, length, steps, cfg and "
            "shift are asked for."
        )
    return data


async def list_deployments(call: Call) -> web.Response:
    """List the deployments: the shipped workflows."""
    found = (await call.service.offer()).workflows.values()
    return web.json_response([_deployment(call, bindings) for bindings in found])


async def describe_deployment(call: Call) -> web.Response:
    """One deployment, with ``includes=payload`` its workflow and the inputs that may be overridden."""
    return web.json_response(_deployment(call, (await call.service.offer()).by_name(call.part("deployment_id"))))


def _deployment(call: Call, bindings: Bindings) -> dict[str, Any]:
    data: dict[str, Any] = {"id": bindings.name, "name": bindings.title, "status": "standby", "is_enabled": True}
    if "payload" in call.query_text("includes"):
        defaults = {name: field.default for name, field in bindings.fields.items() if field.default is not None}
        data["payload"] = {"workflow_api_json": dict(bindings.graph), "overrides": bindings.overrides(defaults)}
    return data
