"""What is signed: links to stored files, for whoever has one until it expires, and webhooks, by a secret of each key."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

from standardwebhooks import Webhook

from .database import now
from .keys import KeyStore

_LINK = re.compile(r"https?://[^/?#]+/files/([^/?#]+)/[^/?#]+\?expires=([^&]+)&signature=([^&#]+)")
OVERLAP_S = 24 * 3600.0
"""For how long after a change Standard Webhooks' signatures are made with the old secret too."""


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

    def of(self, outputs: Iterable[Mapping[str, Any]], base: str) -> list[str]:
        """The whole links to what a job put out."""
        return [base + self.path(output["asset"], output["filename"]) for output in outputs]

    def valid(self, asset_id: str, purpose: str, expires: str, signature: str) -> bool:
        """Whether this is a link of ours that has not expired."""
        if not (expires.isascii() and expires.isdigit() and len(expires) < 12 and signature.isascii()):
            return False
        right = hmac.compare_digest(self._sign(asset_id, purpose, int(expires)), signature)
        return right and int(expires) >= time.time()

    def asset_of(self, url: str) -> str | None:
        """The asset that this URL is a valid link of ours to, whatever host name it was reached by; else None."""
        found = _LINK.match(url)
        return found[1] if found is not None and self.valid(found[1], "read", found[2], found[3]) else None

    def _sign(self, asset_id: str, purpose: str, expires: int) -> str:
        return _hmac(self.secret, f"{purpose}:{asset_id}:{expires}".encode())


@dataclass(frozen=True)
class WebhookSigner:
    """Signs what is sent for a key. Blocking: the database knows how often the key's secret was changed."""

    common: str
    keys: KeyStore

    def secret(self, owner: str) -> str:
        """The secret of this key's webhooks, without its prefix ``whsec_``."""
        return self._secret(owner, self.keys.webhook_turn(owner)[0])

    def headers(self, owner: str, api: str, delivery: str, body: bytes) -> dict[str, str]:
        """The signature over ``id.timestamp.body``: Standard Webhooks' ``v1``, or for WaveSpeed's API its ``v3``."""
        (turn, turned_at), at = self.keys.webhook_turn(owner), int(now())
        if api == "wavespeed":
            signature = f"v3,{_hmac(self._secret(owner, turn), f'{delivery}.{at}.'.encode() + body)}"
        else:
            turns = [turn, turn - 1] if turned_at is not None and now() - turned_at < OVERLAP_S else [turn]
            when, text = datetime.fromtimestamp(at, timezone.utc), body.decode()
            signature = " ".join(Webhook(self._secret(owner, one)).sign(delivery, when, text) for one in turns)
        return {"webhook-id": delivery, "webhook-timestamp": str(at), "webhook-signature": signature}

    def _secret(self, owner: str, turn: int) -> str:
        return _hmac(self.common, f"{owner}:{turn}".encode())


def _hmac(secret: str, data: bytes) -> str:
    return hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()
