"""RunComfy's Model API: flat fields in, a request id out, then status, result and cancel."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from ...workflows import Bindings
from ..offer import DEMO_SIDE, DEMO_VALUES, Offer
from ..records import Job
from . import requests
from .call import Call

_MODELS = "/v1/models/"


async def submit(call: Call) -> web.Response:
    """Submit a job to the model that the address names."""
    model, body = call.request.path.removeprefix(_MODELS), await call.json()

    def choose(offer: Offer) -> tuple[Bindings, dict[str, Any]]:
        bindings = offer.by_model(model)
        return bindings, call.checker.model(bindings, body)

    told_all = call.query_bool("webhook_intermediate_status")
    return requests.ticket(call, f"/v1/requests/{await call.submit('model', body, choose, webhook_all=told_all)}")


def output(call: Call, job: Job) -> dict[str, Any]:
    """The links to what a job put out, by kind."""
    kinds: dict[str, list[str]] = {"video": [], "image": []}
    for item in job.outputs:
        kinds["image" if str(item["media_type"]).startswith("image/") else "video"].append(call.file_url(item))
    found = {name: urls for name, urls in kinds.items() if urls}
    return {name: urls[0] for name, urls in found.items()} | {f"{name}s": urls for name, urls in found.items()}


async def result(call: Call) -> web.Response:
    """Answer the links to what a job put out, or why it failed."""
    job, _ = await requests.job_of(call)
    told: dict[str, dict[str, Any]] = {"succeeded": {"output": output(call, job)}, "failed": {"error": job.error}}
    return requests.result(job, told.get(job.state, {}))


async def describe(call: Call) -> web.Response:
    """Describe the model that the address names."""
    bindings = (await call.service.offer()).by_model(call.request.path.removeprefix(_MODELS))
    return web.json_response(entry(call, bindings, schema=True))


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
            f"Demo: micro models. Every video, and each segment of a storyboard, is a real transition, soft, {DEMO_SIDE} "
            f"pixels on its longer side and {DEMO_VALUES['67_length']} frames long, whatever size, length, steps, cfg and "
            "shift are asked for."
        )
    return data
