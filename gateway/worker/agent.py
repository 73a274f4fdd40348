"""The agent: keeps its ComfyUI up and sound, tells the others that it lives, and takes jobs while both hold."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import platform
import time
from dataclasses import dataclass, field
from typing import Any

from ...engine.client import ComfyClient
from ...engine.errors import EngineError
from ..database import new_id
from ..measured import Measured
from ..offer import every_workflow
from ..queue import JobQueue, queue_of
from ..workers import Status, Worker, WorkerStore
from .attempt import Runner
from .comfy import probe, runnable

_READY_POLL_S = 0.3
_LOOK_S = 3.0  # from one look whether an idle ComfyUI answers to the next
_AGAIN_S = 5.0  # from one look for model files to the next, while there are none
_FAULTS = 2  # of the machine in a row, and this worker takes itself out
_PROBE_S = 60.0
log = logging.getLogger(__name__)


class NameTaken(EngineError):
    """Another worker lives under this name."""


def _is_old(version: str) -> bool:
    """Whether this is a ComfyUI before 0.28."""
    numbers = [int(part) for part in version.lstrip("v").split(".")[:2] if part.isdigit()]
    return len(numbers) == 2 and numbers < [0, 28]


@dataclass
class Agent:
    """One worker. ``run`` returns when it was told to drain and its job has ended; cancel it to leave at once."""

    runner: Runner
    workers: WorkerStore
    queue: JobQueue
    home: str = field(default_factory=new_id)
    boot: str = field(default_factory=new_id)
    workflows: list[str] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)
    restarts: int = 0
    faults: int = 0
    holds: bool = True  # a job, or not known yet whether an earlier process left one
    _pause_s: float = 0.0
    _state: Status = "starting"
    _turn: int = 0
    _up: asyncio.Event = field(default_factory=asyncio.Event)
    _drain: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def status(self) -> Status:
        """What the heartbeat says."""
        if self._state == "stopped" or self.faults >= _FAULTS:
            return "stopped" if self._state == "stopped" else "quarantined"
        if self._drain.is_set():
            return "draining"
        return "busy" if self.runner.claim is not None and self._up.is_set() else self._state

    @property
    def executor(self) -> str:
        """How the queue knows this process."""
        return f"{self.runner.worker}@{self.boot}"

    async def run(self) -> None:
        """Work until told to drain. Raises NameTaken."""
        await self._enter()
        loops = [asyncio.create_task(work()) for work in (self._keep_up, self._heartbeat, self._listen)]
        work = asyncio.create_task(self._work())
        try:
            done, _ = await asyncio.wait([work, *loops], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (work, *loops):
                task.cancel()
            await asyncio.gather(work, *loops, return_exceptions=True)
            self._state = "stopped"
            with contextlib.suppress(Exception):  # the database may be away; then the heartbeat grows old by itself
                await asyncio.wait_for(asyncio.to_thread(self.workers.beat, self._row()), 5)

    async def drain(self) -> None:
        """Take nothing more; ``run`` returns when the running job has ended. Cut off from now on, it is no attempt."""
        self._drain.set()
        claim = self.runner.claim
        if claim is not None:
            await self.runner.stored(self.runner.attempts.mark_stopping, claim)
        await self._beat()

    async def _enter(self) -> None:
        deadline = time.monotonic() + self.runner.settings.dead_after_s + 2
        while not await self.runner.stored(self.workers.enter, self._row()):
            # Its machine may have died a moment ago; then its heartbeat grows old meanwhile.
            if time.monotonic() > deadline:
                raise NameTaken(
                    f"A worker named {self.runner.worker} lives already, with another data folder. "
                    "Give this one another --name."
                )
            await asyncio.sleep(0.5)
        self.runner.measured = Measured.of(await self.runner.stored(self.workers.measured, self.runner.worker))

    async def _work(self) -> None:
        """Go on with what earlier processes of this worker held, then take one job after another."""
        stored = self.runner.stored
        held = await stored(self.queue.held)
        mine = [ticket for ticket, executor in held if executor.rpartition("@")[0] == self.runner.worker]
        self.holds = bool(mine)
        for ticket in mine:
            if not await self._ready(resuming=True):
                return
            await self._run(ticket)
        log.info("the worker takes jobs", extra={"worker": self.runner.worker})
        while await self._ready():
            queues = [queue_of(name) for name in self.workflows]
            self._turn += 1
            turned = queues[self._turn % len(queues) :] + queues[: self._turn % len(queues)]
            taken: str | None = await stored(self.queue.take, self.executor, turned)
            if taken is not None:
                await self._run(taken)
            else:
                await self._sleep(self.runner.settings.engine_poll_s)

    async def _ready(self, resuming: bool = False) -> bool:
        """Wait until ComfyUI is up, sound, and can run something; False when this worker is to drain."""
        while not self._drain.is_set():
            sound = self._up.is_set() and self.faults < _FAULTS
            if sound and (resuming or (self.workflows and self._state == "ready")):
                return True
            await self._sleep(0.05)
        return False

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._drain.wait(), seconds)
        except asyncio.TimeoutError:
            return

    async def _run(self, ticket: str) -> None:
        runner, self.holds = self.runner, True
        claim = await runner.stored(runner.attempts.claim, ticket, runner.worker)
        if claim is not None:
            log.info("attempt begins", extra={"job": claim.job, "attempt": claim.attempt, "prompt": claim.prompt_id})
            if self._drain.is_set():
                await runner.stored(runner.attempts.mark_stopping, claim)
            ended = await runner.make(claim)
            if ended.fault:
                self.faults += 1
                await self._doubt(ended.why)
            elif ended.kind in ("succeeded", "failed"):
                self.faults, self._pause_s = 0, 0.0
            if ended.kind == "lost":  # nothing more is taken before ComfyUI has answered
                self._up.clear()
        await runner.stored(self.queue.drop, [ticket])
        self.holds = False

    async def _doubt(self, why: str) -> None:
        """After a fault of the machine: look again at what it can run, and let others have the job first."""
        log.error("this machine failed a job", extra={"reason": why[:300], "in a row": self.faults})
        self._state = "restarting"
        self._up.clear()
        await self._beat()
        await self._sleep(2 * self.runner.settings.engine_poll_s)

    async def _keep_up(self) -> None:
        """Start ComfyUI, and again whenever it has gone or is in doubt, with growing pauses between the starts."""
        supervisor, looked, silent, answered = self.runner.supervisor, 0.0, 0, time.monotonic()
        asked = 0.0
        while True:
            now = time.monotonic()
            try:
                if self.faults >= _FAULTS:
                    await self._cure()
                if await asyncio.to_thread(supervisor.ensure):
                    self._state = "restarting" if self.restarts or self.workflows else "starting"
                    self.restarts += bool(self.workflows)
                    self._up.clear()
                again = not self.workflows and now - looked > _AGAIN_S
                if not self._up.is_set() or again:
                    await self._look()
                    looked, silent, answered = now, 0, now
                    self._state = "ready"
                    self._up.set()
                    await self._beat()
                elif now - asked > _LOOK_S and self.runner.claim is None:
                    async with ComfyClient(supervisor.url, timeout_s=10) as client:
                        await client.queue_state()
                    asked, silent, answered = now, 0, now
            except (EngineError, OSError) as error:
                silent += 1
                if await self._is_down(error, silent, time.monotonic() - answered):
                    answered = time.monotonic()
            await asyncio.sleep(_READY_POLL_S)

    async def _is_down(self, error: Exception, silent: int, for_s: float) -> bool:
        """ComfyUI did not answer: its process ended, or still starts, or somebody else's is away. Whether it starts anew."""
        supervisor = self.runner.supervisor
        if not await asyncio.to_thread(supervisor.alive):
            self._up.clear()
            self._state = "restarting"
            self._pause_s = self._longer()
            log.error("ComfyUI ended; see its log", extra={"problem": str(error)[:300], "pause": self._pause_s})
            await asyncio.sleep(self._pause_s)
            return True
        if self._state == "ready" and silent >= 2:
            self._up.clear()
            self._state = "unreachable"
            log.error("ComfyUI does not answer", extra={"problem": str(error)[:300]})
            await self._beat()
        if not self._up.is_set() and for_s > self.runner.settings.start_s:  # it hangs, busy with nothing of ours
            return await asyncio.to_thread(supervisor.kill)
        return False

    def _longer(self) -> float:
        settings = self.runner.settings
        return min(settings.restart_pause_most_s, max(settings.restart_pause_s, 2 * self._pause_s))

    async def _cure(self) -> None:
        """Start ComfyUI anew after a pause, and have it compute something, until it can. Raises EngineError."""
        self._pause_s = self._longer()
        log.error("this worker is in quarantine", extra={"worker": self.runner.worker, "pause": self._pause_s})
        await self._beat()
        await asyncio.sleep(self._pause_s)
        supervisor = self.runner.supervisor
        await asyncio.to_thread(supervisor.kill)
        await asyncio.to_thread(supervisor.ensure)
        self.restarts += 1
        deadline = time.monotonic() + self.runner.settings.start_s
        while True:
            try:
                async with ComfyClient(supervisor.url, timeout_s=60) as client:
                    problem = await probe(client, _PROBE_S)
                break
            except EngineError as error:
                problem = str(error)
                alive = await asyncio.to_thread(supervisor.alive)
                if not alive or time.monotonic() > deadline:
                    break
                await asyncio.sleep(_READY_POLL_S)
        if problem:
            log.error("the probe failed", extra={"problem": problem[:300]})
        else:
            self.faults = 0

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
            await asyncio.sleep(self.runner.settings.heartbeat_s)
            await self._beat()

    async def _beat(self) -> None:
        if not await self.runner.stored(self.workers.beat, self._row()):
            raise NameTaken(f"Another worker has taken the name {self.runner.worker}; this one ends.")

    def _row(self) -> Worker:
        queues = [queue_of(name) for name in self.workflows]
        return Worker(
            self.runner.worker, self.boot, self.status, self.workflows, self.info, self.restarts,
            self.home, queues, self.runner.measured.data(),
        )  # fmt: skip

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
