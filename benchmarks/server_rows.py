"""Rows that are measured on a running ComfyUI: edits of a prompt, of a frame and of cfg_low, and two-stage sampling."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..engine.client import ComfyClient
from ..engine.process import ComfyServer
from .graphs import CONDITIONING, CORE, OURS, conditioning_only, load, sampling_only
from .jobs import Timed, run_timed
from .rows import Row

PICTURES = Path(__file__).parents[1] / "cli" / "pictures"
SIZE = {"width": 160, "height": 96, "length": 49}
STEPS = 8
Say = Callable[[str], None]


async def server_rows(server: ComfyServer, rounds: int, say: Say) -> list[Row]:
    """All rows of a running server; each round runs ours and core's one after the other."""
    async with ComfyClient(server.url) as client:
        first, last = [await client.upload_image(PICTURES / name) for name in ("first.png", "last.png")]
        graphs = {name: load(name, first, last, **SIZE) for name in (OURS, CORE)}
        return [
            *await _conditioning_edits(client, graphs, rounds, say),
            *await _sampling(client, server.home / "output", graphs, rounds, say),
        ]


async def _conditioning_edits(client: ComfyClient, graphs: dict[str, Any], rounds: int, say: Say) -> list[Row]:
    edits: dict[str, dict[str, list[Timed]]] = {"prompt": {OURS: [], CORE: []}, "last frame": {OURS: [], CORE: []}}
    cut = {name: conditioning_only(graph) for name, graph in graphs.items()}
    for name in (OURS, CORE):
        await run_timed(client, cut[name])
    for turn in range(rounds):
        say(f"edits of the conditioning, round {turn + 1} of {rounds}")
        for name in (OURS, CORE):
            cut[name]["6"]["inputs"]["text"] = f"a puppy, take {turn}"
            edits["prompt"][name].append(await run_timed(client, cut[name]))
        for name in (OURS, CORE):  # a still shorter clip would be another prefix; another picture is what users change
            cut[name]["62"]["inputs"]["image"], cut[name]["68"]["inputs"]["image"] = _turned(cut[name], turn)
            await run_timed(client, cut[name])
        for name in (OURS, CORE):
            inputs = cut[name]["62"]["inputs"]
            inputs["image"] = "last.png" if inputs["image"] == "first.png" else "first.png"
            edits["last frame"][name].append(await run_timed(client, cut[name]))
    encodes = sum(job.ran("encode") for job in edits["prompt"][OURS])

    def row(what: str, edit: str, budget: float | None = None) -> Row:
        ours, theirs = ([job.seconds_in(CONDITIONING) for job in edits[edit][name]] for name in (OURS, CORE))
        return Row(f"{what}: time in conditioning", "core", "s", ours, theirs, budget, _size())

    return [
        Row("prompt edit: VAE encodes", "core", "", [encodes / rounds], [1.0], 0.0),
        row("prompt edit", "prompt", 0.1),
        row("last frame changed", "last frame"),
    ]


def _turned(graph: dict[str, Any], turn: int) -> tuple[str, str]:
    """Pictures that begin another clip than the round before."""
    return ("last.png", "first.png") if turn % 2 else ("first.png", "last.png")


def _size() -> str:
    return "{width}×{height}×{length}".format(**SIZE)


async def _sampling(client: ComfyClient, output: Path, graphs: dict[str, Any], rounds: int, say: Say) -> list[Row]:
    runs: dict[str, list[Timed]] = {OURS: [], CORE: []}
    edits: dict[str, list[Timed]] = {OURS: [], CORE: []}
    equal = []
    for turn in range(rounds + 1):
        say(f"two-stage sampling, round {turn} of {rounds}" if turn else "two-stage sampling, warming up")
        for name in (OURS, CORE) if turn % 2 else (CORE, OURS):
            job = await run_timed(client, sampling_only(graphs[name], STEPS, turn, 4.0))
            edit = await run_timed(client, sampling_only(graphs[name], STEPS, turn, 3.0))
            if turn:
                runs[name].append(job)
                edits[name].append(edit)
        equal.append(_latents(output, "57", turn) == _latents(output, "58", turn))
    stages = {name: [job.seconds_in("57") + job.seconds_in("58") for job in runs[name]] for name in runs}
    whole = {name: [job.seconds for job in runs[name]] for name in runs}
    again = {
        name: [sum(job.ran(node) for job in edits[name]) / rounds] for name, node in ((OURS, "high"), (CORE, "57"))
    }
    bits = "latents bit-identical" if all(equal) else "latents NOT bit-identical"
    what = "cfg_low edit: high-noise stages run again"
    return [
        Row("two-stage sampling", "core", "s", stages[OURS], stages[CORE], 1.02, f"{STEPS} steps, {bits}"),
        Row("its whole job", "core", "s", whole[OURS], whole[CORE]),
        Row(what, "core", "", again[OURS], again[CORE], 0.0),
    ]


def _latents(output: Path, node: str, seed: int) -> list[bytes]:
    """The latents that were saved for this seed, in order; their files' metadata (the graph) left out."""
    latents = []
    for path in sorted((output / "bench").glob(f"{node}_{seed}_*.latent")):
        data = path.read_bytes()
        latents.append(data[8 + int.from_bytes(data[:8], "little") :])
    return latents
