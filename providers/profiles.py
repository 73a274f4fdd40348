"""Profiles: the name under which a key and a base URL are stored. Environment first, then owner-only files.

A profile's base URL comes from here alone, never from a graph, so that a shared workflow cannot send a key elsewhere.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .addresses import is_loopback
from .calls import split_url
from .errors import ConfigError
from .secret import Secret

Provider = Literal["runcomfy", "wavespeed"]
PROVIDERS: tuple[Provider, ...] = ("runcomfy", "wavespeed")
FILE_NAME = "profiles.json"
HOME_VARIABLE = "WAN_FLF2V_HOME"
KEY_VARIABLES: Mapping[Provider, tuple[str, ...]] = {
    "wavespeed": ("WAVESPEED_API_KEY",),
    "runcomfy": ("RUNCOMFY_API_TOKEN", "RUNCOMFY_TOKEN"),
}
BASE_URLS: Mapping[Provider, str] = {
    "wavespeed": "https://api.wavespeed.ai",
    "runcomfy": "https://model-api.runcomfy.net",
}
BASE_URL_VARIABLES: Mapping[Provider, str] = {"wavespeed": "WAVESPEED_BASE_URL", "runcomfy": "RUNCOMFY_BASE_URL"}
SERVERLESS_BASE_URL = "https://api.runcomfy.net"
VENDOR_URLS = frozenset({*BASE_URLS.values(), SERVERLESS_BASE_URL})
SERVERLESS_VARIABLE = "RUNCOMFY_SERVERLESS_BASE_URL"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Profile:
    """One account: its provider, key and base URLs. ``source`` says where the key came from."""

    name: str
    provider: Provider
    key: Secret
    base_url: str
    serverless_base_url: str
    source: str

    @property
    def at_vendor(self) -> bool:
        """Whether this is an account at the vendor itself, not at a gateway."""
        return self.base_url == BASE_URLS[self.provider]


def user_directory() -> Path:
    """Where keys and the journal live without ComfyUI: ``WAN_FLF2V_HOME``, else the system's per-user place."""
    given = os.environ.get(HOME_VARIABLE)
    if given:
        return Path(given).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming") / "wan_flf2v"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "wan_flf2v"


def state_folders(comfyui: Path | None) -> list[Path]:
    """Where keys and the journal are looked for; the first folder is written to.

    ``comfyui`` is ComfyUI's non-served system user directory of this pack, None where there is no ComfyUI.
    """
    if os.environ.get(HOME_VARIABLE) or comfyui is None:
        return [user_directory()]
    return [comfyui, user_directory()]


@dataclass(frozen=True)
class ProfileStore:
    """The profiles in these folders; earlier folders win, and the first one is written to."""

    folders: Sequence[Path]

    def names(self, provider: Provider | None = None) -> list[str]:
        """Every usable profile name of a provider (of all without one), its default profile first."""
        providers = PROVIDERS if provider is None else (provider,)
        stored = [name for name, entry in self._entries().items() if entry["provider"] in providers]
        return list(dict.fromkeys([*providers, *sorted(stored)]))

    def load(self, name: str) -> Profile:
        """One profile with its key. Raises ConfigError when there is no key for it."""
        entry = self._entries().get(name)
        provider = next((known for known in PROVIDERS if known in (name, (entry or {}).get("provider"))), None)
        if provider is None:
            raise ConfigError(
                f"There is no profile {name!r}. Profiles: {', '.join(self.names())}. "
                f"Make it with: wan-flf2v login runcomfy|wavespeed --profile {name}"
            )
        if name == provider:
            for variable in KEY_VARIABLES[provider]:
                if os.environ.get(variable, "").strip():
                    # A stored base URL belongs to the stored key, so it is not used with this one.
                    return self._profile(name, provider, os.environ[variable], {}, f"environment {variable}")
        if entry is None:
            raise ConfigError(
                f"There is no API key for {name}. Store one with: wan-flf2v login {provider}   "
                f"or set {KEY_VARIABLES[provider][0]}."
            )
        return self._profile(name, provider, entry["key"], entry, "key file")

    def save(
        self, name: str, provider: Provider, key: Secret, *, base_url: str = "", serverless_base_url: str = ""
    ) -> Path:
        """Store a profile, replacing one of that name; returns the file. Raises ConfigError."""
        if not _NAME.fullmatch(name):
            raise ConfigError(f"A profile name has letters, digits, '_', '.' and '-' only; got {name[:80]!r}.")
        if name in PROVIDERS and name != provider:
            raise ConfigError(f"The profile name {name!r} is kept for the provider {name}; choose another.")
        entry: dict[str, str] = {"provider": provider, "key": key.reveal()}
        if base_url:
            entry["base_url"] = check_base_url(base_url)
        if serverless_base_url:
            entry["serverless_base_url"] = check_base_url(serverless_base_url)
        return self._write({**_read(self.folders[0]), name: entry})

    def remove(self, name: str) -> bool:
        """Forget a stored profile in every folder; whether there was one."""
        found = False
        for folder in self.folders:
            entries = _read(folder)
            if entries.pop(name, None) is not None:
                found = True
                ProfileStore([folder])._write(entries)
        return found

    def _entries(self) -> dict[str, dict[str, str]]:
        merged: dict[str, dict[str, str]] = {}
        for folder in reversed(self.folders):
            merged.update(_read(folder))
        return merged

    def _profile(self, name: str, provider: Provider, key: str, entry: Mapping[str, str], source: str) -> Profile:
        own = os.environ.get(BASE_URL_VARIABLES[provider], "").strip() if name == provider else ""
        base_url = check_base_url(own or entry.get("base_url") or BASE_URLS[provider])
        serverless = os.environ.get(SERVERLESS_VARIABLE, "").strip() if name == provider else ""
        # A gateway of one's own serves both APIs at one address.
        same = base_url if base_url != BASE_URLS[provider] else SERVERLESS_BASE_URL
        serverless = check_base_url(serverless or entry.get("serverless_base_url") or same)
        return Profile(name, provider, Secret(key), base_url, serverless, source)

    def _write(self, entries: Mapping[str, Mapping[str, str]]) -> Path:
        folder = self.folders[0]
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, scratch = tempfile.mkstemp(dir=folder, prefix=".profiles-")  # made readable by the owner alone
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(entries, file, indent=2)
            os.replace(scratch, folder / FILE_NAME)
        except OSError as error:
            raise ConfigError(f"The key file in {folder} cannot be written: {error.strerror}.") from None
        return folder / FILE_NAME


def check_base_url(url: str) -> str:
    """The base URL without a trailing slash. Raises ConfigError unless it is https, or http on loopback."""
    url = url.strip().rstrip("/")
    parts = split_url(url)
    host = parts.hostname or ""
    if not host or parts.query or parts.fragment or parts.username is not None or parts.password is not None:
        raise ConfigError(f"A base URL looks like https://host or https://host:port/path; got {_shown(url)!r}.")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ConfigError(
            f"A base URL must be https (http for this machine alone), because the key is sent to it; got {_shown(url)!r}."
        )
    return url


def _shown(url: str) -> str:
    """The URL without a user name or password in it."""
    return re.sub(r"//[^/@]*@", "//***@", url)[:120]


def _read(folder: Path) -> dict[str, dict[str, str]]:
    path = folder / FILE_NAME
    try:
        if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            path.chmod(0o600)  # a copied or restored file may have become readable by others
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise ConfigError(f"The key file {path} cannot be read. Remove it and log in again.") from None
    entries = data.items() if isinstance(data, dict) else ()
    return {
        name: entry
        for name, entry in entries
        if isinstance(entry, dict) and entry.get("provider") in PROVIDERS and isinstance(entry.get("key"), str)
    }
