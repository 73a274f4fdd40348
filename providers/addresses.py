"""Which addresses that a provider names are used: public ones, and the profile's own origin."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

from .calls import split_url
from .errors import DownloadRefused

NETWORKS_VARIABLE = "WAN_FLF2V_MEDIA_NETWORKS"
Origin = tuple[str, str, int]


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
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        if host == "localhost" or host.endswith(".localhost"):
            raise private(host) from None
        return False
    if not is_public(str(literal)):
        raise private(host)
    return False


def private(host: str) -> DownloadRefused:
    """The error for an address inside the user's own network."""
    return DownloadRefused(
        f"The address that the provider named ({host}) leads into a private network; it was not used. Behind a proxy that "
        f"answers name look-ups with addresses of its own (198.18.0.0/15), name that network in {NETWORKS_VARIABLE}."
    )


def is_public(address: str) -> bool:
    """Whether this literal address is on the public internet, or in a network the user has allowed."""
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        ip = inner or ip
    if any(ip in network for network in allowed_networks()):
        return True
    return ip.is_global and not ip.is_multicast


def allowed_networks() -> Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """The networks in ``WAN_FLF2V_MEDIA_NETWORKS`` (CIDR, separated by commas). Raises DownloadRefused for bad ones."""
    text = os.environ.get(NETWORKS_VARIABLE, "")
    try:
        return [ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip()]
    except ValueError:
        raise DownloadRefused(f"{NETWORKS_VARIABLE} must list networks such as 198.18.0.0/15; got {text!r}.") from None


class PublicResolver(AbstractResolver):
    """Name look-up that gives public addresses alone, checked on the very addresses that are connected to."""

    def __init__(self) -> None:
        self._inner = DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host. Raises DownloadRefused when one of them is private."""
        found = await self._inner.resolve(host, port, family)
        if any(not is_public(result["host"]) for result in found):
            raise private(host)
        return found

    async def close(self) -> None:
        """Release the resolver below."""
        await self._inner.close()
