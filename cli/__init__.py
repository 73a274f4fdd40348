"""The ``wan-flf2v`` command."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from ..engine.errors import EngineError
from ..engine.version import package_version
from ..providers import ProviderError
from ..workflows import FieldError
from . import accounts, batch, bench, demo, finish, generate, remote_jobs, report, storyboard
from .errors import CliError

# The gateway's packages are an extra of their own and are imported for its commands alone.
GATEWAY_COMMANDS = {
    "serve": "serve RunComfy's and WaveSpeed's APIs from this machine",
    "worker": "run a worker of a gateway: one ComfyUI, and the jobs on it",
    "keys": "create, list and revoke a gateway's API keys",
    "status": "show a gateway's workers and queue",
}
EXPECTED = (CliError, EngineError, FieldError, ProviderError, OSError)  # a full disk, a folder without rights


def build_parser() -> argparse.ArgumentParser:
    """The parser with every command."""
    parser = argparse.ArgumentParser(
        prog="wan-flf2v", description="First and last frame to video with Wan 2.1 / 2.2, on ComfyUI or a remote API."
    )
    parser.add_argument("--version", action="version", version=f"wan-flf2v {package_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (demo, generate, batch, storyboard, finish, report, accounts, remote_jobs, bench):
        module.add_parser(commands)
    for name, about in GATEWAY_COMMANDS.items():
        commands.add_parser(name, help=about, add_help=False)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 with one line on standard error, or 130 after a Ctrl-C or SIGTERM."""
    given = sys.argv[1:] if argv is None else list(argv)
    if given and given[0] in GATEWAY_COMMANDS:
        return _gateway(given)
    arguments = build_parser().parse_args(given)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is stopped, as after a Ctrl-C
    try:
        arguments.run(arguments)
    except EXPECTED as error:
        print(f"wan-flf2v: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:  # what run.py installs, and pip does not
        print(f"wan-flf2v: {arguments.command} needs the package {error.name}, which is not installed", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("wan-flf2v: interrupted", file=sys.stderr)
        return 130
    return 0


def _gateway(arguments: list[str]) -> int:
    try:
        from ..gateway.cli import main as gateway
    except ImportError as error:
        need = f"the gateway needs more packages ({error.name}): pip install 'wan-flf2v[gateway]'"
        print(f"wan-flf2v: {need}", file=sys.stderr)
        return 1
    return gateway(arguments)
