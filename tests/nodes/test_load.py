"""The pack loads in ComfyUI under any folder name, quietly and fast."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from wan_flf2v.engine.locate import Engine
from wan_flf2v.engine.process import ComfyServer

IMPORT_BOUND_S = 1.0  # what a busy machine makes of the budget of 0.15, which a benchmark holds it to


def lines_about(log: str, name: str) -> list[str]:
    plain = re.sub(r"\x1b\[\d+m|\[INFO\] ?", "", log)  # newer versions colour and label every line
    return [line for line in plain.splitlines() if name in line]


def check(server: ComfyServer, name: str, pack: dict[str, Any]) -> None:
    """The pack in the folder of this name was loaded whole, quickly and without a complaint."""
    start = server.log_path.read_text(encoding="utf-8", errors="replace").split("Starting server")[0]
    about = lines_about(start, name)
    times = [line for line in about if re.match(r"\s*\d+\.\d seconds", line)]
    assert len(times) == 1, about
    assert not [line for line in about if re.search("warn|error|fail|cannot|skip", line, re.IGNORECASE)]
    offered = _object_info(server.url)
    assert set(pack) <= set(offered)
    assert {offered[node]["python_module"] for node in pack} == {f"custom_nodes.{name}"}
    assert float(times[0].split()[0]) <= IMPORT_BOUND_S


def test_loads_without_a_warning(comfy_server: Any, pack: dict[str, Any]) -> None:
    check(comfy_server.server, "wan-flf2v", pack)


@pytest.mark.slow
def test_loads_under_any_folder_name(engine: Engine, models: Path, tmp_path: Path, pack: dict[str, Any]) -> None:
    name = "ComfyUI_Wan FLF2V.v1"
    with ComfyServer(engine, tmp_path, models, tiny=True, pack_name=name) as server:
        check(server, name, pack)


def _object_info(url: str) -> dict[str, Any]:
    import json
    import urllib.request

    with urllib.request.urlopen(f"{url}/object_info") as answer:
        return dict(json.load(answer))
