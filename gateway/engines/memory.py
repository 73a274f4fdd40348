"""The engine without durability, for tests: queue, running jobs and finished steps in this process's memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from . import Handler, Living, Step


@dataclass
class MemoryEngine:
    """Queue and step results. Survives its workers, so a test can kill one and start another."""

    queue: list[str] = field(default_factory=list)
    running: dict[str, str] = field(default_factory=dict)  # job -> boot
    ended: dict[str, str] = field(default_factory=dict)  # job -> reason
    steps: dict[str, dict[int, Any]] = field(default_factory=dict)
    homes: dict[str, str] = field(default_factory=dict)  # boot -> worker
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def enqueue(self, job_ids: Sequence[str]) -> None:
        """See JobEngine."""
        with self._lock:
            for job in job_ids:
                if job not in self.queue and job not in self.running and job not in self.ended:
                    self.queue.append(job)

    def cancel(self, job_id: str) -> None:
        """See JobEngine."""
        with self._lock:
            if job_id in self.queue:
                self.queue.remove(job_id)
                self.ended[job_id] = "cancelled"

    def lost(self, job_ids: Sequence[str]) -> dict[str, str]:
        """See JobEngine."""
        with self._lock:
            unknown = {job: "unknown" for job in job_ids if job not in self.queue and job not in self.running}
            return {job: self.ended.get(job, reason) for job, reason in unknown.items()}

    def take_over(self, living: Living) -> list[str]:
        """See JobEngine."""
        with self._lock:
            begun = dict(self.running)
        alive = living()
        with self._lock:
            lost = [
                job for job, boot in begun.items() if self.homes[boot] not in alive and self.running.get(job) == boot
            ]
            for job in lost:
                del self.running[job]
            self.queue[:0] = lost
            return lost

    def waiting(self) -> int:
        """See JobEngine."""
        return len(self.queue)

    def forget(self, job_ids: Sequence[str]) -> None:
        """See JobEngine."""
        with self._lock:
            for job in job_ids:
                self.ended.pop(job, None)
                self.steps.pop(job, None)

    def close(self) -> None:
        """See JobEngine."""

    def take(self, boot: str) -> str | None:
        """The next job for this boot: one that its worker left behind, else the first in the queue."""
        with self._lock:
            mine = [job for job, old in self.running.items() if old != boot and self.homes[old] == self.homes[boot]]
            job = mine[0] if mine else self.queue.pop(0) if self.queue else None
            if job is not None:
                self.running[job] = boot
            return job

    def end(self, job_id: str, boot: str, reason: str) -> None:
        """Note that a boot has done with a job."""
        with self._lock:
            if self.running.get(job_id) == boot:
                del self.running[job_id]
                self.ended[job_id] = reason


@dataclass
class MemoryWorker:
    """Runs jobs of a MemoryEngine."""

    engine: MemoryEngine
    poll_s: float = 0.01
    _task: asyncio.Task[None] | None = None

    async def start(self, worker: str, boot: str, handler: Handler) -> None:
        """See EngineWorker."""
        self.engine.homes[boot] = worker
        self._task = asyncio.get_running_loop().create_task(self._run(boot, handler))

    async def stop(self) -> None:
        """See EngineWorker."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, boot: str, handler: Handler) -> None:
        while True:
            job = self.engine.take(boot)
            if job is None:
                await asyncio.sleep(self.poll_s)
                continue
            done = self.engine.steps.setdefault(job, {})
            number = 0

            async def step(_name: str, function: Step, done: dict[int, Any] = done) -> Any:
                nonlocal number
                number += 1
                if number not in done:
                    done[number] = await function()
                return done[number]

            try:
                await handler(job, step)
                self.engine.end(job, boot, "done")
            except Exception as error:  # noqa: BLE001 - the engine's contract: a handler that raises ends its job
                self.engine.end(job, boot, f"{type(error).__name__}: {error}")
