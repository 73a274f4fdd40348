"""The application: routes, keys, limits, and errors in the shape of the API that was called."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from ...engine.version import package_version
from ...providers.addresses import is_loopback, is_public
from ..bodies import SCRATCH, SMALL, Scratch
from ..database import new_id
from ..errors import DISK_FULL, ApiError, BadRequest, Forbidden, TooLarge, TooMany, Unauthorized, Unavailable
from ..facades.call import Call
from ..keys import NOBODY, Scope
from ..logs import REQUEST_ID
from ..metrics import Metrics
from ..service import JobService
from ..shares import Budget, Rate, SharedWindows
from ..tables import Key
from . import openapi, pages

SPOKE = web.AppKey("spoke", set)
"""The connections on which a request has come."""
_PATH, _KEY = web.RequestKey("path", str), web.RequestKey("key", str)
_SAFE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"}
_SERVERLESS_CODES = {401: 401001, 403: 403003}  # where its documents differ from the Model API's
_SAID = {
    404: "There is no such address here; /docs lists them.",
    405: "This address does not take this method.",
    413: "The body is too large.",
}
_SEEN_S = 1.0
_REQUEST_ID = re.compile(r"[\w.:/+=-]{1,100}")
log = logging.getLogger(__name__)
access = logging.getLogger("wan_flf2v.access")
Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_app(service: JobService, metrics: Metrics) -> web.Application:
    """The aiohttp application."""
    gate, settings = Gate(service), service.settings
    app = web.Application(client_max_size=settings.body_bytes, middlewares=[_answer_errors(metrics)])
    app.on_response_prepare.append(_safe_headers)
    app[SPOKE] = set()
    addresses = openapi.every_address()
    app[pages.DOCUMENT] = json.dumps(openapi.document(addresses, settings.public_url or "/", package_version()))
    for address in addresses:
        # an id is never the word of a neighbouring address, so that a wrong method there is a 405
        path = address.path.replace("{prediction_id}", "{prediction_id:(?!delete$)[^/]+}")
        endpoint = _endpoint(address, gate, metrics)
        app.router.add_route(address.method, path, endpoint, expect_handler=_not_yet)
        if address.method == "GET":
            app.router.add_route("HEAD", path, endpoint)
    return app


async def _safe_headers(_request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _SAFE.items():
        response.headers.setdefault(name, value)
    response.headers.pop("Server", None)


class Gate:
    """Who may come in, how often, and with how much."""

    def __init__(self, service: JobService) -> None:
        self.service, self.settings, self.keys = service, service.settings, service.keys
        settings, database = service.settings, service.jobs.database
        self.bodies = Budget("other requests' bodies", settings.bodies_bytes, settings.bodies_bytes // 2)
        self._shared = None if database.sqlite else SharedWindows(database)
        self._submits = Rate(settings.submits_per_second, settings.submits_burst, self._shared)
        self._calls = Rate(settings.calls_per_second, int(settings.calls_per_second * 10) or 1)

    async def key(self, request: web.Request, scope: Scope | None) -> Key:
        """The caller's key. Raises Unauthorized or Forbidden."""
        if not self.settings.auth:
            _only_this_machine(request)
            return NOBODY
        if scope is None:
            self.count_call(self.address(request))
            return NOBODY
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise Unauthorized("Send an API key as 'Authorization: Bearer <key>'; wan-flf2v keys create makes one.")
        secret = secret.strip()
        if not secret.isascii() or len(secret) > 200:
            raise Unauthorized("The API key is not valid.")
        known, key = self.keys.remembered(secret)
        if not known:
            if key is None:  # not one that was right before: a guess is counted
                self.count_call(self.address(request))
            key = await self.service.call(self.keys.find, secret)
        if key is None:
            raise Unauthorized("The API key is not valid.")
        if scope not in key.scopes:
            raise Forbidden(f"This API key lacks the scope {scope!r}.")
        return key

    async def count_submit(self, key: Key) -> None:
        """Count a submit of this key. Raises TooMany."""
        hit = self._submits.hit
        if not (await self.service.call(hit, key.id) if self._shared else hit(key.id)):
            rate = self.settings.submits_per_second
            raise TooMany(f"A key may submit {rate:g} requests a second; nothing was done.", retry_after_s=1)

    def count_call(self, who: str) -> None:
        """Count another call of this key, or of this address without one. Raises TooMany."""
        if not self._calls.hit(who):
            rate = self.settings.calls_per_second
            raise TooMany(f"A key or address may send {rate:g} requests a second.", retry_after_s=1)

    def address(self, request: web.Request) -> str:
        """The caller's address; behind a reverse proxy of ours what that says."""
        peer = request.remote or ""
        said = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
        return said[:60] if self.settings.public_url and said and peer and not is_public(peer) else peer


def _only_this_machine(request: web.Request) -> None:
    """Without keys, refuse what a web page elsewhere could make this machine's browser send."""
    host = request.url.host or ""
    if not is_loopback(host):
        raise Forbidden("This gateway runs without keys, for this machine alone: call it as 127.0.0.1 or localhost.")
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"{request.scheme}://{request.host}":
        raise Forbidden("This gateway runs without keys and takes no calls from other web pages.")


def _endpoint(address: openapi.Address, gate: Gate, metrics: Metrics) -> Next:
    async def endpoint(request: web.Request) -> web.StreamResponse:
        request[_PATH] = address.path
        key = await gate.key(request, address.scope)
        request[_KEY] = key.id
        length, largest = request.content_length, gate.settings.body_bytes
        if length is not None and length > largest:
            raise TooLarge(f"The body must have at most {largest // 2**20} MiB.")
        if address.scope == "submit":
            await gate.count_submit(key)
        elif address.scope is not None:
            gate.count_call(key.id)
        scratch = Scratch(gate.settings.data / SCRATCH / new_id())
        call = Call(request, gate.service, metrics, scratch, key)
        if not request.can_read_body:
            return await address.handler(call)
        who = gate.address(request) if address.scope is None else key.id
        if length is None or "Content-Encoding" in request.headers:  # how long it gets is not known
            length = largest
        with gate.bodies.hold(who, length):
            if request.headers.get("Expect", "").lower() == "100-continue":
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                request.writer.output_size = 0
            try:
                return await address.handler(call)
            finally:
                if scratch.folder.exists():
                    await asyncio.to_thread(scratch.close)

    return endpoint


async def _not_yet(_request: web.Request) -> None:
    """Ask for no body yet: who says that he waits for a 100 may be refused before he sends it."""


class _Refusal(web.Response):
    """An answer before the whole body came. A long rest is not read: the client has a moment to see the answer."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        self._to = request
        if not request.content.is_eof():
            self.force_close()
        return await super().prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        await super().write_eof(data)
        length = self._to.content_length
        if not self._to.content.is_eof() and (length is None or length > SMALL):
            await asyncio.sleep(_SEEN_S)
            self._to.protocol.force_close()


def _answer_errors(metrics: Metrics) -> Any:
    @web.middleware
    async def middleware(request: web.Request, handler: Next) -> web.StreamResponse:
        began = time.perf_counter()
        given = request.headers.get("X-Request-Id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else new_id()
        REQUEST_ID.set(request_id)  # in every line that is logged for this request
        request.app[SPOKE].add(request.protocol)
        try:
            response = await handler(request)
        except ApiError as error:
            response = error_response(request.path, error)
        except web.HTTPException as error:
            response = error_response(request.path, _known(error))
        except ConnectionError:  # the client's, who has gone; others are told where they are made
            response = web.Response(status=499)
        except (RecursionError, web.RequestPayloadError):
            response = error_response(request.path, BadRequest("The body is nested too deep or badly encoded."))
        except Exception as error:
            log.exception("a request failed here", extra={"path": request.get(_PATH, "")})
            if request.writer.output_size:  # in the middle of a file: the client must not take an error for its rest
                raise
            told = ApiError("This is a fault of the gateway; its log has more.")
            if getattr(error, "errno", None) in DISK_FULL:
                told = Unavailable("The gateway's disk is full; nothing was done. Try again later.", retry_after_s=60)
            response = error_response(request.path, told)
        path, seconds = request.get(_PATH, "other"), time.perf_counter() - began
        metrics.requests.labels(path, response.status).inc()
        metrics.seconds.labels(path).observe(seconds)
        said = {"method": request.method, "path": path, "status": response.status, "ms": round(1000 * seconds, 1)}
        access.info("request", extra={**said, "key": request.get(_KEY, "")})
        if not response.prepared:
            response.headers["X-Request-Id"] = request_id
        return response

    return middleware


def _known(error: web.HTTPException) -> ApiError:
    allow = {"Allow": error.headers["Allow"]} if error.status == 405 else {}
    known = ApiError(_SAID.get(error.status, error.reason), headers=allow)
    known.status, known.code = error.status, error.status * 1000 + 1
    return known


def error_response(path: str, error: ApiError) -> web.Response:
    """The error in the shape of the API whose address was called."""
    if path.startswith("/api/v3/"):
        body: dict[str, object] = {"code": error.status, "message": error.message, "error_code": str(error.code)}
    else:
        code = _SERVERLESS_CODES.get(error.status, error.code) if path.startswith("/prod/") else error.code
        body = {"error_code": code, "error_message": error.message}
    if error.field:
        body["detail"] = [{"loc": ["body", error.field], "msg": error.message, "type": "value_error"}]
    headers = error.headers | ({"WWW-Authenticate": "Bearer"} if error.status == 401 else {})
    return _Refusal(text=json.dumps(body), content_type="application/json", status=error.status, headers=headers)
