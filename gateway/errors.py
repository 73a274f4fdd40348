"""What a request can be answered with when it can't be served. Each facade puts these into its vendor's shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType


class ApiError(Exception):
    """An answer with an HTTP status and a numeric code; ``detail`` names the fields that are wrong."""

    status = 500
    code = 500001

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(message)
        self.message, self.headers = message, dict(headers)
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(max(1, round(retry_after_s)))
        self.detail: Sequence[dict[str, object]] = (
            [{"loc": ["body", field], "msg": message, "type": "value_error"}] if field else []
        )


class BadRequest(ApiError):
    """The request is not in the form that this address takes."""

    status, code = 400, 400001


class Unauthorized(ApiError):
    """No key, or a key that is unknown or revoked."""

    status, code = 401, 400004


class Forbidden(ApiError):
    """The key or link may not do this."""

    status, code = 403, 403001


class NotFound(ApiError):
    """There is no such thing, or it belongs to another key."""

    status, code = 404, 404001


class NotAllowed(ApiError):
    """The address exists, but not with this method."""

    status, code = 405, 405001


class TooSlow(ApiError):
    """The body did not arrive in time."""

    status, code = 408, 408001


class TooLarge(ApiError):
    """The body is larger than the limit."""

    status, code = 413, 413001


class NoSuchRange(ApiError):
    """The file has no such range."""

    status, code = 416, 416001


class Invalid(ApiError):
    """A field is unknown, missing, of the wrong type or out of range."""

    status, code = 422, 422001


class TooMany(ApiError):
    """Too many requests or a full queue; Retry-After says when to come back."""

    status, code = 429, 429001


class Unavailable(ApiError):
    """Nothing can serve this now; Retry-After says when to come back."""

    status, code = 503, 503001
