"""WaveSpeed's API v3: named fields in, a prediction out; delete and history."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from aiohttp import web

from ...workflows import Bindings
from ..errors import Invalid
from ..examples import EXAMPLES
from ..offer import WAVESPEED_FIELDS, WAVESPEED_MODEL, Offer, every_workflow
from ..records import Job
from .call import Call, iso, wrapped
from .schemas import fields_schema

STATES = {"queued": "created", "running": "processing", "succeeded": "completed", "failed": "failed"}
NO_CHECKER = "none installed"
FIELDS = fields_schema(
    WAVESPEED_FIELDS,
    example={"first_image": EXAMPLES[0], "last_image": EXAMPLES[1], "prompt": "glass flower blossom", "seed": 1},
)
MODELS = {WAVESPEED_MODEL: FIELDS} | {
    bindings.model: fields_schema(bindings.fields, example=bindings.example())
    for bindings in every_workflow().values()
    if bindings.storyboard
}


async def submit(call: Call) -> web.Response:
    """Accept a prediction of the model that the address names."""
    model, body = call.request.path.removeprefix("/api/v3/"), await call.json()
    for name in ("enable_sync_mode", "enable_base64_output"):
        if body.pop(name, False) is not False:
            raise Invalid(f"{name} can't be used for a video; leave it out and poll.", field=name)

    def choose(offer: Offer) -> tuple[Bindings, dict[str, Any]]:
        if model == WAVESPEED_MODEL:
            return call.checker.wavespeed(offer, body)
        bindings = offer.by_model(model)
        return bindings, call.checker.model(bindings, body)

    job = await call.submit("wavespeed", body, choose)
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
    if model in (None, "", *MODELS):
        jobs = await call.service.call(
            call.service.jobs.page,
            call.key.id,
            limit=size,
            offset=(page - 1) * size,
            api="wavespeed",
            model=model or None,
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
    """Answer WaveSpeed's model and storyboards, where they can be run."""
    offered = (await call.service.offer()).workflows.values()
    names = {bindings.model if bindings.storyboard else WAVESPEED_MODEL for bindings in offered}
    return wrapped([_entry(name, fields) for name, fields in MODELS.items() if name in names])


def _entry(model: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    schema = {"request_schema": {**fields, "x-order-properties": list(fields["properties"])}}
    entry = {"model_id": model, "name": model, "type": "image-to-video", "base_price": 0}
    return {**entry, "api_schema": {"api_schemas": [schema]}}


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
