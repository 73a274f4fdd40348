"""API keys: made, listed, revoked and checked. Only a key's SHA-256 is stored; 256 random bits need no slow hash."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

import sqlalchemy as sa

from .database import Database, new_id, now
from .settings import GatewayError
from .tables import KEYS, SECRETS, Key

PREFIX = "wf2v_"
Scope = Literal["submit", "read", "metrics"]
SCOPES: tuple[Scope, ...] = ("submit", "read", "metrics")
_REMEMBER_S = 5.0  # how long a revoked key may still work at another gateway
_REMEMBER_KEYS = 10_000
NOBODY = Key("local", "no key (loopback only)", "", SCOPES, 0.0)  # who calls where keys are switched off


def digest(secret: str) -> str:
    """The form in which a key is stored and looked up."""
    return hashlib.sha256(secret.encode()).hexdigest()


class KeyStore:
    """Reads and writes keys. Blocking."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._seen: dict[str, tuple[float, Key | None]] = {}

    def create(self, name: str, scopes: Sequence[str], days: float | None = None) -> tuple[Key, str]:
        """A new key, and its secret, which can't be shown again. Raises GatewayError."""
        unknown = [scope for scope in scopes if scope not in SCOPES]
        if unknown or not scopes:
            raise GatewayError(f"scopes must be some of {', '.join(SCOPES)}; got {', '.join(unknown) or 'none'}.")
        if not name.strip() or len(name) > 100:
            raise GatewayError("A key's name must have 1 to 100 characters: say who or what uses it.")
        if days is not None and not days > 0:  # nor NaN, which no time comes after
            raise GatewayError(f"A key must be valid for more than 0 days; got {days:g}.")
        secret = PREFIX + secrets.token_urlsafe(32)
        expires_at = None if days is None else now() + days * 86400
        key = Key(new_id(), name.strip(), digest(secret), list(scopes), now(), expires_at=expires_at)
        self.database.change(sa.insert(KEYS).values(**key.columns()))
        return key, secret

    def every(self) -> list[Key]:
        """Every key, oldest first."""
        return [Key(**row._mapping) for row in self.database.rows(sa.select(KEYS).order_by(KEYS.c.created_at))]

    def renew(self, key: str, hours: float) -> str:
        """A new secret for the key of this id or name; the one before works on for a while. Raises GatewayError."""
        one = self.one(key)
        if one.state == "expired":
            raise GatewayError(f"The key {key!r} has expired; make another.")
        if hours < 0:
            raise GatewayError(f"The secret before can't work for {hours:g} hours more.")
        secret = PREFIX + secrets.token_urlsafe(32)
        before = {"old_hash": KEYS.c.hash, "old_until": now() + hours * 3600}
        self.database.change(sa.update(KEYS).where(KEYS.c.id == one.id).values(hash=digest(secret), **before))
        return secret

    def one(self, key: str) -> Key:
        """The one key of this id or name that is not revoked. Raises GatewayError."""
        found = [one for one in self.every() if key in (one.id, one.name) and one.revoked_at is None]
        if len(found) != 1:
            raise GatewayError(f"There is no single key {key!r}; wan-flf2v keys list shows them with their ids.")
        return found[0]

    def revoke(self, key: str) -> int:
        """Revoke the keys of this id or name; returns how many."""
        mine = sa.and_(sa.or_(KEYS.c.id == key, KEYS.c.name == key), KEYS.c.revoked_at.is_(None))
        return self.database.change(sa.update(KEYS).where(mine).values(revoked_at=now()))

    def webhook_turn(self, key_id: str) -> tuple[int, float | None]:
        """How often the secret of this key's webhooks was changed, and when it last was."""
        query = sa.select(KEYS.c.webhook_turn, KEYS.c.webhook_turned_at).where(KEYS.c.id == key_id)
        row = self.database.first(query)
        return (0, None) if row is None else (row[0], row[1])

    def turn_webhook(self, key_id: str) -> None:
        """Change the secret of this key's webhooks."""
        values = {"webhook_turn": KEYS.c.webhook_turn + 1, "webhook_turned_at": now()}
        self.database.change(sa.update(KEYS).where(KEYS.c.id == key_id).values(**values))

    def remembered(self, secret: str) -> tuple[bool, Key | None]:
        """Whether this secret was looked up a moment ago, and what came out when it last was; no database call."""
        at, key = self._seen.get(digest(secret), (-_REMEMBER_S, None))
        return time.monotonic() - at <= _REMEMBER_S, key

    def find(self, secret: str) -> Key | None:
        """The valid key with this secret, or None. The hash is the look-up key, so no secret is compared."""
        hashed = digest(secret)
        before = sa.and_(KEYS.c.old_hash == hashed, KEYS.c.old_until > now())
        row = self.database.first(sa.select(KEYS).where(sa.or_(KEYS.c.hash == hashed, before), ~is_dead()))
        key = None if row is None else Key(**row._mapping)
        if key is not None:
            with suppress(sa.exc.SQLAlchemyError):  # a database that takes nothing just now still answers questions
                self.database.change(sa.update(KEYS).where(KEYS.c.id == key.id).values(used_at=now()))
        if len(self._seen) >= _REMEMBER_KEYS:
            self._seen.clear()
        self._seen[hashed] = (time.monotonic(), key)
        return key


def is_dead() -> sa.ColumnElement[bool]:
    """Whether a row is that of a key that works no more."""
    return sa.or_(KEYS.c.revoked_at.is_not(None), sa.and_(KEYS.c.expires_at.is_not(None), KEYS.c.expires_at <= now()))


def shared_secret(database: Database, name: str) -> str:
    """A random secret that all gateways on one database share, made on first use."""
    query = sa.select(SECRETS.c.value).where(SECRETS.c.name == name)
    if database.first(query) is None:  # else nothing is written: the database may be read-only for a while
        database.change(database.insert(SECRETS, name=name, value=secrets.token_hex(32)).on_conflict_do_nothing())
    return str(database.first(query).value)
