"""One job as the journal knows it, and what to do about it."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .calls import Ticket
from .errors import JournalError
from .models import Service

UPLOADED = "uploaded"  # beside a row's inputs
RowState = Literal[
    "preparing", "submitting", "uncertain", "running", "completed", "failed", "cancelled", "gone", "forgotten"
]


@dataclass(frozen=True)
class Row:
    """One job as the journal knows it."""

    row: int
    content_key: str
    profile: str
    base_url: str
    service: Service
    model: str
    state: RowState
    owner: str
    request_id: str | None
    links: Mapping[str, str]
    inputs: Mapping[str, Any]
    created_at: float
    submitted_at: float | None
    finished_at: float | None
    response: Any
    video: str | None
    error: str | None
    price: float | None

    @classmethod
    def read(cls, row: sqlite3.Row) -> Row:
        """A row of the table."""
        data = dict(row)
        for name in ("links", "inputs", "response"):
            data[name] = json.loads(data[name] or "null")
        return cls(**data)

    @property
    def ticket(self) -> Ticket:
        """The submitted job. Raises JournalError where no id is known."""
        if not self.request_id:
            raise JournalError(f"Job {self.row} has no request id: its submit was never answered.")
        return Ticket(self.request_id, self.model, self.links)

    @property
    def uploads(self) -> Mapping[str, str]:
        """Where its pictures were uploaded to, by field, as far as that is known."""
        found: Mapping[str, str] = self.inputs.get(UPLOADED, {})
        return found

    @property
    def prompt(self) -> str:
        """What the video is asked to show."""
        return next((str(self.inputs[name]) for name in ("6_text", "prompt") if self.inputs.get(name)), "")

    @property
    def idempotency_key(self) -> str:
        """What one submit of this row is called, however often it is sent."""
        return hashlib.sha256(f"{self.content_key}:{self.created_at!r}".encode()).hexdigest()

    @property
    def video_path(self) -> Path | None:
        """The downloaded video, if it is still there."""
        path = Path(self.video) if self.video else None
        return path if path is not None and path.is_file() else None


@dataclass(frozen=True)
class Claim:
    """What to do about a job: make it ("new"), go on with it ("resume", "finished"), "busy" elsewhere, or "uncertain"."""

    kind: Literal["new", "resume", "finished", "busy", "uncertain"]
    row: Row
