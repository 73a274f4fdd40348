"""``wan-flf2v demo``: the main job on the real ComfyUI, without a GPU and without downloaded weights."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..workflows import Bindings
from .generate import add_job_arguments, check_job, check_out, read_fields, run_locally
from .video import describe_video

PICTURES = Path(__file__).parent / "pictures"
# Small enough for about a minute on two cores.
SMALL: dict[str, object] = {
    "6_text": "the sun rises over the hills while a red ball rolls along the path",
    "71_width": 160,
    "71_height": 160,
    "67_length": 33,
    "57_steps": 6,
}
RANDOM_WEIGHTS = (
    "The weights are tiny and random, so the video shows noise: this proves that everything runs, not what Wan can do.\n"
    "With the real weights: python run.py demo --models PATH/TO/ComfyUI/models"
)


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "demo",
        help="make a small video on the real ComfyUI, without a GPU or downloaded weights",
        description="Run the main workflow on two shipped pictures. Without --models the weights are tiny and random.",
    )
    add_job_arguments(parser)
    parser.set_defaults(run=run, out=Path("demo.mp4"))


def run(arguments: argparse.Namespace) -> None:
    """Run the demo. Raises CliError, EngineError or FieldError."""
    bindings = Bindings.load(arguments.workflow)
    tiny = arguments.models is None
    first, last = PICTURES / "first.png", PICTURES / "last.png"
    fields = {
        **(SMALL if tiny else {"6_text": SMALL["6_text"]}),
        bindings.first_image: str(first),
        bindings.last_image: str(last),
        **read_fields(arguments, {**bindings.fields, **bindings.extra}),
    }
    if "71_widthx71_height" in fields:
        fields = {name: value for name, value in fields.items() if name not in ("71_width", "71_height")}
    job = check_job(bindings, fields, first, last, free=True)
    check_out(arguments.out)
    if tiny:
        print(RANDOM_WEIGHTS, file=sys.stderr)
    run_locally(arguments, job, tiny=tiny)
    print(describe_video(arguments.out))
