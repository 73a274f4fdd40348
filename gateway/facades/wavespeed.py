"""WaveSpeed's API v3: named fields in, a prediction out; delete and history; uploads by a form or a signed PUT."""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from ...workflows import Bindings
from ...workflows.examples import FIRST, LAST
from ..decode import PictureError
from ..errors import BadRequest, Invalid, NotFound, TooLarge, TooSlow
from ..offer import WAVESPEED_FIELDS, WAVESPEED_MODEL, Offer, every_workflow
from ..tables import JOBS, Job
from .call import Call, iso, whole
from .schemas import fields_schema

STATES = {"queued": "created", "running": "processing", "succeeded": "completed", "failed": "failed"}
NO_CHECKER = "none installed"
_EXAMPLE = {"first_image": FIRST, "last_image": LAST, "prompt": "glass flower blossom", "seed": 1}
FIELDS = fields_schema(WAVESPEED_FIELDS, example=_EXAMPLE)
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
    return wrapped(_prediction(call, await call.service.job(job, call.key)))


def wrapped(data: Any) -> web.Response:
    """An answer in WaveSpeed's wrapping."""
    return web.json_response({"code": 200, "message": "success", "data": data})


def prediction_of(job: Job, base: str, urls: list[str]) -> dict[str, Any]:
    """A job as WaveSpeed's prediction, with the links to its outputs."""
    flags = [output.get("flagged") for output in job.outputs]
    spent = (job.finished_at or 0) - (job.started_at or 0) if job.state == "succeeded" else 0
    data = {
        "id": job.id,
        "model": job.model,
        "outputs": urls,
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
    return wrapped(_prediction(call, await call.service.job(call.part("prediction_id"), call.key)))


def _prediction(call: Call, job: Job) -> dict[str, Any]:
    return prediction_of(job, call.base, call.service.links.of(job.outputs, call.base))


async def history(call: Call) -> web.Response:
    """Answer a page of predictions, newest first."""
    body = await call.json()
    page = whole("page", body.get("page", 1), 1, 10_000)
    size = whole("page_size", body.get("page_size", 100), 1, 100)
    status, model = body.get("status"), body.get("model")
    states = [state for state in (*STATES, "cancelled") if status in (None, "", STATES.get(state, state))]
    if not states:
        raise Invalid("status must be created, processing, completed, failed or cancelled.", field="status")
    times = _time(body, "created_after", 0.0), _time(body, "created_before", math.inf)
    which = [JOBS.c.api == "wavespeed", JOBS.c.state.in_(states), JOBS.c.created_at.between(*times)]
    if model not in (None, ""):
        which.append(JOBS.c.model.in_([name for name in MODELS if name == model]))
    jobs = await call.service.call(call.service.jobs.page, call.key.id, *which, limit=size, offset=(page - 1) * size)
    items = [{**_prediction(call, job), "input": dict(job.shown)} for job in jobs]
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


async def upload_form(call: Call) -> web.Response:
    """Take a picture from a form."""
    if not call.request.content_type.startswith("multipart/"):
        raise BadRequest("Send the picture as multipart/form-data, in a field named file.")
    try:
        form = await asyncio.wait_for(call.request.post(), call.settings.body_read_s)
    except web.HTTPRequestEntityTooLarge:
        raise TooLarge(f"The body must have at most {call.settings.body_bytes // 2**20} MiB.") from None
    except asyncio.TimeoutError:
        raise TooSlow(f"The form did not arrive within {call.settings.body_read_s:.0f} s.") from None
    except (ValueError, LookupError, AssertionError, RuntimeError, web.RequestPayloadError, HttpProcessingError):
        raise BadRequest("The form can't be read.") from None
    file = form.get("file")
    if not isinstance(file, web.FileField):
        raise Invalid("The form must have a picture in a field named file.", field="file")
    path = call.scratch.file("upload")
    with path.open("wb") as copy:
        await asyncio.to_thread(shutil.copyfileobj, file.file, copy)
    if path.stat().st_size > call.settings.picture_bytes:
        raise TooLarge(f"A picture must have at most {call.settings.picture_bytes // 2**20} MiB.")
    try:
        asset = await call.service.intake.store(path, file.filename, call.key.id, call.scratch)
    except PictureError as error:
        raise Invalid(f"file: {error}", field="file") from None
    link = call.base + call.service.links.path(asset.id, asset.filename, lifetime_s=call.settings.keep_s)
    return wrapped({"type": "image", "download_url": link, "filename": asset.filename, "size": asset.size})


async def announce(call: Call) -> web.Response:
    """Answer where a picture may be PUT to, without a key, by whoever has the signed address."""
    body = await call.json()
    filename, size = body.get("filename"), body.get("size")
    if not isinstance(filename, str) or not 0 < len(filename) <= 255:
        raise Invalid("filename must be a text of 1 to 255 characters.", field="filename")
    size = whole("size", size, 1, call.settings.picture_bytes)
    service = call.service
    await service.intake.make_room(call.key.id, size)
    asset = await service.call(service.assets.announce, call.key.id, size)
    link = call.base + service.links.path(asset.id, asset.filename, "write", 3600)
    headers = {"Content-Type": str(body.get("content_type") or "application/octet-stream")[:100]}
    upload = {"method": "PUT", "url": link, "headers": headers}
    reading = call.base + service.links.path(asset.id, asset.filename, lifetime_s=call.settings.keep_s)
    return wrapped({"upload": upload, "download_url": reading})


async def put_upload(call: Call) -> web.Response:
    """Take the bytes of an announced picture, once."""
    asset = await call.linked("write")
    if asset is None or asset.complete:
        raise NotFound("This upload was made already, or has expired.")
    data = await call.raw()
    size = len(data) if isinstance(data, bytes) else data.stat().st_size
    if size != asset.size:
        raise Invalid(f"The upload was announced with {asset.size} bytes; it has {size}.", field="size")
    try:
        png = await call.service.intake.decoder.png(data, call.scratch.file("upload.png"), asset.owner)
    except PictureError as error:
        raise Invalid(f"file: {error}", field="file") from None
    size = png.stat().st_size
    if not await call.service.call(call.service.assets.fill, asset.id, png):
        raise NotFound("This upload was made already, or has expired.")
    return web.json_response({"size": size})


def _time(body: Mapping[str, Any], name: str, default: float) -> float:
    value = body.get(name)
    if value in (None, ""):
        return default
    try:
        return datetime.fromisoformat(str(value).replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError, OSError):
        raise Invalid(f"{name} must be a time such as 2026-01-31T12:00:00+00:00.", field=name) from None
