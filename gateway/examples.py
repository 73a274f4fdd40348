"""The example pictures that the published schema names as defaults: the pack's own two pictures under those names.

A demo shows a pair that its micro models can do, with the words that belong to it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from ..workflows.examples import MICRO_SCENE, SCENE

_FOLDER = Path(__file__).parents[1] / "cli" / "pictures"
_FILES = {"Runcomfy_Example_1259_1.png": "first.png", "Runcomfy_Example_1259_2.png": "last.png"}
EXAMPLES = tuple(_FILES)  # first, last
_DEMO = {EXAMPLES[0]: "micro_first.png", EXAMPLES[1]: "micro_last.png"}


def example_prompt(demo: bool) -> str:
    """What happens between the two example pictures."""
    return MICRO_SCENE if demo else SCENE


def example_file(name: str, demo: bool) -> str:
    """The file behind an example's name."""
    return (_DEMO if demo else _FILES)[name]


def is_example(name: str) -> bool:
    """Whether this is the name of an example picture."""
    return name in _FILES


@lru_cache(maxsize=4)
def example_bytes(file: str) -> bytes:
    """The PNG of an example picture, by its file."""
    if file not in (*_FILES.values(), *_DEMO.values()):
        raise KeyError(file)
    return (_FOLDER / file).read_bytes()
