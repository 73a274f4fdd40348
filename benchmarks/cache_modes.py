"""Rows where ComfyUI keeps no results: how often nodes run, and the peak memory of a job with large experts."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..engine.client import ComfyClient
from ..engine.locate import Engine
from ..engine.process import ComfyServer
from .graphs import CORE, OURS, load, sampling_only
from .jobs import Timed, run_timed
from .rows import Row

PICTURES = Path(__file__).parents[1] / "cli" / "pictures"
SIZE = {"width": 64, "height": 48, "length": 9}
ENCODES = ("WanFirstLastFrameToVideo", "WanFLF2VConditioning")
COUNTED = (*ENCODES, "UNETLoader", "CLIPLoader", "VAELoader", "CLIPTextEncode", "LoadImage")
BLOCKS = 400  # of an expert: 630 MB, which nothing else in the job comes near
NO_CACHE = ("--cache-none",)
NO_ROOM = ("--cache-ram", "100000")  # gigabytes of RAM to leave free


def cache_mode_rows(engine: Engine, models: Path, say: Callable[[str], None]) -> Iterator[Sequence[Row]]:
    """The rows, each job in a ComfyUI of its own."""
    with tempfile.TemporaryDirectory() as folder:
        large = with_large_experts(models, Path(folder))
        runs = {name: _run(engine, large, name, NO_CACHE, say) for name in (OURS, CORE)}
    peaks = {name: [peak] for name, (_, peak) in runs.items() if peak}
    if peaks:
        what = "peak memory of ComfyUI in a two-stage job, --cache-none"
        yield [Row(what, "core", "MB", peaks[OURS], peaks[CORE], 1.02, f"experts of {BLOCKS} blocks")]
    counts = {"--cache-none": {name: count for name, (count, _) in runs.items()}}
    short = {name: _run(engine, models, name, NO_ROOM, say)[0] for name in (OURS, CORE)}
    counts["--cache-ram, RAM short"] = short
    yield [
        Row(f"loaders, prompts, pictures, encodes run: {mode}", "core", "", [count[OURS]], [count[CORE]], 1.0)
        for mode, count in counts.items()
    ]


def _run(
    engine: Engine, models: Path, name: str, options: Sequence[str], say: Callable[[str], None]
) -> tuple[int, float]:
    """How many of the counted nodes ran, and the peak of resident memory in MB (0 where the system does not tell)."""
    say(f"{options[0]}: {name}")

    async def job() -> tuple[dict[str, Any], Timed]:
        async with ComfyClient(server.url) as client:
            first, last = [await client.upload_image(PICTURES / picture) for picture in ("first.png", "last.png")]
        graph = sampling_only(load(name, first, last, **SIZE), 4, 0, 4.0)
        return graph, await run_timed(server.url, graph)

    with (
        tempfile.TemporaryDirectory() as home,
        ComfyServer(engine, Path(home), models, tiny=True, extra_args=options) as server,
    ):
        graph, timed = asyncio.run(job())
        peak = _peak(server.process.pid) if server.process is not None else 0.0
    return sum(graph.get(node, {}).get("class_type") in COUNTED for node, _ in timed.nodes), peak


def _peak(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1e3


def with_large_experts(models: Path, folder: Path) -> Path:
    """A copy of the models' folder whose two Wan 2.2 experts have many blocks; the rest are links."""
    for path in models.rglob("*.safetensors"):
        target = folder / path.relative_to(models)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.name.startswith("wan2.2_i2v_") and "lora" not in path.name:
            deepen(path, target, BLOCKS)
        else:
            target.symlink_to(path.resolve())
    return folder


def deepen(source: Path, target: Path, blocks: int) -> None:
    """A model file with its block 1 repeated up to this number of blocks."""
    data = source.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    repeated = {name: entry for name, entry in header.items() if name.startswith("blocks.1.")}
    start = min(entry["data_offsets"][0] for entry in repeated.values())
    stop = max(entry["data_offsets"][1] for entry in repeated.values())
    for number in range(2, blocks):
        moved = len(body) - start + (number - 2) * (stop - start)
        for name, entry in repeated.items():
            offsets = [offset + moved for offset in entry["data_offsets"]]
            header[name.replace("blocks.1.", f"blocks.{number}.", 1)] = {**entry, "data_offsets": offsets}
    text = json.dumps(header).encode()
    with target.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + body)
        for _ in range(2, blocks):
            file.write(body[start:stop])
