"""RunComfy's Model API and serverless deployments, as documented."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from .vendor import JobRecord, VendorDouble

_REQUIRED = ("62_image", "6_text", "68_image")


class RunComfyDouble(VendorDouble):
    """Both APIs on one port. ``urls_only`` refuses data URIs at the Model API; ``cancelled_word`` is the spelling."""

    cancelled_word = "cancelled"
    urls_only = False
    version = "v1"

    def routes(self) -> Any:
        deployment = "/prod/{version}/deployments/{deployment}"
        found = [
            ("submit", "POST", "/v1/models/{model:.+}", self.submit),
            ("submit", "POST", deployment + "/inference", self.submit),
        ]
        for base in ("/v1", deployment):
            found += [
                ("status", "GET", base + "/requests/{id}/status", self.status),
                ("result", "GET", base + "/requests/{id}/result", self.result),
                ("cancel", "POST", base + "/requests/{id}/cancel", self.cancel),
            ]
        return found

    def refuse_key(self, request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "") if self.echo_key else ""
        body = {"error_code": 400004, "error_message": "UserAccountError", "detail": f"bad token {given}".strip()}
        return web.json_response(body, status=400)

    async def submit(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        deployment = request.match_info.get("deployment")
        if deployment is None:
            missing = [name for name in _REQUIRED if not body.get(name)]
            if missing:
                return web.json_response({"error_code": 422001, "error_message": f"missing {missing}"}, status=422)
            if self.urls_only and any(str(body[name]).startswith("data:") for name in ("62_image", "68_image")):
                return web.json_response({"detail": [{"loc": ["body", "62_image"], "msg": "not a URL"}]}, status=422)
        elif set(body) != {"overrides"}:
            return web.json_response({"error_code": 422001, "detail": ["overrides missing"]}, status=422)
        job = self.new_job(deployment or request.match_info["model"], body)
        base = self._base(job, deployment)
        links = {f"{name}_url": f"{base}/{name}" for name in ("status", "result", "cancel")}
        return web.json_response({"request_id": job.id, **links})

    def _base(self, job: JobRecord, deployment: str | None) -> str:
        if deployment is None:
            return f"{self.url}/v1/requests/{job.id}"
        return f"{self.url}/prod/{self.version}/deployments/{deployment}/requests/{job.id}"

    def _job(self, request: web.Request) -> JobRecord:
        job = self.jobs.get(request.match_info["id"])
        if job is None:
            raise web.HTTPNotFound(
                text='{"error_code": 404001, "error_message": "ResourceNotFound"}', content_type="application/json"
            )
        return job

    async def status(self, request: web.Request) -> web.StreamResponse:
        job = self._job(request)
        body: dict[str, Any] = {"request_id": job.id, "status": "completed"}
        if job.cancelled or job.script.end == "cancelled":
            body["status"] = self.cancelled_word
        elif job.phase == "queued":
            body |= {"status": "in_queue", "queue_position": 3}
        elif job.phase == "running":
            body["status"] = "in_progress"
        return web.json_response(body)

    async def result(self, request: web.Request) -> web.StreamResponse:
        job = self._job(request)
        body: dict[str, Any] = {"request_id": job.id, "created_at": "2026-01-01T00:00:00Z"}
        if job.phase != "ended":
            return web.json_response({**body, "status": "in_queue" if job.phase == "queued" else "in_progress"})
        body["finished_at"] = "2026-01-01T00:01:00Z"
        if job.cancelled or job.script.end == "cancelled":
            return web.json_response({**body, "status": self.cancelled_word})
        if job.script.end == "failed":
            return web.json_response({**body, "status": "failed", "error": job.script.error})
        body |= {"status": job.script.completed_word or "succeeded", "input": job.body}
        if "deployment" in request.match_info:
            preview = {"url": f"{self.url}/media/preview.png", "filename": "preview.png", "type": "temp"}
            item = {"url": self.video_url(job), "filename": "wan.mp4", "subfolder": "", "type": "output"}
            body["outputs"] = {"68": {"images": [preview]}, "73": {"images": [item], "animated": [True]}}
        else:
            body["output"] = {"video": self.video_url(job)}
        if job.script.no_output:
            body.pop("output", body.pop("outputs", None))
        return web.json_response(body)

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        job = self._job(request)
        possible = job.phase == "queued"
        job.cancelled = job.cancelled or possible
        outcome = "cancelled" if possible else "not_cancellable"
        return web.json_response({"request_id": job.id, "status": "completed", "outcome": outcome}, status=202)
