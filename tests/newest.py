"""Runs the node tests against any ComfyUI folder: ``python -m wan_flf2v.tests.newest PATH [pytest options]``.

That ComfyUI gets an environment in ``.engine/`` from its own list of packages, beside this Python's torch; set
``COMFYUI_PYTHON`` to use one that is there. Prints one line for each file of tests and pytest's own words for what failed.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

from wan_flf2v.engine.locate import ENGINE_FOLDER, is_comfyui

ROOT = Path(__file__).resolve().parents[1]
TORCH = ("torch", "torchvision", "torchaudio")


def version_of(comfyui: Path) -> str:
    """The version that this folder says it is."""
    found = re.search(r'__version__ = "([^"]+)"', (comfyui / "comfyui_version.py").read_text(encoding="utf-8"))
    return found.group(1) if found else "unknown"


def python_for(comfyui: Path) -> Path:
    """A Python that can run this ComfyUI and the tests; installs what it needs on the first call."""
    if given := os.environ.get("COMFYUI_PYTHON"):
        return Path(given)
    folder = ENGINE_FOLDER / f"venv-{version_of(comfyui)}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    complete = folder / ".complete"
    listed = (comfyui / "requirements.txt").read_text(encoding="utf-8")
    sources = listed + (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    if complete.exists() and complete.read_text(encoding="utf-8") == sources:
        return python
    venv.create(folder, with_pip=True)
    needed = [line for line in listed.splitlines() if line.strip() and re.split(r"[^\w-]", line)[0] not in (*TORCH, "")]
    wanted = ENGINE_FOLDER / f"requirements-{version_of(comfyui)}.txt"
    wanted.write_text("\n".join(needed) + "\n", encoding="utf-8")
    torch = [f"{name}=={importlib.metadata.version(name)}" for name in TORCH[:2]]
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for arguments in (torch[:1], ["--no-deps", torch[1]], ["-r", str(wanted)], ["-e", f"{ROOT}[cli,dev]"]):
        subprocess.run([*pip, *arguments], check=True)
    complete.write_text(sources, encoding="utf-8")
    return python


def main(arguments: list[str]) -> int:
    """Run the tests of ``tests/nodes`` one file after the other; returns 1 when one failed."""
    if not arguments or not is_comfyui(Path(arguments[0])):
        print("Give the folder of a ComfyUI, with its main.py: python -m wan_flf2v.tests.newest PATH", file=sys.stderr)
        return 2
    comfyui = Path(arguments[0]).resolve()
    python = python_for(comfyui)
    environment = {**os.environ, "COMFYUI_PATH": str(comfyui), "COMFYUI_PYTHON": str(python)}
    failed = 0
    for path in sorted((ROOT / "tests" / "nodes").glob("test_*.py")):
        command = [str(python), "-m", "pytest", str(path), "--no-header", "-p", "no:cacheprovider", *arguments[1:]]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode in (0, 5):  # 5: the options left no test in this file
            print(f"ComfyUI {version_of(comfyui)}: {path.stem}: passed", flush=True)
            continue
        failed = 1
        print(f"ComfyUI {version_of(comfyui)}: {path.stem}: FAILED\n{done.stdout}{done.stderr}", flush=True)
    return failed


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
