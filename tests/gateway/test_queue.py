"""The one queue, on SQLite and Postgres: who gets what, in which order, and that nothing is lost or had twice."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from wan_flf2v.gateway.database import Database
from wan_flf2v.gateway.jobs import JobStore
from wan_flf2v.gateway.queue import ticket_of
from wan_flf2v.gateway.tables import IDEMPOTENCY, JOBS

from .local import new_job
from .stores import WAN21, WAN22, Kit


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


def test_a_page_of_jobs_has_its_owners_that_fit_newest_first(kit: Kit) -> None:
    mine = [kit.add("me", workflow) for workflow in (WAN22, WAN21, WAN22, WAN22)]
    other = kit.add("you")
    fits = JOBS.c.workflow == WAN22
    assert [job.id for job in kit.jobs.page("me")] == mine[::-1]
    assert [job.id for job in kit.jobs.page("you", fits)] == [other]
    assert [job.id for job in kit.jobs.page("me", fits)] == [mine[3], mine[2], mine[0]]
    assert [job.id for job in kit.jobs.page("me", fits, JOBS.c.id != mine[3], limit=1, offset=1)] == [mine[0]]


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
