"""kill -9 of gateway, worker agent and ComfyUI at random while jobs run, with orderly restarts (SIGTERM, and a second one a
moment later) in between, and on Postgres a database that is read-only for eight seconds; then every accepted job is
accounted for.

``python -m wan_flf2v.benchmarks.chaos --kills 200`` uses a fake ComfyUI over real HTTP; ``--real`` the real one with the
tiny models. Prints a line for every kill and a summary; the exit status is 1 when a job was lost or has two results.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from wan_flf2v.tests.gateway.local import BODY, FLF2V
from wan_flf2v.tests.gateway.postgres import postgres
from wan_flf2v.tests.gateway.processes import Serve, fake_command

VICTIMS = ("gateway", "agent", "comfyui", "all", "restart", "read-only")
ORDERLY = ("restart", "read-only")
_READ_ONLY_S = 8


@dataclass
class Clients:
    """Threads that submit and follow jobs, each under an idempotency key, as a careful client does."""

    serve: Serve
    pause_s: float
    accepted: dict[str, str] = field(default_factory=dict)  # key -> job id
    asked: set[str] = field(default_factory=set)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Submit until stopped; a submit without an answer is sent again under its key."""
        while not self.stop.is_set():
            key = str(uuid.uuid4())
            self.asked.add(key)
            self.submit(key)
            self.stop.wait(self.pause_s * random.uniform(0.5, 1.5))

    def submit(self, key: str) -> None:
        """Submit under this key until it is answered."""
        while True:
            status, answer = self.serve.call(
                "POST", f"/v1/models/{FLF2V}", BODY, {"Idempotency-Key": key}, timeout_s=10
            )
            if status == 200:
                if self.accepted.setdefault(key, answer["request_id"]) != answer["request_id"]:
                    raise SystemExit(f"two jobs under one idempotency key: {key}")
                return
            if status in (429, 503) and self.stop.is_set():
                return
            time.sleep(0.2)


@dataclass
class Report:
    """What came of a run."""

    kills: Counter[str]
    accepted: int
    states: Counter[str]
    attempts: Counter[int]
    recovery_s: list[float]
    faults: list[str]
    outcomes: Counter[str] = field(default_factory=Counter)


def chaos(
    data: Path,
    *,
    kills: int,
    seed: int,
    options: list[str],
    pause_s: float,
    gap: tuple[float, float],
    database: str = "",
    orderly: bool = False,
) -> Report:
    """Kill at random, then wait for every job and check each. ``orderly``: only what must never cost an attempt."""
    chance = random.Random(seed)
    options = [*options, *(["--database", database] if database else [])]
    serve = Serve(data, ["--no-auth", "--max-queue", "5000", "--rate", "0", "--log-level", "WARNING", *options])
    serve.start(wait_s=180)
    tables = _Tables(database or f"sqlite:///{data}/jobs.sqlite")
    clients = Clients(serve, pause_s)
    threads = [threading.Thread(target=clients.run, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    done: Counter[str] = Counter()
    recovery: list[float] = []
    weights = (0, 0, 0, 0, 3, 1) if orderly else (3, 3, 3, 1, 3, 1)
    while done.total() < kills:
        time.sleep(chance.uniform(*gap))
        victim = chance.choices(VICTIMS, weights if database else (*weights[:-1], 0))[0]
        began = time.monotonic()
        if victim == "read-only":
            tables.read_only(_READ_ONLY_S)
        elif not _kill(serve, victim, chance.uniform(0, 2)):
            continue
        done[victim] += 1
        if victim in ("gateway", "all", "restart"):
            serve.start(wait_s=0)
            while serve.call("GET", "/playground.json")[0] != 200:
                time.sleep(0.02)
            if victim != "restart":
                recovery.append(time.monotonic() - began)
        states = tables.states()
        over = states.total() - states["queued"] - states["running"]
        print(f"kill {done.total():3}  {victim:9} accepted {len(clients.accepted):4}  ended {over:4}", flush=True)
    clients.stop.set()
    for thread in threads:
        thread.join(60)
    deadline = time.monotonic() + 600
    while (open_ := tables.states()) and open_["queued"] + open_["running"] and time.monotonic() < deadline:
        time.sleep(0.5)
    faults = _faults(serve, clients, tables)
    if orderly and (lost := [row for row in tables.rows("SELECT job FROM flf2v_attempts WHERE outcome LIKE 'lost%'")]):
        faults.append(f"{len(lost)} attempts lost by orderly stops")
    serve.stop()
    rows = tables.rows("SELECT attempt, count(*) FROM flf2v_jobs GROUP BY attempt")
    attempts: Counter[int] = Counter({int(str(attempt)): int(str(number)) for attempt, number in rows})
    ended = tables.rows("SELECT outcome, count(*) FROM flf2v_attempts GROUP BY outcome")
    outcomes: Counter[str] = Counter({str(outcome): int(str(number)) for outcome, number in ended})
    return Report(done, len(clients.accepted), tables.states(), attempts, recovery, faults, outcomes)


def _kill(serve: Serve, victim: str, moment_s: float) -> bool:
    if victim == "agent":
        return serve.kill_agent()
    if victim == "comfyui":
        return serve.kill_comfy()
    if victim == "restart":
        if serve.process is None:
            raise SystemExit("there is no gateway to restart")
        serve.process.terminate()
        time.sleep(moment_s)
        if serve.process.poll() is None:
            serve.process.terminate()
        serve.process.wait(60)
        return True
    if victim == "all":
        serve.kill_agent()
        serve.kill_comfy()
    serve.kill_gateway()
    return True


class _Tables:
    """The gateway's tables, from outside."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), pool_pre_ping=True)

    def rows(self, text: str) -> list[tuple[object, ...]]:
        """A query's rows."""
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(text))]

    def states(self) -> Counter[str]:
        """How many jobs there are in each state."""
        rows = self.rows("SELECT state, count(*) FROM flf2v_jobs GROUP BY state")
        return Counter({str(state): int(str(number)) for state, number in rows})

    def read_only(self, seconds: float) -> None:
        """Take no writes for a while, as a primary that became a standby: every session is cut off."""
        for state in ("on", "off"):
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(sa.text("SET default_transaction_read_only = off"))
                name = connection.execute(sa.text("SELECT current_database()")).scalar_one()
                connection.execute(sa.text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {state}'))
                others = "datname = current_database() AND pid <> pg_backend_pid()"
                connection.execute(sa.text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))
            if state == "on":
                time.sleep(seconds)


def _faults(serve: Serve, clients: Clients, tables: _Tables) -> list[str]:
    """Everything that breaks a promise."""
    faults = []
    known = {str(row[0]) for row in tables.rows("SELECT id FROM flf2v_jobs")}
    for key, job in clients.accepted.items():
        if job not in known:
            faults.append(f"lost: {job} (key {key})")
    extra = known - set(clients.accepted.values())
    unanswered = clients.asked - set(clients.accepted)
    if len(extra) > len(unanswered):
        faults.append(f"{len(extra)} jobs that nobody asked for")
    results = "SELECT job, count(*) FROM flf2v_assets WHERE kind = 'output' AND job != '' GROUP BY job"
    for doubled, assets in tables.rows(f"{results} HAVING count(*) > 1"):
        faults.append(f"two results: {doubled} has {assets}")
    for job in clients.accepted.values():
        status, body = serve.call("GET", f"/v1/requests/{job}/result")
        if status != 200 or body["status"] not in ("succeeded", "failed"):
            faults.append(f"not ended: {job} {status} {body}")
        elif body["status"] == "succeeded":
            if len(body["output"]["videos"]) != 1 or serve.call("GET", body["output"]["video"])[0] != 200:
                faults.append(f"no playable result: {job}")
        elif "lost 3 times" not in body["error"]:
            faults.append(f"failed for another reason: {job} {body['error']}")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgres", action="store_true", help="a Postgres server of its own instead of SQLite")
    parser.add_argument("--orderly", action="store_true", help="only restarts and a read-only database")
    parser.add_argument("--real", action="store_true", help="the real ComfyUI with tiny models")
    arguments = parser.parse_args()
    data = Path(tempfile.mkdtemp(prefix="flf2v-chaos-"))
    if arguments.real:
        options, pause_s, gap = ["--demo"], 6.0, (5.0, 14.0)
    else:
        options, pause_s, gap = ["--comfyui-command", fake_command(0.3), "--poll", "0.1"], 1.2, (0.3, 4.0)
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(postgres()) if arguments.postgres else ""
        report = chaos(
            data,
            kills=arguments.kills,
            seed=arguments.seed,
            options=options,
            pause_s=pause_s,
            gap=gap,
            database=url,
            orderly=arguments.orderly,
        )
    print(f"\n{report.kills.total()} kills in {time.monotonic() - began:.0f} s: {dict(report.kills)}")
    print(f"accepted {report.accepted}, states {dict(report.states)}, attempts {dict(sorted(report.attempts.items()))}")
    print(f"attempts ended: {dict(report.outcomes)}")
    if report.recovery_s:
        print(f"gateway answers again after: median {sorted(report.recovery_s)[len(report.recovery_s) // 2]:.2f} s, "
              f"worst {max(report.recovery_s):.2f} s")  # fmt: skip
    for fault in report.faults:
        print("FAULT", fault)
    print(f"{len(report.faults)} jobs lost, doubled or without an end")
    if not report.faults:
        shutil.rmtree(data, ignore_errors=True)
    else:
        print(f"the data is kept in {data}")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
