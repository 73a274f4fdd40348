"""The one place that sends API requests: aiohttp, one session per client, polite resends.

The bearer key goes to the profile's base URL alone and no redirect is followed. A call marked "if not received" is
sent again only when no connection was made, or when the provider answered 429 and so refused it.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from .addresses import check_media_url, origin
from .calls import Call, Flow, Reply, T, split_url
from .errors import BadInput, ConnectionLost, NotSent, ProviderError, RateLimited, ServerTrouble
from .faults import Vendor, judge
from .profiles import Profile
from .proxy import proxy_for
from .retry import Clock, Policy
from .secret import redact, redact_json

CLIENT_NAME = "wan-flf2v"
_BODY_CAP = 16 * 2**20

OnWire = Callable[[bool], None]
"""Told True just before a request may reach the provider, False once it surely did not or was refused."""


def _ignore(_: bool) -> None:
    return None


@dataclass
class Transport:
    """Sends the calls of one provider with one profile. Use as an asynchronous context manager."""

    profile: Profile
    base_url: str
    vendor: Vendor
    clock: Clock = field(default_factory=Clock)
    policy: Policy = field(default_factory=Policy)
    _session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Transport:
        # A connection kept open may be closed by the server just as a request goes out, and then nobody knows
        # whether it was received. A new one for each request costs milliseconds in a job of minutes.
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def run(self, flow: Flow[T], on_wire: OnWire = _ignore) -> T:
        """Drive a provider's flow to its result. Errors are thrown into the flow, which may catch them."""
        try:
            call = next(flow)
            while True:
                try:
                    reply = await self.send(call, on_wire)
                except ProviderError as error:
                    call = flow.throw(error)
                else:
                    call = flow.send(reply)
        except StopIteration as done:
            result: T = done.value
            return result

    async def send(self, call: Call, on_wire: OnWire = _ignore) -> Reply:
        """The answer to one call, resent as its kind allows. Raises ProviderError."""
        attempts = self.policy.submit_attempts if call.about == "submit" else call.attempts
        for attempt in range(attempts):
            try:
                on_wire(True)
                return await self._send_once(call)
            except (NotSent, RateLimited) as error:
                on_wire(False)
                if call.resend == "never" or attempt + 1 == attempts:
                    raise
                asked = error.retry_after_s if isinstance(error, RateLimited) else None
                wait = self.policy.backoff(attempt, self.clock)
                await self.clock.sleep(wait if asked is None else asked + wait * 0.1)
            except (ConnectionLost, ServerTrouble):
                if call.resend != "always" or attempt + 1 == attempts:
                    raise
                await self.clock.sleep(self.policy.backoff(attempt, self.clock))
            except ProviderError:
                on_wire(False)  # answered with a refusal
                raise
        raise ServerTrouble(f"{self.vendor.title} was not asked: no attempts are allowed.", provider=self.vendor.name)

    async def _send_once(self, call: Call) -> Reply:
        if self._session is None:
            raise RuntimeError("the transport is used outside its context")
        url, key = self._url(call), self.profile.key
        title, host = self.vendor.title, split_url(url).hostname
        try:
            async with self._session.request(
                call.method,
                URL(url, encoded=True),
                allow_redirects=False,
                proxy=proxy_for(url),
                **self._arguments(call),
            ) as response:
                text = await _read(response)
                headers = CIMultiDict((name, redact(value, key)) for name, value in response.headers.items())
                reply = Reply(response.status, headers, redact_json(_parse(text), key), redact(text, key))
        except (
            aiohttp.ConnectionTimeoutError,
            aiohttp.ClientConnectorError,
            aiohttp.ClientHttpProxyError,
            aiohttp.InvalidURL,
            ssl.SSLError,
        ) as error:
            reason = _reason(error)
            raise NotSent(f"{title} cannot be reached at {host}: {reason}.", provider=self.vendor.name) from None
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            reason = _reason(error)
            raise ConnectionLost(
                f"The connection to {title} ({host}) broke: {reason}.", provider=self.vendor.name
            ) from None
        except ValueError as error:
            raise BadInput(
                f"The request to {title} cannot be written: {redact(str(error), key)[:200]}.", provider=self.vendor.name
            ) from None
        fault = judge(reply, call, self.vendor, self.profile.name, self.clock.time())
        if fault is not None:
            raise fault
        return reply

    def _url(self, call: Call) -> str:
        if call.auth:
            return self.base_url + call.target
        check_media_url(call.target, origin(self.base_url))
        return call.target

    def _arguments(self, call: Call) -> dict[str, Any]:
        headers = {"User-Agent": CLIENT_NAME, "Accept": "application/json", **call.headers}
        if call.auth:
            headers["Authorization"] = f"Bearer {self.profile.key.reveal()}"
            headers["X-Client-Name"] = CLIENT_NAME
        # Both bounds matter: no byte for a while, and a trickle without end.
        timeout = aiohttp.ClientTimeout(
            total=3 * call.timeout_s, sock_connect=self.policy.connect_s, sock_read=call.timeout_s
        )
        arguments: dict[str, Any] = {"headers": headers, "timeout": timeout}
        if call.file is not None:
            name, content, media_type = call.file
            form = aiohttp.FormData()
            suffix = media_type.split("/")[-1]
            form.add_field(name, content, filename=f"frame.{suffix}", content_type=media_type)
            arguments["data"] = form
        elif call.content is not None:
            arguments["data"] = call.content
            arguments["skip_auto_headers"] = {"Content-Type"}  # a signed address may name another
        elif call.json is not None:
            headers["Content-Type"] = "application/json"
            arguments["data"] = json.dumps(call.json, ensure_ascii=False, allow_nan=False).encode()
        return arguments


async def _read(response: aiohttp.ClientResponse) -> str:
    raw = bytearray()
    while len(raw) < _BODY_CAP:
        chunk = await response.content.read(_BODY_CAP - len(raw))
        if not chunk:
            break
        raw += chunk
    return raw.decode("utf-8", errors="replace")


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _reason(error: BaseException) -> str:
    """A short reason without the request in it, which aiohttp's own texts may repeat."""
    if isinstance(error, (asyncio.TimeoutError, TimeoutError)):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name was not found"
    if isinstance(error, (aiohttp.ClientSSLError, ssl.SSLError)):
        return "its certificate was not accepted"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server closed it"
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)
    return type(error).__name__
