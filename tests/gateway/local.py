"""A whole gateway in this process: its application on a real port, a worker, and a fake ComfyUI over HTTP."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import aiohttp
import sqlalchemy as sa
from aiohttp import web
from PIL import Image

from wan_flf2v.gateway.database import Database
from wan_flf2v.gateway.jobs import JobStore
from wan_flf2v.gateway.keys import KeyStore
from wan_flf2v.gateway.server import serving
from wan_flf2v.gateway.settings import Limits, Settings, Timing
from wan_flf2v.gateway.tables import ATTEMPTS, Job
from wan_flf2v.gateway.worker.agent import Agent
from wan_flf2v.gateway.worker.attempt import Runner
from wan_flf2v.gateway.worker.collect import SafetyChecker
from wan_flf2v.gateway.worker.supervisor import Supervisor
from wan_flf2v.gateway.workers import WorkerStore

from .fake_comfyui import FakeComfyUI, video_bytes
from .shapes import check_answer

FLF2V = "community/wan-2-2/first-last-frame"
EXAMPLES = {"62_image": "Runcomfy_Example_1259_2.png", "68_image": "Runcomfy_Example_1259_1.png"}
BODY: dict[str, Any] = {**EXAMPLES, "6_text": "a puppy"}
WAVESPEED = "/api/v3/wavespeed-ai/wan-flf2v"
WAVESPEED_BODY = {"first_image": "Runcomfy_Example_1259_1.png", "last_image": "Runcomfy_Example_1259_2.png"}
FAST = Timing(
    poll_s=0.02,
    engine_poll_s=0.02,
    heartbeat_s=0.5,
    sweep_s=0.3,
    cancel_grace_s=1.0,
    unreachable_s=2.0,
    restart_pause_s=0.1,
)


@lru_cache(maxsize=1)
def video() -> bytes:
    return video_bytes()


@dataclass
class Answer:
    status: int
    json: Any
    headers: Any
    body: bytes


@dataclass
class Local:
    url: str
    settings: Settings
    session: aiohttp.ClientSession
    comfy: FakeComfyUI
    keys: KeyStore
    jobs: JobStore
    secret: str = ""
    comfy_url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    worker: asyncio.Task[None] | None = None
    agent: Agent | None = None
    workers: WorkerStore | None = None

    def stop_worker(self) -> None:
        """End the worker at once; after a moment nothing can be run any more."""
        assert self.worker is not None
        self.worker.cancel()

    async def call(self, method: str, path: str, body: Any = None, **kwargs: Any) -> Answer:
        url = path if path.startswith("http") else self.url + path
        headers = {**({"Authorization": f"Bearer {self.secret}"} if self.secret else {}), **kwargs.pop("headers", {})}
        if body is not None:
            kwargs["json"] = body
        async with self.session.request(method, url, headers=headers, **kwargs) as response:
            data = await response.read()
            told = json.loads(data) if data and response.content_type == "application/json" else None
            if url.startswith(self.url):
                check_answer(method, response.url.path, response.status, told)
            return Answer(response.status, told, response.headers, data)

    async def submit(self, body: Any = None, model: str = FLF2V, **kwargs: Any) -> str:
        answer = await self.call("POST", f"/v1/models/{model}", body or BODY, **kwargs)
        assert answer.status == 200, answer.json
        return str(answer.json["request_id"])

    async def until(self, job: str, *states: str, timeout_s: float = 20) -> dict[str, Any]:
        """Poll until the job is in one of these states; its row."""
        wanted = states or ("succeeded", "failed", "cancelled")
        for _ in range(int(timeout_s / 0.02)):
            row = self.jobs.get(job)
            assert row is not None
            if row.state in wanted:
                return dict(row.__dict__)
            await asyncio.sleep(0.02)
        raise AssertionError(f"job still {row.state}, wanted {wanted}")


def new_job(owner: str = "me", workflow: str = "wan22_flf2v", **more: Any) -> Job:
    """A job as it comes in."""
    return Job(owner=owner, api="model", model="m", workflow=workflow, **more)


def attempts_of(jobs: JobStore, job: str) -> Sequence[Any]:
    """Every attempt at a job, in order."""
    return jobs.database.rows(sa.select(ATTEMPTS).where(ATTEMPTS.c.job == job).order_by(ATTEMPTS.c.attempt))


@asynccontextmanager
async def local(
    folder: Path,
    *,
    auth: bool = True,
    worker: bool = True,
    limits: Limits | None = None,
    timing: Timing = FAST,
    trusted: tuple[str, ...] = (),
    seconds: float = 0.1,
    demo: bool = False,
    database: str = "",
    checkers: Sequence[SafetyChecker] = (),
    collect_pauses: tuple[float, ...] = (0.05, 0.1, 0.2),
) -> AsyncIterator[Local]:
    """Everything up, and a worker that has reported itself."""
    settings = Settings(
        data=folder,
        database=database,
        auth=auth,
        demo=demo,
        trusted_origins=trusted,
        **(limits or Limits()).model_dump(),
        **timing.model_dump(),
    )
    door, comfy_door = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
    url, comfy_url = (f"http://127.0.0.1:{each.getsockname()[1]}" for each in (door, comfy_door))
    comfy = FakeComfyUI(video(), seconds=seconds)
    database = Database(settings.database_url)
    runner = Runner("w1", settings, database, Supervisor(comfy_url), checkers)
    runner.collector.pauses = collect_pauses
    agent = Agent(runner)
    async with (
        _site(comfy.app(), comfy_door),
        serving(settings, url) as app,
        _site(app, door),
        aiohttp.ClientSession() as session,
    ):
        keys = KeyStore(database)
        secret = keys.create("test", ["submit", "read", "metrics"])[1] if auth else ""
        here = Local(
            url, settings, session, comfy, keys, runner.jobs, secret, comfy_url, agent=agent, workers=agent.workers
        )
        task = here.worker = asyncio.create_task(agent.run()) if worker else None
        try:
            while worker and not any(row.able for row in agent.workers.living()):
                await asyncio.sleep(0.02)
            yield here
        finally:
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
    database.close()


@asynccontextmanager
async def _site(app: web.Application, door: socket.socket) -> AsyncIterator[None]:
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    await web.SockSite(runner, door).start()
    try:
        yield
    finally:
        await runner.cleanup()


@asynccontextmanager
async def web_server(answer: Any, max_bytes: int = 2**20) -> AsyncIterator[str]:
    """The origin of a server that answers everything with this handler."""
    door = socket.create_server(("127.0.0.1", 0))
    app = web.Application(client_max_size=max_bytes)
    app.router.add_route("*", "/{path:.*}", answer)
    async with _site(app, door):
        yield f"http://127.0.0.1:{door.getsockname()[1]}"


def png(width: int = 64, height: int = 48) -> bytes:
    """A plain picture."""
    out = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(out, "PNG")
    return out.getvalue()


def run(main: Callable[[], Coroutine[Any, Any, None]], timeout_s: float = 60) -> None:
    """Run one asynchronous test."""
    asyncio.run(asyncio.wait_for(main(), timeout_s))
