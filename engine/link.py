"""A folder under another name. Standard library only: ``run.py`` loads this file before any install."""

from __future__ import annotations

import shutil
from pathlib import Path


def link_folder(source: Path, link: Path) -> None:
    """Make ``link`` show ``source``: a symbolic link, a junction on Windows (which needs no rights), else a copy."""
    if link.is_symlink() or link.exists():
        return
    try:
        link.symlink_to(source, target_is_directory=True)
    except OSError:
        try:
            import _winapi

            _winapi.CreateJunction(str(source), str(link))  # type: ignore[attr-defined,unused-ignore]
        except (ImportError, AttributeError, OSError):
            shutil.copytree(source, link, ignore=shutil.ignore_patterns(".*", "__pycache__", "node_modules"))
