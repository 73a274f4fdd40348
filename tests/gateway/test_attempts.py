"""Attempts: given back, lost, cancelled or taken over, each counts once and only while it is the last."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from wan_flf2v.gateway.attempts import AttemptStore, Claim
from wan_flf2v.gateway.queue import ticket_of
from wan_flf2v.gateway.tables import ATTEMPTS, OUTBOX

from .local import attempts_of, new_job
from .stores import Kit


def test_a_job_that_is_given_back_is_taken_next_and_its_old_ticket_counts_no_more(kit: Kit) -> None:
    job = kit.add()
    kit.add()
    assert kit.take() == job
    claim = kit.claim(job)
    assert kit.attempts.give_back(claim.ticket, "w1", "its GPU fell over")
    assert not kit.attempts.finish(claim, "succeeded")  # fenced
    assert not kit.attempts.give_back(claim.ticket, "w1", "twice")
    assert kit.attempts.claim(f"{job}/1", "w2") is None
    assert kit.take("w2@1") == job
    again = kit.claim(job, 2, "w2")
    assert again.attempt == 2
    assert kit.attempts.finish(again, "succeeded")


def test_an_attempt_that_was_given_back_counts_no_more_not_even_its_own_workers(kit: Kit) -> None:
    job = kit.add()
    kit.take()
    old = kit.claim(job)
    assert kit.attempts.beat(old, "Sampling", 0.5) == "go"
    assert kit.attempts.give_back(old.ticket, "w1", "its machine was silent")
    assert kit.attempts.beat(old, "Sampling", 0.9) == "fenced", "while nobody has the job"
    kit.take()
    new = kit.claim(job, 2)
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
    claim = kit.claim(job)
    kit.database.change(sa.update(ATTEMPTS).values(started_at=ATTEMPTS.c.started_at - 100))
    assert 100 <= kit.attempts.age(claim) < 160
    assert kit.attempts.age(Claim(job, 2, "w1")) == 0, "no such attempt"


def test_a_job_between_two_attempts_can_be_cancelled_at_once(kit: Kit) -> None:
    job = kit.add()
    kit.take()
    claim = kit.claim(job)
    kit.attempts.give_back(claim.ticket, "w1", "lost")
    assert kit.jobs.cancel(job, "me") == "cancelled"
    assert kit.take() is None


def test_what_was_said_to_be_cancelled_never_succeeds(kit: Kit) -> None:
    job = kit.add()
    claim = kit.claim(job)
    assert kit.jobs.cancel(job, "me") == "cancelling"
    assert kit.attempts.finish(claim, "succeeded", outputs=[{"asset": "0" * 32}])
    row = kit.jobs.get(job)
    assert row is not None
    assert (row.state, list(row.outputs)) == ("cancelled", [])


def test_a_job_lost_too_often_fails_and_orderly_stops_do_not_count(kit: Kit) -> None:
    job = kit.add()
    for number in range(1, 6):
        assert kit.take() == job
        claim = kit.claim(job, number)
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
    claim = kit.claim(job)
    assert kit.queue.held() == [(f"{job}/1", "w1@boot1")]
    again = kit.claim(job)
    assert (again.attempt, again.prompt_id, again.resumed) == (1, claim.prompt_id, True)
    assert kit.attempts.claim(f"{job}/1", "w2") is None, "another worker's attempt is nobody else's to go on with"


def test_the_end_of_a_job_that_was_deleted_while_it_ran_is_told_to_nobody(kit: Kit) -> None:
    told = {}
    for deleted in (False, True):
        job = new_job(webhook="https://hook.example/")
        kit.jobs.add([job], 10, 10)
        assert kit.take() == job.id
        claim = kit.claim(job.id)
        assert kit.jobs.disown([job.id], "another") == 0
        assert kit.jobs.disown([job.id] if deleted else [], "me") == deleted
        assert kit.attempts.finish(claim, "succeeded")
        kit.queue.drop([f"{job.id}/1"])
        told[deleted] = kit.database.rows(sa.select(OUTBOX.c.event).where(OUTBOX.c.job == job.id))
    assert [len(told[deleted]) for deleted in (False, True)] == [1, 0]


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
    old = kit.claim(job)
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
