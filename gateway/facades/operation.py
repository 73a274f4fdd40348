"""What an address is: the router and the OpenAPI document are both made from lists of these."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from aiohttp import web

from ...workflows import Bindings, Field
from ..bodies import SMALL, Json, Scratch, parse
from ..errors import Invalid, TooLarge, TooSlow
from ..keys import NOBODY, Key, Scope
from ..offer import Offer, is_plain
from ..records import Api, Job
from ..service import JobService, Submit
from ..settings import Settings

if TYPE_CHECKING:
    from ..metrics import Metrics

Schema = Mapping[str, Any]
Handler = Callable[["Call"], Awaitable[web.StreamResponse]]


@dataclass
class Call:
    """One request with all that a handler needs."""

    request: web.Request
    service: JobService
    settings: Settings
    metrics: Metrics
    scratch: Scratch
    key: Key = NOBODY

    @property
    def base(self) -> str:
        """The address that the client reached this gateway by."""
        return self.settings.public_url or f"{self.request.scheme}://{self.request.host}"

    def part(self, name: str) -> str:
        """A variable part of the path."""
        return self.request.match_info[name]

    async def raw(self) -> bytes | Path:
        """The body, or a file with it when it is long. Raises TooLarge or TooSlow."""
        try:
            return await asyncio.wait_for(self._raw(), self.settings.limits.body_read_s)
        except asyncio.TimeoutError:
            raise TooSlow(f"The body did not arrive within {self.settings.limits.body_read_s:.0f} s.") from None

    async def _raw(self) -> bytes | Path:
        held, size, limit, file = bytearray(), 0, self.settings.limits.body_bytes, None
        async for piece in self.request.content.iter_any():
            size += len(piece)
            if size > limit:
                raise TooLarge(f"The body must have at most {limit // 2**20} MiB.")
            held += piece
            if len(held) > SMALL:
                file = file or self.scratch.file("body")
                await asyncio.to_thread(_append, file, held)
                held = bytearray()
        if file is None:
            return bytes(held)
        await asyncio.to_thread(_append, file, held)
        return file

    async def json(self) -> dict[str, Json]:
        """The body as a JSON object. Raises BadRequest, TooLarge or TooSlow."""
        raw = await self.raw()
        if isinstance(raw, bytes):
            body = parse(raw)
        else:
            body = await self.service.intake.decoder.json(raw, self.scratch, self.key.id)
        if not isinstance(body, dict):
            raise Invalid("The body must be a JSON object.", field="")
        return body

    async def submit(
        self,
        api: Api,
        body: Mapping[str, Json],
        choose: Callable[[Offer], tuple[Bindings, dict[str, Any]]],
        *,
        webhook: str = "",
        webhook_all: bool = False,
    ) -> str:
        """The id of the job that this request makes. Raises what JobService.submit does."""
        webhook = self.query_text("webhook") or webhook
        header = self.request.headers.get("Idempotency-Key")
        asked = Submit(self.key, api, self.request.path, body, choose, self.scratch, webhook, webhook_all, header)
        job = await self.service.submit(asked)
        self.metrics.accepted.labels(api).inc()
        return job

    def query_int(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number from the query. Raises Invalid."""
        text = self.request.query.get(name, str(default))
        if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
            raise Invalid(f"{name} must be a whole number between {low} and {high}.", field=name)
        return int(text)

    def query_bool(self, name: str) -> bool:
        """A true or false from the query. Raises Invalid."""
        text = self.request.query.get(name, "false").lower()
        if text not in ("true", "false", "1", "0"):
            raise Invalid(f"{name} must be true or false.", field=name)
        return text in ("true", "1")

    def query_text(self, name: str) -> str:
        """A text from the query. Raises Invalid."""
        text = self.request.query.get(name, "")
        if len(text) > 4096 or not is_plain(text):
            raise Invalid(f"{name} must be a text of at most 4096 characters.", field=name)
        return text

    def file_url(self, output: Mapping[str, Any]) -> str:
        """A fresh signed link to one of a job's outputs."""
        return self.base + self.service.links.path(output["asset"], output["filename"])


@dataclass(frozen=True)
class Operation:
    """One method of one address. ``answers`` are the schemas of what it answers when all is well."""

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    handler: Handler
    summary: str
    tag: str
    scope: Scope | None = "read"
    body: Schema | None = None
    body_type: str = "application/json"
    query: Mapping[str, Schema] = field(default_factory=dict)
    headers: Mapping[str, Schema] = field(default_factory=dict)
    answers: Mapping[int, Schema | None] = field(default_factory=dict)
    answer_type: str = "application/json"
    errors: tuple[int, ...] = ()


IDEMPOTENCY_HEADER: Mapping[str, Schema] = {
    "Idempotency-Key": {
        "type": "string",
        "minLength": 1,
        "maxLength": 255,
        "pattern": "^[!-~]+$",
        "description": "Sent again with the same body, the first answer comes again and no second job is made.",
    }
}
WEBHOOK_QUERY: Mapping[str, Schema] = {
    "webhook": {"type": "string", "format": "uri", "description": "An https URL that is told how the job ends."},
    "webhook_intermediate_status": {"type": "boolean", "description": "Also tell it when the job starts."},
}
SUBMIT_ERRORS = (400, 401, 403, 404, 408, 413, 422, 429, 503)


def obj(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    """The schema of an object."""
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    return schema | ({"required": list(required)} if required else {})


STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
URI: Schema = {"type": "string", "format": "uri"}


def fields_schema(fields: Mapping[str, Field], **more: Any) -> Schema:
    """The schema of a body with these fields, in words that JSON Schema knows: the vendors write ``float`` for a number."""
    properties = {name: {**field.schema(), "type": "number" if field.type == "float" else field.type}
                  for name, field in fields.items()}  # fmt: skip
    required = [name for name, field in fields.items() if field.required]
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False, **more}


def one_of(*values: str) -> Schema:
    """The schema of one of these texts."""
    return {"type": "string", "enum": list(values)}


def array(items: Schema) -> Schema:
    """The schema of a list."""
    return {"type": "array", "items": items}


def iso(at: float | None, *, nanoseconds: bool = False) -> str | None:
    """A time as the vendors write it: RunComfy with an offset, WaveSpeed with nine digits and a Z."""
    if at is None:
        return None
    time = datetime.fromtimestamp(at, timezone.utc)
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond * 1000:09d}Z" if nanoseconds else time.isoformat()


def finished(job: Job) -> dict[str, Any]:
    """A job's times for RunComfy's answers."""
    times = {"created_at": iso(job.created_at), "finished_at": iso(job.finished_at)}
    return {name: time for name, time in times.items() if time is not None}


def _append(path: Path, data: bytearray) -> None:
    with path.open("ab") as file:
        file.write(data)
