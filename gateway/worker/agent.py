"""The agent: keeps its ComfyUI up, tells the others that it lives, and makes the attempts that the engine hands it."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ...engine.client import ComfyClient
from ...engine.errors import EngineError
from ..database import new_id
from ..engines import EngineWorker, Steps
from ..offer import every_workflow
from ..records import Claim
from ..workers import Status, Worker, WorkerStore
from .attempt import Runner
from .comfy import runnable

_READY_POLL_S = 0.3
_CRASH_PAUSE_S = 3.0
log = logging.getLogger(__name__)


def _is_old(version: str) -> bool:
    """Whether this is a ComfyUI before 0.28."""
    numbers = [int(part) for part in version.lstrip("v").split(".")[:2] if part.isdigit()]
    return len(numbers) == 2 and numbers < [0, 28]


def _begin_anew() -> None:
    """Put a fresh process in this one's place, with the same id, and with the same ComfyUI as its child."""
    sys.stderr.flush()
    if os.name == "posix":
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    os._exit(3)  # elsewhere it is for whoever started it to start it again, as ``serve`` does


@dataclass
class Agent:
    """One worker. ``run`` returns never; cancel it."""

    runner: Runner
    workers: WorkerStore
    engine: EngineWorker
    # Called when others have taken over a job that runs here: what is in this process can't be trusted any more.
    on_fenced: Callable[[], None] = _begin_anew
    boot: str = field(default_factory=new_id)
    status: Status = "starting"
    workflows: list[str] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)
    restarts: int = 0
    _up: asyncio.Event = field(default_factory=asyncio.Event)
    _taking: bool = False

    async def run(self) -> None:
        """Work until cancelled."""
        await self._beat()
        tasks = [asyncio.create_task(work()) for work in (self._keep_up, self._heartbeat, self._listen)]
        try:
            await self._up.wait()
            await self.engine.start(self.runner.worker, self.boot, self.handle)
            self._taking = True
            if self.status == "starting":  # not before: a worker counts as ready when it takes jobs
                self.status = "ready"
            await self._beat()
            log.info("the worker is ready", extra={"worker": self.runner.worker, "workflows": self.workflows})
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.status = "stopped"
            await asyncio.to_thread(self.workers.beat, self._row())

    async def handle(self, job_id: str, steps: Steps) -> None:
        """Drive one job to its end. Each step is kept by the engine, so their order must not depend on this process."""
        while True:
            data = await steps("claim", lambda: self._claim(job_id))
            if data is None:
                return
            claim = Claim(**data)
            await steps("submit", lambda claim=claim: self._submit(claim))  # type: ignore[misc]
            ended = await steps("wait", lambda claim=claim: self._wait(claim))  # type: ignore[misc]
            if ended == "over":
                return

    async def _claim(self, job_id: str) -> dict[str, Any] | None:
        await self._up.wait()
        runner = self.runner
        claim = await runner.stored(runner.attempts.claim, job_id, runner.worker, runner.timing.attempts)
        if claim is None:
            return None
        log.info("attempt begins", extra={"job": job_id, "attempt": claim.attempt, "prompt": claim.prompt_id})
        return dict(claim.__dict__)

    async def _submit(self, claim: Claim) -> None:
        await self._up.wait()
        try:
            await self.runner.submit(claim)
        except EngineError as error:  # its fate is unknown: ``wait`` finds out by the prompt's id
            log.warning("a submit failed", extra={"job": claim.job, "problem": str(error)[:300]})

    async def _wait(self, claim: Claim) -> str:
        self.status = "busy"
        try:
            ended = await self.runner.wait(claim)
        except EngineError as error:
            await self.runner.stored(self.runner.attempts.close, claim, f"lost: {error}"[:500])
            ended = "lost"
        except Exception as error:
            log.exception("an attempt failed here", extra={"job": claim.job})
            await self.runner.stored(self.runner.attempts.close, claim, f"lost: {type(error).__name__}")
            ended = "lost"
        finally:
            self.status = "ready" if self._up.is_set() else "restarting"
        if ended == "fenced":
            job = await self.runner.stored(self.runner.jobs.get, claim.job)
            if job is not None and not job.over:
                log.error("this worker was taken for dead; it starts anew", extra={"job": claim.job})
                self.on_fenced()
            return "over"
        if not await asyncio.to_thread(self.runner.supervisor.alive):
            self._up.clear()  # the next attempt waits for the restart
        return ended

    async def _keep_up(self) -> None:
        """Start ComfyUI, and again whenever it has gone."""
        supervisor, was_up = self.runner.supervisor, False
        while True:
            try:
                if await asyncio.to_thread(supervisor.ensure):
                    self._up.clear()
                    self.restarts += was_up
                    self.status = "restarting" if was_up else "starting"
                if not self._up.is_set():
                    await self._look()
                    was_up = True
                    self._up.set()
                    self.status = "ready" if self._taking else "starting"
                    await self._beat()
                await asyncio.sleep(_READY_POLL_S)
            except (EngineError, OSError) as error:
                if not await asyncio.to_thread(supervisor.alive):
                    log.error("ComfyUI ended while starting; see its log", extra={"problem": str(error)[:300]})
                    await asyncio.sleep(_CRASH_PAUSE_S)
                await asyncio.sleep(_READY_POLL_S)

    async def _look(self) -> None:
        """Ask ComfyUI what it is and has. Raises EngineError while it does not answer."""
        async with ComfyClient(self.runner.supervisor.url, timeout_s=60) as client:
            stats = await client.system_stats()
            self.workflows = await runnable(client, every_workflow())
        system = stats.get("system", {})
        self.info = {
            "host": platform.node(),
            "comfyui": system.get("comfyui_version", ""),
            "devices": [str(device.get("name", "")) for device in stats.get("devices", [])],
        }
        if _is_old(str(self.info["comfyui"])):
            log.warning("this ComfyUI lacks security fixes of 0.28; keep it on loopback", extra=self.info)
        if not self.workflows:
            log.error("this ComfyUI has the model files of no workflow; wan-flf2v status says what is missing")

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(self.runner.timing.heartbeat_s)
            await self._beat()

    async def _beat(self) -> None:
        await self.runner.stored(self.workers.beat, self._row())

    def _row(self) -> Worker:
        return Worker(self.runner.worker, self.boot, self.status, self.workflows, self.info, self.restarts, 0.0)

    async def _listen(self) -> None:
        """Take in progress messages, for as long as the socket lives, and then from the next one."""
        while True:
            await self._up.wait()
            async with ComfyClient(self.runner.supervisor.url) as client:
                client.client_id = self.runner.client_id
                async for message in client.events():
                    data, current = message.get("data"), self.runner.current
                    if current is not None and isinstance(data, dict):
                        current.message(str(message.get("type")), data)
            await asyncio.sleep(1)
