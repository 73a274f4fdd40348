"""One contract for every engine: in memory, DBOS on SQLite, DBOS on Postgres."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from wan_flf2v.gateway.engines import EngineWorker, JobEngine, Steps
from wan_flf2v.gateway.engines.durable import DurableEngine, DurableWorker
from wan_flf2v.gateway.engines.memory import MemoryEngine, MemoryWorker

from .local import run


@dataclass
class Kit:
    """An engine and a way to make workers of it."""

    engine: JobEngine
    worker: Callable[[], EngineWorker]


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kit]:
    if request.param == "memory":
        engine = MemoryEngine()
        yield Kit(engine, lambda: MemoryWorker(engine))
        return
    url = f"sqlite:///{tmp_path}/jobs.sqlite"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    durable = DurableEngine(url)
    yield Kit(durable, lambda: DurableWorker(url, 0.05))
    durable.close()


@dataclass
class Script:
    """A handler of two steps that notes what it ran; ``hold`` keeps jobs in their second step."""

    log: list[tuple[str, str, Any]] = field(default_factory=list)
    hold: set[str] = field(default_factory=set)
    ended: list[str] = field(default_factory=list)

    async def __call__(self, job: str, steps: Steps) -> None:
        async def one() -> dict[str, Any]:
            self.log.append((job, "one", None))
            return {"number": 1, "text": "ü"}

        first = await steps("one", one)

        async def two() -> str:
            self.log.append((job, "two", first))
            while job in self.hold:
                await asyncio.sleep(0.02)
            return "done"

        assert await steps("two", two) == "done"
        self.ended.append(job)


async def until(condition: Callable[[], bool], timeout_s: float = 15) -> None:
    for _ in range(int(timeout_s / 0.02)):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come about in time")


def test_jobs_run_in_order_one_at_a_time_and_once(kit: Kit) -> None:
    async def main() -> None:
        script, worker = Script(), kit.worker()
        await asyncio.to_thread(kit.engine.enqueue, ["a", "b"])
        await asyncio.to_thread(kit.engine.enqueue, ["b", "c"])
        await worker.start("w1", "boot1", script)
        await until(lambda: len(script.ended) == 3)
        await asyncio.sleep(0.3)
        await worker.stop()
        assert script.ended == ["a", "b", "c"]
        assert [step for step in script.log if step[1] == "one"] == [
            ("a", "one", None),
            ("b", "one", None),
            ("c", "one", None),
        ]

    run(main)


def test_a_cancelled_waiting_job_is_never_begun(kit: Kit) -> None:
    async def main() -> None:
        script, worker = Script(), kit.worker()
        await asyncio.to_thread(kit.engine.enqueue, ["a", "b"])
        assert await asyncio.to_thread(kit.engine.waiting) == 2
        await asyncio.to_thread(kit.engine.cancel, "a")
        assert await asyncio.to_thread(kit.engine.waiting) == 1
        await worker.start("w1", "boot1", script)
        await until(lambda: script.ended == ["b"])
        await asyncio.sleep(0.3)
        await worker.stop()
        assert script.ended == ["b"]

    run(main)


def test_a_worker_that_comes_back_goes_on_from_its_last_step(kit: Kit) -> None:
    async def main() -> None:
        script, worker = Script(hold={"a"}), kit.worker()
        await asyncio.to_thread(kit.engine.enqueue, ["a", "b"])
        await worker.start("w1", "boot1", script)
        await until(lambda: ("a", "two", {"number": 1, "text": "ü"}) in script.log)
        await worker.stop()
        script.hold.clear()
        again = kit.worker()
        await again.start("w1", "boot2", script)
        await until(lambda: len(script.ended) == 2)
        await again.stop()
        assert [step[1] for step in script.log if step[0] == "a"] == ["one", "two", "two"]
        assert script.ended[0] == "a"

    run(main)


def test_a_dead_workers_job_is_taken_over_and_a_living_ones_is_not(kit: Kit) -> None:
    async def main() -> None:
        script, worker = Script(hold={"a"}), kit.worker()
        await asyncio.to_thread(kit.engine.enqueue, ["a"])
        await worker.start("w1", "boot1", script)
        await until(lambda: len(script.log) == 2)
        assert await asyncio.to_thread(kit.engine.take_over, lambda: {"w1", "w2"}) == []
        await worker.stop()
        other = kit.worker()
        await other.start("w2", "boot2", script)
        await asyncio.sleep(0.5)
        assert script.ended == []
        script.hold.clear()
        assert await asyncio.to_thread(kit.engine.take_over, lambda: {"w2"}) == ["a"]
        await until(lambda: script.ended == ["a"])
        await other.stop()
        assert [step[1] for step in script.log] == ["one", "two", "two"]

    run(main)


def test_a_worker_that_begins_a_job_during_the_look_for_dead_ones_keeps_it(kit: Kit) -> None:
    """Regression: whoever lived was asked first, so a worker that had just come lost its first job, and its process."""

    async def main() -> None:
        script, worker, loop = Script(hold={"a"}), kit.worker(), asyncio.get_running_loop()
        await asyncio.to_thread(kit.engine.enqueue, ["a"])

        async def begin() -> None:
            await worker.start("w1", "boot1", script)
            await until(lambda: len(script.log) == 2)

        def living() -> set[str]:
            asyncio.run_coroutine_threadsafe(begin(), loop).result(30)
            return set()  # as it was before w1 came

        assert await asyncio.to_thread(kit.engine.take_over, living) == []
        script.hold.clear()
        await until(lambda: script.ended == ["a"])
        await worker.stop()
        assert [step[1] for step in script.log] == ["one", "two"]

    run(main)


def test_it_says_which_jobs_it_will_not_drive(kit: Kit) -> None:
    async def main() -> None:
        async def handler(job: str, steps: Steps) -> None:
            raise ValueError("a fault in the worker")

        worker = kit.worker()
        await asyncio.to_thread(kit.engine.enqueue, ["a", "b"])
        await asyncio.to_thread(kit.engine.cancel, "b")
        assert set(await asyncio.to_thread(kit.engine.lost, ["a", "b", "never"])) == {"b", "never"}
        await worker.start("w1", "boot1", handler)
        for _ in range(500):
            lost = await asyncio.to_thread(kit.engine.lost, ["a", "b", "never"])
            if "a" in lost:
                break
            await asyncio.sleep(0.02)
        await worker.stop()
        assert set(lost) == {"a", "b", "never"}
        assert lost["never"] == "unknown"
        await asyncio.to_thread(kit.engine.forget, ["a", "b"])
        assert (await asyncio.to_thread(kit.engine.lost, ["a"])) == {"a": "unknown"}

    run(main)


def test_the_engines_tables_hold_json_alone(tmp_path: Path) -> None:
    """A pickle in the database would be code for whoever can write there."""

    async def main() -> None:
        url = f"sqlite:///{tmp_path}/jobs.sqlite"
        engine, script, worker = DurableEngine(url), Script(), DurableWorker(url, 0.05)
        await asyncio.to_thread(engine.enqueue, ["a"])
        await worker.start("w1", "boot1", script)
        await until(lambda: script.ended == ["a"])
        await asyncio.sleep(0.2)
        await worker.stop()
        engine.close()

    run(main)
    connection = sqlite3.connect(tmp_path / "engine.sqlite")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    kinds = {row[0] for row in connection.execute("SELECT serialization FROM workflow_status")}
    kinds |= {row[0] for row in connection.execute("SELECT serialization FROM operation_outputs")}
    assert kinds == {"portable_json"}
