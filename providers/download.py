"""Fetch a finished video safely: no key, no private address, a cap, and nothing half-written left behind."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import aiohttp
from yarl import URL

from .addresses import PublicResolver, allowed_networks, check_media_url, origin
from .errors import DownloadError, DownloadRefused
from .proxy import proxy_for
from .retry import Clock, Policy
from .video_check import check_video, ending

_CHUNK = 256 * 1024
_TYPES = ("video/", "application/octet-stream", "binary/octet-stream", "application/mp4")


class LinkExpired(DownloadError):
    """The address of the video has expired; the provider may name a fresh one."""


@dataclass(frozen=True)
class Downloader:
    """Downloads results for one profile, whose own origin is trusted: a gateway may stand on loopback or a LAN."""

    base_url: str
    policy: Policy = field(default_factory=Policy)
    clock: Clock = field(default_factory=Clock)
    max_bytes: int = 512 * 2**20
    max_seconds: float = 900.0
    idle_s: float = 60.0
    max_redirects: int = 3

    async def fetch(self, url: str, target: Path, progress: Callable[[int], None] = lambda _: None) -> Path:
        """The video's file: ``target`` with the ending of its container. ``progress`` is told the bytes so far.

        Raises DownloadRefused, LinkExpired, or DownloadError after the last attempt.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(self.policy.download_attempts):
            if attempt:
                await self.clock.sleep(self.policy.backoff(attempt - 1, self.clock))
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=".part-")
            part = Path(name)
            try:
                with os.fdopen(handle, "wb") as file:
                    await asyncio.wait_for(self._stream(url, file.write, progress), self.max_seconds)
                final = target.with_suffix(check_video(part))
                os.replace(part, final)
                return final
            except (DownloadRefused, LinkExpired):
                raise
            except asyncio.TimeoutError:
                raise DownloadRefused(
                    f"The video did not end within {self.max_seconds:.0f} s; it was not kept."
                ) from None
            except DownloadError:
                if attempt + 1 == self.policy.download_attempts:
                    raise
            except OSError as error:
                raise DownloadError(f"The video cannot be written to {target.parent}: {error.strerror}.") from None
            finally:
                part.unlink(missing_ok=True)
        raise DownloadError("The video was not asked for: no attempts are allowed.")

    async def _stream(self, url: str, write: Callable[[bytes], object], progress: Callable[[int], None]) -> None:
        """Follow redirects, each checked, and write the body."""
        own = origin(self.base_url)
        for _ in range(self.max_redirects + 1):
            trusted = check_media_url(url, own)
            try:
                following = await self._get(url, trusted, write, progress)
            except (aiohttp.ClientError, ConnectionError) as error:
                cause = error.__cause__ or error.__context__
                if isinstance(cause, DownloadRefused):
                    raise cause from None
                raise DownloadError(
                    f"The download from {urlsplit(url).hostname} broke off ({type(error).__name__})."
                ) from None
            if following is None:
                return
            url = following
        raise DownloadRefused(f"The address of the video redirects more than {self.max_redirects} times.")

    async def _get(
        self, url: str, trusted: bool, write: Callable[[bytes], object], progress: Callable[[int], None]
    ) -> str | None:
        """Write the body of one answer; returns the next address for a redirect."""
        proxy = None if trusted else proxy_for(url)
        guard = PublicResolver(allowed=allowed_networks())
        if proxy is not None:
            await guard.check_beforehand(urlsplit(url).hostname or "")
        resolver = None if trusted or proxy is not None else guard
        connector = aiohttp.TCPConnector(resolver=resolver, force_close=True, limit=1)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self.policy.connect_s, sock_read=self.idle_s)
        headers = {"User-Agent": "wan-flf2v", "Accept": "video/*,*/*;q=0.5", "Accept-Encoding": "identity"}
        async with (
            aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.get(
                # encoded: a signed address must go out exactly as it came
                URL(url, encoded=True),
                allow_redirects=False,
                headers=headers,
                timeout=timeout,
                proxy=proxy,
            ) as response,
        ):
            if response.status in (301, 302, 303, 307, 308):
                return _joined(url, response.headers.get("Location", ""))
            self._check_head(response)
            received, head = 0, b""
            async for chunk in response.content.iter_chunked(_CHUNK):
                received += len(chunk)
                if received > self.max_bytes:
                    raise DownloadRefused(f"The video is larger than {self.max_bytes / 2**20:g} MiB; it was not kept.")
                if len(head) < 12:
                    head += chunk[:12]
                    if len(head) >= 12:
                        ending(head)
                write(chunk)
                progress(received)
        return None

    def _check_head(self, response: aiohttp.ClientResponse) -> None:
        host = response.url.host
        if response.status in (403, 404, 410):
            raise LinkExpired(
                f"The video is no longer at {host} (HTTP {response.status}). Providers keep results for about 7 days."
            )
        if response.status != 200:
            raise DownloadError(f"The video could not be fetched from {host} (HTTP {response.status}).")
        kind = response.headers.get("Content-Type", "application/octet-stream").split(";")[0].strip().lower()
        if not kind.startswith(_TYPES):
            raise DownloadRefused(
                f"The provider's address holds {kind or 'nothing'}, not a video; it was not downloaded."
            )
        length = response.content_length
        if length is not None and length > self.max_bytes:
            raise DownloadRefused(
                f"The video has {length / 2**20:.0f} MiB, more than the {self.max_bytes / 2**20:g} MiB that are accepted."
            )


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise DownloadRefused(
            f"The address of the video redirects to no usable address; got {location[:100]!r}."
        ) from None
