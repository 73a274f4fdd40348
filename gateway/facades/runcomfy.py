"""RunComfy's Model API: flat fields in, a request id out, then status, result and cancel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from ...engine.setup import MICRO_MODELS
from ...workflows import Bindings
from ..errors import NotFound
from ..offer import Checker, every_workflow
from ..records import Job, NewJob
from ..service import with_idempotency
from .operation import (
    IDEMPOTENCY_HEADER,
    INTEGER,
    NUMBER,
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
    one_of,
)

TAG = "RunComfy Model API"
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
RESULT = obj(
    ("request_id", "status", "created_at"),
    request_id=STRING,
    status=RESULT_STATES,
    output=obj(video=URI, videos=array(URI), image=URI, images=array(URI)),
    error=STRING,
    created_at={"type": "string", "format": "date-time"},
    finished_at={"type": "string", "format": "date-time"},
)
CANCELLED = obj(
    ("request_id", "status", "outcome"),
    request_id=STRING,
    status=STRING,
    outcome=one_of("cancelled", "not_cancellable"),
)
MODEL = obj(
    ("model_id", "display_name", "kind"),
    model_id=STRING,
    display_name=STRING,
    description=STRING,
    categories=array(STRING),
    kind=STRING,
    base_price_usd=NUMBER,
    price_unit=STRING,
    input_schema={"type": "object"},
    note=STRING,
)


def json_schema(bindings: Bindings) -> Schema:
    """A workflow's input schema in words that JSON Schema knows: RunComfy writes ``float`` for a number."""
    schema: dict[str, Any] = {**bindings.input_schema(), "additionalProperties": False}
    schema["properties"] = {
        name: {**field, "type": "number" if field["type"] == "float" else field["type"]}
        for name, field in schema["properties"].items()
    }
    schema["example"] = {name: schema["properties"][name]["default"] for name in schema["required"]}
    return schema


def operations() -> list[Operation]:
    """Every address of this API."""
    request: dict[str, Any] = {"errors": (401, 403, 404, 503)}
    submits = [
        Operation(
            "POST",
            f"/v1/models/{bindings.model}",
            submit_to(bindings.model),
            f"Submit a job to {bindings.title}",
            TAG,
            "submit",
            body=json_schema(bindings),
            query=WEBHOOK_QUERY,
            headers=IDEMPOTENCY_HEADER,
            answers={200: TICKET},
            errors=SUBMIT_ERRORS,
        )
        for bindings in every_workflow().values()
    ]
    models = [
        Operation(
            "GET",
            f"/v1/models/{bindings.model}",
            model_of(bindings.model),
            f"What {bindings.title} takes",
            TAG,
            answers={200: MODEL},
            errors=(401, 403, 404, 503),
        )
        for bindings in every_workflow().values()
    ]
    query = {
        "search": STRING,
        "category": STRING,
        "kind": STRING,
        "include_schema": {"type": "boolean"},
        "limit": {"type": "integer", "minimum": 1, "maximum": 100},
        "offset": {"type": "integer", "minimum": 0, "maximum": 1000},
    }
    listing = obj(("models", "total"), models=array(MODEL), total=INTEGER, limit=INTEGER, offset=INTEGER)
    path = "/v1/requests/{request_id}"
    return [
        *submits,
        *models,
        Operation(
            "GET",
            "/v1/models",
            list_models,
            "The models that can be run now",
            TAG,
            query=query,
            answers={200: listing},
            errors=(401, 403, 422, 503),
        ),
        Operation("GET", f"{path}/status", status, "Where a job stands", TAG, answers={200: STATUS}, **request),
        Operation("GET", f"{path}/result", result, "What came of a job", TAG, answers={200: RESULT}, **request),
        Operation(
            "POST",
            f"{path}/cancel",
            cancel,
            "Stop a queued or running job",
            TAG,
            "submit",
            answers={202: CANCELLED},
            **request,
        ),
    ]


def submit_to(model: str) -> Any:
    """The handler that submits to this model."""

    async def submit(call: Call) -> web.Response:
        bindings = (await call.service.offer()).by_model(model)
        body = await call.json()
        values = Checker(call.settings.limits, call.settings.demo).model(bindings, body)
        return await accept(call, "model", bindings, values, body, urls_of(call))

    return submit


async def accept(
    call: Call, api: Any, bindings: Bindings, values: Mapping[str, Any], body: Mapping[str, Any], urls: Any
) -> web.Response:
    """Submit checked values and answer RunComfy's ticket; ``urls`` makes it from a request id."""
    taken = await call.service.take_pictures(bindings, values, call.key)
    webhook = (
        call.query_text("webhook") or str(body.get("webhook") or "")
        if api == "serverless"
        else call.query_text("webhook")
    )
    job = NewJob(
        owner=call.key.id,
        api=api,
        model=bindings.model if api == "model" else bindings.name,
        workflow=bindings.name,
        values=taken,
        shown={},
        webhook=webhook,
        webhook_all=call.query_bool("webhook_intermediate_status") or body.get("webhook_intermediate_status") is True,
    )
    header = call.request.headers.get("Idempotency-Key")
    accepted = await call.service.submit(with_idempotency(job, header, call.request.path, body))
    call.metrics.accepted.labels(api).inc()
    return web.json_response({"request_id": accepted.job_id, **urls(accepted.job_id)})


def urls_of(call: Call) -> Any:
    """Makes the three addresses of a request."""

    def urls(job_id: str) -> dict[str, str]:
        return {f"{what}_url": f"{call.base}/v1/requests/{job_id}/{what}" for what in ("status", "result", "cancel")}

    return urls


async def status(call: Call) -> web.Response:
    """Answer a status; ``completed`` says only that the job is over."""
    job, place = await call.service.status(call.part("request_id"), call.key)
    return web.json_response(status_body(job, place, urls_of(call)(job.id)))


def status_body(job: Job, place: int | None, urls: Mapping[str, str]) -> dict[str, Any]:
    """RunComfy's status, with the stage and progress on top."""
    body: dict[str, Any] = {"request_id": job.id, "status": STATES.get(job.state, job.state), **urls}
    if place is not None:
        body["queue_position"] = place
    if job.state == "running":
        body |= {
            "stage": "Cancelling" if job.cancel else job.stage,
            "progress": round(job.progress, 3),
            "instance_id": job.worker,
        }
    return body


async def result(call: Call) -> web.Response:
    """Answer a result; early it tells the current state."""
    job = await call.service.job(call.part("request_id"), call.key)
    body: dict[str, Any] = {"request_id": job.id, "status": RESULTS.get(job.state, job.state), **finished(job)}
    if job.state == "succeeded":
        body["output"] = output(call, job)
    if job.state == "failed":
        body["error"] = job.error
    return web.json_response(body)


def output(call: Call, job: Job) -> dict[str, Any]:
    """The links to what a job put out, by kind."""
    kinds: dict[str, list[str]] = {"video": [], "image": []}
    for item in job.outputs:
        kinds["image" if str(item["media_type"]).startswith("image/") else "video"].append(call.file_url(item))
    found = {name: urls for name, urls in kinds.items() if urls}
    return {name: urls[0] for name, urls in found.items()} | {f"{name}s": urls for name, urls in found.items()}


async def cancel(call: Call) -> web.Response:
    """Cancel a job: a superset of RunComfy's, whose running jobs can't be cancelled here."""
    job_id = call.part("request_id")
    cancelled = await call.service.cancel(job_id, call.key)
    outcome = "cancelled" if cancelled else "not_cancellable"
    return web.json_response({"request_id": job_id, "status": "completed", "outcome": outcome}, status=202)


def model_of(model: str) -> Any:
    """The handler that describes this model."""

    async def describe(call: Call) -> web.Response:
        return web.json_response(entry(call, (await call.service.offer()).by_model(model), schema=True))

    return describe


async def list_models(call: Call) -> web.Response:
    """List what can be run."""
    limit, offset = call.query_int("limit", 100, 1, 100), call.query_int("offset", 0, 0, 1000)
    search, kind, category = (call.query_text(name).lower() for name in ("search", "kind", "category"))
    schema = call.query_bool("include_schema")
    entries = [entry(call, bindings, schema=schema) for bindings in (await call.service.offer()).workflows.values()]
    found = [
        item
        for item in entries
        if search in f"{item['model_id']} {item['display_name']}".lower()
        and kind in ("", item["kind"])
        and (not category or category in item["categories"])
    ]
    page = {"models": found[offset : offset + limit], "total": len(found), "limit": limit, "offset": offset}
    return web.json_response(page)


def entry(call: Call, bindings: Bindings, *, schema: bool) -> dict[str, Any]:
    """One model of the list."""
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
        shows = "a real transition, soft" if _is_trained(bindings) else "noise"
        data["note"] = f"Demo: tiny weights. Every video shows {shows}, small and short, whatever size is asked for."
    return data


def _is_trained(bindings: Bindings) -> bool:
    """Whether the micro models stand in for this workflow's experts, and not random ones."""
    experts = [f"{folder}/{file}" for folder, file in bindings.model_files() if folder == "diffusion_models"]
    return all(expert in MICRO_MODELS for expert in experts)


async def no_model(_call: Call) -> web.Response:
    """Any other model id."""
    raise NotFound("There is no such model here. GET /v1/models lists them.")
