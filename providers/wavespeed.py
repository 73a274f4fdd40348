"""WaveSpeed API v3: ``POST /api/v3/{model}``, then ``GET /api/v3/predictions/{id}/result``.

Every answer is ``{"code", "message", "data"}``; HTTP 200 may carry another code inside. Pictures are uploaded first and
go in as URLs. There is no idempotency key, but a history of the last 7 days, which tells what became of a submit whose
answer was lost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

from .calls import Call, Candidate, Flow, Json, Picture, Reply, State, Status, Ticket, is_request_id, submit_call
from .data_uri import without_data_uris
from .errors import BadInput, JobGone, Rejected, ServerTrouble
from .faults import Vendor, error_text

VENDOR = Vendor(
    name="wavespeed",
    title="WaveSpeed",
    login="wavespeed",
    key_page="https://wavespeed.ai/accesskey",
    credit_page="https://wavespeed.ai/top-up",
    jobs_page="https://wavespeed.ai/predictions",
    key_hint=" A key made before the account's first top-up never works: make a new one after topping up.",
)
_STATES: Mapping[str, State] = {
    "created": "queued",
    "pending": "queued",
    "queued": "queued",
    "processing": "running",
    "running": "running",
    "completed": "succeeded",
    "succeeded": "succeeded",
    "failed": "failed",
    "timeout": "failed",
    "cancelled": "cancelled",
    "canceled": "cancelled",
    "deleted": "cancelled",
}
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:?\d\d)?")


@dataclass(frozen=True)
class WaveSpeed:
    """WaveSpeed's predictions."""

    vendor: Vendor = VENDOR

    def upload(self, picture: Picture) -> Flow[str]:
        """The URL of the picture: as given, else where the upload put it.

        One multipart POST; where that endpoint is gone, the newer two-step upload with a signed PUT.
        """
        if picture.url is not None:
            return picture.url
        data = picture.data or b""
        name = f"frame.{picture.media_type.split('/')[-1]}"
        try:
            reply = yield Call(
                "POST",
                "/api/v3/media/upload/binary",
                file=("file", data, picture.media_type),
                about="upload",
                timeout_s=120,
            )
            return _uploaded(_data(reply).get("download_url"))
        except (JobGone, Rejected) as error:
            if not isinstance(error, JobGone) and "HTTP 405" not in str(error):
                raise
        wanted = {"filename": name, "size": len(data), "content_type": picture.media_type}
        reply = yield Call("POST", "/api/v3/media/uploads", json=wanted, about="upload")
        ticket = _data(reply)
        put = ticket.get("upload")
        if not isinstance(put, dict) or not isinstance(put.get("url"), str):
            raise ServerTrouble("WaveSpeed's upload ticket names no address.", provider="wavespeed")
        headers = {str(key): str(value) for key, value in (put.get("headers") or {}).items()}
        yield Call("PUT", put["url"], content=data, headers=headers, auth=False, about="upload", timeout_s=120)
        return _uploaded(ticket.get("download_url"))

    def submit(self, model: str, body: Json, key: str = "") -> Flow[Ticket]:
        """Submit the job. Raises ServerTrouble for an answer without an id."""
        reply = yield submit_call(f"/api/v3/{model}", body, 60, key)
        data = _data(reply)
        request_id = data.get("id")
        if not is_request_id(request_id):
            raise ServerTrouble("WaveSpeed's answer to the submit names no prediction id.", provider="wavespeed")
        return Ticket(str(request_id), model)

    def status(self, ticket: Ticket) -> Flow[Status]:
        """Where the job stands, with everything the provider says about it."""
        reply = yield Call("GET", f"/api/v3/predictions/{ticket.request_id}/result", attempts=1)
        data = _data(reply)
        if not data:
            raise ServerTrouble("WaveSpeed's answer holds no prediction just now.", provider="wavespeed")
        raw = str(data.get("status", "")).strip().lower()
        outputs, flags = data.get("outputs"), data.get("has_nsfw_contents")
        state = _STATES.get(raw, "running")
        error = error_text(data.get("error"))
        return Status(
            state=state,
            raw_state=raw,
            outputs=tuple(_urls([outputs] if isinstance(outputs, str) else outputs)),
            nsfw=tuple(bool(flag) for flag in flags) if isinstance(flags, list) else (),
            error=(error or raw) if state == "failed" else error,
            response=without_data_uris(data),
        )

    def cancel(self, ticket: Ticket) -> Flow[str]:
        """Delete the prediction, the only way of stopping one; returns a sentence about what came of it."""
        reply = yield Call(
            "POST", "/api/v3/predictions/delete", json={"ids": [ticket.request_id]}, resend="never", timeout_s=10
        )
        if _data(reply).get("deleted_count") == 0:
            return "WaveSpeed deleted nothing: the id is unknown or the job was deleted before"
        return "deleted; a job that was already running may go on and be charged"

    def recent(self, model: str, since: float) -> Flow[list[Candidate]]:
        """The predictions of this model that were created since then (seconds since 1970), newest page."""
        after = datetime.fromtimestamp(since, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        wanted = {"page": 1, "page_size": 100, "model": model, "created_after": after}
        reply = yield Call("POST", "/api/v3/predictions", json=wanted, about="other")
        data = reply.json.get("data") if isinstance(reply.json, dict) else None
        items = data.get("items") if isinstance(data, dict) else data
        found = []
        for item in items if isinstance(items, list) else ():
            if isinstance(item, dict) and is_request_id(item.get("id")) and item.get("model", model) == model:
                found.append(Candidate(item["id"], timestamp(item.get("created_at")), item.get("input")))
        return [one for one in found if one.created_at is None or one.created_at >= since]


def timestamp(value: object) -> float | None:
    """Seconds since 1970 of WaveSpeed's ISO times, which carry nine digits of a second."""
    match = _TIME.match(value) if isinstance(value, str) else None
    if match is None:
        return None
    zone = (match[3] or "Z").replace("Z", "+00:00")
    return datetime.fromisoformat(
        f"{match[1]}T{match[2]}{zone if ':' in zone else zone[:3] + ':' + zone[3:]}"
    ).timestamp()


def _data(reply: Reply) -> dict[str, Json]:
    data = reply.json.get("data") if isinstance(reply.json, dict) else None
    if isinstance(data, dict):
        return data
    # the webhook form, and some gateways, leave the envelope out
    return reply.json if isinstance(reply.json, dict) and "id" in reply.json else {}


def _urls(outputs: Json) -> list[str]:
    found = []
    for item in outputs if isinstance(outputs, list) else ():
        url = item.get("url") if isinstance(item, dict) else item
        if isinstance(url, str):
            found.append(url)
    return found


def _uploaded(url: object) -> str:
    if not isinstance(url, str) or not url.startswith(("https://", "http://")):
        raise BadInput("WaveSpeed's upload returned no address for the picture.", provider="wavespeed")
    return url
