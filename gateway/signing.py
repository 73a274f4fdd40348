"""Webhook signatures: a secret for each key, derived from the gateways' common one, which can be changed key by key."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timezone

from standardwebhooks import Webhook

from .database import now
from .keys import KeyStore

OVERLAP_S = 24 * 3600.0
"""For how long after a change Standard Webhooks' signatures are made with the old secret too."""


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
        turn, turned_at = self.keys.webhook_turn(owner)
        secret, at = self._secret(owner, turn), int(now())
        if api == "wavespeed":
            signed = f"{delivery}.{at}.".encode() + body
            signature = "v3," + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
        else:
            turns = [turn, turn - 1] if turned_at is not None and now() - turned_at < OVERLAP_S else [turn]
            time, text = datetime.fromtimestamp(at, timezone.utc), body.decode()
            signature = " ".join(Webhook(self._secret(owner, one)).sign(delivery, time, text) for one in turns)
        return {"webhook-id": delivery, "webhook-timestamp": str(at), "webhook-signature": signature}

    def _secret(self, owner: str, turn: int) -> str:
        return hmac.new(self.common.encode(), f"{owner}:{turn}".encode(), hashlib.sha256).hexdigest()
