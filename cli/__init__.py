"""The ``wan-flf2v`` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..engine.errors import EngineError
from ..providers import ProviderError
from ..workflows import FieldError
from . import accounts, demo, generate, remote_jobs
from .errors import CliError

EXPECTED = (CliError, EngineError, FieldError, ProviderError)


def build_parser() -> argparse.ArgumentParser:
    """The parser with every command."""
    parser = argparse.ArgumentParser(
        prog="wan-flf2v", description="First and last frame to video with Wan 2.1 / 2.2, on ComfyUI or a remote API."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (demo, generate, accounts, remote_jobs):
        module.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 with one line on standard error, or 130 after a Ctrl-C."""
    arguments = build_parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except EXPECTED as error:
        print(f"wan-flf2v: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("wan-flf2v: interrupted", file=sys.stderr)
        return 130
    return 0
