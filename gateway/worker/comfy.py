"""What a ComfyUI is asked: where a prompt stands, which workflows it can run, whether its device still computes."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Mapping
from typing import Any, Literal

from ...engine.client import ComfyClient
from ...workflows import Bindings
from ...workflows.bindings import MODEL_INPUTS
from .faults import outcome_of

Where = Literal["waiting", "running", "ended", "unknown"]


async def where_is(client: ComfyClient, prompt_id: str) -> Where:
    """Where a prompt stands. Polling is the truth; a websocket may be dead without a sign. Raises Unreachable."""
    if await client.history(prompt_id) is not None:
        return "ended"
    running, waiting = await client.queue_state()
    if prompt_id in running:
        return "running"
    if prompt_id in waiting:
        return "waiting"
    # It may have ended between the two questions.
    return "unknown" if await client.history(prompt_id) is None else "ended"


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
