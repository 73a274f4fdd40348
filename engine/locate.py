"""Which ComfyUI to run, with which Python. Standard library only: ``run.py`` loads this file before any install.

Order: a path given by the caller, ``COMFYUI_PATH``, the ComfyUI that this pack is installed in, and last the sources of
ComfyUI 0.3.75 in the ignored folder ``.engine``, which ``engine.setup`` fetches once.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENGINE_FOLDER = ROOT / ".engine"
OWN_COMFYUI = ENGINE_FOLDER / "comfyui-0.3.75"


@dataclass(frozen=True)
class Engine:
    """One ComfyUI: its folder and the Python that runs it. ``own`` marks the copy that this project set up."""

    comfyui: Path
    python: Path
    own: bool


def is_comfyui(folder: Path) -> bool:
    """Whether this folder holds ComfyUI's sources."""
    return (folder / "main.py").is_file() and (folder / "comfy" / "sd.py").is_file()


def find_engine(comfyui: str | Path | None = None) -> Engine:
    """The ComfyUI to run. Its own copy is returned even where it has yet to be set up.

    Raises FileNotFoundError when a path was given that holds no ComfyUI.
    """
    given = comfyui or os.environ.get("COMFYUI_PATH")
    if given:
        folder = Path(given).expanduser().resolve()
        if not is_comfyui(folder):
            raise FileNotFoundError(f"{folder} is no ComfyUI: it has no main.py and comfy/ folder. Give its folder.")
        return Engine(folder, _python_of(folder), own=False)
    installed_in = Path(os.path.abspath(ROOT)).parent.parent
    if ROOT.parent.name == "custom_nodes" and is_comfyui(installed_in):
        return Engine(installed_in, _python_of(installed_in), own=False)
    return Engine(OWN_COMFYUI, Path(sys.executable), own=True)


def _python_of(comfyui: Path) -> Path:
    """``COMFYUI_PYTHON``, else the environment beside or inside that ComfyUI, else the Python that runs now."""
    given = os.environ.get("COMFYUI_PYTHON")
    if given:
        return Path(given).expanduser()
    for folder in (comfyui / ".venv", comfyui / "venv", comfyui.parent / ".venv", comfyui.parent / "venv"):
        for name in ("bin/python", "Scripts/python.exe"):
            if (folder / name).is_file():
                return folder / name
    portable = comfyui.parent / "python_embeded" / "python.exe"
    return portable if portable.is_file() else Path(sys.executable)
