"""The example pictures that the published schema names as defaults: the pack's own two pictures under those names."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

_FOLDER = Path(__file__).parents[1] / "cli" / "pictures"
_FILES = {"Runcomfy_Example_1259_1.png": "first.png", "Runcomfy_Example_1259_2.png": "last.png"}
EXAMPLES = tuple(_FILES)  # first, last


def is_example(name: str) -> bool:
    """Whether this is the name of an example picture."""
    return name in _FILES


@lru_cache(maxsize=4)
def example_bytes(name: str) -> bytes:
    """The PNG of an example picture."""
    return (_FOLDER / _FILES[name]).read_bytes()
