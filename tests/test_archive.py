"""What the registry's users get: the folder without what ``.comfyignore`` leaves out."""

from __future__ import annotations

import json
import re
import shutil
import urllib.request
from pathlib import Path

import pytest

from wan_flf2v.engine.locate import Engine
from wan_flf2v.engine.process import ComfyServer

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = {line.strip("/") for line in (ROOT / ".comfyignore").read_text().splitlines() if line and line[0] != "#"}
NOT_IN_GIT = {"build", "dist", "output", "__pycache__", "wan_flf2v.egg-info"}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """The archive's content, unpacked."""
    folder = tmp_path / "wan-flf2v"
    folder.mkdir()
    for path in ROOT.iterdir():
        if path.name in LEFT_OUT | NOT_IN_GIT or path.name.startswith("."):
            continue
        if path.is_dir():
            shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, folder)
    return folder


def test_the_archive_is_small_and_installs_and_starts_nothing(archive: Path) -> None:
    assert all((ROOT / name).exists() for name in LEFT_OUT), "a name in .comfyignore is out of date"
    assert sum(path.stat().st_size for path in archive.rglob("*") if path.is_file()) < 4_000_000
    for path in archive.rglob("*.py"):
        code = path.read_text(encoding="utf-8")
        assert not re.search(r"\bsubprocess\b|\bos\.system\b|\bpip\b|\beval\(|\bexec\(", code), path


@pytest.mark.slow
def test_the_archive_alone_gives_every_node_to_comfyui(engine: Engine, archive: Path, tmp_path: Path) -> None:
    with ComfyServer(engine, tmp_path / "home", tiny=True, pack=archive) as server:
        with urllib.request.urlopen(f"{server.url}/object_info") as answer:
            nodes = {name for name in json.load(answer) if name.startswith("WanFLF2V")}
        with urllib.request.urlopen(f"{server.url}/workflow_templates") as answer:
            assert "wan-flf2v" in json.load(answer)
    assert nodes >= set(json.loads((ROOT / "tests" / "golden" / "node_contract.json").read_text(encoding="utf-8")))
