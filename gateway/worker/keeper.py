"""Keeps one ComfyUI up and sound: starts it, looks what it can run, takes it out while it is away or its machine fails."""

from __future__ import annotations

import asyncio
import logging
import platform
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from ...engine.client import ComfyClient
from ..offer import every_workflow
from ..settings import Settings
from ..tables import Status
from .comfy import probe, runnable
from .supervisor import Supervisor

_READY_POLL_S = 0.3
_LOOK_S = 3.0  # from one look whether an idle ComfyUI answers to the next, or has model files by now
_FAULTS = 2  # of the machine in a row, and it is taken out
_PROBE_S = 60.0
log = logging.getLogger(__name__)


def _is_old(version: str) -> bool:
    """Whether this is a ComfyUI before 0.28."""
    numbers = [int(part) for part in version.lstrip("v").split(".")[:2] if part.isdigit()]
    return len(numbers) == 2 and numbers < [0, 28]


@dataclass
class Keeper:
    """``up`` is set while ComfyUI answers; ``busy`` says whether a prompt of ours runs there; ``told`` spreads a change."""

    supervisor: Supervisor
    settings: Settings
    busy: Callable[[], bool]
    told: Callable[[], Awaitable[None]]
    workflows: list[str] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)
    restarts: int = 0
    up: asyncio.Event = field(default_factory=asyncio.Event)
    _state: Status = "starting"
    _faults: int = 0
    _curing: bool = False
    _pause_s: float = 0.0
    _asked: float = 0.0
    _answered: float = field(default_factory=time.monotonic)
    _silent: int = 0

    @property
    def status(self) -> Status:
        """How it is."""
        if self._faults >= _FAULTS:
            return "quarantined"
        return "restarting" if self._state == "ready" and not self.up.is_set() else self._state

    @property
    def sound(self) -> bool:
        """Whether it answers, and its machine is not in doubt."""
        return self.up.is_set() and self._faults < _FAULTS

    def well(self) -> None:
        """A prompt was run as it should be."""
        self._faults, self._pause_s = 0, 0.0

    async def fault(self, why: str) -> None:
        """A prompt failed by the machine or was lost: what it can run is looked up before anything is taken."""
        self._faults += 1
        log.error("this machine failed a job", extra={"reason": why[:300], "in a row": self._faults})
        self.up.clear()
        await self.told()

    async def run(self) -> None:
        """Start ComfyUI, and again whenever it has gone or is in doubt, with growing pauses between the starts."""
        while True:
            now = time.monotonic()
            try:
                await self._round(now)
            except Exception as error:  # noqa: BLE001 - whatever it answers, the jobs' worker lives on
                self._silent += 1
                await self._is_down(error)
            await asyncio.sleep(_READY_POLL_S)

    async def _round(self, now: float) -> None:
        if self._faults >= _FAULTS and not self._curing:
            await self._wait("this worker is in quarantine", "")
            await asyncio.to_thread(self.supervisor.kill)
            self._curing = True
            self.up.clear()
        if await asyncio.to_thread(self.supervisor.ensure):
            self.restarts += bool(self.workflows)
            self._state = "restarting" if self.workflows else "starting"
            self.up.clear()
        if not self.up.is_set() or (not self.workflows and now - self._asked > _LOOK_S):
            await self._look()
            self._state = "ready"
            self.up.set()
            await self.told()
        elif now - self._asked > _LOOK_S and not self.busy():
            async with ComfyClient(self.supervisor.url, timeout_s=10) as client:
                await client.queue_state()
        else:
            return
        self._silent, self._answered, self._asked = 0, now, now

    async def _is_down(self, error: Exception) -> None:
        """ComfyUI did not answer: its process ended, or it still starts, or somebody else's is away."""
        if not await asyncio.to_thread(self.supervisor.alive):
            self.up.clear()
            self._state = "restarting"
            await self._wait("ComfyUI ended; see its log", str(error))
            self._answered = time.monotonic()
        elif self._state == "ready" and self._silent >= 2:
            self.up.clear()
            self._state = "unreachable"
            log.error("ComfyUI does not answer", extra={"problem": str(error)[:300]})
            await self.told()
        elif not self.up.is_set() and time.monotonic() - self._answered > self.settings.start_s:
            self._answered = time.monotonic()
            await asyncio.to_thread(self.supervisor.kill)  # it hangs, with nothing of ours

    async def _wait(self, why: str, problem: str) -> None:
        """Wait before ComfyUI is started anew, each time longer."""
        longest = self.settings.restart_pause_most_s
        self._pause_s = min(longest, max(self.settings.restart_pause_s, 2 * self._pause_s))
        log.error(why, extra={"problem": problem[:300], "pause": self._pause_s})
        await self.told()
        await asyncio.sleep(self._pause_s)

    async def _look(self) -> None:
        """Ask ComfyUI what it is and has, and when in doubt to compute. Raises EngineError while it does not answer."""
        before = self.info, self.workflows
        async with ComfyClient(self.supervisor.url, timeout_s=60) as client:
            stats = await client.system_stats()
            self.workflows = await runnable(client, every_workflow())
            problem = await probe(client, _PROBE_S) if self._curing else ""
        if problem:
            log.error("the probe failed", extra={"problem": problem[:300]})
        elif self._curing:
            self._faults = _FAULTS - 1  # until a job goes well: the probe may not need what is broken
        self._curing = False
        system = stats.get("system", {})
        self.info = {
            "host": platform.node(),
            "comfyui": system.get("comfyui_version", ""),
            "devices": [str(device.get("name", "")) for device in stats.get("devices", [])],
        }
        if (self.info, self.workflows) == before:
            return  # it is asked again and again while it lacks model files
        if _is_old(str(self.info["comfyui"])):
            log.warning("this ComfyUI lacks security fixes of 0.28; keep it on loopback", extra=self.info)
        if not self.workflows:
            log.error("this ComfyUI has the model files of no workflow; wan-flf2v status says what is missing")
