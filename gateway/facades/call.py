"""One call of an address, with what its handler needs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from aiohttp import web

from ..bodies import SMALL, Json, Scratch, parse, request_digest, with_texts
from ..errors import BadRequest, Forbidden, Invalid, TooLarge, TooSlow
from ..jobs import Api
from ..offer import Checker, is_plain
from ..service import Choose, JobService
from ..settings import Settings
from ..tables import Asset, Job, Key

if TYPE_CHECKING:
    from ..metrics import Metrics

Handler = Callable[["Call"], Awaitable[web.StreamResponse]]


@dataclass
class Call:
    """One request with all that a handler needs."""

    request: web.Request
    service: JobService
    metrics: Metrics
    scratch: Scratch
    key: Key

    @property
    def settings(self) -> Settings:
        """The gateway's."""
        return self.service.settings

    @property
    def base(self) -> str:
        """The address that the client reached this gateway by."""
        return self.settings.public_url or f"{self.request.scheme}://{self.request.host}"

    @property
    def checker(self) -> Checker:
        """What checks the fields of a body."""
        return Checker(self.settings, self.settings.demo)

    def part(self, name: str) -> str:
        """A variable part of the path."""
        return self.request.match_info[name]

    async def linked(self, purpose: Literal["read", "write"]) -> Asset | None:
        """The file that the address is a link to, while it is stored. Raises Forbidden for what is no link of ours."""
        asset_id, query = self.part("asset_id"), self.request.query
        if not self.service.links.valid(asset_id, purpose, query.get("expires", ""), query.get("signature", "")):
            raise Forbidden("This link is not valid, or has expired. Ask again to get a fresh one.")
        return await self.service.call(self.service.assets.linked, asset_id)

    async def raw(self) -> bytes | Path:
        """The body, or a file with it when it is long. Raises TooLarge or TooSlow."""
        try:
            return await asyncio.wait_for(self._raw(), self.settings.body_read_s)
        except asyncio.TimeoutError:
            raise TooSlow(f"The body did not arrive within {self.settings.body_read_s:.0f} s.") from None

    async def _raw(self) -> bytes | Path:
        held, size, limit, file = bytearray(), 0, self.settings.body_bytes, None
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
        decoder = self.service.intake.decoder
        body = parse(raw) if isinstance(raw, bytes) else await decoder.json(raw, self.scratch, self.key.id)
        if not isinstance(body, dict):
            raise Invalid("The body must be a JSON object.", field="")
        return body

    async def submit(
        self, api: Api, body: Mapping[str, Json], choose: Choose, *, webhook: str = "", webhook_all: bool = False
    ) -> str:
        """The id of the job that this request makes. Raises what JobService.submit does."""
        webhook = self.query_text("webhook") or webhook
        job = Job(owner=self.key.id, api=api, webhook=webhook, webhook_all=webhook_all)
        if api == "wavespeed":  # whose webhooks and history show it; a data URI is not kept twice
            job.shown = with_texts(body, lambda text: "data:…" if text[:5].lower() == "data:" else text)
        key = self.request.headers.get("Idempotency-Key")
        if key is not None:
            if not 0 < len(key) <= 255 or not key.isprintable():
                raise BadRequest("An Idempotency-Key has 1 to 255 printable characters.")
            asked = [body, webhook, webhook_all] if webhook else body
            job.idempotency_key, job.digest = key, request_digest(self.request.path, asked, self.scratch)
        accepted = await self.service.submit(job, choose, self.scratch)
        self.metrics.accepted.labels(api).inc()
        return accepted

    def query_int(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number from the query. Raises Invalid."""
        text = self.request.query.get(name, str(default))
        return whole(name, int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text, low, high)

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


def whole(name: str, value: object, low: int, high: int) -> int:
    """The value, a whole number of this range. Raises Invalid."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Invalid(f"{name} must be a whole number between {low} and {high}.", field=name)
    return value


def iso(at: float | None, *, nanoseconds: bool = False) -> str | None:
    """A time as the vendors write it: RunComfy with an offset, WaveSpeed with nine digits and a Z."""
    if at is None:
        return None
    time = datetime.fromtimestamp(at, timezone.utc)
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond * 1000:09d}Z" if nanoseconds else time.isoformat()


def _append(path: Path, data: bytearray) -> None:
    with path.open("ab") as file:
        file.write(data)
