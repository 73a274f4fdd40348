"""A request's body as JSON. A long one stays in files and is parsed in a child: JSON of that size stops a process."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import BadRequest, TooLarge

SMALL = 512 * 1024  # bytes of JSON that are parsed where they are needed
SCRATCH = "scratch"
_HEAD = 200  # longer than any beginning of a data URI that is taken
_LONG = 4096
Json = Any


@dataclass
class Scratch:
    """A folder for what one request brings, made when it is first needed. ``long``: where a stand-in's text is."""

    folder: Path
    long: dict[str, Path] = field(default_factory=dict)

    def file(self, name: str) -> Path:
        """The place for a file of this name."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self.folder / name

    def close(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def remove_scratch(data: Path, before: float) -> None:
    """Remove what requests left behind whose process was killed before this time."""
    for folder in (data / SCRATCH).glob("*"):
        with suppress(FileNotFoundError):  # its request may end just now
            if folder.stat().st_mtime < before:
                shutil.rmtree(folder, ignore_errors=True)


def parse(text: bytes) -> Json:
    """The JSON value. Raises BadRequest, also for a name twice in an object and for what only Python takes for a number."""
    try:
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise BadRequest("The body must be a JSON object, encoded as UTF-8.") from None


def take_apart(path: Path) -> tuple[Json, list[str]]:
    """The JSON value in a file, with a stand-in for every long data URI; beside the file lies one for each of these.

    A stand-in is the beginning of the text and its SHA-256, which names the file. Raises BadRequest or TooLarge.
    """
    found: list[str] = []

    def aside(value: str) -> str:
        if len(value) <= _LONG or value[:5].lower() != "data:":
            return value
        data = value.encode("utf-8", "surrogatepass")
        name = hashlib.sha256(data).hexdigest()
        path.with_name(name).write_bytes(data)
        head, comma, _ = value[:_HEAD].partition(",")
        found.append(f"{head}{comma}{name}")
        return found[-1]

    try:
        value = with_texts(parse(path.read_bytes()), aside)
        if len(json.dumps(value)) > SMALL:
            raise TooLarge(f"A body must have at most {SMALL // 1024} KiB beside its pictures.")
    except (RecursionError, MemoryError):
        raise TooLarge("The body takes too much memory to read.") from None
    return value, found


def with_texts(value: Json, change: Callable[[str], Json]) -> Json:
    """The JSON value with each text, but for names, as ``change`` makes it."""
    if isinstance(value, dict):
        return {name: with_texts(item, change) for name, item in value.items()}
    if isinstance(value, list):
        return [with_texts(item, change) for item in value]
    return change(value) if isinstance(value, str) else value


def request_digest(path: str, body: object, scratch: Scratch) -> str:
    """What tells two requests under one idempotency key apart."""

    def short(value: str) -> Json:
        if value in scratch.long:
            return ["sha256", scratch.long[value].name]
        return ["sha256", _sha256(value)] if len(value) > _LONG else value

    return _sha256(f"{path}\n{json.dumps(with_texts(body, short), sort_keys=True)}")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise BadRequest(f"The body has the name {twice[:60]!r} twice in one object.")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
