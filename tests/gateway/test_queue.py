"""The one queue, on SQLite and Postgres: who gets what, in which order, and that nothing is lost or had twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import pytest
import sqlalchemy as sa

from wan_flf2v.gateway.attempts import AttemptStore, Claim
from wan_flf2v.gateway.database import Database
from wan_flf2v.gateway.jobs import JobStore
from wan_flf2v.gateway.offer import Checker, Offer
from wan_flf2v.gateway.queue import JobQueue, queue_of, ticket_of
from wan_flf2v.gateway.service import JobService
from wan_flf2v.gateway.settings import Limits, Settings, Timing
from wan_flf2v.gateway.tables import ATTEMPTS, IDEMPOTENCY, JOBS, OUTBOX, Status, Worker
from wan_flf2v.gateway.upkeep import Upkeep
from wan_flf2v.gateway.workers import WorkerStore
from wan_flf2v.workflows import Bindings

from .local import attempts_of, local, new_job, run

WAN22, WAN21 = "wan22_flf2v", "wan21_flf2v"


@dataclass
class Kit:
    url: str
    database: Database
    jobs: JobStore
    queue: JobQueue
    attempts: AttemptStore

    def add(self, owner: str = "me", workflow: str = WAN22, **values: object) -> str:
        job = new_job(owner, workflow, values=values)
        assert self.jobs.add([job], 10_000, 10_000) == [("accepted", job.id)]
        return job.id

    def places(self, jobs: list[str]) -> dict[str, int | None]:
        """What each of these jobs is told of its place."""
        return {job: seen[1] for job in jobs if (seen := self.jobs.look(job)) is not None}

    def take(self, worker: str = "w1@1", *workflows: str) -> str | None:
        """The job that this worker gets."""
        ticket = self.queue.take(worker, [queue_of(name) for name in workflows or (WAN22,)])
        return None if ticket is None else ticket.split("/")[0]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kit]:
    url = f"sqlite:///{tmp_path}/jobs.sqlite"
    if request.param == "postgres":
        url = str(request.getfixturevalue("postgres_url"))
    database = Database(url)
    jobs = JobStore(database)
    yield Kit(url, database, jobs, jobs.queue, AttemptStore(database, jobs.queue, 3))
    database.close()


def test_one_owners_jobs_come_in_their_order_and_once(kit: Kit) -> None:
    jobs = [kit.add() for _ in range(5)]
    assert [kit.take() for _ in range(6)] == [*jobs, None]


def test_a_batch_of_one_owner_keeps_its_order(kit: Kit) -> None:
    batch = [new_job() for _ in range(20)]
    kit.jobs.add(batch, 100, 100)
    assert [kit.take() for _ in batch] == [job.id for job in batch]


def test_owners_take_turns_however_many_jobs_each_has_waiting(kit: Kit) -> None:
    greedy = [kit.add("greedy") for _ in range(6)]
    first = kit.take()
    modest = [kit.add("modest") for _ in range(2)]
    third = kit.add("third")
    order = [kit.take() for _ in range(8)]
    assert first == greedy[0]
    assert set(order[:3]) == {greedy[1], modest[0], third}
    assert set(order[3:5]) == {greedy[2], modest[1]}
    assert order[5:] == greedy[3:]


def test_an_owner_that_comes_later_joins_the_round_that_is_next_and_catches_up_nothing(kit: Kit) -> None:
    greedy = [kit.add("greedy") for _ in range(6)]
    for job in greedy[:3]:
        assert kit.take("w1@1") == job
        assert kit.attempts.claim(ticket_of(job, 1), "w1") is not None
    late = [kit.add("late") for _ in range(2)]
    order = [kit.take() for _ in range(5)]
    assert [set(order[:2]), set(order[2:4]), order[4]] == [{greedy[3], late[0]}, {greedy[4], late[1]}, greedy[5]]


def test_the_place_that_is_told_is_the_order_in_which_jobs_are_taken(kit: Kit) -> None:
    jobs = [kit.add(owner) for owner in ("a", "a", "b", "a", "c", "b", "a")]
    places = kit.places(jobs)
    taken = [kit.take() for _ in jobs]
    for rank, job in enumerate(taken, 1):
        assert job is not None
        # owners of one round are in no order among each other
        assert abs((places[job] or 0) - rank) <= 2
    assert sorted(place or 0 for place in places.values()) == list(range(1, 8))
    own = [job for job in taken if job in (jobs[0], jobs[1], jobs[3], jobs[6])]
    assert own == [jobs[0], jobs[1], jobs[3], jobs[6]]


def test_places_in_a_long_queue_are_the_same_from_its_marks(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    import wan_flf2v.gateway.depths as depths

    batch = [new_job() for _ in range(23)]
    kit.jobs.add(batch, 100, 100)
    exact = kit.places([job.id for job in batch])
    monkeypatch.setattr(depths, "_MARK", 5)
    kit.jobs.depths._mark()
    assert any(kit.jobs.depths._marks.values())
    assert kit.places([job.id for job in batch]) == exact
    assert exact == {job.id: place for place, job in enumerate(batch, 1)}


def test_a_worker_gets_only_what_it_can_run(kit: Kit) -> None:
    other, mine = kit.add(workflow=WAN21), kit.add(workflow=WAN22)
    assert kit.take("w1@1", WAN22) == mine
    assert kit.take("w1@1", WAN22) is None
    assert kit.take("w2@1", WAN22, WAN21) == other


def test_what_many_take_at_once_each_has_alone(kit: Kit) -> None:
    jobs = [kit.add() for _ in range(24)]
    taken: list[str] = []

    def work(name: str) -> None:
        while (job := kit.take(f"{name}@1")) is not None:
            taken.append(job)

    threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(jobs)


def test_a_job_is_accepted_and_queued_or_neither(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kit.queue, "put", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        kit.add()
    with kit.database.read() as connection:
        assert connection.execute(sa.select(JOBS.c.id)).first() is None


def test_a_cancelled_waiting_job_is_never_taken(kit: Kit) -> None:
    first, second = kit.add(), kit.add()
    assert kit.jobs.cancel(first, "me") == "cancelled"
    assert kit.take() == second
    assert kit.take() is None


def test_a_job_that_is_given_back_is_taken_next_and_its_old_ticket_counts_no_more(kit: Kit) -> None:
    job = kit.add()
    kit.add()
    assert kit.take() == job
    claim = kit.attempts.claim(f"{job}/1", "w1")
    assert claim is not None
    assert kit.attempts.give_back(claim.ticket, "w1", "its GPU fell over")
    assert not kit.attempts.finish(claim, "succeeded")  # fenced
    assert not kit.attempts.give_back(claim.ticket, "w1", "twice")
    assert kit.attempts.claim(f"{job}/1", "w2") is None
    assert kit.take("w2@1") == job
    again = kit.attempts.claim(f"{job}/2", "w2")
    assert again is not None
    assert again.attempt == 2
    assert kit.attempts.finish(again, "succeeded")


def test_an_attempt_that_was_given_back_counts_no_more_not_even_its_own_workers(kit: Kit) -> None:
    job = kit.add()
    kit.take()
    old = kit.attempts.claim(f"{job}/1", "w1")
    assert old is not None
    assert kit.attempts.beat(old, "Sampling", 0.5) == "go"
    assert kit.attempts.give_back(old.ticket, "w1", "its machine was silent")
    assert kit.attempts.beat(old, "Sampling", 0.9) == "fenced", "while nobody has the job"
    kit.take()
    new = kit.attempts.claim(f"{job}/2", "w1")
    assert new is not None
    for late in (old, Claim(job, 2, "w2")):
        assert kit.attempts.beat(late, "Sampling", 0.9) == "fenced"
        assert not kit.attempts.finish(late, "failed", error="too late")
    row = kit.jobs.get(job)
    assert row is not None
    assert (row.state, row.stage, row.progress) == ("running", "Starting", 0.0)
    assert kit.attempts.finish(new, "succeeded")


def test_an_attempts_age_is_told_by_the_database_and_so_outlives_its_worker(kit: Kit) -> None:
    job = kit.add()
    kit.take()
    claim = kit.attempts.claim(f"{job}/1", "w1")
    assert claim is not None
    kit.database.change(sa.update(ATTEMPTS).values(started_at=ATTEMPTS.c.started_at - 100))
    assert 100 <= kit.attempts.age(claim) < 160
    assert kit.attempts.age(Claim(job, 2, "w1")) == 0, "no such attempt"


def test_a_job_between_two_attempts_can_be_cancelled_at_once(kit: Kit) -> None:
    job = kit.add()
    kit.take()
    claim = kit.attempts.claim(f"{job}/1", "w1")
    assert claim is not None
    kit.attempts.give_back(claim.ticket, "w1", "lost")
    assert kit.jobs.cancel(job, "me") == "cancelled"
    assert kit.take() is None


def test_what_was_said_to_be_cancelled_never_succeeds(kit: Kit) -> None:
    job = kit.add()
    claim = kit.attempts.claim(f"{job}/1", "w1")
    assert claim is not None
    assert kit.jobs.cancel(job, "me") == "cancelling"
    assert kit.attempts.finish(claim, "succeeded", outputs=[{"asset": "0" * 32}])
    row = kit.jobs.get(job)
    assert row is not None
    assert (row.state, list(row.outputs)) == ("cancelled", [])


def test_a_job_lost_too_often_fails_and_orderly_stops_do_not_count(kit: Kit) -> None:
    job = kit.add()
    for number in range(1, 6):
        assert kit.take() == job
        claim = kit.attempts.claim(f"{job}/{number}", "w1")
        assert claim is not None
        if number in (2, 4):
            kit.attempts.mark_stopping(claim)  # and then its machine was switched off
        assert kit.attempts.give_back(f"{job}/{number}", "w1", "it died")
        row = kit.jobs.get(job)
        assert row is not None
        assert row.state == ("failed" if number == 5 else "running")
    assert "lost 3 times" in row.error


def test_a_worker_that_comes_back_goes_on_with_its_attempt(kit: Kit) -> None:
    job = kit.add()
    kit.take("w1@boot1")
    claim = kit.attempts.claim(f"{job}/1", "w1")
    assert claim is not None
    assert kit.queue.held() == [(f"{job}/1", "w1@boot1")]
    again = kit.attempts.claim(f"{job}/1", "w1")
    assert again is not None
    assert (again.attempt, again.prompt_id, again.resumed) == (1, claim.prompt_id, True)
    assert kit.attempts.claim(f"{job}/1", "w2") is None, "another worker's attempt is nobody else's to go on with"


class Service:
    """What the upkeep asks of a service."""

    def __init__(self, kit: Kit, workers: WorkerStore) -> None:
        self.jobs, self.workers = kit.jobs, workers


def report(store: WorkerStore, name: str, *queues: str, status: str = "ready") -> None:
    worker = Worker(name, "boot", status, ["wan22_flf2v"], {}, 0, name, queues)  # type: ignore[arg-type]
    assert store.enter(worker)
    assert store.beat(worker)


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


def old_release(kit: Kit, queue: str, **values: object) -> str:
    """A job as another release, whose workflow is another, accepted it."""
    job = kit.add(**values)
    kit.queue.drop([f"{job}/1"])
    with kit.queue.write() as connection:
        connection.execute(sa.update(JOBS).where(JOBS.c.id == job).values(queue=queue))
        kit.queue.put(connection, f"{job}/1", queue, 2)
    return job


def given_by(api: str) -> Mapping[str, object]:
    """A job's values as this API's own fields become them, with all that goes beyond the public ones."""
    offer, checker = Offer({WAN22: Bindings.load(WAN22)}), Checker(Limits())
    pictures = {"first_image": "a", "last_image": "b"}
    if api == "wavespeed":
        wanted = {"prompt": "x", "negative_prompt": "y", "size": "480*832", "enable_safety_checker": True, **pictures}
        return {**checker.wavespeed(offer, wanted)[1], "uploads": ["c"]}
    inputs = {"62": {"image": "b"}, "68": {"image": "a"}, "6": {"text": "x"}, "71": {"width": 128, "height": 64}}
    return checker.overrides(offer.workflows[WAN22], {node: {"inputs": given} for node, given in inputs.items()})


@pytest.mark.parametrize("api", ["wavespeed", "serverless"])
def test_an_upgrade_runs_what_any_api_was_given(kit: Kit, api: str) -> None:
    store = WorkerStore(kit.database, Timing())
    values = given_by(api)
    assert set(values) - set(Bindings.load(WAN22).fields)
    job = old_release(kit, f"{WAN22}.before", **values)
    report(store, "new", queue_of(WAN22))
    Upkeep(Service(kit, store), kit.attempts).clear_stranded()  # type: ignore[arg-type]
    assert kit.take() == job


def test_an_upgrade_runs_what_waits_for_its_next_attempt(kit: Kit) -> None:
    """Regression: a job that an older release's worker had given back waited for ever."""
    store = WorkerStore(kit.database, Timing())
    job = old_release(kit, f"{WAN22}.before")
    assert kit.queue.take("old@1", [f"{WAN22}.before"]) == ticket_of(job, 1)
    assert kit.attempts.claim(ticket_of(job, 1), "old") is not None
    assert kit.attempts.give_back(ticket_of(job, 1), "old", "it died")
    report(store, "new", queue_of(WAN22))
    Upkeep(Service(kit, store), kit.attempts).clear_stranded()  # type: ignore[arg-type]
    assert kit.take() == job
    assert kit.attempts.claim(ticket_of(job, 3), "new") is not None


def test_another_releases_jobs_are_left_to_its_workers_and_else_run_by_ours_or_refused(kit: Kit) -> None:
    store = WorkerStore(kit.database, Timing())
    upkeep = Upkeep(Service(kit, store), kit.attempts)  # type: ignore[arg-type]
    field = next(iter(Bindings.load(WAN22).fields))
    kept = old_release(kit, f"{WAN22}.before", **{field: "x"})
    unknown = old_release(kit, f"{WAN22}.before", a_field_that_went="x")
    gone = old_release(kit, "a_workflow_that_went.before")
    report(store, "old", f"{WAN22}.before", "a_workflow_that_went.before")
    report(store, "new", queue_of(WAN22))
    upkeep.clear_stranded()
    assert kit.take() is None  # the old release's worker runs them
    report(store, "old", queue_of(WAN22))
    upkeep.clear_stranded()
    assert kit.take() == kept
    for job in (unknown, gone):
        row = kit.jobs.get(job)
        assert row is not None
        assert row.state == "failed"
        assert "another release" in row.error


def test_a_page_of_jobs_has_its_owners_that_fit_newest_first(kit: Kit) -> None:
    mine = [kit.add("me", workflow) for workflow in (WAN22, WAN21, WAN22, WAN22)]
    other = kit.add("you")
    fits = JOBS.c.workflow == WAN22
    assert [job.id for job in kit.jobs.page("me")] == mine[::-1]
    assert [job.id for job in kit.jobs.page("you", fits)] == [other]
    assert [job.id for job in kit.jobs.page("me", fits)] == [mine[3], mine[2], mine[0]]
    assert [job.id for job in kit.jobs.page("me", fits, JOBS.c.id != mine[3], limit=1, offset=1)] == [mine[0]]


def test_the_end_of_a_job_that_was_deleted_while_it_ran_is_told_to_nobody(kit: Kit) -> None:
    told = {}
    for deleted in (False, True):
        job = new_job(webhook="https://hook.example/")
        kit.jobs.add([job], 10, 10)
        assert kit.take() == job.id
        claim = kit.attempts.claim(f"{job.id}/1", "w1")
        assert claim is not None
        assert kit.jobs.disown([job.id], "another") == 0
        assert kit.jobs.disown([job.id] if deleted else [], "me") == deleted
        assert kit.attempts.finish(claim, "succeeded")
        kit.queue.drop([f"{job.id}/1"])
        told[deleted] = kit.database.rows(sa.select(OUTBOX.c.event).where(OUTBOX.c.job == job.id))
    assert [len(told[deleted]) for deleted in (False, True)] == [1, 0]


def test_a_job_that_was_to_be_cancelled_is_not_run_again_by_a_newer_release(kit: Kit) -> None:
    store = WorkerStore(kit.database, Timing())
    job = old_release(kit, f"{WAN22}.before")
    with kit.database.write() as connection:
        connection.execute(sa.update(JOBS).values(state="running", cancel=True))
    report(store, "new", queue_of(WAN22))
    Upkeep(Service(kit, store), kit.attempts).clear_stranded()  # type: ignore[arg-type]
    ticket = kit.queue.take("w2@1", [queue_of(WAN22)])
    assert ticket is not None
    assert kit.attempts.claim(ticket, "w2") is None
    row = kit.jobs.get(job)
    assert row is not None
    assert (row.state, attempts_of(kit.jobs, job)) == ("cancelled", [])


def test_a_key_has_its_share_of_the_queues_places(kit: Kit) -> None:
    def verdicts(owner: str, number: int) -> list[str]:
        batch = [new_job(owner) for _ in range(number)]
        return [verdict for verdict, _ in kit.jobs.add(batch, 10, 8)]

    assert verdicts("greedy", 12) == ["accepted"] * 8 + ["share"] * 4
    assert verdicts("modest", 3) == ["accepted"] * 2 + ["full"]


def test_one_idempotency_key_at_two_gateways_at_once_makes_one_job_and_fails_nobody(kit: Kit) -> None:
    """Regression: the second gateway's insert failed its whole batch."""
    other = JobStore(Database(kit.url))
    answers: list[tuple[str, str]] = []

    def submit(store: JobStore) -> None:
        for number in range(15):
            key = new_job(idempotency_key=f"order {number}", digest="same")
            answers.extend(store.add([new_job(), key], 1000, 1000))

    threads = [threading.Thread(target=submit, args=(store,)) for store in (kit.jobs, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.database.close()
    assert len(answers) == 60
    with kit.database.read() as connection:
        kept = set(connection.execute(sa.select(IDEMPOTENCY.c.job)).scalars())
        known = set(connection.execute(sa.select(JOBS.c.id)).scalars())
    assert len(kept) == 15
    assert len(known) == 45
    assert {job for _, job in answers} == known


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


# What an attempt that counts no more may still ask for. A new method of the store needs a row.
FENCED: dict[str, Callable[[AttemptStore, Claim], tuple[object, object]]] = {
    "claim": lambda store, old: (store.claim(old.ticket, old.worker), None),
    "beat": lambda store, old: (store.beat(old, "Sampling", 0.9), "fenced"),
    "age": lambda store, old: (store.age(old), 0.0),
    "mark_stopping": lambda store, old: (store.mark_stopping(old), None),
    "give_back": lambda store, old: (store.give_back(old.ticket, old.worker, "why"), False),
    "finish": lambda store, old: (store.finish(old, "succeeded", outputs=[{"asset": "a"}]), False),
}


def test_no_write_of_an_attempt_that_counts_no_more_changes_anything(kit: Kit) -> None:
    job = kit.add()
    assert kit.take("w1@1") == job
    old = kit.attempts.claim(ticket_of(job, 1), "w1")
    assert old is not None
    assert kit.attempts.give_back(old.ticket, "w1", "its worker died")
    assert kit.take("w2@1") == job
    assert kit.attempts.claim(ticket_of(job, 2), "w2") is not None
    before = kit.jobs.get(job), attempts_of(kit.jobs, job), kit.queue.held()
    methods = {name for name in vars(AttemptStore) if not name.startswith(("_", "xǁ"))}  # xǁ: mutmut's copies
    assert set(FENCED) == methods
    for name, call in FENCED.items():
        found, expected = call(kit.attempts, old)
        assert found == expected, name
        assert (kit.jobs.get(job), attempts_of(kit.jobs, job), kit.queue.held()) == before, name
