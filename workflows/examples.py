"""The example pictures and what happens between them; of the micro models what they were trained on."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "cli" / "pictures"
FIRST, LAST = "Runcomfy_Example_1259_1.png", "Runcomfy_Example_1259_2.png"  # as the published schema names them
EXAMPLES = {FIRST: "first.png", LAST: "last.png"}
MICRO_SIDE = 64  # of a video, the longer one
MICRO_VALUES: dict[str, str | int | float] = {"67_length": 17, "57_steps": 20, "57_cfg": 1, "54_shift": 8}


def example_prompt(micro: bool) -> str:
    """What happens between the two example pictures."""
    if micro:
        return "a shape glides across soft clouds of colour"
    return "the sun rises over the hills while a red ball rolls along the path"


def example_file(name: str, micro: bool) -> str:
    """The file behind an example's name, in ``FOLDER``: of another pair where it is for the micro models."""
    return ("micro_" if micro else "") + EXAMPLES[name]
