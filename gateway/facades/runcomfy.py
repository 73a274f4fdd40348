"""RunComfy's Model API: flat fields in, a request id out, then status, result and cancel."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from ...workflows import Bindings
from ..offer import DEMO_SIDE, DEMO_VALUES, Checker, Offer, every_workflow
from ..records import Job
from .operation import INTEGER, NUMBER, STRING, URI, Call, Operation, Schema, array, fields_schema, obj
from .requests import RESULT_STATES, Requests

TAG = "RunComfy Model API"
RESULT = obj(
    ("request_id", "status", "created_at"),
    request_id=STRING,
    status=RESULT_STATES,
    output=obj(video=URI, videos=array(URI), image=URI, images=array(URI)),
    error=STRING,
    created_at={"type": "string", "format": "date-time"},
    finished_at={"type": "string", "format": "date-time"},
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
    """The fields that a workflow takes, with an example."""
    example = {name: field.default for name, field in bindings.fields.items() if field.required}
    return fields_schema(bindings.fields, title="Input schema", example=example)


def operations() -> list[Operation]:
    """Every address of this API."""
    submits = [
        REQUESTS.submit(
            f"/v1/models/{bindings.model}",
            submit_to(bindings.model),
            f"Submit a job to {bindings.title}",
            json_schema(bindings),
        )
        for bindings in every_workflow().values()
    ]
    models = [
        Operation("GET", f"/v1/models/{bindings.model}", model_of(bindings.model), f"What {bindings.title} takes", TAG,
                  answers={200: MODEL}, errors=(401, 403, 404, 503))
        for bindings in every_workflow().values()
    ]  # fmt: skip
    query = {
        "search": STRING,
        "category": STRING,
        "kind": STRING,
        "include_schema": {"type": "boolean"},
        "limit": {"type": "integer", "minimum": 1, "maximum": 100},
        "offset": {"type": "integer", "minimum": 0, "maximum": 1000},
    }
    listing = obj(("models", "total"), models=array(MODEL), total=INTEGER, limit=INTEGER, offset=INTEGER)
    return [
        *submits,
        *models,
        Operation("GET", "/v1/models", list_models, "The models that can be run now", TAG, query=query,
                  answers={200: listing}, errors=(401, 403, 422, 503)),
        *REQUESTS.operations(),
    ]  # fmt: skip


def submit_to(model: str) -> Any:
    """The handler that submits to this model."""

    async def submit(call: Call) -> web.Response:
        body, checker = await call.json(), Checker(call.settings.limits, call.settings.demo)

        def choose(offer: Offer) -> tuple[Bindings, dict[str, Any]]:
            bindings = offer.by_model(model)
            return bindings, checker.model(bindings, body)

        told_all = call.query_bool("webhook_intermediate_status")
        return REQUESTS.ticket(call, await call.submit("model", body, choose, webhook_all=told_all))

    return submit


def output(call: Call, job: Job) -> dict[str, Any]:
    """The links to what a job put out, by kind."""
    kinds: dict[str, list[str]] = {"video": [], "image": []}
    for item in job.outputs:
        kinds["image" if str(item["media_type"]).startswith("image/") else "video"].append(call.file_url(item))
    found = {name: urls for name, urls in kinds.items() if urls}
    return {name: urls[0] for name, urls in found.items()} | {f"{name}s": urls for name, urls in found.items()}


def came_of(call: Call, job: Job) -> dict[str, Any]:
    """The links to what a job put out, or why it failed."""
    if job.state == "succeeded":
        return {"output": output(call, job)}
    return {"error": job.error} if job.state == "failed" else {}


REQUESTS = Requests("model", TAG, "/v1/requests/{request_id}", RESULT, came_of)


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
        data["note"] = (
            f"Demo: micro models. Every video is a real transition, soft, {DEMO_SIDE} pixels on its longer side and "
            f"{DEMO_VALUES['67_length']} frames long, whatever size, length, steps, cfg and shift are asked for."
        )
    return data
