"""Signed links to stored files: whoever has one may read that file until it expires, without a key."""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, urlsplit


@dataclass(frozen=True)
class Links:
    """Makes and checks links. ``secret`` is shared by the gateways on one database."""

    secret: str
    lifetime_s: float

    def path(self, asset_id: str, filename: str, purpose: str = "read", lifetime_s: float | None = None) -> str:
        """The path and query of a link to an asset."""
        expires = int(time.time() + (lifetime_s or self.lifetime_s))
        folder = "files" if purpose == "read" else "uploads"
        signature = self._sign(asset_id, purpose, expires)
        return f"/{folder}/{asset_id}/{quote(filename, safe='')}?expires={expires}&signature={signature}"

    def valid(self, asset_id: str, purpose: str, expires: str, signature: str) -> bool:
        """Whether this is a link of ours that has not expired."""
        if not (expires.isascii() and expires.isdigit() and len(expires) < 12 and signature.isascii()):
            return False
        right = hmac.compare_digest(self._sign(asset_id, purpose, int(expires)), signature)
        return right and int(expires) >= time.time()

    def asset_of(self, url: str) -> str | None:
        """The asset that this URL is a valid link of ours to, whatever host name it was reached by; else None."""
        try:
            parts = urlsplit(url)
            query = parse_qs(parts.query)
        except ValueError:
            return None
        pieces = parts.path.split("/")
        if len(pieces) != 4 or pieces[1] != "files" or "signature" not in query or "expires" not in query:
            return None
        return pieces[2] if self.valid(pieces[2], "read", query["expires"][0], query["signature"][0]) else None

    def _sign(self, asset_id: str, purpose: str, expires: int) -> str:
        text = f"{purpose}:{asset_id}:{expires}"
        return hmac.new(self.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
