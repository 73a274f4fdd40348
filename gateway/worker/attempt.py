"""One attempt at a job on one ComfyUI: stage the pictures, submit, wait, collect the video."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import sqlalchemy.exc

from ...engine.client import ComfyClient, outputs_of
from ...engine.errors import EngineError, Refused, Unreachable
from ...workflows import Bindings
from ..assets import AssetStore
from ..attempts import AttemptStore
from ..examples import example_bytes
from ..jobs import JobStore
from ..records import Claim, Job
from ..settings import Timing
from .comfy import Prompts, outcome_of, refusal
from .progress import PromptProgress
from .safety import SafetyCheckers
from .supervisor import Supervisor

T = TypeVar("T")
Ended = Literal["over", "lost", "fenced"]
_UNKNOWN = 2  # times in a row that ComfyUI must not know a prompt before it counts as lost
_MEDIA = {".mp4": "video/mp4", ".webm": "video/webm", ".webp": "image/webp", ".png": "image/png"}
log = logging.getLogger(__name__)


@dataclass
class Runner:
    """Makes attempts. Holds what they all need; ``current`` is the prompt whose progress the websocket tells."""

    worker: str
    jobs: JobStore
    attempts: AttemptStore
    assets: AssetStore
    supervisor: Supervisor
    timing: Timing
    safety: SafetyCheckers
    # ComfyUI sends a prompt's progress to the socket of the client id that queued it.
    client_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    current: PromptProgress | None = None
    killed: int = 0

    async def submit(self, claim: Claim) -> None:
        """Give ComfyUI the prompt, unless it has it already: it would run the same id twice."""
        job = await self._job(claim)
        if job is None:
            return  # ``wait`` will say so
        async with ComfyClient(self.supervisor.url) as client:
            client.client_id = self.client_id
            if await Prompts(client).where(claim.prompt_id) != "unknown":
                return
            try:
                graph = await self._graph(client, job)
                await client.queue(graph, prompt_id=claim.prompt_id)
            except Refused as error:
                text = refusal(error, error.node_errors, Bindings.load(job.workflow).graph)
                await self.stored(self.attempts.finish, claim, "failed", error=text)
            except MissingPicture as error:
                await self.stored(self.attempts.finish, claim, "failed", error=str(error))

    async def wait(self, claim: Claim) -> Ended:
        """Wait for the prompt's end and put the result into the job. ``lost``: the prompt is gone, try anew."""
        if claim.worker != self.worker:
            return await self._gone(claim, False, f"its worker {claim.worker} died")
        job = await self._job(claim)
        if job is None:
            return "fenced"
        graph = Bindings.load(job.workflow).graph
        progress = self.current = PromptProgress(claim.prompt_id, graph)
        try:
            async with ComfyClient(self.supervisor.url) as client:
                return await self._poll(client, claim, graph, progress)
        finally:
            self.current = None

    async def _poll(
        self, client: ComfyClient, claim: Claim, graph: Mapping[str, Any], progress: PromptProgress
    ) -> Ended:
        prompts, unknown, asked, reachable = Prompts(client), 0, 0.0, time.monotonic()
        while True:
            word = await self.stored(self.attempts.beat, claim, progress.stage, progress.value)
            if word == "fenced":
                await _quietly(client.interrupt(claim.prompt_id))
                return "fenced"
            cancelling = word == "cancel"
            try:
                if cancelling:
                    asked = asked or time.monotonic()
                    # Sent again at every poll: ComfyUI forgets an interrupt that comes just before a prompt starts.
                    await client.interrupt(claim.prompt_id)
                    if time.monotonic() - asked > self.timing.cancel_grace_s:
                        return await self._kill(claim)
                where = await prompts.where(claim.prompt_id)
                reachable = time.monotonic()
            except Unreachable:
                if not await asyncio.to_thread(self.supervisor.alive):
                    return await self._gone(claim, cancelling, "ComfyUI's process ended")
                if time.monotonic() - reachable > self.timing.unreachable_s:
                    await asyncio.to_thread(self.supervisor.kill)
                    return await self._gone(claim, cancelling, "ComfyUI did not answer any more")
                await asyncio.sleep(self.timing.poll_s)
                continue
            if where == "ended":
                record = await client.history(claim.prompt_id)
                if record is not None:
                    return await self._collect(client, claim, graph, record, cancelling)
            unknown = unknown + 1 if where == "unknown" else 0
            if unknown >= _UNKNOWN:
                return await self._gone(claim, cancelling, "ComfyUI does not know the prompt any more")
            if where == "waiting":
                progress.stage = "Waiting for ComfyUI"
            await asyncio.sleep(self.timing.poll_s)

    async def _collect(
        self, client: ComfyClient, claim: Claim, graph: Mapping[str, Any], record: Mapping[str, Any], cancelling: bool
    ) -> Ended:
        outcome = outcome_of(record, graph)
        if outcome.state == "out of memory" and claim.attempt == 1:
            await _quietly(client.free())
            return await self._gone(claim, cancelling, "the GPU's memory ran out")
        if outcome.state != "succeeded":
            state: Literal["cancelled", "failed"] = "cancelled" if cancelling else "failed"
            text = "Cancelled by the client." if cancelling else outcome.error
            await self.stored(self.attempts.finish, claim, state, error=text)
            return "over"
        job = await self._job(claim)
        if job is None:
            return "fenced"
        outputs = []
        for file in outputs_of(record):
            if file.type != "output":
                continue
            data = await client.fetch(file)
            ending = "." + file.filename.rsplit(".", 1)[-1].lower()
            flagged = await asyncio.to_thread(self.safety.check, data) if job.values.get("safety_checker") else None
            asset = await self.stored(
                self.assets.put,
                data,
                owner=job.owner,
                job=job.id,
                filename=file.filename,
                media_type=_MEDIA.get(ending, "application/octet-stream"),
            )
            outputs.append(
                {
                    "asset": asset.id,
                    "node": file.node,
                    "channel": _channel(record, file.node, file.filename),
                    "filename": file.filename,
                    "media_type": asset.media_type,
                    "flagged": flagged,
                }
            )
        if not outputs:
            text = "The job ended without a video; see ComfyUI's log."
            await self.stored(self.attempts.finish, claim, "failed", error=text)
            return "over"
        if not await self.stored(self.attempts.finish, claim, "succeeded", outputs=outputs):
            await self.stored(self.assets.remove, [str(output["asset"]) for output in outputs])
            return "fenced"
        return "over"

    async def _gone(self, claim: Claim, cancelling: bool, why: str) -> Ended:
        if cancelling:
            await self.stored(self.attempts.finish, claim, "cancelled", error="Cancelled by the client.")
            return "over"
        log.warning("an attempt was lost", extra={"job": claim.job, "attempt": claim.attempt, "reason": why})
        await self.stored(self.attempts.close, claim, f"lost: {why}")
        return "lost"

    async def _kill(self, claim: Claim) -> Ended:
        """The prompt ignores its cancel: end the process, where it is ours."""
        if await asyncio.to_thread(self.supervisor.kill):
            self.killed += 1
            log.warning("killed a ComfyUI that ignored a cancel", extra={"job": claim.job})
        return await self._gone(claim, True, "killed")

    async def stored(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run a store's method in a thread, again and again while the database is away."""
        while True:
            try:
                return await asyncio.to_thread(function, *args, **kwargs)
            except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.TimeoutError) as error:
                log.error("the database failed; tried again", extra={"problem": type(error).__name__})
                await asyncio.sleep(1)

    async def _job(self, claim: Claim) -> Job | None:
        """The job, if this attempt is still the one that counts."""
        if claim.worker != self.worker or await self.stored(self.attempts.check, claim) == "fenced":
            return None
        return await self.stored(self.jobs.get, claim.job)

    async def _graph(self, client: ComfyClient, job: Job) -> dict[str, Any]:
        bindings = Bindings.load(job.workflow)
        values = {name: value for name, value in job.values.items() if name != "safety_checker"}
        for name in (bindings.first_image, bindings.last_image):
            values[name] = await self._stage(client, str(values[name]))
        graph = bindings.apply(values)
        graph[bindings.output_node]["inputs"]["filename_prefix"] = f"gateway/{job.id}_{job.attempt}"
        return graph

    async def _stage(self, client: ComfyClient, ref: str) -> str:
        """Put a picture into ComfyUI's input folder; its name there."""
        kind, _, name = ref.partition(":")
        if kind == "example":
            return await client.upload_bytes(example_bytes(name), name)
        asset = await self.stored(self.assets.get, name)
        if asset is None or not asset.complete:
            raise MissingPicture("A picture of this job is not stored any more.")
        return await client.upload_bytes(await self.stored(self.assets.load, asset), f"flf2v_{asset.id}.png")


class MissingPicture(EngineError):
    """A job's picture is gone."""


def _channel(record: Mapping[str, Any], node: str, filename: str) -> str:
    for channel, items in record.get("outputs", {}).get(node, {}).items():
        if isinstance(items, list) and any(
            isinstance(item, dict) and item.get("filename") == filename for item in items
        ):
            return str(channel)
    return "images"


async def _quietly(call: Any) -> None:
    try:
        await call
    except EngineError:
        return
