"""Workers as the database knows them: alive, dead, of one name, and what stays of one that has gone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import sqlalchemy as sa

from wan_flf2v.gateway.attempts import AttemptStore
from wan_flf2v.gateway.database import Database
from wan_flf2v.gateway.queue import queue_of
from wan_flf2v.gateway.service import JobService
from wan_flf2v.gateway.settings import Settings, Timing
from wan_flf2v.gateway.tables import JOBS, Status, Worker
from wan_flf2v.gateway.upkeep import Upkeep
from wan_flf2v.gateway.workers import WorkerStore

from .local import attempts_of, local, new_job, run
from .stores import WAN22, Kit, Service, report


def test_a_dead_workers_job_is_taken_over_and_a_living_ones_is_not(kit: Kit) -> None:
    store = WorkerStore(kit.database, Timing())
    upkeep = Upkeep(Service(kit, store), kit.attempts)  # type: ignore[arg-type]
    job = kit.add()
    report(store, "w1", queue_of(WAN22))
    kit.take("w1@boot")
    kit.attempts.claim(f"{job}/1", "w1")
    assert upkeep.take_over() == []
    store.timing = Timing.model_construct(dead_after_s=-1)
    assert upkeep.take_over() == [f"{job}/1"]
    assert upkeep.take_over() == []
    assert kit.queue.held() == []
    assert kit.take("w2@boot") == job
    assert [item.outcome for item in attempts_of(kit.jobs, job)] == ["lost: its worker w1 died"]


def test_a_round_of_upkeep_takes_over_refuses_what_is_stranded_and_forgets_what_is_deleted(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/jobs.sqlite")
    service = JobService(Settings(data=tmp_path), database)
    jobs, attempts = service.jobs, AttemptStore(database, service.jobs.queue, 3)
    held, stranded, deleted = new_job(), new_job("another"), new_job("third")
    jobs.add([held, stranded, deleted], 10, 10)
    report(service.workers, "w1", held.queue)
    assert jobs.queue.take("w1@boot", [held.queue]) is not None
    assert attempts.claim(held.ticket, "w1") is not None
    database.change(sa.update(JOBS).where(JOBS.c.id == stranded.id).values(queue="of_another_release.0"))
    assert (jobs.cancel(deleted.id, "third"), jobs.disown([deleted.id], "third")) == ("cancelled", 1)
    service.workers.timing = Timing.model_construct(dead_after_s=-1, remember_s=600)
    upkeep = Upkeep(service, attempts)
    asyncio.run(upkeep.sweep())
    upkeep.clear_stranded()
    assert [item.outcome for item in attempts_of(jobs, held.id)] == ["lost: its worker w1 died"]
    found = [jobs.get(job.id) for job in (held, stranded, deleted)]
    assert [job and (job.state, job.worker) for job in found] == [("running", ""), ("failed", ""), None]
    service.close()


def test_what_another_application_has_in_the_same_database_is_left_to_it(kit: Kit) -> None:
    with kit.queue.write() as connection:
        theirs = {"workflow_name": "theirs", "queue_name": "theirs", "workflow_id": "it", "app_version": "1"}
        kit.queue._client.enqueue_in_transaction(connection, theirs)
    assert kit.queue.take("w1@1", ["theirs"]) == "it"
    assert kit.queue.held() == []


def test_a_gateway_that_starts_refuses_what_no_workflow_here_stands_for(tmp_path: Path) -> None:
    async def main() -> None:
        job = new_job()
        async with local(tmp_path, worker=False) as here:
            here.jobs.add([job], 10, 10)
            gone = sa.update(JOBS).where(JOBS.c.id == job.id).values(queue="of_another_release.0")
            here.jobs.database.change(gone)
        async with local(tmp_path, worker=False) as here:
            row = await here.until(job.id)
            assert (row["state"], "another release" in row["error"]) == ("failed", True)

    run(main)


def test_the_databases_clock_counts_and_not_a_workers(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: a worker whose clock was 25 s behind lost its jobs to others while it rendered them."""
    store = WorkerStore(kit.database, Timing())
    monkeypatch.setattr("time.time", lambda: 1_000_000.0)
    report(store, "w1", queue_of(WAN22))
    monkeypatch.undo()
    assert [worker.id for worker in store.living()] == ["w1"]


def test_two_workers_with_one_name_on_two_machines_do_not_live_together(kit: Kit) -> None:
    store = WorkerStore(kit.database, Timing())
    first = Worker("w1", "boot1", "ready", [], {}, 0, "machine-1")
    second = Worker("w1", "boot2", "ready", [], {}, 0, "machine-2")
    restarted = Worker("w1", "boot3", "ready", [], {}, 0, "machine-1")
    assert store.enter(first)
    assert not store.enter(second)
    assert store.enter(restarted)  # the same machine's next process needs not wait
    assert not store.beat(first)
    assert store.beat(restarted)
    store.timing = Timing.model_construct(dead_after_s=-1)
    assert store.enter(second)


def test_a_workers_models_are_offered_for_a_while_after_it_has_gone(kit: Kit) -> None:
    for remember_s, left in ((600, ["w1"]), (-1, [])):
        store = WorkerStore(kit.database, Timing.model_construct(dead_after_s=-1, remember_s=remember_s))
        report(store, "w1", queue_of(WAN22))
        assert [worker.id for worker in store.offering()] == left


def test_what_a_worker_could_run_is_kept_while_its_comfyui_can_not_be_asked(kit: Kit) -> None:
    store = WorkerStore(kit.database, Timing())
    not_known = {"starting", "restarting", "unreachable"}
    for status in get_args(Status):
        worker = Worker("w1", "b", status, [WAN22], {"host": "here"}, 0)
        store.enter(worker)
        assert store.beat(replace(worker, status="ready"))
        assert store.beat(replace(worker, workflows=[], info={}))
        (row,) = store.every()
        kept = ([WAN22], {"host": "here"}) if status in not_known else ([], {})
        assert (row.status, (row.workflows, row.info)) == (status, kept)
