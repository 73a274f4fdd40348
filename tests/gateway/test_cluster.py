"""Several processes on one database: gateways and workers on Postgres, and the one-machine tree on SQLite."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from wan_flf2v.gateway.attempts import AttemptStore
from wan_flf2v.gateway.database import Database
from wan_flf2v.gateway.jobs import JobStore
from wan_flf2v.gateway.keys import KeyStore

from .local import BODY, FLF2V, attempts_of
from .processes import Serve, fake_command

pytestmark = pytest.mark.slow


@contextmanager
def running(serve: Serve, wait_s: float = 60) -> Iterator[Serve]:
    serve.start(wait_s)
    try:
        yield serve
    finally:
        serve.stop()


def wait_over(store: JobStore, jobs: list[str], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while any(row.finished_at is None for job in jobs if (row := store.get(job)) is not None):
        assert time.monotonic() < deadline, [store.get(job) for job in jobs]
        time.sleep(0.1)


def wait_for_workers(serve: Serve, number: int, timeout_s: float = 60) -> None:
    serve.wait_healthy(timeout_s)
    deadline = time.monotonic() + timeout_s
    while serve.call("GET", "/health")[1]["workers"] < number:
        assert time.monotonic() < deadline, serve.call("GET", "/health")
        time.sleep(0.1)


def test_two_gateways_and_three_workers_share_the_jobs_and_a_dead_workers_job_goes_on(
    tmp_path: Path, postgres_url: str
) -> None:
    database = Database(postgres_url)
    store = JobStore(database)
    secret = KeyStore(database).create("cluster", ["submit", "read"])[1]
    headers = {"Authorization": f"Bearer {secret}"}
    common = ["--database", postgres_url, "--poll", "0.2"]
    with ExitStack() as stack:
        gateways = [
            stack.enter_context(running(Serve(tmp_path / f"g{number}", [*common, "--no-worker"], name=f"g{number}"), 0))
            for number in (1, 2)
        ]
        workers = {
            name: stack.enter_context(
                running(
                    Serve(
                        tmp_path / name, [*common, "--comfyui-command", fake_command(1.0)], name=name, command="worker"
                    ),
                    0,
                )
            )
            for name in ("w1", "w2", "w3")
        }
        for gateway in gateways:
            gateway.wait_healthy()
        wait_for_workers(gateways[0], 3)

        jobs = []
        for number in range(12):
            status, ticket = gateways[number % 2].call("POST", f"/v1/models/{FLF2V}", BODY, headers)
            assert status == 200, ticket
            jobs.append(ticket["request_id"])
        wait_over(store, jobs, 60)
        by_worker = {name: sum(attempts_of(store, job)[-1].worker == name for job in jobs) for name in workers}
        assert all(number >= 2 for number in by_worker.values()), by_worker
        # any gateway answers for any job, and serves its video
        status, result = gateways[1].call("GET", f"/v1/requests/{jobs[0]}/result", headers=headers)
        assert result["status"] == "succeeded"
        assert gateways[1].call("GET", result["output"]["video"])[0] == 200

        comfy_port = workers["w2"].url
        assert comfy_port
        slow = gateways[0].call("POST", f"/v1/models/{FLF2V}", {**BODY, "6_text": "the lost one"}, headers)[1]
        job = slow["request_id"]
        while (row := store.get(job)) is None or row.state != "running":
            time.sleep(0.05)
        victim = workers[row.worker]
        victim.kill_gateway()  # here: the worker process itself
        victim.kill_comfy()
        began = time.monotonic()
        wait_over(store, [job], 60)
        took = time.monotonic() - began
        print(f"\njobs by worker {by_worker}; the dead worker's job ended {took:.1f} s after the kill")
        done = store.get(job)
        assert done is not None
        assert (done.state, done.attempt) == ("succeeded", 2)
        assert done.worker != victim.name
        assert took < 45
    database.close()


def test_a_running_prompt_is_found_again_after_the_gateway_and_its_worker_were_killed(tmp_path: Path) -> None:
    log = tmp_path / "prompts.log"
    serve = Serve(tmp_path / "data", ["--no-auth", "--poll", "0.2", "--comfyui-command", fake_command(6.0, log)])
    serve.start()
    try:
        job = serve.call("POST", f"/v1/models/{FLF2V}", BODY)[1]["request_id"]
        while serve.call("GET", f"/v1/requests/{job}/status")[1]["status"] != "in_progress":
            time.sleep(0.05)
        time.sleep(0.5)
        comfy = serve.comfy_pid()
        serve.kill_agent()
        serve.kill_gateway()
        began = time.monotonic()
        serve.start()
        recovery = time.monotonic() - began
        deadline = time.monotonic() + 30
        while (body := serve.call("GET", f"/v1/requests/{job}/result")[1])["status"] in ("in_queue", "in_progress"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        print(f"\nhealthy again {recovery:.2f} s after the kill")
        assert body["status"] == "succeeded"
        assert serve.comfy_pid() == comfy  # the very same ComfyUI
        assert len(log.read_text().splitlines()) == 1  # and the very same prompt, rendered once
    finally:
        serve.stop()


def test_a_second_worker_on_one_machine_shares_the_sqlite_queue(tmp_path: Path) -> None:
    """One worker for each GPU, the same data folder, another name."""
    data = tmp_path / "data"
    options = ["--poll", "0.2", "--comfyui-command", fake_command(0.7)]
    with (
        running(Serve(data, ["--no-auth", *options])) as serve,
        running(Serve(data, options, name="w2", command="worker"), 0),
    ):
        wait_for_workers(serve, 2)
        jobs = [serve.call("POST", f"/v1/models/{FLF2V}", BODY)[1]["request_id"] for _ in range(8)]
        database = Database(f"sqlite:///{data}/jobs.sqlite")
        store = JobStore(database)
        wait_over(store, jobs, 60)
        assert {attempts_of(store, job)[-1].worker for job in jobs} == {"w1", "w2"}
        assert {row.state for job in jobs if (row := store.get(job)) is not None} == {"succeeded"}
        database.close()


def test_a_worker_that_was_taken_for_dead_works_on(tmp_path: Path) -> None:
    common = ["--poll", "0.2"]
    options = [*common, "--comfyui-command", fake_command(120)]
    data = tmp_path / "data"
    with (
        running(Serve(data, ["--no-auth", "--no-worker", *common]), 0) as serve,
        running(Serve(data, options, name="w1", command="worker"), 0) as first,
        running(Serve(data, options, name="w2", command="worker"), 0) as second,
    ):
        workers = {"w1": first, "w2": second}
        wait_for_workers(serve, 2)
        database = Database(f"sqlite:///{data}/jobs.sqlite")
        store = JobStore(database)
        job = serve.call("POST", f"/v1/models/{FLF2V}", BODY)[1]["request_id"]
        while (row := store.get(job)) is None or row.state != "running":
            time.sleep(0.05)
        fenced = row.worker
        # a machine that slept for a while: the others do not see it any more, but its process is there
        assert AttemptStore(database, store.queue, 3).give_back(f"{job}/1", fenced, "it died")
        store.queue.drop([f"{job}/1"])
        for worker in workers.values():
            worker.set_fake(seconds=1)
        wait_over(store, [job], 60)
        done = store.get(job)
        assert done is not None
        assert (done.state, done.attempt) == ("succeeded", 2)
        deadline = time.monotonic() + 120
        busy: set[str] = set()
        while fenced not in busy:  # by itself: nothing starts this process again
            assert time.monotonic() < deadline
            pair = [serve.call("POST", f"/v1/models/{FLF2V}", BODY)[1]["request_id"] for _ in range(2)]
            wait_over(store, pair, 60)
            busy |= {attempts_of(store, job)[-1].worker for job in pair}
        database.close()


def test_a_running_job_whose_comfyui_ignores_the_cancel_ends_and_the_next_one_runs(tmp_path: Path) -> None:
    options = ["--no-auth", "--poll", "0.2", "--cancel-grace", "1.5", "--comfyui-command", fake_command(60)]
    with running(Serve(tmp_path, options)) as serve:
        job = serve.call("POST", f"/v1/models/{FLF2V}", BODY)[1]["request_id"]
        while serve.call("GET", f"/v1/requests/{job}/status")[1]["status"] != "in_progress":
            time.sleep(0.05)
        time.sleep(0.5)
        comfy = serve.comfy_pid()
        serve.set_fake(deaf=True)
        began = time.monotonic()
        assert serve.call("POST", f"/v1/requests/{job}/cancel")[1]["outcome"] == "cancelled"
        while serve.call("GET", f"/v1/requests/{job}/status")[1]["status"] != "cancelled":
            assert time.monotonic() - began < 30
            time.sleep(0.05)
        after = serve.call("POST", f"/v1/models/{FLF2V}", BODY)[1]["request_id"]
        while serve.call("GET", f"/v1/requests/{after}/status")[1]["status"] != "in_progress":
            assert time.monotonic() - began < 60
            time.sleep(0.1)
        assert serve.comfy_pid() != comfy


def test_the_next_agent_finds_the_comfyui_of_the_last_one(tmp_path: Path) -> None:
    from wan_flf2v.gateway.worker.supervisor import Owned

    owned = Owned(tmp_path, command=fake_command(60).split())
    assert owned.ensure()
    assert owned.alive()
    assert not owned.ensure()
    again = Owned(tmp_path, command=fake_command(60).split())  # the next agent
    assert again.alive()
    assert again.url == owned.url
    again.kill()
    assert not again.alive()
    assert not owned.alive()
    assert owned.ensure()
    owned.stop()
    assert not owned.alive()


def test_a_door_open_to_others_needs_a_key_first(tmp_path: Path) -> None:
    from wan_flf2v.gateway.cli import main

    assert main(["serve", "--host", "0.0.0.0", "--data", str(tmp_path)]) == 1
    assert main(["serve", "--host", "0.0.0.0", "--no-auth", "--data", str(tmp_path)]) == 1
    assert main(["serve", "--host", "0.0.0.0", "--demo", "--data", str(tmp_path)]) == 1
