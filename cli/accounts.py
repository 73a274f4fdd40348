"""``wan-flf2v login``, ``logout`` and ``profiles``: keys by profile name. No key is ever an argument or printed."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..engine.locate import find_engine
from ..providers.errors import ConfigError
from ..providers.profiles import PROVIDERS, ProfileStore, state_folders
from ..providers.secret import Secret
from .errors import CliError


def add_parser(commands: Any) -> None:
    """Add the three commands to the parser."""
    login = commands.add_parser(
        "login",
        help="store an API key of RunComfy or WaveSpeed",
        description="Store an API key. It is read from a prompt, or from standard input when that is no terminal.",
    )
    login.add_argument("provider", choices=PROVIDERS)
    login.add_argument("--profile", metavar="NAME", help="name of the account (default: the provider's name)")
    login.add_argument("--base-url", default="", metavar="URL", help="a gateway of your own in place of the vendor")
    login.add_argument("--serverless-base-url", default="", metavar="URL", help="the same for RunComfy deployments")
    login.set_defaults(run=run_login)
    logout = commands.add_parser("logout", help="forget a stored API key")
    logout.add_argument("profile", metavar="PROFILE", help="the profile's name; runcomfy and wavespeed by default")
    logout.set_defaults(run=run_logout)
    profiles = commands.add_parser("profiles", help="list the accounts, without their keys")
    profiles.set_defaults(run=run_profiles)
    for parser in (login, logout, profiles):
        add_comfyui(parser)


def add_comfyui(parser: argparse.ArgumentParser) -> None:
    """The option that says whose keys and jobs are meant."""
    parser.add_argument(
        "--comfyui", metavar="PATH", help="the ComfyUI whose keys and jobs are meant (else COMFYUI_PATH)"
    )


def folders(comfyui: str | None) -> list[Path]:
    """Where keys and the journal are: in the ComfyUI that is meant, else in the user's own folder."""
    try:
        engine = find_engine(comfyui)
    except FileNotFoundError as error:
        raise CliError(str(error)) from None
    return state_folders(None if engine.own else engine.comfyui / "user" / "__wan_flf2v")


def store_of(arguments: argparse.Namespace) -> ProfileStore:
    """The profiles that this command works on."""
    return ProfileStore(folders(arguments.comfyui))


def run_login(arguments: argparse.Namespace) -> None:
    """Read a key and store it. Raises ConfigError."""
    name = arguments.profile or arguments.provider
    prompt = f"API key of {arguments.provider} (not shown): "
    text = getpass.getpass(prompt) if sys.stdin.isatty() else sys.stdin.read()
    path = store_of(arguments).save(
        name,
        arguments.provider,
        Secret(text),
        base_url=arguments.base_url,
        serverless_base_url=arguments.serverless_base_url,
    )
    print(f"Stored the key of profile {name} in {path}")


def run_logout(arguments: argparse.Namespace) -> None:
    """Forget a key. Raises CliError when there is none."""
    if not store_of(arguments).remove(arguments.profile):
        raise CliError(f"no key is stored for a profile {arguments.profile!r}; see wan-flf2v profiles.")
    print(f"Forgot the key of profile {arguments.profile}")


def run_profiles(arguments: argparse.Namespace) -> None:
    """List every profile: name, provider, where its key is, where it points."""
    store = store_of(arguments)
    lines = [("PROFILE", "PROVIDER", "KEY", "ADDRESS")]
    for name in store.names():
        try:
            profile = store.load(name)
        except ConfigError:
            lines.append((name, name, "none", ""))
        else:
            lines.append((name, profile.provider, profile.source, profile.base_url))
    print(table(lines))


def table(lines: Sequence[tuple[str, ...]]) -> str:
    """The lines with their columns under one another."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
