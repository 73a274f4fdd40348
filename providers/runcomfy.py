"""RunComfy: the Model API and serverless deployments. Two paths and bodies, one protocol.

Model API: ``POST /v1/models/{model}`` with the fields as body, ``GET /v1/requests/{id}/status`` and ``/result``.
Deployments: ``POST /prod/v1/deployments/{id}/inference`` with ``{"overrides": {node: {"inputs": ...}}}``, the same two
below the deployment. ``completed`` only ends the polling; the result then says ``succeeded`` or ``failed``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .calls import (
    Call,
    Flow,
    Json,
    Picture,
    Reply,
    State,
    Status,
    Ticket,
    is_request_id,
    split_url,
    submit_call,
)
from .data_uri import data_uri, without_data_uris
from .errors import ServerTrouble
from .faults import Vendor, error_text

VENDOR = Vendor(
    name="runcomfy",
    title="RunComfy",
    login="runcomfy",
    key_page="https://www.runcomfy.com/profile",
    credit_page="https://www.runcomfy.com (Usage)",
    jobs_page="the Generations page of runcomfy.com",
)
SUBMIT_TIMEOUT_S = 100.0
_STATES: Mapping[str, State] = {
    "in_queue": "queued",
    "pending": "queued",
    "waiting": "queued",
    "starting": "queued",
    "in_progress": "running",
    "processing": "running",
    "succeeded": "succeeded",
    "failed": "failed",
    "error": "failed",
    "cancelled": "cancelled",
    "canceled": "cancelled",
}
_VIDEO_ENDINGS = (".mp4", ".webm", ".mov", ".mkv", ".m4v")


@dataclass(frozen=True)
class RunComfy:
    """RunComfy's Model API, or with ``serverless`` a deployment of one's own."""

    serverless: bool = False
    base_path: str = ""  # of the profile's base URL, which the addresses that a gateway names carry, too
    vendor: Vendor = VENDOR
    recent = None  # no endpoint lists past requests

    def upload(self, picture: Picture) -> Flow[str]:
        """What to put into the picture's field: the URL as given, else the bytes as data URI."""
        return data_uri(picture) if picture.url is None else picture.url
        yield  # a flow, though it needs no call

    def submit(self, model: str, inputs: Json, key: str = "") -> Flow[Ticket]:
        """Submit the job. Raises ServerTrouble for an answer without an id."""
        path = f"/prod/v1/deployments/{model}/inference" if self.serverless else f"/v1/models/{model}"
        reply = yield submit_call(path, inputs, SUBMIT_TIMEOUT_S, key)
        body = reply.json if isinstance(reply.json, dict) else {}
        request_id = body.get("request_id")
        if not is_request_id(request_id):
            raise ServerTrouble("RunComfy's answer to the submit names no request id.", provider="runcomfy")
        links = {key: str(body[key]) for key in ("status_url", "result_url", "cancel_url") if body.get(key)}
        return Ticket(str(request_id), model, links)

    def status(self, ticket: Ticket) -> Flow[Status]:
        """Where the job stands; asks for the result as soon as the polling is over."""
        reply = yield Call("GET", self._path(ticket, "status"), attempts=1)
        status = _read(reply)
        if status.raw_state == "completed" or status.finished:
            reply = yield Call("GET", self._path(ticket, "result"), attempts=1)
            status = _read(reply)
        return status

    def cancel(self, ticket: Ticket) -> Flow[str]:
        """Ask for the job to be stopped; returns a sentence about what came of it."""
        reply = yield Call("POST", self._path(ticket, "cancel"), resend="never", timeout_s=10)
        body = reply.json if isinstance(reply.json, dict) else {}
        said = {str(body.get("outcome", "")).lower(), str(body.get("status", "")).lower()}
        if said & {"cancelled", "canceled", "cancellation_requested"}:
            return "cancelled"
        if "not_cancellable" in said:
            return "not cancellable any more: the job is running or finished, and is charged"
        return f"RunComfy answered {', '.join(sorted(filter(None, said))) or 'without an outcome'}"

    def _path(self, ticket: Ticket, what: str) -> str:
        """The path for this job: the one the provider named (its API version drifts), else the documented one.

        Only the path of a named URL is used, so the key stays with the profile's own host.
        """
        named = split_url(ticket.links.get(f"{what}_url", "")).path.removeprefix(self.base_path)
        if named.startswith("/") and ticket.request_id in named.split("/") and named.endswith(f"/{what}"):
            return named
        if self.serverless:
            return f"/prod/v1/deployments/{ticket.model}/requests/{ticket.request_id}/{what}"
        return f"/v1/requests/{ticket.request_id}/{what}"


def _read(reply: Reply) -> Status:
    body = reply.json if isinstance(reply.json, dict) else {}
    raw = str(body.get("status", "")).strip().lower()
    output = body.get("output") or body.get("outputs")
    # In a result, "completed" with outputs is a success; without, it only says that the polling is over.
    state = "succeeded" if raw == "completed" and output else _STATES.get(raw, "running")
    position, cost = body.get("queue_position"), body.get("cost")
    return Status(
        state=state,
        raw_state=raw,
        queue_position=position if isinstance(position, int) and not isinstance(position, bool) else None,
        outputs=tuple(_videos(output)),
        error=error_text(body.get("error") or body.get("errors")) if state == "failed" else "",
        cost=float(cost) if isinstance(cost, (int, float)) and not isinstance(cost, bool) else None,
        response=without_data_uris(body),
    )


def _videos(output: Json) -> list[str]:
    """The video URLs of either API's output, best first."""
    if isinstance(output, str):
        return [output]
    if isinstance(output, list):
        return [item for item in output if isinstance(item, str)]
    if not isinstance(output, dict):
        return []
    named = [output["video"]] if isinstance(output.get("video"), str) else []
    listed = output.get("videos")
    named += [url for url in listed if isinstance(url, str)] if isinstance(listed, list) else []
    return named or _node_videos(output)


def _node_videos(outputs: Mapping[str, Json]) -> list[str]:
    """The video files of a deployment's outputs: ``{node: {channel: [{"url", "filename", "type"}]}}``.

    The channel depends on the saving node's class, so every one is searched; previews (``temp``) come last.
    """
    found: list[tuple[bool, str]] = []
    for channels in outputs.values():
        for items in channels.values() if isinstance(channels, dict) else ():
            for item in items if isinstance(items, list) else ():
                url = item.get("url") if isinstance(item, dict) else None
                name = str(item.get("filename") or split_url(str(url)).path) if isinstance(item, dict) else ""
                if isinstance(url, str) and name.lower().endswith(_VIDEO_ENDINGS):
                    found.append((item.get("type", "output") != "output", url))
    return [url for _, url in sorted(found, key=lambda pair: pair[0])]
