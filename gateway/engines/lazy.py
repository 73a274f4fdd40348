"""An engine that is opened when it is first used, so that a gateway takes jobs while the engine still starts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from . import JobEngine, Living


class LazyEngine:
    """A JobEngine made on first use, in the thread of the caller; each method is the engine's own."""

    def __init__(self, make: Callable[[], JobEngine]) -> None:
        self._make = make
        self._engine: JobEngine | None = None
        self._lock = threading.Lock()

    def _get(self) -> JobEngine:
        with self._lock:
            if self._engine is None:
                self._engine = self._make()
            return self._engine

    def enqueue(self, job_ids: Sequence[str]) -> None:
        """See JobEngine."""
        self._get().enqueue(job_ids)

    def cancel(self, job_id: str) -> None:
        """See JobEngine."""
        self._get().cancel(job_id)

    def lost(self, job_ids: Sequence[str]) -> dict[str, str]:
        """See JobEngine."""
        return self._get().lost(job_ids)

    def take_over(self, living: Living) -> list[str]:
        """See JobEngine."""
        return self._get().take_over(living)

    def waiting(self) -> int:
        """See JobEngine."""
        return self._get().waiting()

    def forget(self, job_ids: Sequence[str]) -> None:
        """See JobEngine."""
        self._get().forget(job_ids)

    def close(self) -> None:
        """See JobEngine."""
        if self._engine is not None:
            self._engine.close()
