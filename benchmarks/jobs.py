"""Run graphs on one ComfyUI server and time its nodes by the messages that the server sends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..engine.client import ComfyClient, raise_for_status


@dataclass(frozen=True)
class Timed:
    """A finished job: seconds in all, (node id, seconds) in the order of execution, and who showed progress."""

    seconds: float
    nodes: list[tuple[str, float]]
    record: Mapping[str, Any]
    progressed: set[str]

    def seconds_in(self, node: str) -> float:
        """The seconds spent in a node and in what it expanded to."""
        return sum(spent for name, spent in self.nodes if name == node or name.startswith(f"{node}."))

    def ran(self, child: str) -> bool:
        """Whether a node of this id, or an expanded child of this name, was executed."""
        return any(name == child or name.rpartition(".")[2] == child for name, _ in self.nodes)


async def run_timed(url: str, graph: Mapping[str, Any]) -> Timed:
    """Queue the graph and follow it to its end. Raises EngineError's children when it fails.

    Each run is a client of its own: a server drops an id's connection when an earlier one of the same id ends.
    """
    nodes: list[tuple[str, float]] = []
    progressed: set[str] = set()
    started = previous = 0.0
    current: str | None = None
    async with ComfyClient(url) as client:
        events = client.events()
        await anext(events)  # the connection is up when the first status arrives
        prompt_id = await client.queue(graph)
        async for message in events:
            data = message.get("data", {})
            if message["type"] == "progress":
                progressed.add(str(data["node"]))
            if message["type"] != "executing" or data.get("prompt_id") != prompt_id:
                continue
            now = time.perf_counter()
            if current is not None:
                nodes.append((current, now - previous))
            started = started or now
            current, previous = data["node"], now
            if current is None:
                break
        while (record := await client.history(prompt_id)) is None:
            await asyncio.sleep(0.01)
    raise_for_status(record)
    return Timed(previous - started, nodes, record, progressed)
