"""What a worker counts and times, kept with its heartbeat, so that it outlives the process and any gateway can tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BUCKETS = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)


@dataclass
class Measured:
    """Counts of attempts by how they ended, and of each kind of time how many were at most so long."""

    attempts: dict[str, int] = field(default_factory=dict)
    times: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Measured:
        """What an earlier process counted, to count on from."""
        return cls(dict(data.get("attempts", {})), {name: dict(time) for name, time in data.get("times", {}).items()})

    def data(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {"attempts": self.attempts, "times": self.times}

    def count(self, outcome: str) -> None:
        """Count one attempt."""
        self.attempts[outcome] = self.attempts.get(outcome, 0) + 1

    def time(self, name: str, seconds: float) -> None:
        """Note how long something took."""
        kept = self.times.setdefault(name, {"sum": 0.0, "buckets": [0] * (len(BUCKETS) + 1)})
        kept["sum"] += seconds
        kept["buckets"][sum(seconds > bound for bound in BUCKETS)] += 1
