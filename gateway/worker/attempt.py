"""Attempts at jobs on one ComfyUI: stage the pictures, submit, wait, have the video collected."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from ...engine.client import ComfyClient
from ...engine.errors import EngineError, JobFailed, Refused
from ...workflows import Bindings
from ...workflows.examples import FOLDER
from ..assets import AssetStore
from ..attempts import CANCELLED, AttemptStore, Claim
from ..database import Database, patiently
from ..jobs import SAFETY, JobStore
from ..settings import Settings
from ..tables import Job
from ..workers import Measured
from .collect import Checkers, Collector, NotCollected
from .comfy import outcome_of, refusal
from .progress import DECODING, PromptProgress
from .supervisor import STAGED, Supervisor

_UNKNOWN = 2  # times in a row that ComfyUI must not know a prompt before it counts as lost
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ended:
    """How an attempt ended: ``kind`` names it for the counts, ``fault`` says that this machine is to blame."""

    kind: Literal["succeeded", "failed", "cancelled", "lost", "memory", "machine", "timeout", "fenced"]
    why: str = ""

    @property
    def fault(self) -> bool:
        """Whether this worker should doubt its ComfyUI."""
        return self.kind in ("lost", "machine", "timeout")


class Runner:
    """Makes attempts, one at a time; ``current`` is the prompt whose progress the websocket tells."""

    def __init__(
        self, worker: str, settings: Settings, database: Database, supervisor: Supervisor, checkers: Checkers = ()
    ) -> None:
        self.worker, self.settings, self.supervisor = worker, settings, supervisor
        self.jobs, self.assets = JobStore(database), AssetStore(database, settings.data)
        self.attempts = AttemptStore(database, self.jobs.queue, settings.attempts)
        self.collector, self.measured = Collector(self.assets, checkers), Measured()
        # ComfyUI sends a prompt's progress to the socket of the client id that queued it.
        self.client_id = uuid.uuid4().hex
        self.current: PromptProgress | None = None
        self.claim: Claim | None = None

    async def make(self, claim: Claim) -> Ended:
        """Make an attempt, and end its job or give it back to the queue."""
        self.claim = claim
        try:
            async with ComfyClient(self.supervisor.url) as client:
                client.client_id = self.client_id
                ended = await self._make(client, claim)
                await self._tidy(client, claim)
        except Exception as error:
            log.exception("an attempt failed here", extra={"job": claim.job})
            ended = Ended("lost", f"{type(error).__name__} in the worker")
        finally:
            self.current = self.claim = None
        if ended.kind in ("lost", "memory", "machine", "timeout"):
            log.warning("an attempt was lost", extra={"job": claim.job, "attempt": claim.attempt, "reason": ended.why})
            if not await patiently(self.attempts.give_back, claim.ticket, claim.worker, ended.why):
                ended = Ended("fenced")
        self.measured.attempts[ended.kind] += 1
        return ended

    async def _make(self, client: ComfyClient, claim: Claim) -> Ended:
        job: Job | None = await patiently(self.jobs.get, claim.job)
        if job is None or not claim.counts_for(job):
            return Ended("fenced")
        age = await patiently(self.attempts.age, claim) if claim.resumed else 0.0
        if claim.attempt == 1 and not claim.resumed and job.started_at is not None:
            self.measured.time("wait", max(0.0, job.started_at - job.created_at))
        attempt = Attempt(self, client, claim, job, time.monotonic() - age)
        self.current = attempt.progress
        return (None if claim.resumed else await attempt.submit()) or await attempt.follow()

    async def _tidy(self, client: ComfyClient, claim: Claim) -> None:
        """Leave nothing of a job in a ComfyUI that is ours: its pictures, its video, its graph with the prompt."""
        try:
            if await asyncio.to_thread(self.supervisor.clean, claim.job):
                with suppress(EngineError):  # its history ends with its process
                    await client.forget(claim.prompt_id)
        except OSError as error:
            log.warning("a job's files were not all deleted", extra={"job": claim.job, "problem": str(error)[:300]})


class Attempt:
    """One attempt, which began at this time of the monotonic clock."""

    def __init__(self, runner: Runner, client: ComfyClient, claim: Claim, job: Job, began: float) -> None:
        self.runner, self.client, self.claim, self.job, self.began = runner, client, claim, job, began
        self.bindings, self.limit_s = Bindings.load(job.workflow), runner.settings.job_timeout_of(job.workflow)
        self.progress = PromptProgress(claim.prompt_id, self.bindings.graph, self.bindings.clips(job.values))

    async def submit(self) -> Ended | None:
        """Give ComfyUI the prompt; None when it may have it."""
        try:
            await self.client.queue(await self._graph(), prompt_id=self.claim.prompt_id)
        except Refused as error:
            said = refusal(error, self.bindings.graph)
            if said.state == "machine":
                return Ended("machine", said.error)
            return await self._finish("failed", said.error)
        except JobFailed as error:
            return await self._finish("failed", str(error))
        except EngineError as error:  # its fate is unknown: the polling finds out by the prompt's id
            log.warning("a submit was not answered", extra={"job": self.job.id, "problem": str(error)[:300]})
        return None

    async def follow(self) -> Ended:
        """Wait for the prompt's end and take what came out."""
        settings, supervisor, prompt_id = self.runner.settings, self.runner.supervisor, self.claim.prompt_id
        unknown, stopping, reachable, found = 0, 0.0, time.monotonic(), not self.claim.resumed
        while True:
            told = self.progress.stage, self.progress.value
            word = await patiently(self.runner.attempts.beat, self.claim, *told)
            if word == "fenced":
                with suppress(EngineError):
                    await self.client.interrupt(prompt_id)
                return Ended("fenced")
            late = time.monotonic() - self.began > self.limit_s
            try:
                if word == "cancel" or late:
                    stopping = stopping or time.monotonic()
                    # Sent again at every poll: ComfyUI forgets an interrupt that comes just before a prompt starts.
                    await self.client.interrupt(prompt_id)
                    if time.monotonic() - stopping > settings.cancel_grace_s:
                        log.warning("ComfyUI ignored an interrupt; it is killed", extra={"job": self.job.id})
                        await asyncio.to_thread(supervisor.kill)
                        return await self._stopped(word == "cancel")
                where = await self.client.where(prompt_id)
                record = await self.client.history(prompt_id) if where == "ended" else None
                reachable = time.monotonic()
            except EngineError:  # no answer, or a proxy's
                if not await asyncio.to_thread(supervisor.alive):
                    return Ended("lost", "ComfyUI's process ended")
                if time.monotonic() - reachable > settings.unreachable_s:
                    await asyncio.to_thread(supervisor.kill)
                    return Ended("lost", "ComfyUI did not answer any more")
                await asyncio.sleep(settings.poll_s)
                continue
            if where != "unknown" and not found:  # after an orderly stop: from here on a loss counts again
                await patiently(self.runner.attempts.mark_stopping, self.claim, False)
                found = True
            if record is not None:
                self.runner.measured.time("run", time.monotonic() - self.began)
                self.runner.measured.time("decode", self.progress.spent.get(DECODING, 0.0))
                if stopping and outcome_of(record, self.bindings.graph).state == "cancelled":
                    return await self._stopped(word == "cancel")
                return await self._judge(record)
            unknown = unknown + 1 if where == "unknown" else 0
            if unknown >= _UNKNOWN:
                if stopping:
                    return await self._stopped(word == "cancel")
                return Ended("lost", "ComfyUI does not know the prompt any more")
            if where == "waiting":
                self.progress.stage = "Waiting for ComfyUI"
            await asyncio.sleep(settings.poll_s)

    async def _stopped(self, cancelled: bool) -> Ended:
        """The end of a prompt that was told to stop: by the client, or at its time limit."""
        if cancelled:
            return await self._finish("cancelled", CANCELLED)
        text = f"The job took longer than {self.limit_s:g} s, this gateway's limit for it (--job-timeout)."
        if self.claim.attempt == 1:  # a GPU that hangs looks like a long job: another worker tells which it was
            return Ended("timeout", text)
        return await self._finish("failed", text)

    async def _judge(self, record: dict[str, Any]) -> Ended:
        outcome = outcome_of(record, self.bindings.graph)
        if outcome.state == "out of memory" and self.claim.attempt == 1:
            with suppress(EngineError):
                await self.client.free()
            return Ended("memory", "the GPU's memory ran out")
        if outcome.state == "machine":
            return Ended("machine", outcome.error)
        if outcome.state != "succeeded":
            return await self._finish("failed", outcome.error)
        began = time.monotonic()
        try:
            outputs = await self.runner.collector.collect(self.client, self.job, record)
        except NotCollected as error:
            if not await asyncio.to_thread(self.runner.supervisor.alive):
                return Ended("lost", "ComfyUI's process ended before its video was fetched")
            return await self._finish("failed", str(error))
        self.runner.measured.time("fetch", time.monotonic() - began)
        if not outputs:
            return await self._finish("failed", "The job ended without a video; see ComfyUI's log.")
        return await self._finish("succeeded", "", outputs)

    async def _finish(self, state: Literal["succeeded", "failed", "cancelled"], error: str, outputs: Any = ()) -> Ended:
        if await patiently(self.runner.attempts.finish, self.claim, state, error, outputs):
            return Ended(state, error)
        await patiently(self.runner.assets.remove, [str(output["asset"]) for output in outputs])
        return Ended("fenced")

    async def _graph(self) -> dict[str, Any]:
        values = {name: value for name, value in self.job.values.items() if name != SAFETY}
        pictures = self.bindings.pictures(values)
        staged = {name: await self._stage(ref) for name, ref in pictures.items()}
        graph = self.bindings.apply(self.bindings.with_pictures(values, staged))
        graph[self.bindings.output_node]["inputs"]["filename_prefix"] = f"gateway/{self.job.id}_{self.job.attempt}"
        return graph

    async def _stage(self, ref: str) -> str:
        """Put a picture into ComfyUI's input folder under a name of this job's; the name."""
        own, (kind, _, name) = f"{STAGED}{self.job.id}_{self.job.attempt}_", ref.partition(":")
        if kind == "example":
            # It stays for the next job. What a storyboard's parts leave in ComfyUI goes with the job: no other may use it.
            return await self.client.upload_image(FOLDER / name, name=(own if self.bindings.storyboard else "") + name)
        asset = await patiently(self.runner.assets.get, name)
        if asset is None or not asset.complete:
            raise JobFailed("A picture of this job is not stored any more.")
        data = await patiently(self.runner.assets.load, asset)
        return await self.client.upload_bytes(data, f"{own}{asset.id}.png")
