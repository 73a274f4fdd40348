"""The application: routes, keys, limits, and errors in the shape of the API that was called."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from ..errors import ApiError, Forbidden, NotAllowed, NotFound, TooLarge, TooMany, Unauthorized
from ..facades import runcomfy, serverless, uploads, wavespeed
from ..facades.operation import Call, Operation
from ..keys import NOBODY, Key, KeyStore
from ..metrics import Metrics
from ..service import JobService
from ..settings import Settings
from . import files, pages

_BUCKETS = 10_000
_PATH = web.RequestKey("path", str)
_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
log = logging.getLogger(__name__)
Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


def all_operations() -> list[Operation]:
    """Every address of the gateway."""
    parts = (runcomfy, serverless, wavespeed, uploads, files, pages)
    return [operation for part in parts for operation in part.operations()]


def build_app(settings: Settings, service: JobService, keys: KeyStore, metrics: Metrics) -> web.Application:
    """The aiohttp application."""
    gate = Gate(settings, service, keys)
    app = web.Application(client_max_size=settings.limits.body_bytes, middlewares=[_answer_errors(metrics)])
    for operation in all_operations():
        # an id is never the word of a neighbouring address, so that a wrong method there is a 405
        path = operation.path.replace("{prediction_id}", "{prediction_id:(?!delete$)[^/]+}")
        app.router.add_route(operation.method, path, _endpoint(operation, gate, metrics))
    return app


@dataclass
class Gate:
    """Who may come in, and how often."""

    settings: Settings
    service: JobService
    keys: KeyStore
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    async def key(self, request: web.Request, operation: Operation) -> Key:
        """The caller's key. Raises Unauthorized or Forbidden."""
        if not self.settings.auth:
            _only_this_machine(request)
            return NOBODY
        if operation.scope is None:
            return NOBODY
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise Unauthorized(
                "Send your API key as 'Authorization: Bearer <key>'. Make one with: wan-flf2v keys create"
            )
        secret = secret.strip()
        if not secret.isascii() or len(secret) > 200:
            raise Unauthorized("The API key is not valid.")
        known, key = self.keys.remembered(secret)
        if not known:
            key = await self.service.call(self.keys.find, secret)
        if key is None:
            raise Unauthorized("The API key is not valid.")
        if operation.scope not in key.scopes:
            raise Forbidden(f"This API key lacks the scope {operation.scope!r}.")
        return key

    def count(self, key: Key) -> None:
        """Take one token of this key. Raises TooMany."""
        rate, burst = self.settings.limits.submits_per_second, self.settings.limits.submits_burst
        if not rate:
            return
        now = time.monotonic()
        tokens, at = self._buckets.pop(key.id, (float(burst), now))
        tokens = min(float(burst), tokens + (now - at) * rate)
        self._buckets[key.id] = (max(0.0, tokens - 1), now)
        if len(self._buckets) > _BUCKETS:
            self._buckets.popitem(last=False)
        if tokens < 1:
            raise TooMany(f"A key may send {rate:g} requests a second; nothing was done.", retry_after_s=1)


def _only_this_machine(request: web.Request) -> None:
    """Without keys, refuse what a web page elsewhere could make this machine's browser send."""
    host = request.url.host or ""
    if not is_loopback(host):
        raise Forbidden("This gateway runs without keys, for this machine alone: call it as 127.0.0.1 or localhost.")
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"{request.scheme}://{request.host}":
        raise Forbidden("This gateway runs without keys and takes no calls from other web pages.")


def is_loopback(host: str) -> bool:
    """Whether this host name or literal address is this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _endpoint(operation: Operation, gate: Gate, metrics: Metrics) -> Next:
    async def endpoint(request: web.Request) -> web.StreamResponse:
        request[_PATH] = operation.path
        key = await gate.key(request, operation)
        length = request.content_length
        if length is not None and length > gate.settings.limits.body_bytes:
            limit = gate.settings.limits.body_bytes // 2**20
            raise TooLarge(f"The body must have at most {limit} MiB.")
        if operation.scope == "submit":
            gate.count(key)
        return await operation.handler(Call(request, gate.service, gate.settings, metrics, key))

    return endpoint


def _answer_errors(metrics: Metrics) -> Any:
    @web.middleware
    async def middleware(request: web.Request, handler: Next) -> web.StreamResponse:
        began = time.perf_counter()
        try:
            response = await handler(request)
        except ApiError as error:
            response = error_response(request.path, error)
        except web.HTTPException as error:
            response = error_response(request.path, _known(error), _allow(error))
        except (ConnectionResetError, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("a request failed here", extra={"path": request.get(_PATH, "")})
            response = error_response(request.path, ApiError("This is a fault of the gateway; its log has more."))
        if not response.prepared:
            for name, value in _SAFE.items():
                response.headers.setdefault(name, value)
        path = request.get(_PATH, "other")
        metrics.requests.labels(path, response.status).inc()
        metrics.seconds.labels(path).observe(time.perf_counter() - began)
        return response

    return middleware


def _known(error: web.HTTPException) -> ApiError:
    if error.status == 404:
        return NotFound("There is no such address here; /docs lists them.")
    if error.status == 405:
        return NotAllowed("This address does not take this method.")
    if error.status == 413:
        return TooLarge("The body is too large.")
    known = ApiError(error.reason or "The request can't be served.")
    known.status, known.code = error.status, error.status * 1000 + 1
    return known


def _allow(error: web.HTTPException) -> dict[str, str]:
    return {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}


def error_response(path: str, error: ApiError, headers: dict[str, str] | None = None) -> web.Response:
    """The error in the shape of the API whose address was called."""
    detail: Sequence[dict[str, object]] = error.detail
    if path.startswith("/api/v3/"):
        body: dict[str, object] = {"code": error.status, "message": error.message, "error_code": str(error.code)}
    else:
        body = {"error_code": error.code, "error_message": error.message}
    if detail:
        body["detail"] = list(detail)
    headers = dict(headers or {})
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    response = web.json_response(body, status=error.status, headers=headers)
    if error.status in (408, 413):
        response.force_close()  # the rest of the body is not waited for
    return response
