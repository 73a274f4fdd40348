"""What a caller is told: progress while a job runs, and the outcome."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .calls import Json, Status
from .row import Row

_USUAL = ("", "in_queue", "in_progress", "created", "processing", "completed")
Report = Callable[[str], None]


def silent(_: str) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Outcome:
    """A job as far as it has come. ``video`` is None while it is not finished."""

    row: Row
    title: str
    status: Status | None = None
    video: Path | None = None
    notes: Sequence[str] = ()
    collected: bool = False
    seconds: float | None = None

    @property
    def request_id(self) -> str:
        """The provider's id of the job."""
        return self.row.request_id or ""

    def info(self) -> str:
        """Everything known about the job as indented JSON, the provider's whole answer included."""
        response: Json = self.status.response if self.status is not None else self.row.response
        state = "completed" if self.video is not None else self.status.state if self.status else self.row.state
        facts = {
            "provider": self.title,
            "model": self.row.model,
            "request_id": self.request_id,
            "state": state,
            "collected_from_an_earlier_submit": self.collected,
            "seconds_since_submit": None if self.seconds is None else round(self.seconds, 1),
            "estimated_price_usd": self.row.price,
            "cost_usd": None if self.status is None else self.status.cost,
            "has_nsfw_contents": None if self.status is None else list(self.status.nsfw),
            "notes": list(self.notes),
            "response": response,
        }
        kept = {name: value for name, value in facts.items() if value not in (None, [])}
        return json.dumps(kept, indent=2, ensure_ascii=False)


def _amount(price: float) -> str:
    return f"{price:.2f}" if round(price, 2) == price else f"{price:g}"


def progress_text(title: str, status: Status, seconds: float, price: float | None) -> str:
    """One line about a running job: state, queue position, time, price."""
    usual = {"queued": "queued", "running": "generating"}.get(status.state, status.raw_state)
    parts = [f"{title}: {usual if status.raw_state in _USUAL else status.raw_state}"]
    if status.queue_position is not None:
        parts.append(f"position {status.queue_position} in the queue")
    parts.append(f"{seconds:.0f} s")
    if price is not None:
        parts.append(f"about ${_amount(price)}")
    return " · ".join(parts)
