"""Rows that need a process of their own for each measurement: import, first conditioning, decode and save, their memory."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..engine.errors import EngineError
from ..engine.locate import ROOT, Engine
from .rows import Row

CHILD = Path(__file__).with_name("measure_in_comfyui.py")
AGAINST_DIFFUSERS = Path(__file__).with_name("against_diffusers.py")
# (VAE channels, size): the tiny VAE, and the real one's 96 channels on a clip that two CPU cores can encode
TIMED = ((16, (128, 80, 81)), (96, (48, 32, 81)))
WEIGHED = ((16, (384, 224, 81)), (96, (64, 48, 81)))
# saved with the thinnest VAE: in frames much smaller than a user's the encoder's own would be most of what is measured
THIN, PIECE, SHORT, LONG = 4, (160, 96, 33), (320, 176, 81), (320, 176, 321)
# glibc then gives freed tensors back at once, so that resident memory is what is in use
RETURN_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}


def child_rows(engine: Engine, rounds: int, say: Callable[[str], None]) -> Iterator[Sequence[Row]]:
    """The rows of import and first conditioning, ours and core's by turns, as they are measured."""
    imports = [float(_run(engine, ["import"])["seconds"]) for _ in range(rounds)]
    yield [Row("import of the pack in ComfyUI", "", "s", imports, budget=0.15)]
    for channels, size in WEIGHED:
        yield _memory(engine, channels, size, say)
    for channels, size in TIMED:
        yield _times(engine, "encode", channels, size, rounds, say)


def decode_rows(engine: Engine, rounds: int, say: Callable[[str], None]) -> Iterator[Sequence[Row]]:
    """The rows of decode and save: one node against VAEDecode, CreateVideo and SaveVideo."""
    own: list[float] = []
    beyond: dict[tuple[str, int], list[float]] = {}
    for turn in range(rounds):
        for size in (SHORT, LONG):
            for who in ("vae", "ours", "core") if (turn, size) == (0, LONG) else ("vae", "ours"):
                say(f"memory of decode and save ({_label(THIN, size)}): {who}")
                found = _job(engine, "decode", who, THIN, size, environment=RETURN_MEMORY)
                if who == "vae":
                    own.append(float(found["megabytes"]))
                else:
                    beyond.setdefault((who, size[2]), []).append(max(float(found["megabytes"]) - own[-1], 0.0))
    ours, short, core = (beyond[key] for key in (("ours", LONG[2]), ("ours", SHORT[2]), ("core", LONG[2])))
    what, label = "decode and save: memory beyond the decoder's own", _label(THIN, LONG)
    note = f"{label}; the decoder's own is its peak on 13 frames, {own[-1]:.0f} MB"
    yield [
        Row(what, "core", "MB", ours, core, 0.1, note, {"decoder_megabytes": own[-1]}),
        Row(what, "ours at 81 frames", "MB", ours, short, 1.1, label),
    ]
    yield _film(engine, say)
    for channels, size in TIMED:
        yield _times(engine, "decode", channels, size, rounds, say)


def diffusers_rows(engine: Engine, models: Path, say: Callable[[str], None]) -> list[Row]:
    """Numbers against diffusers' Wan pipeline; none where ComfyUI's interpreter has no diffusers."""
    known = subprocess.run([str(engine.python), "-c", "import diffusers"], capture_output=True, check=False)
    if known.returncode:
        say("diffusers is not installed (pip install wan-flf2v[bench]): its rows are left out")
        return []
    say("conditioning and splits against diffusers")
    result = _script(engine, AGAINST_DIFFUSERS, [str(models)])
    masks = "masks equal" if result["masks_equal"] else "masks NOT equal"
    splits, count = result["splits"], result["schedules"]
    tie = f"{splits['at_the_boundary']} of them where a sigma is the boundary itself; diffusers' grid lies 0.0001 above it"
    split = "schedules split otherwise, of"
    return [
        Row(
            "largest relative difference of the concat latent",
            "diffusers",
            "",
            [result["latent_difference"]],
            note=masks,
        ),
        Row(f"{split} {count}", "Wan's own UniPC", "", [float(splits["official"])]),
        Row(f"{split} {count}", "diffusers' UniPC", "", [float(splits["diffusers"])], note=tie),
    ]


def _film(engine: Engine, say: Callable[[str], None]) -> Sequence[Row]:
    say(f"memory of a storyboard's decode and join ({_label(THIN, PIECE)})")
    board, segment = (
        [float(_job(engine, "film", who, THIN, PIECE, RETURN_MEMORY)["megabytes"])] for who in ("board", "segment")
    )
    what, note = "storyboard of 12 keyframes: peak memory of decode and join", f"each segment {_label(THIN, PIECE)}"
    return [Row(what, "one segment", "MB", board, segment, 1.1, note)]


def _label(channels: int, size: Sequence[int]) -> str:
    return f"{'×'.join(map(str, size))}, VAE of {channels} channels"


def _times(
    engine: Engine, job: str, channels: int, size: Sequence[int], rounds: int, say: Callable[[str], None]
) -> Sequence[Row]:
    label = _label(channels, size)
    what, made = {"encode": ("first conditioning", "latents"), "decode": ("decode and save", "last frames")}[job]
    wall: dict[str, list[float]] = {"ours": [], "core": []}
    cpu: dict[str, list[float]] = {"ours": [], "core": []}
    digests = set()
    for turn in range(rounds):
        say(f"{what} ({label}), round {turn + 1} of {rounds}")
        for who in ("ours", "core") if turn % 2 else ("core", "ours"):
            result = _job(engine, job, who, channels, size)
            wall[who].append(result["seconds"])
            cpu[who].append(result["cpu_seconds"])
            digests.add(result["digest"])
    bits = f"{made} bit-identical" if len(digests) == 1 else f"{made} NOT bit-identical"
    return [
        Row(f"{what}: wall", "core", "s", wall["ours"], wall["core"], 1.0, f"{label}, {bits}"),
        Row(f"{what}: CPU time", "core", "s", cpu["ours"], cpu["core"], note=label),
    ]


def _memory(engine: Engine, channels: int, size: Sequence[int], say: Callable[[str], None]) -> Sequence[Row]:
    label = _label(channels, size)
    peaks, kept = {}, {}
    for who in ("ours", "core", "vae"):
        say(f"memory of the first conditioning ({label}): {who}")
        result = _job(engine, "encode", who, channels, size, environment=RETURN_MEMORY)
        peaks[who], kept[who] = float(result["megabytes"]), float(result["kept"])
    ours, core, encoder = (peaks[who] for who in ("ours", "core", "vae"))
    beyond = [max(ours - encoder, 0.0)], [max(core - encoder, 0.0)]
    return [
        Row(
            "first conditioning: memory beyond the encoder's own",
            "core",
            "MB",
            *beyond,
            budget=0.5,
            note=f"{label}; the encoder's own is its peak on 13 frames, {encoder:.0f} MB",
            facts={"encoder_megabytes": encoder},
        ),
        Row("first conditioning: peak memory, the encoder's own included", "core", "MB", [ours], [core], note=label),
        Row(
            "memory kept after the first encode, beyond the latent",
            "core",
            "MB",
            [kept["ours"]],
            [kept["core"]],
            0.0,
            note=label,
        ),
    ]


def _job(
    engine: Engine,
    job: str,
    who: str,
    channels: int,
    size: Sequence[int],
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    return _run(engine, [job, who, str(channels), *map(str, size)], environment)


def _run(engine: Engine, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    return _script(engine, CHILD, arguments, environment)


def _script(
    engine: Engine, script: Path, arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    command = [str(engine.python), str(script), str(engine.comfyui), str(ROOT), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **(environment or {})}
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise EngineError(f"a measurement failed ({' '.join(arguments)}): {last[0]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result
