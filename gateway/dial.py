"""Calls to addresses that clients name, none in the own network: the resolver gives the connector only what passed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import ClientResponse
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from ..providers.addresses import PublicResolver, may_be_public
from .errors import DISK_FULL

_REDIRECTS = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 3


class DialRefused(Exception):
    """This address is not called, or what it answered is not taken; the text says why and may be shown."""


def _private(host: str) -> DialRefused:
    return DialRefused(f"{host} leads into a private network.")


@dataclass(frozen=True)
class Dialer:
    """Calls addresses named by clients: https on port 443 only, and the trusted origins as they are."""

    trusted: tuple[str, ...] = ()
    timeout_s: float = 20
    proxy: str = ""
    resolver: AbstractResolver | None = None

    def check(self, text: str) -> URL:
        """The URL, if it may be called as far as its text tells. Raises DialRefused."""
        try:
            url = URL(text)
            host, port = url.host, url.port
        except ValueError:
            raise DialRefused("It is not a URL.") from None
        if len(text) > 4096 or not host:
            raise DialRefused("It must be a URL of at most 4096 characters with a host.")
        if url.user is not None or url.password is not None:
            raise DialRefused("A URL must not carry a user name or password.")
        if self.trusts(url):
            return url
        if url.scheme != "https":
            raise DialRefused(f"It must be an https URL; got {url.scheme or 'no scheme'}.")
        if port != 443:
            raise DialRefused(f"It must use port 443; got {port}.")
        if not may_be_public(host):
            raise _private(host)
        return url

    def trusts(self, url: URL) -> bool:
        """Whether the operator has named this origin as trusted."""
        return str(url.origin()) in self.trusted if url.absolute and url.scheme in ("http", "https") else False

    async def get(self, text: str, max_bytes: int, into: Path) -> None:
        """Write what lies at the URL into a file. Raises DialRefused, also for errors on the way and for too many bytes."""
        url = self.check(text)
        for _ in range(MAX_REDIRECTS + 1):
            async with self._answer("GET", url, self.timeout_s) as response:
                if response.status not in _REDIRECTS or "Location" not in response.headers:
                    return await _body(response, max_bytes, into)
                url = self.check(str(url.join(URL(response.headers["Location"]))))
        raise DialRefused(f"It redirects more than {MAX_REDIRECTS} times.")

    async def post(self, text: str, body: bytes, headers: Mapping[str, str], timeout_s: float = 10) -> int:
        """Post a body; returns the HTTP status. Raises DialRefused when no answer came."""
        async with self._answer("POST", self.check(text), timeout_s, data=body, headers=dict(headers)) as response:
            return response.status

    @asynccontextmanager
    async def _answer(self, method: str, url: URL, timeout_s: float, **sent: Any) -> AsyncIterator[ClientResponse]:
        guard = None if self.trusts(url) else PublicResolver(self.resolver or ThreadedResolver(), refuse=_private)
        proxy = self.proxy if guard is not None else ""
        if guard is not None and proxy:
            await guard.check_beforehand(url.host or "")
        timeout = aiohttp.ClientTimeout(total=timeout_s, connect=10)
        connector = aiohttp.TCPConnector(resolver=None if proxy else guard, use_dns_cache=False)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout, proxy=proxy or None) as session,
                session.request(method, url, allow_redirects=False, **sent) as response,
            ):
                yield response
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError) as error:
            if getattr(error, "errno", None) in DISK_FULL:
                raise  # the disk here is full, for which nobody else is to blame
            if isinstance(error, asyncio.TimeoutError):
                raise DialRefused(f"{url.host} did not answer within {timeout_s:.0f} s.") from None
            raise DialRefused(f"{url.host} can't be reached ({type(error).__name__}).") from None


async def _body(response: ClientResponse, max_bytes: int, into: Path) -> None:
    if response.status != 200:
        raise DialRefused(f"It answers HTTP {response.status}, not 200.")
    size = 0
    with into.open("wb") as file:
        async for piece in response.content.iter_chunked(65536):
            size += len(piece)
            if size > max_bytes:
                raise DialRefused(f"It is larger than {max_bytes // 1024 // 1024} MiB.")
            file.write(piece)


def trusted_origins(texts: Sequence[str]) -> tuple[str, ...]:
    """The origins named by the operator, normalised. Raises ValueError."""
    origins = []
    for text in texts:
        url = URL(text)
        if url.scheme not in ("http", "https") or not url.host or url.path not in ("", "/") or url.user:
            raise ValueError(f"a trusted origin looks like https://host or http://host:port; got {text!r}")
        origins.append(str(url.origin()))
    return tuple(origins)
