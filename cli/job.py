"""Run one shipped workflow on a ComfyUI: upload, queue, follow, fetch, save."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engine.client import ComfyClient, OutputFile, outputs_of
from ..engine.errors import EngineError, JobFailed, Refused
from ..workflows import Bindings
from ..workflows.fields import Value
from ..workflows.models import model_files
from .errors import CliError
from .progress import JobProgress

POLL_S = 0.5
MEMORY_ADVICE = "Lower the size (71_widthx71_height), the frames (67_length) or start ComfyUI with --lowvram."


@dataclass(frozen=True)
class Job:
    """A checked request: field values with the two pictures as local files."""

    bindings: Bindings
    values: Mapping[str, Value]
    first: Path
    last: Path

    def model_files(self) -> list[tuple[str, str]]:
        """The (folder, name) of every model file that it needs."""
        return self.bindings.model_files()

    async def run(self, url: str, out: Path) -> None:
        """Run it on the ComfyUI at ``url``."""
        await run_job(url, self, out)


async def run_job(url: str, job: Job, out: Path) -> None:
    """Make the video on the ComfyUI at ``url`` and save it at ``out``.

    A cancellation interrupts the job there. Raises CliError or EngineError with one clear line.
    """
    async with ComfyClient(url) as client:
        await client.system_stats()
        await run_on(client, job, out)


async def run_on(client: ComfyClient, job: Job, out: Path, prompt_id: str | None = None) -> None:
    """Make the video on this ComfyUI, or collect the one of ``prompt_id`` where it has that job, and save it at ``out``."""
    graph, steps = await graph_on(client, job), int(job.values["57_steps"])
    files = await run_graph(client, graph, job.bindings.output_node, steps=steps, prompt_id=prompt_id)
    save_file(out, await client.fetch(files[0]))


async def graph_on(client: ComfyClient, job: Job) -> dict[str, Any]:
    """The job's graph, with its pictures on this ComfyUI."""
    bindings = job.bindings
    uploaded = {
        bindings.first_image: await client.upload_image(job.first),
        bindings.last_image: await client.upload_image(job.last),
    }
    return bindings.apply({**job.values, **uploaded})


async def run_graph(
    client: ComfyClient,
    graph: Mapping[str, Any],
    node: str,
    *,
    steps: int,
    metadata: Mapping[str, Any] | None = None,
    prompt_id: str | None = None,
) -> list[OutputFile]:
    """Run a graph with progress; returns the files, at least one, that its node ``node``, or what it became, saved.

    With a ``prompt_id`` that ComfyUI knows, that job is followed and nothing is queued.
    """
    with JobProgress(graph, steps) as progress:
        events = asyncio.create_task(_follow(client, progress))
        await asyncio.sleep(0)
        try:
            if prompt_id is None or await client.where(prompt_id) == "unknown":
                prompt_id = await _queue(client, graph, metadata, prompt_id)
            record = await _wait(client, prompt_id, progress)
            files = [file for file in _outputs(record, graph) if file.node.split(".")[0] == node]
        finally:
            events.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await events
    if not files:
        raise CliError("the job ended without a video; see ComfyUI's log.")
    return files


async def _follow(client: ComfyClient, progress: JobProgress) -> None:
    async for message in client.events():
        data = message.get("data")
        if isinstance(data, dict):
            progress.message(str(message.get("type")), data)


async def _queue(
    client: ComfyClient, graph: Mapping[str, Any], metadata: Mapping[str, Any] | None, prompt_id: str | None
) -> str:
    try:
        return await client.queue(graph, metadata=metadata, prompt_id=prompt_id)
    except Refused as error:
        raise CliError(_refusal(error, graph)) from None


async def _wait(client: ComfyClient, prompt_id: str, progress: JobProgress) -> dict[str, Any]:
    try:
        while True:
            record = await client.history(prompt_id)
            if record is not None:
                return record
            running, pending = await client.queue_state()
            if prompt_id in pending:
                before = pending.index(prompt_id) + len(running)
                progress.phase(f"Queued, {before} before" if before else "Queued")
            elif prompt_id not in running and await client.history(prompt_id) is None:
                raise EngineError("ComfyUI has lost the job: it was deleted from the queue, or ComfyUI was restarted.")
            progress.tick()
            await asyncio.sleep(POLL_S)
    except asyncio.CancelledError:
        await client.interrupt(prompt_id)
        raise


def _outputs(record: Mapping[str, Any], graph: Mapping[str, Any]) -> list[OutputFile]:
    try:
        return outputs_of(record)
    except JobFailed as error:
        title = _title(graph, error.node)
        first_line = str(error).splitlines()[0]
        if "OutOfMemory" in error.kind or "out of memory" in first_line.lower():
            raise CliError(f"{title}: the GPU's memory ran out. {MEMORY_ADVICE}") from None
        raise CliError(f"{title}: {first_line}") from None


def _title(graph: Mapping[str, Any], node: str | None) -> str:
    """The node's title, also for a node that a composite node expanded to ("57.0.0.high" belongs to 57)."""
    owner = (node or "").split(".")[0]
    data = graph.get(owner)
    return f"{data['_meta']['title']} (node {owner})" if data else f"node {node}"


def _refusal(error: Refused, graph: Mapping[str, Any]) -> str:
    """One line for ComfyUI's node errors; a model file that is not there says where it belongs and where to get it."""
    missing, other = [], []
    for node, answer in error.node_errors.items():
        for item in answer.get("errors", []) if isinstance(answer, dict) else []:
            received = str(item.get("extra_info", {}).get("received_value", ""))
            if item.get("type") == "value_not_in_list" and received in model_files():
                missing.append(model_files()[received].advice())
            else:
                other.append(f"{_title(graph, node)}: {item.get('message')} {item.get('details', '')}".strip())
    if missing:
        return "this ComfyUI lacks model files. " + "; ".join(dict.fromkeys(missing))
    if other:
        return "; ".join(other)
    if "WanFLF2V" in str(error) or "does not exist" in str(error):
        return "this ComfyUI does not have the Wan FLF2V nodes. Install the pack in its custom_nodes folder."
    return str(error)


def save_file(out: Path, video: bytes | Path) -> None:
    """Write a fetched video, or copy a file; it gets its name when it is whole. Raises CliError."""
    partial = out.with_name(out.name + ".partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(video, Path):
            shutil.copyfile(video, partial)
        else:
            partial.write_bytes(video)
        partial.replace(out)
    except OSError as error:
        partial.unlink(missing_ok=True)
        kept = f" It is kept as {video}." if isinstance(video, Path) else ""
        raise CliError(f"the video could not be written to {out}: {error.strerror}.{kept}") from None
