"""One attempt at a job on one ComfyUI: stage the pictures, submit, wait, have the video collected."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ...engine.client import ComfyClient
from ...engine.errors import EngineError, Refused, Unreachable
from ...workflows import Bindings
from ..assets import AssetStore
from ..attempts import AttemptStore, Claim
from ..database import Database, patiently
from ..examples import example_bytes
from ..jobs import SAFETY, JobStore
from ..settings import Settings
from ..tables import Job
from ..workers import Measured
from .collect import Checker, Collector, NotCollected
from .comfy import Outcome, outcome_of, refusal, where_is
from .progress import DECODING, PromptProgress
from .supervisor import Supervisor

_UNKNOWN = 2  # times in a row that ComfyUI must not know a prompt before it counts as lost
_CANCELLED = "Cancelled by the client."
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ended:
    """How an attempt ended: ``kind`` names it for the counts, ``fault`` says that this machine is to blame."""

    kind: Literal["succeeded", "failed", "cancelled", "lost", "memory", "machine", "timeout", "fenced"]
    why: str = ""

    @property
    def fault(self) -> bool:
        """Whether this worker should doubt its ComfyUI."""
        return self.kind in ("machine", "timeout")


class Runner:
    """Makes attempts, one at a time; ``current`` is the prompt whose progress the websocket tells."""

    def __init__(
        self,
        worker: str,
        settings: Settings,
        database: Database,
        supervisor: Supervisor,
        checkers: Sequence[Checker] = (),
    ) -> None:
        self.worker, self.settings, self.supervisor = worker, settings, supervisor
        self.jobs, self.assets = JobStore(database), AssetStore(database, settings.data)
        self.attempts = AttemptStore(database, self.jobs.queue, settings.attempts)
        self.collector, self.measured = Collector(self.assets, checkers), Measured()
        # ComfyUI sends a prompt's progress to the socket of the client id that queued it.
        self.client_id = uuid.uuid4().hex
        self.current: PromptProgress | None = None
        self.claim: Claim | None = None
        self.staged: list[str] = []

    async def make(self, claim: Claim) -> Ended:
        """Make an attempt, and end its job or give it back to the queue."""
        self.claim, self.staged = claim, []
        try:
            async with ComfyClient(self.supervisor.url) as client:
                client.client_id = self.client_id
                ended = await self._make(client, claim)
                await self._tidy(client, claim)
        except EngineError as error:
            ended = Ended("lost", str(error))
        except Exception as error:
            log.exception("an attempt failed here", extra={"job": claim.job})
            ended = Ended("lost", f"{type(error).__name__} in the worker")
        finally:
            self.current = self.claim = None
        if ended.kind in ("lost", "memory", "machine", "timeout"):
            log.warning("an attempt was lost", extra={"job": claim.job, "attempt": claim.attempt, "reason": ended.why})
            if not await patiently(self.attempts.release, claim, ended.why):
                ended = Ended("fenced")
        self.measured.count(ended.kind)
        return ended

    async def _make(self, client: ComfyClient, claim: Claim) -> Ended:
        job = await self._job(claim)
        if job is None:
            return Ended("fenced")
        waited, age = await patiently(self.attempts.times, claim)
        graph = Bindings.load(job.workflow).graph
        self.current = PromptProgress(claim.prompt_id, graph, Bindings.load(job.workflow).clips(job.values))
        if not claim.resumed:
            if claim.attempt == 1:
                self.measured.time("wait", waited)
            ended = await self._submit(client, claim, job)
            if ended is not None:
                return ended
        return await self._poll(client, claim, job, self.current, time.monotonic() - age)

    async def _submit(self, client: ComfyClient, claim: Claim, job: Job) -> Ended | None:
        """Give ComfyUI the prompt; None when it may have it."""
        try:
            graph = await self._graph(client, job)
            await client.queue(graph, prompt_id=claim.prompt_id)
        except Refused as error:
            said = refusal(error, Bindings.load(job.workflow).graph)
            if said.state == "machine":
                return Ended("machine", said.error)
            return await self._finish(claim, "failed", said.error)
        except MissingPicture as error:
            return await self._finish(claim, "failed", str(error))
        except Unreachable:  # its fate is unknown: the polling finds out by the prompt's id
            log.warning("a submit was not answered", extra={"job": claim.job})
        return None

    async def _poll(self, client: ComfyClient, claim: Claim, job: Job, progress: PromptProgress, began: float) -> Ended:
        settings, limit_s = self.settings, self.settings.job_timeout_of(job.workflow)
        unknown, stopping, reachable, found = 0, 0.0, time.monotonic(), not claim.resumed
        while True:
            word = await patiently(self.attempts.beat, claim, progress.stage, progress.value)
            if word == "fenced":
                await _quietly(client.interrupt(claim.prompt_id))
                return Ended("fenced")
            late = time.monotonic() - began > limit_s
            try:
                if word == "cancel" or late:
                    stopping = stopping or time.monotonic()
                    # Sent again at every poll: ComfyUI forgets an interrupt that comes just before a prompt starts.
                    await client.interrupt(claim.prompt_id)
                    if time.monotonic() - stopping > settings.cancel_grace_s:
                        log.warning("ComfyUI ignored an interrupt; it is killed", extra={"job": claim.job})
                        await asyncio.to_thread(self.supervisor.kill)
                        return await self._stopped(claim, word == "cancel", limit_s)
                where = await where_is(client, claim.prompt_id)
                reachable = time.monotonic()
            except Unreachable:
                if not await asyncio.to_thread(self.supervisor.alive):
                    return Ended("lost", "ComfyUI's process ended")
                if time.monotonic() - reachable > settings.unreachable_s:
                    await asyncio.to_thread(self.supervisor.kill)
                    return Ended("lost", "ComfyUI did not answer any more")
                await asyncio.sleep(settings.poll_s)
                continue
            if where != "unknown" and not found:  # after an orderly stop: from here on a loss counts again
                await patiently(self.attempts.mark_stopping, claim, False)
                found = True
            if where == "ended" and (record := await client.history(claim.prompt_id)) is not None:
                self.measured.time("run", time.monotonic() - began)
                self.measured.time("decode", progress.spent.get(DECODING, 0.0))
                outcome = outcome_of(record, Bindings.load(job.workflow).graph)
                if outcome.state == "cancelled" and (word == "cancel" or late):
                    return await self._stopped(claim, word == "cancel", limit_s)
                return await self._judge(client, claim, job, record, outcome)
            unknown = unknown + 1 if where == "unknown" else 0
            if unknown >= _UNKNOWN:
                if stopping:
                    return await self._stopped(claim, word == "cancel", limit_s)
                return Ended("lost", "ComfyUI does not know the prompt any more")
            if where == "waiting":
                progress.stage = "Waiting for ComfyUI"
            await asyncio.sleep(settings.poll_s)

    async def _stopped(self, claim: Claim, cancelled: bool, limit_s: float) -> Ended:
        """The end of a prompt that was told to stop: by the client, or at its time limit."""
        if cancelled:
            return await self._finish(claim, "cancelled", _CANCELLED)
        text = f"The job took longer than {limit_s:g} s, this gateway's limit for it (--job-timeout)."
        if claim.attempt == 1:  # a GPU that hangs looks like a long job: another worker tells which it was
            return Ended("timeout", text)
        return await self._finish(claim, "failed", text)

    async def _judge(
        self, client: ComfyClient, claim: Claim, job: Job, record: Mapping[str, Any], outcome: Outcome
    ) -> Ended:
        if outcome.state == "out of memory" and claim.attempt == 1:
            await _quietly(client.free())
            return Ended("memory", "the GPU's memory ran out")
        if outcome.state == "machine":
            return Ended("machine", outcome.error)
        if outcome.state != "succeeded":
            return await self._finish(claim, "failed", outcome.error)
        if await self._job(claim) is None:
            return Ended("fenced")
        began = time.monotonic()
        try:
            outputs = await self.collector.collect(client, job, record)
        except NotCollected as error:
            if not await asyncio.to_thread(self.supervisor.alive):
                return Ended("lost", "ComfyUI's process ended before its video was fetched")
            return await self._finish(claim, "failed", str(error))
        self.measured.time("fetch", time.monotonic() - began)
        if not outputs:
            return await self._finish(claim, "failed", "The job ended without a video; see ComfyUI's log.")
        return await self._finish(claim, "succeeded", "", outputs)

    async def _finish(
        self, claim: Claim, state: Literal["succeeded", "failed", "cancelled"], error: str, outputs: Any = ()
    ) -> Ended:
        if await patiently(self.attempts.finish, claim, state, outputs=outputs, error=error):
            return Ended(state, error)
        await patiently(self.assets.remove, [str(output["asset"]) for output in outputs])
        return Ended("fenced")

    async def _tidy(self, client: ComfyClient, claim: Claim) -> None:
        """Leave nothing of a job in a ComfyUI that is ours: its pictures, its video, its graph with the prompt."""
        try:
            if await asyncio.to_thread(self.supervisor.clean, claim.job, self.staged):
                await _quietly(client.forget(claim.prompt_id))  # its history ends with its process
        except OSError as error:
            log.warning("a job's files were not all deleted", extra={"job": claim.job, "problem": str(error)[:300]})

    async def _job(self, claim: Claim) -> Job | None:
        """The job, if this attempt is still the one that counts."""
        if await patiently(self.attempts.check, claim) == "fenced":
            return None
        return await patiently(self.jobs.get, claim.job)

    async def _graph(self, client: ComfyClient, job: Job) -> dict[str, Any]:
        bindings = Bindings.load(job.workflow)
        values = {name: value for name, value in job.values.items() if name != SAFETY}
        # What a storyboard's parts leave in ComfyUI goes with the job, so its pictures are no other job's by their names.
        own = f"flf2v_{job.id}_{job.attempt}_" if bindings.storyboard else ""
        pictures = bindings.pictures(values)
        staged = {name: await self._stage(client, ref, own) for name, ref in pictures.items()}
        graph = bindings.apply(bindings.with_pictures(values, staged))
        graph[bindings.output_node]["inputs"]["filename_prefix"] = f"gateway/{job.id}_{job.attempt}"
        return graph

    async def _stage(self, client: ComfyClient, ref: str, own: str) -> str:
        """Put a picture into ComfyUI's input folder; its name there, which begins with ``own``."""
        kind, _, name = ref.partition(":")
        if kind == "example":
            staged = await client.upload_bytes(example_bytes(name), own + name)
        else:
            asset = await patiently(self.assets.get, name)
            if asset is None or not asset.complete:
                raise MissingPicture("A picture of this job is not stored any more.")
            data = await patiently(self.assets.load, asset)
            staged = await client.upload_bytes(data, f"{own or 'flf2v_'}{asset.id}.png")
        if own or kind != "example":  # an example stays for the next job
            self.staged.append(staged)
        return staged


class MissingPicture(EngineError):
    """A job's picture is gone."""


async def _quietly(call: Any) -> None:
    try:
        await call
    except EngineError:
        return
