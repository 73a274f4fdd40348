"""Times the gateway: ``python -m wan_flf2v.benchmarks.gateway`` prints a table; nothing here is a test.

The gateway runs as a user runs it (``wan-flf2v serve``: gateway, worker and ComfyUI as processes, SQLite with every
commit on the disk), with a fake ComfyUI behind it so that rendering takes no processor time; the load comes from this
process on the same machine. Beside it, in the same run, bare ComfyUI's ``POST /prompt`` with the same workflow.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp

from wan_flf2v.engine.process import ComfyServer
from wan_flf2v.engine.setup import prepare, tiny_models
from wan_flf2v.tests.gateway.local import BODY, FLF2V
from wan_flf2v.tests.gateway.processes import Serve, fake_command
from wan_flf2v.workflows import Bindings

Call = Callable[[], Awaitable[None]]


async def load(call: Call, clients: int, number: int, rate: float = 0) -> tuple[float, float, float]:
    """(p50 ms, p99 ms, calls a second) of this many calls from clients that wait for each answer.

    With a rate the clients together send that many a second, each at its own pace; else as fast as answers come.
    """
    times: list[float] = []
    left = iter(range(number))

    async def client(number: int) -> None:
        due = time.perf_counter() + number / max(rate, 1)
        for _ in left:
            if rate:
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                due += clients / rate
            began = time.perf_counter()
            await call()
            times.append(1000 * (time.perf_counter() - began))

    began = time.perf_counter()
    await asyncio.gather(*(client(index) for index in range(clients)))
    spent = time.perf_counter() - began
    cuts = statistics.quantiles(times, n=100)
    return cuts[49], cuts[98], number / spent


def show(what: str, figures: tuple[float, float, float], budget: str = "") -> None:
    """Print one row."""
    p50, p99, rate = figures
    print(f"{what:52} p50 {p50:7.2f} ms   p99 {p99:7.2f} ms   {rate:7.0f}/s   {budget}", flush=True)


async def gateway(data: Path, jobs: int) -> None:
    """The gateway's figures."""
    options = ["--no-auth", "--rate", "0", "--max-queue", "100000", "--log-level", "WARNING", "--poll", "0.2"]
    serve = Serve(data, [*options, "--comfyui-command", fake_command(3600)])
    serve.start()
    connector = aiohttp.TCPConnector(limit=0)
    try:
        async with aiohttp.ClientSession(connector=connector) as session:
            ids: list[str] = []

            async def submit() -> None:
                async with session.post(f"{serve.url}/v1/models/{FLF2V}", json=BODY) as answer:
                    if answer.status != 200:
                        raise SystemExit(f"HTTP {answer.status}: {await answer.text()}")
                    ids.append((await answer.json())["request_id"])

            await load(submit, 4, 200)  # warm
            show("submit, 1 client", await load(submit, 1, 1000))
            figures = await load(submit, 16, 2400, rate=300)
            show("submit, 16 clients, 300 a second in all", figures, "budget p50 <= 5, p99 <= 25")
            figures = await load(submit, 16, max(1000, jobs - len(ids)))
            show("submit, 16 clients, as fast as they can", figures, "budget >= 300/s")

            async def ask() -> None:
                async with session.get(f"{serve.url}/v1/requests/{ids[-1]}/status") as answer:
                    await answer.read()

            show(f"status with {len(ids)} jobs queued, 16 clients", await load(ask, 16, 3000), "target p99 <= 10")

            waiting = iter(ids[100:])

            async def cancel() -> None:
                async with session.post(f"{serve.url}/v1/requests/{next(waiting)}/cancel") as answer:
                    await answer.read()

            show("cancel a queued job, 1 client", await load(cancel, 1, 200), "target <= 100")
            await _cancel_running(serve, session, ids)
        await _recovery(serve)
    finally:
        serve.stop()


async def _cancel_running(serve: Serve, session: aiohttp.ClientSession, ids: list[str]) -> None:
    async def get(job: str) -> str:
        async with session.get(f"{serve.url}/v1/requests/{job}/status") as answer:
            return str((await answer.json())["status"])

    times = []
    for job in ids[:5]:
        while await get(job) != "in_progress":
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)
        began = time.perf_counter()
        async with session.post(f"{serve.url}/v1/requests/{job}/cancel") as answer:
            await answer.read()
        while await get(job) != "cancelled":
            await asyncio.sleep(0.01)
        times.append(time.perf_counter() - began)
    print(f"{'cancel a running job, until it is over':52} median {1000 * statistics.median(times):.0f} ms, "
          f"worst {1000 * max(times):.0f} ms")  # fmt: skip


async def _recovery(serve: Serve) -> None:
    times = []
    for _ in range(5):
        serve.kill_gateway()
        began = time.perf_counter()
        serve.start(wait_s=0)
        while serve.call("GET", "/v1/models")[0] != 200:
            await asyncio.sleep(0.01)
        times.append(time.perf_counter() - began)
        await asyncio.sleep(2)
    print(f"{'answers again after kill -9 of the gateway':52} median {statistics.median(times):.2f} s, "
          f"worst {max(times):.2f} s   budget <= 5 s")  # fmt: skip


async def bare(folder: Path, number: int) -> None:
    """Bare ComfyUI's figures for the same workflow."""
    engine = prepare()
    bindings = Bindings.load()
    with ComfyServer(engine, folder, tiny_models(engine), tiny=True) as server:
        pictures = Path(__file__).parents[1] / "cli" / "pictures"
        async with aiohttp.ClientSession() as session:
            for name in ("first.png", "last.png"):
                form = aiohttp.FormData()
                form.add_field("image", (pictures / name).read_bytes(), filename=name)
                await session.post(f"{server.url}/upload/image", data=form)
            values: dict[str, Any] = {"6_text": "x", "71_width": 32, "71_height": 32, "67_length": 5, "57_steps": 2}
            values |= {bindings.first_image: "first.png", bindings.last_image: "last.png"}
            graph = bindings.apply(bindings.check(values, free=True))

            async def submit() -> None:
                async with session.post(f"{server.url}/prompt", json={"prompt": graph}) as answer:
                    if answer.status != 200:
                        raise SystemExit(await answer.text())
                    await answer.read()

            await load(submit, 1, 20)
            show("bare ComfyUI POST /prompt, 1 client", await load(submit, 1, number), "not durable")
            show("bare ComfyUI POST /prompt, 16 clients", await load(submit, 16, number), "not durable")
            await session.post(f"{server.url}/queue", json={"clear": True})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000, help="jobs to queue (default 10000)")
    parser.add_argument("--no-bare", action="store_true", help="without bare ComfyUI beside it")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="flf2v-bench-"))
    try:
        asyncio.run(gateway(folder / "gateway", arguments.jobs))
        if not arguments.no_bare:
            asyncio.run(bare(folder / "comfyui", 300))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
