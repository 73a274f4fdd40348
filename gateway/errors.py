"""What a request can be answered with when it can't be served. Each facade puts these into its vendor's shape."""

from __future__ import annotations

import errno
from collections.abc import Mapping

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class ApiError(Exception):
    """An answer with an HTTP status and a numeric code; ``field`` is the one that is wrong."""

    status, code = 500, 500001

    def __init_subclass__(cls, status: int, code: int = 0) -> None:
        cls.status, cls.code = status, code or status * 1000 + 1

    def __init__(
        self, message: str, *, field: str = "", retry_after_s: float = 0, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message, self.field, self.headers = message, field, dict(headers or {})
        if retry_after_s:
            self.headers["Retry-After"] = str(max(1, round(retry_after_s)))


class BadRequest(ApiError, status=400):
    """The request is not in the form that this address takes."""


class Unauthorized(ApiError, status=401, code=400004):
    """No key, or a key that is unknown or revoked."""


class Forbidden(ApiError, status=403):
    """The key or link may not do this."""


class NotFound(ApiError, status=404):
    """There is no such thing, or it belongs to another key."""


class TooSlow(ApiError, status=408):
    """The body did not arrive in time."""


class TooLarge(ApiError, status=413):
    """The body is larger than the limit."""


class NoSuchRange(ApiError, status=416):
    """The file has no such range."""


class Invalid(ApiError, status=422):
    """A field is unknown, missing, of the wrong type or out of range."""


class TooMany(ApiError, status=429):
    """Too many requests or a full queue; Retry-After says when to come back."""


class Unavailable(ApiError, status=503):
    """Nothing can serve this now; Retry-After says when to come back."""
