"""The example pictures that the published schema names as defaults: the pack's own two pictures under those names.

A demo shows a pair that its micro models can do, with the words that belong to it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from ..workflows.examples import MICRO_SCENE, SCENE

FIRST, LAST = "Runcomfy_Example_1259_1.png", "Runcomfy_Example_1259_2.png"
EXAMPLES = {FIRST: "first.png", LAST: "last.png"}
_FOLDER = Path(__file__).parents[1] / "cli" / "pictures"


def example_prompt(demo: bool) -> str:
    """What happens between the two example pictures."""
    return MICRO_SCENE if demo else SCENE


def example_file(name: str, demo: bool) -> str:
    """The file behind an example's name."""
    return ("micro_" if demo else "") + EXAMPLES[name]


@lru_cache(maxsize=4)
def example_bytes(file: str) -> bytes:
    """The PNG of an example picture, by its file."""
    return (_FOLDER / file).read_bytes()
