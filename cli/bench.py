"""``wan-flf2v bench``: this pack against ComfyUI's core nodes, on this machine."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from ..engine.locate import ROOT
from ..engine.setup import prepare
from .errors import CliError


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "bench",
        help="measure this pack against ComfyUI's core nodes (about 25 minutes on two idle cores)",
        description="Ours and the rival's by turns with tiny models. Prints a table and keeps every number as JSON.",
    )
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (default 5)")
    parser.add_argument("--name", default="cpu", help="name of the result file (default cpu)")
    parser.add_argument("--comfyui", metavar="PATH", help="the ComfyUI to measure (default: as for demo)")
    parser.add_argument("--from-json", type=Path, metavar="FILE", help="show an earlier result instead of measuring")
    parser.add_argument("--only", metavar="PART", help="measure one part anew in the result file, such as decode")
    parser.add_argument("--docs", action="store_true", help="also put the table into docs/speed.md")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Measure and print. Raises CliError or EngineError."""
    from ..benchmarks.rows import markdown
    from ..benchmarks.suite import PARTS, run_suite, write_table

    if arguments.rounds < 1:
        raise CliError(f"--rounds must be at least 1; got {arguments.rounds}.")
    if arguments.only not in (None, *PARTS):
        raise CliError(f"--only must be one of {', '.join(PARTS)}; got {arguments.only}.")
    if arguments.from_json:
        try:
            report = json.loads(arguments.from_json.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CliError(f"{arguments.from_json} is no result of this command: {error}") from None
    else:
        engine = prepare(arguments.comfyui)
        say = partial(print, file=sys.stderr)
        report = run_suite(engine, arguments.rounds, arguments.name, say, arguments.only)
    print(markdown(report))
    if arguments.docs and not write_table(report, ROOT / "docs" / "speed.md"):
        raise CliError(
            "docs/speed.md has no place for the table: put its two marks there (benchmarks/suite.py names them)."
        )
