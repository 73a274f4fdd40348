"""The user's proxy settings, read once per request: environment variables, on Windows and macOS the system's too."""

from __future__ import annotations

from urllib.request import getproxies, proxy_bypass

from .addresses import is_loopback
from .calls import split_url


def proxy_for(url: str) -> str | None:
    """The HTTP proxy to use for this URL, or None. Loopback is always reached directly."""
    parts = split_url(url)
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(host):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    return proxy if split_url(proxy).scheme in ("http", "https") else None
