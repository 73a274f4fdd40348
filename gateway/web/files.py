"""Serving stored files by signed links, whole or in ranges."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from urllib.parse import quote

from aiohttp import web

from ..assets import UNKNOWN
from ..errors import Forbidden, NoSuchRange, NotFound
from ..facades.call import Call

_RANGE = re.compile(r"(?i)bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")


async def read_file(call: Call) -> web.StreamResponse:
    """Send a file, or the asked-for range of it."""
    asset_id, query = call.part("asset_id"), call.request.query
    if not call.service.links.valid(asset_id, "read", query.get("expires", ""), query.get("signature", "")):
        raise Forbidden("This link is not valid, or has expired. Ask for the result again to get a fresh one.")
    asset = await call.service.call(call.service.assets.linked, asset_id)
    if asset is None or not asset.complete:
        raise NotFound("This file has expired.")
    kind = "attachment" if asset.media_type == UNKNOWN else "inline"
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Type": asset.media_type,
        "Cache-Control": "private, max-age=3600",
        "Content-Disposition": f"{kind}; filename*=UTF-8''{quote(asset.filename)}",
    }
    asked = _RANGE.fullmatch(call.request.headers.get("Range", ""))  # another unit or several ranges: the whole file
    path = call.service.assets.path(asset)
    if path is not None and (asked or "Range" not in call.request.headers):
        return web.FileResponse(path, headers=headers)
    start, stop = 0, asset.size
    if asked and asked[3]:
        start = max(0, asset.size - int(asked[3]))
    elif asked:
        start, stop = int(asked[1]), min(int(asked[2]) + 1 if asked[2] else asset.size, asset.size)
    if asked and start >= stop:
        raise NoSuchRange(f"The file has {asset.size} bytes.", headers={"Content-Range": f"bytes */{asset.size}"})
    if asked:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{asset.size}"
    response = web.StreamResponse(status=206 if asked else 200, headers=headers)
    response.content_length = stop - start
    await response.prepare(call.request)
    if call.request.method != "HEAD":
        pieces = call.service.assets.read(asset, start, stop)
        while (piece := await asyncio.to_thread(_next, pieces)) is not None:
            await response.write(piece)
        await response.write_eof()
    return response


def _next(pieces: Iterator[bytes]) -> bytes | None:
    return next(pieces, None)
