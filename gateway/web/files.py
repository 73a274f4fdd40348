"""Serving stored files by signed links, whole or in ranges."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import quote

from aiohttp import web

from ..errors import Forbidden, NotFound
from ..facades.operation import STRING, Call, Operation

_INLINE = ("video/mp4", "video/webm", "image/png", "image/webp")


def operations() -> list[Operation]:
    """The one address."""
    binary = {"type": "string", "format": "binary"}
    return [
        Operation(
            "GET",
            "/files/{asset_id}/{filename}",
            read_file,
            "A stored picture or video, by its signed link",
            "Files",
            None,
            query={"expires": STRING, "signature": STRING},
            answers={200: binary, 206: binary},
            answer_type="*/*",
            errors=(403, 404, 416, 503),
        )
    ]


async def read_file(call: Call) -> web.StreamResponse:
    """Send a file, or the asked-for range of it."""
    asset_id, query = call.part("asset_id"), call.request.query
    if not call.service.links.valid(asset_id, "read", query.get("expires", ""), query.get("signature", "")):
        raise Forbidden("This link is not valid, or has expired. Ask for the result again to get a fresh one.")
    asset = await call.service.call(call.service.assets.get, asset_id)
    if asset is None or not asset.complete:
        raise NotFound("This file has expired.")
    try:
        wanted = call.request.http_range
        start, stop = wanted.start or 0, asset.size if wanted.stop is None else min(wanted.stop, asset.size)
    except ValueError:
        start, stop = 0, -1
    if start < 0:
        start = max(0, asset.size + start)
    headers = {"Accept-Ranges": "bytes", "Content-Type": asset.media_type, "Cache-Control": "private, max-age=3600"}
    if start >= stop:
        headers = {"Content-Range": f"bytes */{asset.size}"}
        return web.json_response({"error_code": 416001, "error_message": "No such range."}, status=416, headers=headers)
    partial = (start, stop) != (0, asset.size) or "Range" in call.request.headers
    if partial:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{asset.size}"
    kind = "inline" if asset.media_type in _INLINE else "attachment"
    headers["Content-Disposition"] = f"{kind}; filename*=UTF-8''{quote(asset.filename)}"
    response = web.StreamResponse(status=206 if partial else 200, headers=headers)
    response.content_length = stop - start
    await response.prepare(call.request)
    pieces = call.service.assets.read(asset, start, stop)
    while (piece := await asyncio.to_thread(_next, pieces)) is not None:
        await response.write(piece)
    await response.write_eof()
    return response


def _next(pieces: Iterator[bytes]) -> bytes | None:
    return next(pieces, None)
