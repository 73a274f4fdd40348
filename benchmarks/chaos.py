"""kill -9 of gateway, worker agent and ComfyUI at random while jobs run; then every accepted job is accounted for.

``python -m wan_flf2v.benchmarks.chaos --kills 200`` uses a fake ComfyUI over real HTTP; ``--real`` the real one with the
tiny models. Prints a line for every kill and a summary; the exit status is 1 when a job was lost or has two results.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from wan_flf2v.tests.gateway.local import BODY, FLF2V
from wan_flf2v.tests.gateway.processes import Serve, fake_command

VICTIMS = ("gateway", "agent", "comfyui", "all")


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


def chaos(data: Path, *, kills: int, seed: int, options: list[str], pause_s: float, gap: tuple[float, float]) -> Report:
    """Kill at random, then wait for every job and check each."""
    chance = random.Random(seed)
    serve = Serve(data, ["--no-auth", "--max-queue", "5000", "--rate", "0", "--log-level", "WARNING", *options])
    serve.start(wait_s=180)
    clients = Clients(serve, pause_s)
    threads = [threading.Thread(target=clients.run, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    done: Counter[str] = Counter()
    recovery: list[float] = []
    while done.total() < kills:
        time.sleep(chance.uniform(*gap))
        victim = chance.choices(VICTIMS, (3, 3, 3, 1))[0]
        began = time.monotonic()
        if not _kill(serve, victim):
            continue
        done[victim] += 1
        if victim in ("gateway", "all"):
            serve.start(wait_s=0)
            while serve.call("GET", "/playground.json")[0] != 200:
                time.sleep(0.02)
            recovery.append(time.monotonic() - began)
        over = sum(_states(data).values()) - _states(data)["queued"] - _states(data)["running"]
        print(f"kill {done.total():3}  {victim:8} accepted {len(clients.accepted):4}  ended {over:4}", flush=True)
    clients.stop.set()
    for thread in threads:
        thread.join(60)
    deadline = time.monotonic() + 600
    while (open_ := _states(data)) and open_["queued"] + open_["running"] and time.monotonic() < deadline:
        time.sleep(0.5)
    faults = _faults(serve, clients)
    serve.stop()
    rows = _query(data, "SELECT attempt, count(*) FROM flf2v_jobs GROUP BY attempt")
    attempts: Counter[int] = Counter({int(str(attempt)): int(str(number)) for attempt, number in rows})
    return Report(done, len(clients.accepted), _states(data), attempts, recovery, faults)


def _kill(serve: Serve, victim: str) -> bool:
    if victim == "agent":
        return serve.kill_agent()
    if victim == "comfyui":
        return serve.kill_comfy()
    if victim == "all":
        serve.kill_agent()
        serve.kill_comfy()
    serve.kill_gateway()
    return True


def _query(data: Path, text: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(data / "jobs.sqlite", timeout=30)
    try:
        return list(connection.execute(text))
    finally:
        connection.close()


def _states(data: Path) -> Counter[str]:
    rows = _query(data, "SELECT state, count(*) FROM flf2v_jobs GROUP BY state")
    return Counter({str(state): int(str(number)) for state, number in rows})


def _faults(serve: Serve, clients: Clients) -> list[str]:
    """Everything that breaks a promise."""
    faults = []
    known = {str(row[0]) for row in _query(serve.data, "SELECT id FROM flf2v_jobs")}
    for key, job in clients.accepted.items():
        if job not in known:
            faults.append(f"lost: {job} (key {key})")
    extra = known - set(clients.accepted.values())
    unanswered = clients.asked - set(clients.accepted)
    if len(extra) > len(unanswered):
        faults.append(f"{len(extra)} jobs that nobody asked for")
    for doubled, assets in _query(
        serve.data, "SELECT job, count(*) FROM flf2v_assets WHERE job != '' GROUP BY job HAVING count(*) > 1"
    ):
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
    parser.add_argument("--real", action="store_true", help="the real ComfyUI with tiny models")
    arguments = parser.parse_args()
    data = Path(tempfile.mkdtemp(prefix="flf2v-chaos-"))
    if arguments.real:
        options, pause_s, gap = ["--demo"], 6.0, (5.0, 14.0)
    else:
        options, pause_s, gap = ["--comfyui-command", fake_command(0.3), "--poll", "0.1"], 1.2, (0.3, 4.0)
    began = time.monotonic()
    report = chaos(data, kills=arguments.kills, seed=arguments.seed, options=options, pause_s=pause_s, gap=gap)
    print(f"\n{report.kills.total()} kills in {time.monotonic() - began:.0f} s: {dict(report.kills)}")
    print(f"accepted {report.accepted}, states {dict(report.states)}, attempts {dict(sorted(report.attempts.items()))}")
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
