"""What both doubles share: a server in a thread, a record of every request, faults by step, jobs that take time."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from io import BytesIO
from typing import Any, TypeVar

import av
import numpy as np
from aiohttp import web

D = TypeVar("D", bound="VendorDouble")
KEY = "test-key-0123456789abcdef"


@lru_cache(maxsize=1)
def tiny_video() -> bytes:
    """A whole H.264 MP4 of five 64 x 48 frames."""
    buffer = BytesIO()
    with av.open(buffer, "w", format="mp4") as output:
        stream = output.add_stream("h264", rate=16)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(5):
            picture = np.full((48, 64, 3), 40 * number, dtype=np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode(None))
    return buffer.getvalue()


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    step: str
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    raw: bytes
    at: float

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.raw)


@dataclass(frozen=True)
class Fault:
    """What to do in place of the usual answer.

    ``work`` does the step's usual work first (a job is made, and then its answer is lost). ``seconds`` waits before
    answering. Then the connection is dropped, or ``status``/``body`` is answered, or ``respond`` takes over.
    """

    drop: bool = False
    work: bool = False
    seconds: float = 0
    status: int | None = None
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    respond: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None


@dataclass
class Script:
    """How the next jobs go. ``error`` may be of any JSON shape."""

    queue_s: float = 0.0
    run_s: float = 0.1
    end: str = "succeeded"
    error: Any = None
    nsfw: list[bool] = field(default_factory=lambda: [False])
    video_url: str = ""
    no_output: bool = False
    completed_word: str = ""


@dataclass
class JobRecord:
    """One job that the double made."""

    id: str
    model: str
    body: Any
    script: Script
    created: float
    cancelled: bool = False

    @property
    def age(self) -> float:
        """Seconds since the submit."""
        return time.time() - self.created

    @property
    def phase(self) -> str:
        """queued, running, or ended."""
        if self.cancelled:
            return "ended"
        if self.age < self.script.queue_s:
            return "queued"
        return "running" if self.age < self.script.queue_s + self.script.run_s else "ended"


class VendorDouble:
    """A vendor on loopback. Use as a context manager; ``url`` is its base URL."""

    open_steps: frozenset[str] = frozenset({"media"})

    def __init__(self, *, key: str = KEY, echo_key: bool = False) -> None:
        self.key, self.echo_key = key, echo_key
        self.script = Script()
        self.seen: list[Seen] = []
        self.jobs: dict[str, JobRecord] = {}
        self.video = tiny_video()
        self._faults: dict[str, deque[Fault]] = defaultdict(deque)
        self._always: dict[str, Fault] = {}
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self.port = 0

    # --- what a test says and asks

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}"

    def fail(self, step: str, *faults: Fault) -> None:
        """Answer the next requests of this step with these faults, one each."""
        self._faults[step].extend(faults)

    def reset(self) -> None:
        """Forget every request, job, fault, script and setting."""
        for name in [name for name in vars(self) if hasattr(type(self), name)]:
            delattr(self, name)  # a setting of the class that a test changed
        self.script = Script()
        self.seen.clear()
        self.jobs.clear()
        self._faults.clear()
        self._always.clear()

    def fail_always(self, step: str, fault: Fault | None) -> None:
        """Answer every request of this step with this fault; None ends that."""
        if fault is None:
            self._always.pop(step, None)
        else:
            self._always[step] = fault

    def count(self, step: str) -> int:
        """How many requests of this step arrived."""
        return sum(seen.step == step for seen in list(self.seen))

    def last(self, step: str) -> Seen:
        """The last request of this step."""
        return [seen for seen in self.seen if seen.step == step][-1]

    def finish_jobs(self) -> None:
        """Let every job that runs be over now."""
        for job in self.jobs.values():
            job.script = replace(job.script, queue_s=0, run_s=0)

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = 30) -> None:
        """Return when the condition holds; AssertionError after the time."""
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, f"waited {timeout_s} s in vain; seen: {[seen.step for seen in self.seen]}"
            time.sleep(0.01)

    # --- for the vendors' own files

    def routes(self) -> list[tuple[str, str, str, Callable[[web.Request], Awaitable[web.StreamResponse]]]]:
        """(step, method, path, handler) of every endpoint."""
        raise NotImplementedError

    def refuse_key(self, request: web.Request) -> web.Response:
        """The answer to a wrong key."""
        raise NotImplementedError

    def new_job(self, model: str, body: Any) -> JobRecord:
        """A job that starts now."""
        number = len(self.jobs) + 1
        job = JobRecord(f"job-{number:04}-{int(time.time() * 1000):x}", model, body, self.script, time.time())
        self.jobs[job.id] = job
        return job

    def video_url(self, job: JobRecord) -> str:
        """Where the job's video is."""
        return job.script.video_url or f"{self.url}/media/{job.id}.mp4"

    async def media(self, request: web.Request) -> web.StreamResponse:
        """The finished video, as a storage host would serve it."""
        return web.Response(body=self.video, content_type="video/mp4")

    # --- the server

    def __enter__(self: D) -> D:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            self._thread.join(10)

    async def _serve(self) -> None:
        app = web.Application(client_max_size=2**26)
        routes = [*self.routes(), ("media", "GET", "/media/{name}", self.media)]
        for step, method, path, handler in routes:
            app.router.add_route(method, path, self._wrapped(step, handler, check_key=step not in self.open_steps))
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    def _wrapped(
        self, step: str, handler: Callable[[web.Request], Awaitable[web.StreamResponse]], *, check_key: bool
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            raw = await request.read()
            headers = dict(request.headers)
            self.seen.append(Seen(step, request.method, request.path, request.query_string, headers, raw, time.time()))
            if check_key and request.headers.get("Authorization") != f"Bearer {self.key}":
                return self.refuse_key(request)
            fault = self._faults[step].popleft() if self._faults[step] else self._always.get(step)
            if fault is None:
                return await handler(request)
            if fault.work:
                await handler(request)
            await asyncio.sleep(fault.seconds)
            if fault.drop:
                if request.transport is not None:  # None when the client has left already
                    request.transport.abort()
                return web.Response()
            if fault.respond is not None:
                return await fault.respond(request)
            if fault.status is None:
                return await handler(request)
            body = fault.body if isinstance(fault.body, str) else json.dumps(fault.body)
            return web.Response(status=fault.status, text=body, headers=dict(fault.headers))

        return handle
