"""Rows that are measured on a running ComfyUI: edits of a prompt and of cfg_low, and two-stage sampling."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..engine.client import ComfyClient
from ..engine.errors import EngineError
from ..engine.process import ComfyServer
from .graphs import CONDITIONING, CORE, OURS, conditioning_only, load, sampling_only
from .jobs import Timed, run_timed
from .rows import Row

PICTURES = Path(__file__).parents[1] / "cli" / "pictures"
SIZE = {"width": 160, "height": 96, "length": 49}
STEPS = 20
Say = Callable[[str], None]


async def server_rows(server: ComfyServer, rounds: int, say: Say) -> list[Row]:
    """All rows of a running server; each round runs ours and core's one after the other."""
    async with ComfyClient(server.url) as client:
        first, last = [await client.upload_image(PICTURES / name) for name in ("first.png", "last.png")]
        graphs = {name: load(name, first, last, **SIZE) for name in (OURS, CORE)}
        return [
            *await _conditioning_edits(server, graphs, rounds, say),
            *await _sampling(server, graphs, rounds, say),
            Row("import of the pack: ComfyUI's own figure", "", "s", [_import_time(server)], budget=0.15),
        ]


async def _conditioning_edits(server: ComfyServer, graphs: dict[str, Any], rounds: int, say: Say) -> list[Row]:
    """An edit is timed right after the same graph without it: ComfyUI keeps the results of one graph at a time."""
    prompts: dict[str, list[Timed]] = {OURS: [], CORE: []}
    cut = {name: conditioning_only(graph) for name, graph in graphs.items()}
    for turn in range(rounds):
        say(f"edits of the conditioning, round {turn + 1} of {rounds}")
        for name, graph in cut.items():
            await run_timed(server.url, graph)
            graph["6"]["inputs"]["text"] = f"a puppy, take {turn}"
            prompts[name].append(await run_timed(server.url, graph))

    ours, theirs = ([job.seconds_in(CONDITIONING) for job in prompts[name]] for name in (OURS, CORE))
    encodes = sum(CONDITIONING in job.progressed for job in prompts[OURS]) / rounds  # only an encode shows progress
    return [
        Row("prompt edit: VAE encodes", "core", "", [encodes], [1.0], 0.0),
        Row("prompt edit: time in conditioning", "core", "s", ours, theirs, 0.1, _size()),
    ]


def _import_time(server: ComfyServer) -> float:
    """The seconds that ComfyUI's log gives for this pack under "Import times for custom nodes"."""
    found = re.search(
        rf"([\d.]+) seconds.*: .*{re.escape(server.pack_name)}$", server.log_path.read_text(), re.MULTILINE
    )
    if found is None:
        raise EngineError(f"ComfyUI's log says nothing of the import of {server.pack_name}: {server.log_path}")
    return float(found[1])


def _size() -> str:
    return "{width}×{height}×{length}".format(**SIZE)


async def _sampling(server: ComfyServer, graphs: dict[str, Any], rounds: int, say: Say) -> list[Row]:
    runs: dict[str, list[Timed]] = {OURS: [], CORE: []}
    edits: dict[str, list[Timed]] = {OURS: [], CORE: []}
    equal = []
    for turn in range(rounds + 1):
        say(f"two-stage sampling, round {turn} of {rounds}" if turn else "two-stage sampling, warming up")
        for name in (OURS, CORE) if turn % 2 else (CORE, OURS):
            await run_timed(
                server.url, sampling_only(graphs[name], 2, turn, 4.0)
            )  # its frames and prompt are then kept
            job = await run_timed(server.url, sampling_only(graphs[name], STEPS, turn, 4.0))
            edit = await run_timed(server.url, sampling_only(graphs[name], STEPS, turn, 3.0))
            if turn:
                runs[name].append(job)
                edits[name].append(edit)
        equal.append(_latents(server, "57", turn) == _latents(server, "58", turn))
    stages = {name: [job.seconds_in("57") + job.seconds_in("58") for job in runs[name]] for name in runs}
    whole = {name: [job.seconds for job in runs[name]] for name in runs}
    again = {
        name: [sum(job.ran(node) for job in edits[name]) / rounds] for name, node in ((OURS, "high"), (CORE, "57"))
    }
    bits = "latents bit-identical" if all(equal) else "latents NOT bit-identical"
    what = "cfg_low edit: high-noise stages run again"
    return [
        Row("two-stage sampling", "core", "s", stages[OURS], stages[CORE], 1.02, f"{STEPS} steps, {bits}"),
        Row("two-stage sampling: the whole job", "core", "s", whole[OURS], whole[CORE]),
        Row(what, "core", "", again[OURS], again[CORE], 0.0),
    ]


def _latents(server: ComfyServer, node: str, seed: int) -> list[bytes]:
    """The latents that were saved for this seed, in order; their files' metadata (the graph) left out."""
    latents = []
    for path in sorted((server.home / "output" / "bench").glob(f"{node}_{seed}_*.latent")):
        data = path.read_bytes()
        latents.append(data[8 + int.from_bytes(data[:8], "little") :])
    return latents
