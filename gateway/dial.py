"""Fetching from and posting to addresses that clients name, without reaching into the own network.

The check sits in the dial itself: the resolver below hands the connector only addresses that passed, so an answer that
changes between a check and the connection has nothing to win. Redirects are followed by hand, each one checked anew.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_REDIRECTS = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 3


class DialRefused(Exception):
    """This address is not called, or what it answered is not taken; the text says why and may be shown."""


def is_public(address: str) -> bool:
    """Whether this literal address is on the public internet, its embedded IPv4 address too."""
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


class GuardedResolver(AbstractResolver):
    """Name look-up that refuses a name unless every one of its addresses is public."""

    def __init__(self, inner: AbstractResolver | None = None) -> None:
        self.inner = inner or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses to connect to. Raises DialRefused."""
        found = await self.inner.resolve(host, port, family)
        if not found or any(not is_public(result["host"]) for result in found):
            raise DialRefused(f"{host} leads into a private network.")
        return found

    async def close(self) -> None:
        """Release the resolver below."""
        await self.inner.close()


@dataclass(frozen=True)
class Dialer:
    """Calls addresses named by clients: https on port 443 only, and the trusted origins as they are."""

    trusted: tuple[str, ...] = ()
    timeout_s: float = 20
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
        if not _looks_public(host):
            raise DialRefused(f"{host} leads into a private network.")
        return url

    def trusts(self, url: URL) -> bool:
        """Whether the operator has named this origin as trusted."""
        return str(url.origin()) in self.trusted if url.absolute and url.scheme in ("http", "https") else False

    async def get(self, text: str, max_bytes: int) -> bytes:
        """What lies at the URL. Raises DialRefused, also for errors on the way and for more than ``max_bytes``."""
        url = self.check(text)
        for _ in range(MAX_REDIRECTS + 1):
            try:
                async with self._session(url) as session, session.get(url, allow_redirects=False) as response:
                    if response.status in _REDIRECTS and "Location" in response.headers:
                        url = self.check(str(url.join(URL(response.headers["Location"]))))
                        continue
                    return await _body(response, max_bytes)
            except (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError) as error:
                raise _refusal(url, error, self.timeout_s) from None
        raise DialRefused(f"It redirects more than {MAX_REDIRECTS} times.")

    async def post(self, text: str, body: bytes, headers: Mapping[str, str], timeout_s: float = 10) -> int:
        """Post a body; returns the HTTP status. Raises DialRefused when no answer came."""
        url = self.check(text)
        try:
            async with (
                self._session(url, timeout_s) as session,
                session.post(url, data=body, headers=dict(headers), allow_redirects=False) as response,
            ):
                return response.status
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError) as error:
            raise _refusal(url, error, timeout_s) from None

    def _session(self, url: URL, timeout_s: float | None = None) -> aiohttp.ClientSession:
        resolver = None if self.trusts(url) else GuardedResolver(self.resolver)
        timeout = aiohttp.ClientTimeout(total=timeout_s or self.timeout_s, connect=10)
        connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False)
        return aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False)


def _looks_public(host: str) -> bool:
    """What can be said without a look-up: aiohttp connects to a literal address without asking a resolver."""
    if host.lower().rstrip(".") == "localhost" or host.lower().rstrip(".").endswith(
        (".localhost", ".local", ".internal")
    ):
        return False
    try:
        return is_public(host)
    except ValueError:
        return True  # a name; its addresses are checked when they are looked up


async def _body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    if response.status != 200:
        raise DialRefused(f"It answers HTTP {response.status}, not 200.")
    pieces, size = [], 0
    async for piece in response.content.iter_chunked(65536):
        size += len(piece)
        if size > max_bytes:
            raise DialRefused(f"It is larger than {max_bytes // 1024 // 1024} MiB.")
        pieces.append(piece)
    return b"".join(pieces)


def _refusal(url: URL, error: BaseException, timeout_s: float) -> DialRefused:
    cause: BaseException | None = error
    while cause is not None:  # aiohttp wraps what the resolver raised
        if isinstance(cause, DialRefused):
            return cause
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, asyncio.TimeoutError):
        return DialRefused(f"{url.host} did not answer within {timeout_s:.0f} s.")
    return DialRefused(f"{url.host} can't be reached ({type(error).__name__}).")


def trusted_origins(texts: Sequence[str]) -> tuple[str, ...]:
    """The origins named by the operator, normalised. Raises ValueError."""
    origins = []
    for text in texts:
        url = URL(text)
        if url.scheme not in ("http", "https") or not url.host or url.path not in ("", "/") or url.user:
            raise ValueError(f"a trusted origin looks like https://host or http://host:port; got {text!r}")
        origins.append(str(url.origin()))
    return tuple(origins)
