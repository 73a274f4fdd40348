"""What a ComfyUI can run, whether its device computes, and whether a failed prompt is the user's fault or the machine's."""

from __future__ import annotations

import asyncio
import random
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ...engine.client import ComfyClient, raise_for_status
from ...engine.errors import JobFailed, JobInterrupted, Refused
from ...workflows import Bindings
from ...workflows.bindings import MODEL_INPUTS

_MEMORY = re.compile(r"outofmemory|out of memory|allocation on device")
# A GPU or its driver, a model file that is missing or broken, a full disk. Raised by torch, safetensors, the system.
_MACHINE = re.compile(
    r"cuda error|cuda driver|cublas|cudnn|cusolver|nccl|hip error|hipblas|miopen|acceleratorerror|deferredcudacall"
    r"|device-side assert|no kernel image|not compiled with|nvml|no nvidia driver|mps backend|xpu error|level.zero"
    r"|safetensorerror|deserializing header|invalid load key|pytorchstreamreader|unpicklingerror"
    r"|filenotfounderror|no such file or directory|no space left on device|errno 28|input/output error|read-only file"
)


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
            options = spec[0] if isinstance(spec[0], list) else (spec[1] if len(spec) > 1 else {}).get("options", [])
            return [str(option) for option in options]
    return []


async def probe(client: ComfyClient, timeout_s: float) -> str:
    """Have the device compute something tiny; what went wrong, or an empty text."""
    picture = {"width": 32, "height": 32, "batch_size": 1, "color": random.randrange(1 << 24)}  # so that none is cached
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": picture},
        "2": {"class_type": "ImageBlur", "inputs": {"image": ["1", 0], "blur_radius": 2, "sigma": 1.0}},
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
    }
    prompt = str(uuid.uuid4())
    await client.queue(graph, prompt_id=prompt)
    deadline = time.monotonic() + timeout_s
    while (record := await client.history(prompt)) is None:
        if time.monotonic() > deadline:
            return f"a tiny prompt did not end in {timeout_s:g} s"
        await asyncio.sleep(0.1)
    await client.forget(prompt)
    return outcome_of(record, graph).error


@dataclass(frozen=True)
class Outcome:
    """How a prompt ended. ``machine``: this ComfyUI can't do it, another may."""

    state: Literal["succeeded", "failed", "cancelled", "out of memory", "machine"]
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
        if _MEMORY.search(lower):
            return Outcome("out of memory", text)
        return Outcome("machine" if _MACHINE.search(lower) else "failed", text)
    return Outcome("succeeded")


def refusal(error: Refused, graph: Mapping[str, Any]) -> Outcome:
    """What a refused workflow means: a model or node that this ComfyUI has not is the machine's fault."""
    reasons, machine = [], not error.node_errors
    for node, answer in error.node_errors.items():
        kind = graph.get(str(node), {}).get("class_type", "")
        title = graph.get(str(node), {}).get("_meta", {}).get("title", f"node {node}")
        for item in (answer.get("errors") or []) if isinstance(answer, dict) else []:
            reasons.append(f"{title}: {item.get('message', '')} {item.get('details', '')}".strip())
            machine |= (item.get("extra_info") or {}).get("input_name") in MODEL_INPUTS.get(kind, {})
    text = f"ComfyUI refused the workflow: {'; '.join(reasons)[:800]}" if reasons else str(error)[:800]
    return Outcome("machine" if machine else "failed", text)
