"""WaveSpeed's uploads, in both of its forms: one multipart POST, or a ticket and a signed PUT."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from ..decode import PictureError
from ..errors import BadRequest, Forbidden, Invalid, NotFound, TooLarge, TooSlow
from .call import Call, wrapped


async def upload_form(call: Call) -> web.Response:
    """Take a picture from a form."""
    if not call.request.content_type.startswith("multipart/"):
        raise BadRequest("Send the picture as multipart/form-data, in a field named file.")
    try:
        form = await asyncio.wait_for(call.request.post(), call.settings.limits.body_read_s)
    except web.HTTPRequestEntityTooLarge:
        raise TooLarge(f"The body must have at most {call.settings.limits.body_bytes // 2**20} MiB.") from None
    except asyncio.TimeoutError:
        raise TooSlow(f"The form did not arrive within {call.settings.limits.body_read_s:.0f} s.") from None
    except (ValueError, LookupError, AssertionError, RuntimeError, web.RequestPayloadError, HttpProcessingError):
        raise BadRequest("The form can't be read.") from None
    file = form.get("file")
    if not isinstance(file, web.FileField):
        raise Invalid("The form must have a picture in a field named file.", field="file")
    path = call.scratch.file("upload")
    with path.open("wb") as copy:
        await asyncio.to_thread(shutil.copyfileobj, file.file, copy)
    return wrapped(await _stored(call, path, file.filename))


async def _stored(call: Call, path: Path, filename: str) -> dict[str, Any]:
    if path.stat().st_size > call.settings.limits.picture_bytes:
        raise TooLarge(f"A picture must have at most {call.settings.limits.picture_bytes // 2**20} MiB.")
    try:
        asset = await call.service.intake.store(path, filename, call.key, call.scratch)
    except PictureError as error:
        raise Invalid(f"file: {error}", field="file") from None
    link = call.base + call.service.links.path(asset.id, asset.filename, lifetime_s=call.settings.timing.keep_s)
    return {"type": "image", "download_url": link, "filename": asset.filename, "size": asset.size}


async def announce(call: Call) -> web.Response:
    """Answer where a picture may be PUT to, without a key, by whoever has the signed address."""
    body = await call.json()
    filename, size = body.get("filename"), body.get("size")
    if not isinstance(filename, str) or not 0 < len(filename) <= 255:
        raise Invalid("filename must be a text of 1 to 255 characters.", field="filename")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 < size <= call.settings.limits.picture_bytes:
        limit = call.settings.limits.picture_bytes
        raise Invalid(f"size must be a whole number of bytes, at most {limit}.", field="size")
    service = call.service
    await service.intake.make_room(call.key, size)
    asset = await service.call(
        service.assets.announce, owner=call.key.id, filename="upload.png", media_type="image/png", size=size
    )
    link = call.base + service.links.path(asset.id, asset.filename, "write", 3600)
    headers = {"Content-Type": str(body.get("content_type") or "application/octet-stream")[:100]}
    upload = {"method": "PUT", "url": link, "headers": headers}
    reading = call.base + service.links.path(asset.id, asset.filename, lifetime_s=call.settings.timing.keep_s)
    return wrapped({"upload": upload, "download_url": reading})


async def put_upload(call: Call) -> web.Response:
    """Take the bytes of an announced picture, once."""
    asset_id, query = call.part("asset_id"), call.request.query
    if not call.service.links.valid(asset_id, "write", query.get("expires", ""), query.get("signature", "")):
        raise Forbidden("This upload link is not valid, or has expired.")
    asset = await call.service.call(call.service.assets.linked, asset_id)
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
    if not await call.service.call(call.service.assets.fill, asset_id, png, "image/png"):
        raise NotFound("This upload was made already, or has expired.")
    return web.json_response({"size": size})
