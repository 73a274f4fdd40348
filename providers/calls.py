"""The values that providers, transport and journal pass to one another.

A provider is written as pure generators (``Flow``): it yields ``Call`` values, is sent a ``Reply`` for each, and returns
what the calls came to. It knows no clock, no socket and no key, so that the same code runs on the real network and in
a test that answers by hand.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar
from urllib.parse import SplitResult, urlsplit

from .errors import BadInput, ProviderError

T = TypeVar("T")
Json = Any  # what json.loads returns
State = Literal["queued", "running", "succeeded", "failed", "cancelled"]

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True)
class Call:
    """One HTTP request. ``target`` is a path below the profile's base URL, or a whole URL when ``auth`` is off.

    ``resend`` says when it may be sent again: "always" for what costs nothing or is made once however often it is sent,
    "if not received" for another submit, which is repeated only when it was surely not received or was answered with 429.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    target: str
    json: Json = None
    file: tuple[str, bytes, str] | None = None  # field name, content, media type: sent as multipart form
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    auth: bool = True
    about: Literal["submit", "job", "upload", "other"] = "job"
    resend: Literal["always", "if not received", "never"] = "always"
    attempts: int = 4
    timeout_s: float = 30


@dataclass(frozen=True)
class Reply:
    """One HTTP answer. ``json`` is None where the body is no JSON."""

    status: int
    headers: Mapping[str, str]
    json: Json
    text: str


Flow = Generator[Call, Reply, T]


def submit_call(path: str, body: Json, timeout_s: float, key: str) -> Call:
    """The call that submits a job; under an idempotency key it may be sent again."""
    headers = {"Idempotency-Key": key} if key else {}
    resend: Literal["always", "if not received"] = "always" if key else "if not received"
    return Call("POST", path, json=body, headers=headers, about="submit", resend=resend, timeout_s=timeout_s)


def keeps_keys() -> Flow[bool]:
    """Whether a gateway answers here that says it makes one job however often a submit comes under its key."""
    try:
        reply = yield Call("GET", "/health/live", about="other", attempts=1, timeout_s=10)
    except ProviderError:
        return False
    return isinstance(reply.json, dict) and reply.json.get("idempotency_keys") is True


@dataclass(frozen=True)
class Ticket:
    """A submitted job: its id, the model or deployment it runs on, and the paths that the provider named for it."""

    request_id: str
    model: str
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Status:
    """What the provider says about a job. ``response`` is its whole last answer."""

    state: State
    raw_state: str = ""
    queue_position: int | None = None
    outputs: tuple[str, ...] = ()
    nsfw: tuple[bool, ...] = ()
    error: str = ""
    cost: float | None = None
    response: Json = None

    @property
    def finished(self) -> bool:
        """Whether the provider will not work on it any more."""
        return self.state in ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Candidate:
    """A job found in the provider's history. ``input`` is None where the history does not show it."""

    request_id: str
    created_at: float | None
    input: Json = None


@dataclass(frozen=True)
class Picture:
    """The first or last frame: the bytes of an image file, or a public URL that the provider fetches itself."""

    data: bytes | None = None
    media_type: str = "image/png"
    url: str | None = None

    def __post_init__(self) -> None:
        if (self.data is None) == (self.url is None):
            raise BadInput("A frame is given either as a picture or as a URL: give exactly one of the two.")
        if self.url is not None and not re.fullmatch(r"https?://[^\s/@]+(/\S*)?", self.url):
            raise BadInput(
                f"A picture URL must be a public http(s) address without user name or spaces; got {self.url[:80]!r}."
            )

    @property
    def digest(self) -> str:
        """What identifies the picture: the hash of its bytes, or the URL as given."""
        return f"url:{self.url}" if self.data is None else f"sha256:{hashlib.sha256(self.data).hexdigest()}"


def split_url(url: str) -> SplitResult:
    """The parts of a URL that a server named; all empty where it is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port, parts.hostname  # both are read late, and may raise then
    except ValueError:
        return SplitResult("", "", "", "", "")
    return parts


def is_request_id(value: object) -> bool:
    """Whether this can be put into a path as a request or deployment id."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None
