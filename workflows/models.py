"""Where the model files of the shipped workflows belong and where to get them: ``api/models.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .bindings import API_FOLDER


@dataclass(frozen=True)
class ModelFile:
    """One model file: its folder below ``models/``, its size in words and its download address."""

    name: str
    folder: str
    size: str
    url: str

    def advice(self) -> str:
        """Where to put it and where to get it, in one line."""
        return f"{self.name} ({self.size}) belongs in models/{self.folder}/; get it at {self.url}"


@lru_cache(maxsize=1)
def model_files() -> dict[str, ModelFile]:
    """Every model file that a shipped workflow loads, by file name."""
    data = json.loads((API_FOLDER / "models.json").read_text(encoding="utf-8"))
    return {name: ModelFile(name=name, **entry) for name, entry in data.items()}


def missing_files(files: Iterable[tuple[str, str]], models: Path) -> list[ModelFile]:
    """Those of the (folder, name) pairs that are not below ``models``."""
    known = model_files()
    return [known[name] for folder, name in files if not (models / folder / name).is_file()]
