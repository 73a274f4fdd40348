"""Where a prompt stands, asked in the way that this ComfyUI knows: its jobs API, else history and queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ...engine.client import ComfyClient, raise_for_status
from ...engine.errors import EngineError, JobFailed, JobInterrupted
from ...workflows import Bindings
from ...workflows.bindings import MODEL_INPUTS

Where = Literal["waiting", "running", "ended", "unknown"]
_WHERE: Mapping[str, Where] = {
    "pending": "waiting",
    "in_progress": "running",
    "completed": "ended",
    "failed": "ended",
    "cancelled": "ended",
}


@dataclass
class Prompts:
    """Asks one ComfyUI about prompts. The polling is the truth; a websocket may be dead without a sign."""

    client: ComfyClient
    jobs_api: bool | None = None  # None: not tried yet

    async def where(self, prompt_id: str) -> Where:
        """Where a prompt stands. Raises Unreachable."""
        if await self.client.history(prompt_id) is not None:
            return "ended"
        if self.jobs_api is not False:
            job = await self.client.job(prompt_id)
            if job is not None:
                self.jobs_api = True
                return _WHERE.get(str(job.get("status")), "running")
            if self.jobs_api is None:
                self.jobs_api = await self.client.has_jobs()
        running, waiting = await self.client.queue_state()
        if prompt_id in running:
            return "running"
        if prompt_id in waiting:
            return "waiting"
        # It may have ended between the two questions.
        return "unknown" if await self.client.history(prompt_id) is None else "ended"


@dataclass(frozen=True)
class Outcome:
    """How a prompt ended."""

    state: Literal["succeeded", "failed", "cancelled", "out of memory"]
    error: str = ""


def outcome_of(record: Mapping[str, Any], graph: Mapping[str, Any]) -> Outcome:
    """How a prompt ended, from its history record; an error names the step in words."""
    try:
        raise_for_status(record)
    except JobInterrupted:
        return Outcome("cancelled", "The job was interrupted.")
    except JobFailed as error:
        top = (error.node or "").split(".")[0]
        title = graph.get(top, {}).get("_meta", {}).get("title", "ComfyUI")
        text = f"{title}: {str(error).splitlines()[0][:500]}"
        lower = f"{error.kind} {error}".lower()
        memory = "outofmemory" in lower or "out of memory" in lower or "allocation on device" in lower
        return Outcome("out of memory" if memory else "failed", text)
    return Outcome("succeeded")


async def runnable(client: ComfyClient, workflows: Mapping[str, Bindings]) -> list[str]:
    """The workflows whose nodes and model files this ComfyUI has. Raises EngineError."""
    info = await client.object_info()
    return [name for name, bindings in workflows.items() if _can_run(info, bindings.graph)]


def _can_run(info: Mapping[str, Any], graph: Mapping[str, Any]) -> bool:
    for node in graph.values():
        kind = node["class_type"]
        if kind not in info:
            return False
        for name in MODEL_INPUTS.get(kind, {}):
            if node["inputs"][name] not in _options(info[kind], name):
                return False
    return True


def _options(definition: Mapping[str, Any], name: str) -> list[str]:
    """A combo input's options, in the older and the newer form of a node definition."""
    for group in definition.get("input", {}).values():
        if isinstance(group, dict) and name in group:
            spec = group[name]
            if isinstance(spec[0], list):
                return [str(option) for option in spec[0]]
            return [str(option) for option in (spec[1] if len(spec) > 1 else {}).get("options", [])]
    return []


def refusal(error: EngineError, node_errors: Mapping[str, Any], graph: Mapping[str, Any]) -> str:
    """One line for a workflow that ComfyUI refused."""
    reasons = []
    for node, answer in node_errors.items():
        title = graph.get(str(node), {}).get("_meta", {}).get("title", f"node {node}")
        for item in (answer.get("errors") or []) if isinstance(answer, dict) else []:
            reasons.append(f"{title}: {item.get('message', '')} {item.get('details', '')}".strip())
    return f"ComfyUI refused the workflow: {'; '.join(reasons)[:800]}" if reasons else str(error)[:800]
