"""Who may import whom, and that the package imports anywhere."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("nodes", "flf2v", "providers", "gateway", "engine", "cli", "workflows")
# What each package may import of the others.
ARROWS = {
    "flf2v": set(),
    "workflows": {"flf2v"},
    "engine": set(),
    "providers": {"workflows"},
    "nodes": {"flf2v", "providers", "workflows"},
    "gateway": {"flf2v", "providers", "engine", "workflows"},
    "cli": {"flf2v", "providers", "engine", "workflows", "gateway", "benchmarks"},
}
HOST_MODULES = ("comfy", "comfy_api", "comfy_extras", "comfy_execution", "nodes", "server", "folder_paths", "execution")
HOST_MODULES += ("node_helpers", "latent_preview")


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_along_the_arrows(package: str) -> None:
    for path in sources(package):
        depth = len(path.relative_to(ROOT).parts) - 1
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level > depth:
                other = (node.module or "").split(".")[0]
                names = {other} if other else {alias.name for alias in node.names}
                assert names <= ARROWS[package] | {package}, f"{path}: {ast.unparse(node)}"


def test_only_the_host_rooms_import_comfyui_and_schemas_its_api() -> None:
    for path in sources("nodes"):
        room = path.relative_to(ROOT / "nodes").parts[0]
        if room == "host":
            continue
        allowed = {"comfy_api"} if path.parent.name == "nodes" else set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            hosts = {name.split(".")[0] for name in names} & set(HOST_MODULES)
            assert hosts <= allowed, f"{path}: {ast.unparse(node)}"


def test_the_host_rooms_know_no_node_and_no_panel() -> None:
    for path in (ROOT / "nodes" / "host").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level >= 2:
                assert node.level > 2, f"{path}: {ast.unparse(node)}"


def test_nothing_edits_the_import_path() -> None:
    allowed = {
        ROOT / "engine" / "launch.py",
        ROOT / "engine" / "tiny" / "build.py",
    }  # run as scripts, outside the package
    for package in PACKAGES:
        for path in set(sources(package)) - allowed:
            assert "sys.path" not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("wan_flf2v", ("torch", "aiohttp", "numpy", "PIL", *HOST_MODULES)),
        ("wan_flf2v.workflows", ("torch", "aiohttp", "numpy", "PIL", *HOST_MODULES)),
        ("wan_flf2v.flf2v.frames", ("aiohttp", *HOST_MODULES)),
        ("wan_flf2v.flf2v.split", ("torch", "aiohttp", *HOST_MODULES)),
        ("wan_flf2v.flf2v.storyboard", ("torch", "aiohttp", *HOST_MODULES)),
        ("wan_flf2v.providers", ("torch", *HOST_MODULES)),
        ("wan_flf2v.engine.client", ("torch", *HOST_MODULES)),
        ("wan_flf2v.cli", ("torch", *HOST_MODULES)),
    ],
)
def test_packages_import_in_a_clean_process_without_the_host(package: str, forbidden: tuple[str, ...]) -> None:
    code = f"import {package}, sys; print([name for name in {forbidden!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
