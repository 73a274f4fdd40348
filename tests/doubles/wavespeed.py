"""WaveSpeed's API v3, as documented: the envelope, uploads, predictions, history, deletion."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from aiohttp import web

from .vendor import JobRecord, VendorDouble

_STATES = {"succeeded": "completed", "failed": "failed", "cancelled": "cancelled"}


class WaveSpeedDouble(VendorDouble):
    """One account. ``show_input`` lets the history show inputs; ``old_upload`` off leaves the two-step upload alone."""

    show_input = False
    old_upload = True
    fields: frozenset[str] | None = None
    open_steps = frozenset({"media", "put"})

    def routes(self) -> Any:
        return [
            ("upload", "POST", "/api/v3/media/upload/binary", self.upload),
            ("ticket", "POST", "/api/v3/media/uploads", self.ticket),
            ("put", "PUT", "/api/v3/signed/{name}", self.put),
            ("history", "POST", "/api/v3/predictions", self.history),
            ("cancel", "POST", "/api/v3/predictions/delete", self.delete),
            ("status", "GET", "/api/v3/predictions/{id}/result", self.result),
            ("submit", "POST", "/api/v3/{vendor}/{model}", self.submit),
        ]

    def refuse_key(self, request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "") if self.echo_key else ""
        return web.json_response({"code": 401, "message": f"invalid api key {given}".strip()}, status=401)

    async def upload(self, request: web.Request) -> web.StreamResponse:
        if not self.old_upload:
            return web.json_response({"code": 404, "message": "not found"}, status=404)
        data = {"type": "image", "download_url": f"{self.url}/media/frame-{self.count('upload')}.png"}
        return self._envelope({**data, "filename": "frame.png", "size": request.content_length})

    async def ticket(self, request: web.Request) -> web.StreamResponse:
        wanted = await request.json()
        put = {"method": "PUT", "url": f"{self.url}/api/v3/signed/{wanted['filename']}", "headers": {"X-Signed": "yes"}}
        return self._envelope({"upload": put, "download_url": f"{self.url}/media/{wanted['filename']}"})

    async def put(self, request: web.Request) -> web.StreamResponse:
        return web.Response()

    async def submit(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        model = f"{request.match_info['vendor']}/{request.match_info['model']}"
        unknown = set(body) - self.fields if self.fields is not None else set()
        missing = {"first_image", "last_image"} - set(body)
        if unknown or missing:
            return web.json_response({"code": 400, "message": f"unknown {unknown}, missing {missing}"}, status=400)
        return self._envelope(self._data(self.new_job(model, body), fresh=True))

    async def result(self, request: web.Request) -> web.StreamResponse:
        job = self.jobs.get(request.match_info["id"])
        if job is None:
            return web.json_response({"code": 404, "message": "prediction not found", "data": None}, status=404)
        return self._envelope(self._data(job))

    async def history(self, request: web.Request) -> web.StreamResponse:
        wanted = await request.json()
        items = []
        for job in self.jobs.values():
            if wanted.get("model") in (None, job.model) and wanted.get("created_after", "") <= _iso(job.created):
                items.append(self._data(job) | ({"input": job.body} if self.show_input else {}))
        return self._envelope({"page": 1, "total": len(items), "items": items})

    async def delete(self, request: web.Request) -> web.StreamResponse:
        found = [self.jobs.pop(name) for name in (await request.json())["ids"] if name in self.jobs]
        return self._envelope({"deleted_count": len(found)})

    def _envelope(self, data: Any) -> web.Response:
        return web.json_response({"code": 200, "message": "success", "data": data})

    def _data(self, job: JobRecord, *, fresh: bool = False) -> dict[str, Any]:
        ended = job.phase == "ended" and not fresh
        state = _STATES.get(job.script.end, job.script.end) if ended else "processing"
        state = "created" if fresh or job.phase == "queued" else state
        good = state == "completed" and not job.script.no_output
        return {
            "id": job.id,
            "model": job.model,
            "outputs": [self.video_url(job)] if good else [],
            "urls": {"get": f"{self.url}/api/v3/predictions/{job.id}/result"},
            "has_nsfw_contents": job.script.nsfw if ended else [],
            "status": state,
            "created_at": _iso(job.created).replace("Z", ".948268264Z"),
            "error": job.script.error or "" if ended else "",
            "timings": {"inference": int(job.script.run_s * 1000) if ended else 0},
        }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
