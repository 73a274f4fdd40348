"""``wan-flf2v demo``: the main job on the real ComfyUI, without a GPU and without downloaded weights."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..engine.setup import micro_models, tiny_models
from ..workflows import Bindings
from .generate import add_job_arguments, check_job, check_out, read_fields, run_locally
from .video import describe_video

PICTURES = Path(__file__).parent / "pictures"
SCENE = "the sun rises over the hills while a red ball rolls along the path"
# What the micro models were trained on; guidance has no effect on them, since they ignore the prompt.
MICRO_WORKFLOW = "wan22_flf2v"
MICRO: dict[str, object] = {
    "6_text": "a shape glides across soft clouds of colour",
    "71_width": 64,
    "71_height": 64,
    "67_length": 17,
    "57_steps": 20,
    "57_cfg": 1,
}
MICRO_WEIGHTS = (
    "The weights are this project's own micro models (see models/README.md), trained on drawn clips of 64 x 64 pixels: a "
    "real transition, small and soft, that follows the two pictures and ignores the prompt.\n"
    "What Wan can do: python run.py demo --models PATH/TO/ComfyUI/models"
)
# Small enough for about a minute on two cores.
SMALL: dict[str, object] = {
    "6_text": SCENE,
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
        description="Run the main workflow on two shipped pictures. Without --models the weights are micro models of this "
        "project's own, or, in another workflow than the main one, tiny and random.",
    )
    add_job_arguments(parser)
    parser.set_defaults(run=run, out=Path("demo.mp4"))


def run(arguments: argparse.Namespace) -> None:
    """Run the demo. Raises CliError, EngineError or FieldError."""
    bindings = Bindings.load(arguments.workflow)
    small = arguments.models is None
    micro = small and bindings.name == MICRO_WORKFLOW
    kind = "micro_" if micro else ""
    first, last = PICTURES / f"{kind}first.png", PICTURES / f"{kind}last.png"
    fields = {
        **(MICRO if micro else SMALL if small else {"6_text": SCENE}),
        bindings.first_image: str(first),
        bindings.last_image: str(last),
        **read_fields(arguments, {**bindings.fields, **bindings.extra}),
    }
    if "71_widthx71_height" in fields:
        fields = {name: value for name, value in fields.items() if name not in ("71_width", "71_height")}
    job = check_job(bindings, fields, first, last, free=True)
    check_out(arguments.out)
    if small:
        print(MICRO_WEIGHTS if micro else RANDOM_WEIGHTS, file=sys.stderr)
    run_locally(arguments, job, weights=(micro_models if micro else tiny_models) if small else None)
    print(describe_video(arguments.out))
