"""``wan-flf2v demo``: the main job on the real ComfyUI, without a GPU and without downloaded weights."""

from __future__ import annotations

import argparse
import sys
import webbrowser
from pathlib import Path
from typing import Any

from ..engine.setup import micro_models
from ..workflows import Bindings
from ..workflows.examples import FIRST, FOLDER, LAST, MICRO_SIDE, MICRO_VALUES, example_file, example_prompt
from .errors import CliError
from .generate import add_job_arguments, check_job, check_out, pictures, read_fields, run_locally
from .remote import MAIN
from .video import describe_video, terminal_filmstrip

MICRO: dict[str, object] = {"71_width": MICRO_SIDE, "71_height": MICRO_SIDE, **MICRO_VALUES}
MICRO_WEIGHTS = (
    "The weights are this project's own micro models (see models/README.md), trained on drawn clips of 64 x 64 pixels: a "
    "real transition, small and soft, that follows the two pictures and ignores the prompt.\n"
    "What Wan can do: python run.py demo --models PATH/TO/ComfyUI/models"
)


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "demo",
        help="make a small video on the real ComfyUI, without a GPU or downloaded weights",
        description="Run the main workflow on two shipped pictures, or on yours. Without --models the weights are micro "
        "models of this project's own.",
    )
    add_job_arguments(parser)
    parser.add_argument("--open", action="store_true", help="show the finished video")
    parser.set_defaults(run=run, out=Path("demo.mp4"))


def run(arguments: argparse.Namespace) -> None:
    """Run the demo. Raises CliError, EngineError or FieldError."""
    bindings = Bindings.load(arguments.workflow)
    micro = arguments.models is None
    if micro and bindings.name != MAIN:
        raise CliError(
            f"{bindings.name} needs its real model files, given with --models PATH/TO/ComfyUI/models: the micro models "
            f"are for {MAIN} alone."
        )
    fields = {
        "6_text": example_prompt(micro),
        **(MICRO if micro else {}),
        bindings.first_image: str(FOLDER / example_file(FIRST, micro)),
        bindings.last_image: str(FOLDER / example_file(LAST, micro)),
        **read_fields(arguments, bindings.every_field),
    }
    if "71_widthx71_height" in fields:
        fields = {name: value for name, value in fields.items() if name not in ("71_width", "71_height")}
    first, last = pictures(arguments, bindings, fields)
    job = check_job(bindings, fields, first, last, free=True)
    check_out(arguments.out)
    if micro:
        print(MICRO_WEIGHTS, file=sys.stderr)
    run_locally(arguments, job, weights=micro_models if micro else None)
    if sys.stdout.isatty():
        print(terminal_filmstrip(arguments.out))
    print(describe_video(arguments.out))
    if arguments.open and not webbrowser.open(arguments.out.resolve().as_uri()):
        print("Nothing on this machine could be asked to show it.", file=sys.stderr)
