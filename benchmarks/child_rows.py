"""Rows that need a process of their own for each measurement: the first conditioning, its memory, and the import."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..engine.errors import EngineError
from ..engine.locate import ROOT, Engine
from .rows import Row

CHILD = Path(__file__).with_name("measure_in_comfyui.py")
# (VAE width, size): the tiny VAE, and the real one's 96 channels on a clip that two CPU cores can encode
FIRST_ENCODES = ((16, (384, 224, 81)), (96, (96, 64, 81)))
# glibc then gives freed tensors back at once, so that resident memory is what is in use
RETURN_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
EXTRA = "peak above that of the encoder alone on two chunks"


def child_rows(engine: Engine, rounds: int, say: Callable[[str], None]) -> list[Row]:
    """All rows of fresh processes, ours and core's by turns."""
    rows = []
    for channels, size in FIRST_ENCODES:
        label = f"{'×'.join(map(str, size))}, VAE of {channels} channels"
        times: dict[str, list[float]] = {"ours": [], "core": []}
        peaks: dict[str, list[float]] = {"ours": [], "core": [], "encoder": []}
        digests = set()
        for turn in range(min(rounds, 3)):
            say(f"first conditioning ({label}), round {turn + 1} of {min(rounds, 3)}")
            for who, values in times.items():
                result = _encode(engine, who, channels, size)
                values.append(result["seconds"])
                digests.add(result["digest"])
        for who, values in peaks.items():
            say(f"memory of the first conditioning ({label}): {who}")
            values.append(_encode(engine, who, channels, size, environment=RETURN_MEMORY)["megabytes"])
        bits = "latents bit-identical" if len(digests) == 1 else "latents NOT bit-identical"
        (floor,) = peaks["encoder"]
        beyond = {who: [max(value - floor, 0.0) for value in values] for who, values in peaks.items()}
        what = "first conditioning: "
        facts = {"encoder_megabytes": floor}
        rows += [
            Row(f"{what}wall", "core", "s", times["ours"], times["core"], 1.0, f"{label}, {bits}"),
            Row(f"{what}extra memory", "core", "MB", beyond["ours"], beyond["core"], 0.5, EXTRA, facts),
            Row(f"{what}peak memory with the encoder's own", "core", "MB", peaks["ours"], peaks["core"], facts=facts),
        ]
    imports = [float(_run(engine, ["import"])["seconds"]) for _ in range(rounds)]
    rows.append(Row("import of the pack in ComfyUI", "", "s", imports, budget=0.15))
    return rows


def _encode(
    engine: Engine, who: str, channels: int, size: Sequence[int], environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    return _run(engine, ["encode", who, str(channels), *map(str, size)], environment)


def _run(engine: Engine, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    command = [str(engine.python), str(CHILD), str(engine.comfyui), str(ROOT), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **(environment or {})}
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise EngineError(f"a measurement failed ({' '.join(arguments)}): {last[0]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result
