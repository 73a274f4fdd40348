"""A batch's pairs: read from a table (CSV or JSON lines) or a folder of pictures."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from .errors import CliError
from .texts import read_text

COLUMNS = ("first", "last", "prompt", "negative", "name")
PICTURES = {".png", ".jpg", ".jpeg", ".webp"}
_SIDES = re.compile(r"([ab])[ _-]?(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """One row: pictures as paths or URLs, the texts (None: the batch's own), all other columns by name."""

    number: int
    name: str
    first: str
    last: str
    prompt: str | None = None
    negative: str | None = None
    fields: Mapping[str, object] = field(default_factory=dict)


def read_pairs(source: Path) -> list[Pair]:
    """The pairs of a .csv or .jsonl file or of a folder. Raises CliError for what is no such thing, or has no pair."""
    if source.is_dir():
        pairs = list(_folder(source))
    else:
        text = read_text(source)
        readers = {".csv": _csv, ".jsonl": _json_lines}
        if source.suffix.lower() not in readers:
            raise CliError(f"pairs come from a .csv or .jsonl file or a folder of pictures; got {source}.")
        rows = readers[source.suffix.lower()](text, source)
        pairs = [_pair(number, row, source.parent) for number, row in enumerate(rows, 1)]
    if not pairs:
        raise CliError(f"{source} holds no pair.")
    return pairs


def _csv(text: str, source: Path) -> Iterable[Mapping[str, Any]]:
    rows = csv.DictReader(text.splitlines(keepends=True), restkey="")
    missing = {"first", "last"} - set(rows.fieldnames or ())
    if missing:
        raise CliError(
            f"{source}: the first line must name the columns first and last among others; it lacks {min(missing)}."
        )
    return [{name: value for name, value in row.items() if value not in ("", None) and name} for row in rows]


def _json_lines(text: str, source: Path) -> Iterable[Mapping[str, Any]]:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            row = {"broken": f"line {number} of {source.name} is no JSON: {error}."}
        rows.append(row if isinstance(row, dict) else {"broken": f"line {number} of {source.name} is no JSON object."})
    return rows


def _pair(number: int, row: Mapping[str, Any], folder: Path) -> Pair:
    def picture(side: str) -> str:
        given = str(row.get(side, ""))
        return given if not given or given.startswith(("https://", "http://")) else str(folder / given)

    texts = {name: None if row.get(name) is None else str(row[name]) for name in ("prompt", "negative")}
    fields = {name: value for name, value in row.items() if name not in COLUMNS}
    first, last = picture("first"), picture("last")
    name = _plain(str(row.get("name") or Path(first).stem))
    return Pair(number, name, first, last, **texts, fields=fields)


def _folder(folder: Path) -> Iterable[Pair]:
    """Pairs a1/b1, a2/b2 … where every picture is named so; else each picture with the next one, by name.

    A text file named as the first picture is its prompt.
    """
    found = sorted((path for path in folder.iterdir() if path.suffix.lower() in PICTURES), key=_natural)
    sides = {match[0].lower(): path for path in found if (match := _SIDES.fullmatch(path.stem))}
    if found and len(sides) == len(found):
        numbers = sorted({int(key[1:].strip(" _-")) for key in sides})
        by_side = {(path.stem[0].lower(), int(_SIDES.fullmatch(path.stem)[2])): path for path in found}  # type: ignore[index]
        both = [(by_side.get(("a", number)), by_side.get(("b", number))) for number in numbers]
        couples = [
            (first or folder / f"a{number}.png", last or folder / f"b{number}.png")
            for number, (first, last) in zip(numbers, both, strict=True)
        ]
    else:
        couples = list(pairwise(found))
    for number, (first, last) in enumerate(couples, 1):
        words = first.with_suffix(".txt")
        prompt = read_text(words).strip() if words.is_file() else None
        yield Pair(number, _plain(f"{first.stem}-{last.stem}"), str(first), str(last), prompt)


def _natural(path: Path) -> list[tuple[int, str]]:
    """10 after 9."""
    return [(int(part), "") if part.isdigit() else (0, part.lower()) for part in re.split(r"(\d+)", path.name)]


def _plain(name: str) -> str:
    """A name as part of a file's name."""
    return re.sub(r"[^\w.-]+", "_", name)[:60] or "pair"
