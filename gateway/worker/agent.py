"""The agent: tells the others that it lives, and takes jobs while its ComfyUI is up and sound."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time

import sqlalchemy.exc

from ...engine.client import ComfyClient
from ...engine.errors import EngineError
from ..database import is_away, new_id, patiently
from ..queue import queue_of
from ..signals import until
from ..tables import Status, Worker
from ..workers import WorkerStore
from .attempt import Runner
from .keeper import Keeper

log = logging.getLogger(__name__)


class Agent:
    """One worker in the folder named ``home``. ``run`` ends when it was told to drain; cancel it to leave at once."""

    def __init__(self, runner: Runner, home: str = "") -> None:
        self.runner, self.queue = runner, runner.jobs.queue
        self.workers = WorkerStore(runner.jobs.database, runner.settings)
        self.home, self.boot = home or new_id(), new_id()
        self.comfy = Keeper(runner.supervisor, runner.settings, lambda: runner.claim is not None, self._beat)
        self.holds = True  # a job, or not known yet whether an earlier process left one
        self._stopped, self._turn, self._drain = False, 0, asyncio.Event()

    @property
    def status(self) -> Status:
        """What the heartbeat says."""
        if self._stopped or self._drain.is_set():
            return "stopped" if self._stopped else "draining"
        return "busy" if self.runner.claim is not None and self.comfy.sound else self.comfy.status

    async def run(self) -> None:
        """Work until told to drain. Raises EngineError when another worker has the name."""
        await self._enter()
        loops = (self._work, self.comfy.run, self._heartbeat, self._listen)
        tasks = [asyncio.create_task(loop()) for loop in loops]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._stopped = True
            with contextlib.suppress(Exception):  # the database may be away; then the heartbeat grows old by itself
                await asyncio.wait_for(asyncio.to_thread(self.workers.beat, self._row()), 5)

    async def drain(self) -> None:
        """Take nothing more; ``run`` returns when the running job has ended. Cut off from now on, it is no attempt."""
        self._drain.set()
        claim = self.runner.claim
        if claim is not None:
            await patiently(self.runner.attempts.mark_stopping, claim)
        await self._beat()

    async def _enter(self) -> None:
        deadline = time.monotonic() + self.runner.settings.dead_after_s + 2
        while (counted := await patiently(self.workers.enter, self._row())) is None:
            # Its machine may have died a moment ago; then its heartbeat grows old meanwhile.
            if time.monotonic() > deadline:
                name = self.runner.worker
                raise EngineError(f"A worker named {name} lives already, with other data. Choose another --name.")
            await asyncio.sleep(0.5)
        self.runner.measured = counted

    async def _work(self) -> None:
        """Take one job after another; anew when the database went away, perhaps with the word that one was taken."""
        while not self._drain.is_set():
            try:
                await self._resume()
                while await self._ready():
                    await self._take()
            except sqlalchemy.exc.SQLAlchemyError as error:
                if not is_away(error):
                    raise
                log.error("the database is away; tried again", extra={"problem": type(error).__name__})
                await until(self._drain, timeout_s=1)

    async def _resume(self) -> None:
        """Go on with what this worker holds; give it back when ComfyUI does not come up."""
        name, attempts = self.runner.worker, self.runner.attempts
        held = await asyncio.to_thread(self.queue.held)
        mine = [ticket for ticket, executor in held if executor.rpartition("@")[0] == name]
        self.holds = bool(mine)
        for ticket in mine:
            if await self._ready(self.runner.settings.start_s):
                await self._run(ticket)
            elif not self._drain.is_set():
                await patiently(attempts.give_back, ticket, name, "its ComfyUI did not come up again")
                await patiently(self.queue.drop, [ticket])
                self.holds = False

    async def _take(self) -> None:
        queues = [queue_of(workflow) for workflow in self.comfy.workflows]
        self._turn += 1
        turned = queues[self._turn % len(queues) :] + queues[: self._turn % len(queues)]
        taken = await asyncio.to_thread(self.queue.take, f"{self.runner.worker}@{self.boot}", turned)
        if taken is not None:
            await self._run(taken)
        else:
            await until(self._drain, timeout_s=self.runner.settings.engine_poll_s)

    async def _ready(self, resuming_s: float = 0) -> bool:
        """Wait, to resume for so long, until ComfyUI is up, sound, and can run something; False also to drain."""
        deadline = time.monotonic() + (resuming_s or math.inf)
        while not self._drain.is_set() and time.monotonic() < deadline:
            if self.comfy.sound and (resuming_s or self.comfy.workflows):
                return True
            await until(self._drain, timeout_s=0.05)
        return False

    async def _run(self, ticket: str) -> None:
        runner, self.holds = self.runner, True
        claim = await patiently(runner.attempts.claim, ticket, runner.worker)
        if claim is not None:
            log.info("attempt begins", extra={"job": claim.job, "attempt": claim.attempt, "prompt": claim.prompt_id})
            if self._drain.is_set():
                await patiently(runner.attempts.mark_stopping, claim)
            ended = await runner.make(claim)
            if ended.fault:
                await self.comfy.fault(ended.why)
            elif ended.kind in ("succeeded", "failed"):
                self.comfy.well()
        await patiently(self.queue.drop, [ticket])
        self.holds = False
        if claim is not None and ended.fault:  # others have the job first
            await until(self._drain, timeout_s=2 * runner.settings.engine_poll_s)

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(self.runner.settings.heartbeat_s)
            await self._beat()

    async def _beat(self) -> None:
        if not await patiently(self.workers.beat, self._row()):
            raise EngineError(f"Another worker has taken the name {self.runner.worker}; this one ends.")

    def _row(self) -> Worker:
        comfy, measured = self.comfy, vars(self.runner.measured)
        queues = [queue_of(name) for name in comfy.workflows]
        known = (comfy.workflows, comfy.info, comfy.restarts)
        return Worker(self.runner.worker, self.boot, self.status, *known, self.home, queues, measured)

    async def _listen(self) -> None:
        """Take in progress messages, for as long as the socket lives, and then from the next one."""
        while True:
            await self.comfy.up.wait()
            try:
                async with ComfyClient(self.runner.supervisor.url) as client:
                    client.client_id = self.runner.client_id
                    async for message in client.events():
                        data, current = message.get("data"), self.runner.current
                        if current is not None and isinstance(data, dict):
                            current.message(str(message.get("type")), data)
            except Exception as error:  # noqa: BLE001 - any node may send anything; it is progress alone
                log.warning("a progress message was not understood", extra={"problem": repr(error)[:300]})
            await asyncio.sleep(1)
