"""Jobs that another release accepted."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import sqlalchemy as sa

from wan_flf2v.gateway.offer import Checker, Offer
from wan_flf2v.gateway.queue import queue_of, ticket_of
from wan_flf2v.gateway.settings import Limits, Timing
from wan_flf2v.gateway.tables import JOBS
from wan_flf2v.gateway.upkeep import Upkeep
from wan_flf2v.gateway.workers import WorkerStore
from wan_flf2v.workflows import Bindings

from .local import attempts_of
from .stores import WAN22, Kit, Service, report


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
