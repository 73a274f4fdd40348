"""Which addresses that somebody else names are connected to: public ones alone, told from text and from the look-up.

The gateway uses the same guard for the addresses that its clients name. Behind it stand a profile's own origin and the
networks and origins that the user or operator has named.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

from .calls import split_url
from .errors import DownloadRefused

NETWORKS_VARIABLE = "WAN_FLF2V_MEDIA_NETWORKS"
Origin = tuple[str, str, int]
Networks = Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# IPv4-compatible, the NAT64 of a network of one's own, site-local: retired or private, and not in every Python's list.
_NEVER_PUBLIC = tuple(ipaddress.ip_network(network) for network in ("::/96", "64:ff9b:1::/48", "fec0::/10"))


def origin(url: str) -> Origin:
    """Scheme, host and port of a URL. Raises DownloadRefused for one that has none."""
    parts = split_url(url)
    host, port = (parts.hostname or "").lower().rstrip("."), parts.port
    if not host or parts.scheme not in ("http", "https"):
        raise DownloadRefused(f"The provider named no usable address; got {url[:100]!r}.")
    return parts.scheme, host, port or (443 if parts.scheme == "https" else 80)


def check_media_url(url: str, own: Origin) -> bool:
    """Whether this is the profile's own origin (True) or another public place (False).

    Raises DownloadRefused for anything but https elsewhere, a user name in the URL, or a literal private address.
    """
    scheme, host, _ = target = origin(url)
    if target == own:
        return True
    if scheme != "https":
        raise DownloadRefused(f"The provider named an address over {scheme}, not https, at {host}; it was not used.")
    if urlsplit(url).username is not None or urlsplit(url).password is not None:
        raise DownloadRefused(f"The address that the provider named at {host} carries a user name; it was not used.")
    if not may_be_public(host, allowed_networks()):
        raise private(host)
    return False


def private(host: str) -> DownloadRefused:
    """The error for an address inside the user's own network."""
    return DownloadRefused(
        f"The address that the provider named ({host}) leads into a private network; it was not used. Behind a proxy that "
        f"answers name look-ups with addresses of its own (198.18.0.0/15), name that network in {NETWORKS_VARIABLE}."
    )


def is_loopback(host: str) -> bool:
    """Whether this host name or literal address is this machine."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_public(address: str, allowed: Networks = ()) -> bool:
    """Whether this literal address is on the public internet or in an allowed network, its embedded IPv4 address too.

    Raises ValueError for what is no literal address.
    """
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner), allowed)
    if any(ip in network for network in allowed):
        return True
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _NEVER_PUBLIC)


def may_be_public(host: str, allowed: Networks = ()) -> bool:
    """Whether a URL's host is a public address, or a name: whose addresses are checked when they are looked up.

    A name with a number as its last label is an address in another notation (WHATWG URL, "ends in a number"), which
    some clients connect to without a look-up.
    """
    name = host.lower().rstrip(".")
    try:
        return is_public(name, allowed)
    except ValueError:
        last = name.rpartition(".")[2]
        number = last.isdigit() or re.fullmatch("0x[0-9a-f]*", last) is not None
        return not number and name != "localhost" and not name.endswith((".localhost", ".local", ".internal"))


def allowed_networks() -> Networks:
    """The networks in ``WAN_FLF2V_MEDIA_NETWORKS`` (CIDR, separated by commas). Raises DownloadRefused for bad ones."""
    text = os.environ.get(NETWORKS_VARIABLE, "")
    try:
        return [ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip()]
    except ValueError:
        raise DownloadRefused(f"{NETWORKS_VARIABLE} must list networks such as 198.18.0.0/15; got {text!r}.") from None


class PublicResolver(AbstractResolver):
    """Name look-up that gives public addresses alone, checked on the very addresses that are connected to.

    ``refuse`` makes the error for a name that has another one.
    """

    def __init__(
        self,
        inner: AbstractResolver | None = None,
        *,
        allowed: Networks = (),
        refuse: Callable[[str], Exception] = private,
    ) -> None:
        self._inner, self._allowed, self._refuse = inner or DefaultResolver(), allowed, refuse

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host. Raises what ``refuse`` made when one of them is not public."""
        found = await self._inner.resolve(host, port, family)
        if not found or not all(is_public(result["host"], self._allowed) for result in found):
            raise self._refuse(host)
        return found

    async def check_beforehand(self, host: str) -> None:
        """Refuse a name where a proxy makes the connection, and so its address can't be watched."""
        with suppress(OSError):  # behind some proxies names are known to the proxy alone
            await self.resolve(host)

    async def close(self) -> None:
        """Release the resolver below."""
        await self._inner.close()
