"""WaveSpeed's API v3: named fields in, a prediction out; delete and history."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from aiohttp import web

from ..errors import Invalid
from ..examples import EXAMPLES
from ..offer import WAVESPEED_FIELDS, WAVESPEED_MODEL, Checker
from ..records import Job
from .operation import (
    BOOLEAN,
    IDEMPOTENCY_HEADER,
    INTEGER,
    STRING,
    SUBMIT_ERRORS,
    URI,
    WEBHOOK_QUERY,
    Call,
    Operation,
    Schema,
    array,
    fields_schema,
    iso,
    obj,
    one_of,
)
from .uploads import TAG, envelope, wrapped

STATES = {"queued": "created", "running": "processing", "succeeded": "completed", "failed": "failed"}
NO_CHECKER = "none installed"
PREDICTION = obj(
    ("id", "model", "outputs", "urls", "has_nsfw_contents", "status", "created_at", "error", "timings"),
    id=STRING,
    model=STRING,
    outputs=array(URI),
    urls=obj(("get",), get=URI),
    has_nsfw_contents=array(BOOLEAN),
    safety_checker=STRING,
    status=one_of("created", "processing", "completed", "failed", "cancelled"),
    created_at=STRING,
    error=STRING,
    timings=obj(("inference",), inference=INTEGER),
    input={"type": "object"},
)
FIELDS = fields_schema(
    WAVESPEED_FIELDS,
    example={"first_image": EXAMPLES[0], "last_image": EXAMPLES[1], "prompt": "glass flower blossom", "seed": 1},
)
LIST_BODY: Schema = {
    "type": "object",
    "properties": {
        "page": {"type": "integer", "minimum": 1, "maximum": 10000},
        "page_size": {"type": "integer", "minimum": 1, "maximum": 100},
        "model": STRING,
        "status": one_of("created", "processing", "completed", "failed", "cancelled"),
        "created_after": {"type": "string", "format": "date-time"},
        "created_before": {"type": "string", "format": "date-time"},
    },
}
DELETE_BODY: Schema = {
    "type": "object",
    "required": ["ids"],
    "properties": {"ids": {"type": "array", "items": STRING, "maxItems": 100}},
}


def operations() -> list[Operation]:
    """Every address of this API."""
    one = "/api/v3/predictions/{prediction_id}"
    read: dict[str, Any] = {"errors": (401, 403, 404, 503)}
    listing = envelope(obj(("items",), items=array(PREDICTION), page=INTEGER, page_size=INTEGER))
    bodies = (400, 401, 403, 408, 413, 422, 429, 503)
    return [
        Operation("POST", f"/api/v3/{WAVESPEED_MODEL}", submit, "Submit a job to Wan FLF2V", TAG, "submit",
                  body=FIELDS, query={"webhook": WEBHOOK_QUERY["webhook"]}, headers=IDEMPOTENCY_HEADER,
                  answers={200: envelope(PREDICTION)}, errors=SUBMIT_ERRORS),
        Operation("GET", f"{one}/result", result, "A prediction", TAG, answers={200: envelope(PREDICTION)}, **read),
        Operation(
            "GET", one, result, "A prediction (the other address)", TAG, answers={200: envelope(PREDICTION)}, **read
        ),
        Operation("DELETE", one, delete_one, "Cancel and forget a prediction", TAG, "submit",
                  answers={200: envelope(obj(("id", "status"), id=STRING, status=STRING))}, **read),
        Operation("POST", "/api/v3/predictions", history, "The predictions of the last days", TAG, body=LIST_BODY,
                  answers={200: listing}, errors=bodies),
        Operation("POST", "/api/v3/predictions/delete", delete_many, "Cancel and forget predictions", TAG, "submit",
                  body=DELETE_BODY, answers={200: envelope(obj(("deleted_count",), deleted_count=INTEGER))},
                  errors=bodies),
        Operation("GET", "/api/v3/models", models, "The models that can be run now", TAG,
                  answers={200: envelope(array(obj(("model_id", "name", "type"), model_id=STRING, name=STRING,
                  type=STRING)))},
                  errors=(401, 403, 503)),
        Operation("GET", "/api/v3/webhook/secret", webhook_secret, "The secret that webhooks are signed with", TAG,
                  "submit", answers={200: envelope(obj(("secret",), secret=STRING))}, errors=(401, 403, 503)),
    ]  # fmt: skip


async def submit(call: Call) -> web.Response:
    """Accept a prediction."""
    body = await call.json()
    for name in ("enable_sync_mode", "enable_base64_output"):
        if body.pop(name, False) is not False:
            raise Invalid(f"{name} can't be used for a video; leave it out and poll.", field=name)
    checker = Checker(call.settings.limits, call.settings.demo)
    job = await call.submit("wavespeed", body, lambda offer: checker.wavespeed(offer, body))
    return wrapped(prediction(call, await call.service.job(job, call.key)))


def prediction(call: Call, job: Job) -> dict[str, Any]:
    """A job as WaveSpeed's prediction."""
    return prediction_at(call.base, job, [call.file_url(output) for output in job.outputs])


def prediction_at(base: str, job: Job, outputs: list[str]) -> dict[str, Any]:
    """A job as WaveSpeed's prediction, with the links to its outputs made elsewhere."""
    flags = [output.get("flagged") for output in job.outputs]
    spent = (job.finished_at or 0) - (job.started_at or 0) if job.state == "succeeded" else 0
    data = {
        "id": job.id,
        "model": job.model,
        "outputs": outputs,
        "urls": {"get": f"{base}/api/v3/predictions/{job.id}/result"},
        "has_nsfw_contents": [flag for flag in flags if flag is not None],
        "status": STATES.get(job.state, job.state),
        "created_at": iso(job.created_at, nanoseconds=True),
        "error": job.error,
        "timings": {"inference": int(spent * 1000)},
    }
    if job.values.get("safety_checker") and all(flag is None for flag in flags):
        data["safety_checker"] = NO_CHECKER  # so that an empty list is not read as "checked and fine"
    return data


async def result(call: Call) -> web.Response:
    """Answer a prediction."""
    return wrapped(prediction(call, await call.service.job(call.part("prediction_id"), call.key)))


async def history(call: Call) -> web.Response:
    """Answer a page of predictions, newest first."""
    body = await call.json()
    page, size = _whole(body, "page", 1, 10_000), _whole(body, "page_size", 100, 100)
    status, model = body.get("status"), body.get("model")
    states = [state for state in (*STATES, "cancelled") if STATES.get(state, state) == status]
    if status not in (None, "") and not states:
        raise Invalid("status must be created, processing, completed, failed or cancelled.", field="status")
    jobs = []
    if model in (None, "", WAVESPEED_MODEL):
        jobs = await call.service.call(
            call.service.jobs.page,
            call.key.id,
            limit=size,
            offset=(page - 1) * size,
            api="wavespeed",
            states=states,
            after=_time(body, "created_after"),
            before=_time(body, "created_before"),
        )
    items = [{**prediction(call, job), "input": dict(job.shown)} for job in jobs]
    return wrapped({"items": items, "page": page, "page_size": size})


async def delete_many(call: Call) -> web.Response:
    """Delete predictions; unknown ids are passed over."""
    ids = (await call.json()).get("ids")
    if not isinstance(ids, list) or len(ids) > 100 or not all(isinstance(item, str) for item in ids):
        raise Invalid("ids must be a list of at most 100 ids.", field="ids")
    return wrapped({"deleted_count": await call.service.delete(ids, call.key)})


async def delete_one(call: Call) -> web.Response:
    """Delete a prediction."""
    job = await call.service.job(call.part("prediction_id"), call.key)
    await call.service.delete([job.id], call.key)
    return wrapped({"id": job.id, "status": "deleted"})


async def models(call: Call) -> web.Response:
    """Answer the one model, where it can be run."""
    offered = (await call.service.offer()).workflows
    schema = {"request_schema": {**FIELDS, "x-order-properties": list(FIELDS["properties"])}}
    entry = {"model_id": WAVESPEED_MODEL, "name": WAVESPEED_MODEL, "type": "image-to-video", "base_price": 0}
    return wrapped([{**entry, "api_schema": {"api_schemas": [schema]}}] if offered else [])


async def webhook_secret(call: Call) -> web.Response:
    """Answer the secret that signs this key's webhooks."""
    return wrapped({"secret": f"whsec_{await call.service.call(call.service.signer.secret, call.key.id)}"})


def _whole(body: Mapping[str, Any], name: str, default: int, high: int = 100) -> int:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= high:
        raise Invalid(f"{name} must be a whole number between 1 and {high}.", field=name)
    return value


def _time(body: Mapping[str, Any], name: str) -> float | None:
    value = body.get(name)
    if value in (None, ""):
        return None
    try:
        return datetime.fromisoformat(str(value).replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError, OSError):
        raise Invalid(f"{name} must be a time such as 2026-01-31T12:00:00+00:00.", field=name) from None
