"""What the registry's users get: the folder without what ``.comfyignore`` leaves out."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest

from wan_flf2v.engine.locate import Engine
from wan_flf2v.engine.process import ComfyServer

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = [line for line in (ROOT / ".comfyignore").read_text().splitlines() if line and line[0] != "#"]
REGISTRY = [sys.executable, "-m", "comfy_cli", "--skip-prompt", "node"]

# Another pack, one of whose routes is a folder of files.
OTHER_PACK = """
from pathlib import Path
from server import PromptServer
PromptServer.instance.routes.static("/files", Path("."))
NODE_CLASS_MAPPINGS = {}
"""


def ask_registry(command: str) -> None:
    """Run the registry's own tool in this folder."""
    environment = {**os.environ, "DO_NOT_TRACK": "1", "PYTHONSAFEPATH": "1"}
    done = subprocess.run([*REGISTRY, command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive's content, unpacked."""
    ask_registry("pack")
    packed = ROOT / "node.zip"
    folder = tmp_path_factory.mktemp("registry") / "wan-flf2v"
    with zipfile.ZipFile(packed) as file:
        file.extractall(folder)
    packed.unlink()
    return folder


def test_the_registrys_own_checks_pass() -> None:
    ask_registry("validate")


def test_the_archive_is_small_and_installs_and_starts_nothing(archive: Path) -> None:
    for name in LEFT_OUT:
        assert (ROOT / name.strip("/")).exists(), f"{name} in .comfyignore is out of date"
        assert not (archive / name.strip("/")).exists()
    assert sum(path.stat().st_size for path in archive.rglob("*") if path.is_file()) < 4_000_000
    for path in archive.rglob("*.py"):
        code = path.read_text(encoding="utf-8")
        assert not re.search(r"\bsubprocess\b|\bos\.system\b|\bpip\b|\beval\(|\bexec\(", code), path


@pytest.mark.slow
def test_the_archive_alone_gives_every_node_to_comfyui_and_a_second_copy_is_named(
    engine: Engine, archive: Path, tmp_path: Path
) -> None:
    copies = tmp_path / "home" / "custom_nodes"
    shutil.copytree(archive, copies / "wan-flf2v.bak")
    for name in "abcdefgh":  # ComfyUI loads in any order: one comes before the pack
        (copies / f"{name}.py").write_text(OTHER_PACK, encoding="utf-8")
    with ComfyServer(engine, tmp_path / "home", tiny=True, pack=archive) as server:
        with urllib.request.urlopen(f"{server.url}/object_info") as answer:
            nodes = {name for name in json.load(answer) if name.startswith("WanFLF2V")}
        with urllib.request.urlopen(f"{server.url}/workflow_templates") as answer:
            assert "wan-flf2v" in json.load(answer)
    assert nodes >= set(json.loads((ROOT / "tests" / "golden" / "node_contract.json").read_text(encoding="utf-8")))
    said = re.findall(
        r"comfy_entrypoint in (.*): Wan FLF2V is installed twice.* is: (.*)\. Move", server.log_path.read_text()
    )
    assert [set(pair) for pair in said] == [{str(copies / "wan-flf2v.bak"), str(copies / "wan-flf2v")}]
