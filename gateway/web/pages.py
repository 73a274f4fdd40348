"""What people and monitors look at: the playground, the API's description, health and metrics, files by signed links."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp import web
from prometheus_client import generate_latest

from ...workflows import Bindings
from ...workflows.examples import EXAMPLES, FOLDER, example_file, example_prompt
from ..assets import UNKNOWN
from ..errors import NoSuchRange, NotFound
from ..facades.call import Call

DOCUMENT = web.AppKey("document", str)  # OpenAPI's, as text
STATIC = Path(__file__).parent / "static"
_NAMES = frozenset(path.name for path in STATIC.iterdir())
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}


async def page(call: Call) -> web.FileResponse:
    """Send the playground, or the description of the API."""
    name = "docs.html" if call.request.path == "/docs" else "index.html"
    return web.FileResponse(STATIC / name, headers=_HEADERS)


async def static(call: Call) -> web.FileResponse:
    """Send a part of the pages, or an example picture."""
    name = call.part("name")
    if name in EXAMPLES:
        return web.FileResponse(FOLDER / example_file(name, call.settings.demo))
    if name not in _NAMES:
        raise NotFound("There is no such file.")
    return web.FileResponse(STATIC / name, headers=_HEADERS)


async def describe(call: Call) -> web.Response:
    """Send the OpenAPI document."""
    return web.json_response(text=call.request.app[DOCUMENT])


async def live(_call: Call) -> web.Response:
    """Answer 200, and what clients may rely on."""
    return web.json_response({"status": "ok", "idempotency_keys": True})


async def ready(call: Call) -> web.Response:
    """Answer 200 when the database answers."""
    await call.service.offer()
    return web.json_response({"status": "ok"})


async def health(call: Call) -> web.Response:
    """Answer 200 when a worker's ComfyUI is up and a model can be run."""
    service = call.service
    living = await service.call(service.workers.living)
    models = [bindings.model for bindings in (await service.offer()).workflows.values()]
    body: dict[str, Any] = {"status": "ok", "workers": sum(worker.able for worker in living), "models": models}
    if not models or not body["workers"]:
        if not living:
            reason = "No worker is connected."
        elif not any(worker.able for worker in living):
            reason = "No worker is ready yet: ComfyUI is starting."
        else:
            reason = "No worker has all model files of a model. See wan-flf2v status."
        return web.json_response({**body, "status": "unavailable", "reason": reason}, status=503)
    return web.json_response(body)


async def playground(call: Call) -> web.Response:
    """Answer what the page needs to draw itself."""
    offered = (await call.service.offer()).workflows
    prompt = example_prompt(call.settings.demo)
    models: list[dict[str, Any]] = [
        {
            "model_id": bindings.model,
            "title": bindings.title,
            "description": bindings.description,
            "first_image": bindings.first_image,
            "last_image": bindings.last_image,
            "fields": _fields(bindings, call.settings.demo),
            **({"storyboard": {**bindings.example(), "prompt": prompt}} if bindings.storyboard else {}),
        }
        for bindings in offered.values()
    ]
    models.sort(key=lambda model: model["model_id"] != Bindings.load().model)
    return web.json_response({"auth": call.settings.auth, "demo": call.settings.demo, "models": models})


def _fields(bindings: Bindings, demo: bool) -> list[dict[str, Any]]:
    shown = [
        {"name": name, "image": field.is_image, "required": field.required, **field.schema()}
        for name, field in bindings.fields.items()
        if name != bindings.storyboard
    ]
    prompt = {"default": example_prompt(demo)}  # the published one is about other pictures than those that are here
    return [field | (prompt if field["name"] == "6_text" else {}) for field in shown]


async def overview(call: Call) -> web.Response:
    """Answer the workers and how many jobs there are."""
    living = await call.service.call(call.service.workers.living)
    names = ("id", "status", "workflows", "info", "restarts")
    workers = [{name: getattr(worker, name) for name in names} for worker in living]
    return web.json_response({"workers": workers, "jobs": await call.service.call(call.service.jobs.counts)})


async def metrics(call: Call) -> web.Response:
    """Answer the metrics."""
    text = await call.service.call(generate_latest, call.metrics.registry)
    return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def read_file(call: Call) -> web.StreamResponse:
    """Send a file, or the asked-for range of it."""
    asset = await call.linked("read")
    if asset is None or not asset.complete:
        raise NotFound("This file has expired.")
    kind = "attachment" if asset.media_type == UNKNOWN else "inline"
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Type": asset.media_type,
        "Cache-Control": "private, max-age=3600",
        "Content-Disposition": f"{kind}; filename*=UTF-8''{quote(asset.filename)}",
    }
    whole = asked = range(asset.size)
    try:
        asked = whole[call.request.http_range]
    except ValueError:  # another unit, or several ranges: the whole file
        part = False
    else:
        part = "Range" in call.request.headers
    if part and not asked:
        raise NoSuchRange(f"The file has {asset.size} bytes.", headers={"Content-Range": f"bytes */{asset.size}"})
    path = call.service.assets.path(asset)
    if path is not None and (part or "Range" not in call.request.headers):
        return web.FileResponse(path, headers=headers)
    if part:
        headers["Content-Range"] = f"bytes {asked.start}-{asked.stop - 1}/{asset.size}"
    response = web.StreamResponse(status=206 if part else 200, headers=headers)
    response.content_length = len(asked)
    await response.prepare(call.request)
    if call.request.method != "HEAD":
        pieces = call.service.assets.read(asset, asked.start, asked.stop)
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            await response.write(piece)
        await response.write_eof()
    return response
