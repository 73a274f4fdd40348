"""API keys that do not leak: a wrapper without a printable form, and the cleaning of texts that leave this package."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from urllib.parse import quote

from .errors import ConfigError

MASK = "***"
MIN_LENGTH = 8  # a shorter one could not be told from ordinary text when messages are cleaned
_BEARER = re.compile(r"(?i)\bbearer\s+[^\s\"'<>,;}]+")


class Secret:
    """An API key. Printing, formatting, comparing or pickling it never shows it; ``reveal`` alone does."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Takes the key as typed or read from a file; spaces and line ends around it are dropped. Raises ConfigError."""
        value = value.strip()
        if not value:
            raise ConfigError("The API key is empty. Copy it whole from the provider's page.")
        if len(value) < MIN_LENGTH or not re.fullmatch(r"[\x21-\x7e]+", value):
            raise ConfigError(
                f"An API key has at least {MIN_LENGTH} characters, all plain ASCII without spaces; the given one has "
                f"{len(value)} characters. Copy it whole from the provider's page."
            )
        self._value = value

    def reveal(self) -> str:
        """The key itself, for the Authorization header and the key file alone."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a key is never pickled")


def redact(text: str, secret: Secret | None) -> str:
    """The text without the key in any of the forms a server may echo it in, and without any bearer token."""
    if secret is not None:
        key = secret.reveal()
        forms = {
            key,
            json.dumps(key)[1:-1],
            json.dumps(json.dumps(key)[1:-1])[1:-1],
            repr(key)[1:-1],
            quote(key),
            quote(key, safe=""),
            html.escape(key),
            html.escape(key, quote=False),
        }
        for form in sorted(forms, key=len, reverse=True):
            text = text.replace(form, MASK)
    return _BEARER.sub(f"Bearer {MASK}", text)


def redact_json(value: object, secret: Secret | None) -> object:
    """A copy of a JSON value with every text in it cleaned, keys of objects included."""
    if isinstance(value, str):
        return redact(value, secret)
    if isinstance(value, Mapping):
        return {redact(str(key), secret): redact_json(item, secret) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact_json(item, secret) for item in value]
    if isinstance(value, (int, float)) and redact(str(value), secret) != str(value):  # a key of digits, echoed bare
        return MASK
    return value
