"""One key misbehaves, another must not feel it: ``python -m wan_flf2v.benchmarks.greedy`` prints a row for each way.

The gateway runs as a user runs it, with a fake ComfyUI behind it. Key A, in a process of its own, does one thing for a
while; key B meanwhile submits a job twice a second and waits for its webhooks.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from aiohttp import web
from PIL import Image

from wan_flf2v.engine.process import free_port
from wan_flf2v.tests.gateway.local import BODY, FLF2V
from wan_flf2v.tests.gateway.processes import Serve, fake_command

SUBMIT = f"/v1/models/{FLF2V}"
EVERY_S = 0.5
Way = Callable[["Greedy"], Awaitable[None]]


@dataclass
class Greedy:
    """Key A: its client and where its slow server is."""

    session: aiohttp.ClientSession
    url: str
    key: str
    slow: str
    answers: dict[int, int] = field(default_factory=dict)

    async def call(self, method: str, path: str, **kwargs: Any) -> None:
        """One call, whatever comes of it."""
        headers = {"Authorization": f"Bearer {self.key}", **kwargs.pop("headers", {})}
        try:
            async with self.session.request(method, self.url + path, headers=headers, **kwargs) as answer:
                await answer.read()
                self.answers[answer.status] = self.answers.get(answer.status, 0) + 1
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError):
            self.answers[0] = self.answers.get(0, 0) + 1

    async def always(self, clients: int, one: Callable[[], Awaitable[None]]) -> None:
        """So many clients that begin again as soon as they have an answer."""

        async def client() -> None:
            while True:
                await one()
                await asyncio.sleep(0.01)

        await asyncio.gather(*(client() for _ in range(clients)))


def picture(side: int) -> str:
    """The data URI of a plain picture: a small file of very many pixels."""
    out = io.BytesIO()
    Image.new("RGB", (side, side)).save(out, "PNG")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


async def floods_the_queue(a: Greedy) -> None:
    await a.always(16, lambda: a.call("POST", SUBMIT, json=BODY))


async def names_slow_urls(a: Greedy) -> None:
    body = {**BODY, "62_image": f"{a.slow}/a.png", "68_image": f"{a.slow}/b.png"}
    await a.always(48, lambda: a.call("POST", SUBMIT, json=body))


async def has_hanging_receivers(a: Greedy) -> None:
    await a.always(8, lambda: a.call("POST", SUBMIT, json=BODY, params={"webhook": f"{a.slow}/hook"}))


async def sends_huge_bodies(a: Greedy) -> None:
    text = json.dumps(
        {**BODY, "62_image": f"data:image/png;base64,{base64.b64encode(os.urandom(45 * 2**20)).decode()}"}
    )
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    await a.always(3, lambda: a.call("POST", SUBMIT, data=text.encode(), headers=headers))


async def sends_huge_pictures(a: Greedy) -> None:
    body = {**BODY, "62_image": picture(6000), "68_image": picture(6000)}
    await a.always(12, lambda: a.call("POST", SUBMIT, json=body))


async def guesses_keys_and_asks_for_everything(a: Greedy) -> None:
    paths = ("/openapi.json", "/health", "/v1/models", "/docs")
    number = 0

    async def one() -> None:
        nonlocal number
        number += 1
        await a.call("GET", paths[number % len(paths)], headers={"Authorization": f"Bearer guess{number}"})

    await a.always(16, one)


async def opens_connections_and_says_little(a: Greedy) -> None:
    host, port = a.url.removeprefix("http://").split(":")
    while True:
        opened = await asyncio.gather(*(asyncio.open_connection(host, int(port)) for _ in range(150)))
        for _, writer in opened:
            writer.write(b"GET / HTTP/1.1\r\nX: ")
        await asyncio.sleep(20)


async def puts_into_a_used_place(a: Greedy) -> None:
    data = base64.b64decode(picture(2000).partition(",")[2])
    headers = {"Authorization": f"Bearer {a.key}"}
    asked = {"filename": "a.png", "size": len(data)}
    async with a.session.post(f"{a.url}/api/v3/media/uploads", json=asked, headers=headers) as answer:
        url = (await answer.json())["data"]["upload"]["url"].removeprefix(a.url)
    await a.always(16, lambda: a.call("PUT", url, data=data))


WAYS: tuple[Way, ...] = (
    floods_the_queue,
    names_slow_urls,
    has_hanging_receivers,
    sends_huge_bodies,
    sends_huge_pictures,
    guesses_keys_and_asks_for_everything,
    opens_connections_and_says_little,
    puts_into_a_used_place,
)


def misbehave(way: int, url: str, key: str, slow: str, said: Any) -> None:
    """Key A's process; at its end it says how often it got which answer."""

    async def main() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            greedy = Greedy(session, url, key, slow)
            working = asyncio.ensure_future(WAYS[way](greedy))
            await asyncio.to_thread(said.recv)  # until it is told to end
            working.cancel()
            said.send(greedy.answers)

    asyncio.run(main())


@dataclass
class Felt:
    """What key B felt, in seconds, and the gateway's memory in MB."""

    submits: list[float] = field(default_factory=list)
    hooks: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    memory: float = 0
    decoders: float = 0
    answers: dict[int, int] = field(default_factory=dict)

    @property
    def p99(self) -> float:
        """The 99th percentile of its submits."""
        return (
            statistics.quantiles(self.submits, n=100, method="inclusive")[98] if len(self.submits) > 1 else float("inf")
        )


async def measure(serve: Serve, seconds: float, keys: tuple[str, str], way: int | None) -> Felt:
    """Key B's time beside key A."""
    felt, told_of, accepted = Felt(), {}, set()

    async def hook(request: web.Request) -> web.Response:
        if request.path != "/b":
            await asyncio.sleep(3600)  # A's pictures and receivers
        event = await request.json()
        told_of[event["request_id"]] = time.time() - datetime.fromisoformat(event["finished_at"]).timestamp()
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", hook)
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", SLOW_PORT).start()
    process = None
    if way is not None:
        spawn = multiprocessing.get_context("spawn")
        told, said = spawn.Pipe()
        slow = f"http://127.0.0.1:{SLOW_PORT}"
        process = spawn.Process(target=misbehave, args=(way, serve.url, keys[0], slow, said))
        process.start()
        await asyncio.sleep(3)
    assert serve.process is not None
    gateway = psutil.Process(serve.process.pid)
    headers = {"Authorization": f"Bearer {keys[1]}"}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:

        async def submit() -> None:
            began = time.perf_counter()
            try:
                async with session.post(
                    serve.url + SUBMIT,
                    json=BODY,
                    headers=headers,
                    params={"webhook": f"http://127.0.0.1:{SLOW_PORT}/b"},
                ) as answer:
                    ticket = await answer.json()
                    felt.submits.append(time.perf_counter() - began)
                    if answer.status != 200:
                        felt.errors.append(f"HTTP {answer.status}: {ticket}")
                    else:
                        accepted.add(ticket["request_id"])
            except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
                felt.errors.append(type(error).__name__)

        tasks, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            tasks.append(asyncio.create_task(submit()))
            felt.memory = max(felt.memory, gateway.memory_info().rss / 1e6)
            spawned = [child for child in gateway.children() if "spawn_main" in " ".join(child.cmdline())]
            felt.decoders = max(felt.decoders, sum(child.memory_info().rss for child in spawned) / 1e6)
            await asyncio.sleep(EVERY_S)
        await asyncio.gather(*tasks)
    if process is not None:
        told.send("end")
        felt.answers = told.recv() if await asyncio.to_thread(told.poll, 10) else {}
        process.kill()
        process.join()
    await runner.cleanup()
    felt.hooks = [late for job, late in told_of.items() if job in accepted]  # others are of the way before
    return felt


SLOW_PORT = free_port()


def run(data: Path, seconds: float, ways: tuple[int | None, ...], options: list[str]) -> dict[str, Felt]:
    """What key B feels of each way."""
    keys = []
    for name in "ab":
        made = subprocess.run(
            [sys.executable, "-m", "wan_flf2v.gateway", "keys", "create", name, "--data", str(data), *options],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        keys.append(made.stdout.strip())
    trust = ["--trust-origin", f"http://127.0.0.1:{SLOW_PORT}", "--log-level", "ERROR", "--poll", "0.1"]
    serve = Serve(data, [*options, *trust, "--comfyui-command", fake_command(0.01)])
    serve.start()
    felt = {}
    try:
        for way in ways:
            name = "A does nothing" if way is None else f"A {WAYS[way].__name__.replace('_', ' ')}"
            one = felt[name] = asyncio.run(measure(serve, seconds, (keys[0], keys[1]), way))
            hooks = f"{statistics.median(one.hooks):.2f} / {max(one.hooks):.2f} s" if one.hooks else "none"
            print(f"{name:45} submit p50 {1000 * statistics.median(one.submits):5.0f} p99 {1000 * one.p99:5.0f} ms   "
                  f"webhook p50 / max {hooks}   errors {len(one.errors)}   memory {one.memory:.0f} MB "
                  f"+ decoders {one.decoders:.0f} MB   A got {one.answers}", flush=True)  # fmt: skip
            for error in one.errors[:2]:
                print("   ", error[:160], flush=True)
    finally:
        serve.stop()
    return felt


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for how long A does each thing (default 60)")
    parser.add_argument("--ways", default="", help="some of 0 to 7 (default: all)")
    parser.add_argument("--database", help="postgresql://… (default: SQLite)")
    arguments = parser.parse_args()
    ways: tuple[int | None, ...] = tuple(int(way) for way in arguments.ways.split(",") if way) or (
        None,
        *range(len(WAYS)),
    )
    folder = Path(tempfile.mkdtemp(prefix="flf2v-greedy-"))
    try:
        run(folder, arguments.seconds, ways, ["--database", arguments.database] if arguments.database else [])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
