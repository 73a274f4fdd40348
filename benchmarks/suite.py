"""Run the rows, keep every number as JSON, and show the table."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..engine.errors import EngineError
from ..engine.locate import Engine
from ..engine.process import ComfyServer
from ..engine.setup import tiny_models
from .cache_modes import cache_mode_rows
from .child_rows import child_rows, decode_rows, diffusers_rows
from .rows import Row, markdown
from .server_rows import server_rows

Say = Callable[[str], None]
RESULTS = Path(__file__).parent / "results"
BEGIN, END = "<!-- benchmark table: python run.py bench --docs -->", "<!-- end of the benchmark table -->"
_VERSIONS = "import torch, runpy; print(torch.__version__, runpy.run_path('comfyui_version.py')['__version__'])"


def run_suite(engine: Engine, rounds: int, name: str, say: Say, only: str | None = None) -> dict[str, Any]:
    """The whole report, or an earlier one of this machine with ``only`` one of PARTS measured anew.

    ``results/NAME.json`` is written after each part, so that a run cut short leaves its numbers. Raises EngineError.
    """
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    date = datetime.date.today().isoformat()
    report: dict[str, Any] = {
        "date": date,
        "machine": describe_machine(engine),
        "rounds": rounds,
        "file": path.relative_to(RESULTS.parents[1]).as_posix(),
        "rows": [],
    }
    if only is not None:
        earlier = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if earlier.get("machine") != report["machine"]:
            raise EngineError(f"{path} holds no result of this machine, to put {only} into.")
        others = [row for row in earlier["rows"] if row.get("part") != only]
        report = {**earlier, "rounds": max(rounds, earlier["rounds"]), "rows": others}
    models = tiny_models(engine)
    for part in PARTS if only is None else [only]:
        for rows in PARTS[part](engine, models, rounds, say):
            report["rows"] += [{**row.as_json(), "part": part, "date": date} for row in rows]
            path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return report


def _on_a_server(engine: Engine, models: Path, rounds: int, say: Say) -> Iterator[Sequence[Row]]:
    with tempfile.TemporaryDirectory() as home, ComfyServer(engine, Path(home), models, tiny=True) as server:
        yield asyncio.run(server_rows(server, rounds, say))


PARTS: dict[str, Callable[[Engine, Path, int, Say], Iterable[Sequence[Row]]]] = {
    "server": _on_a_server,
    "caches": lambda engine, models, rounds, say: cache_mode_rows(engine, models, say),
    "diffusers": lambda engine, models, rounds, say: [diffusers_rows(engine, models, say)],
    "encode": lambda engine, models, rounds, say: child_rows(engine, rounds, say),
    "decode": lambda engine, models, rounds, say: decode_rows(engine, rounds, say),
}


def describe_machine(engine: Engine) -> dict[str, Any]:
    """The processor, its cores and the versions that were measured."""
    done = subprocess.run(
        [str(engine.python), "-c", _VERSIONS], cwd=engine.comfyui, capture_output=True, text=True, check=False
    )
    torch_version, comfyui_version = (done.stdout.split() or ["unknown", "unknown"])[:2]
    return {
        "name": _processor(),
        "cpus": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch_version,
        "comfyui": comfyui_version,
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def write_table(report: dict[str, Any], page: Path) -> bool:
    """Put the table between its two marks in a page; False where the marks are missing."""
    text = page.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        return False
    head, rest = text.split(BEGIN, 1)
    tail = rest.split(END, 1)[1]
    page.write_text(f"{head}{BEGIN}\n{markdown(report)}\n{END}{tail}", encoding="utf-8")
    return True
