"""The tokens of a file name that ComfyUI's editor replaces for its own save nodes: dates and widget values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

RESERVED = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')  # in file names on Windows; the separators of folders are allowed
_TOKEN = re.compile(r"%([^%]+)%")
_DATE = re.compile(r"dd?|MM?|hh?|mm?|ss?|yyyy|yy")


def expand_name(template: str, prompt: Mapping[str, Any], now: datetime) -> str:
    """The name with ``%date:yyyy-MM-dd hh-mm-ss%`` and ``%Node.widget%`` filled in and nothing that Windows forbids.

    A node is meant by its type, its title or its id in ``prompt``, an API graph. Unknown tokens stay as they are, so
    that ComfyUI's own (``%year%``, ``%width%`` …) can follow.
    """

    def fill(token: re.Match[str]) -> str:
        if token[1].startswith("date:"):
            return format_date(token[1].removeprefix("date:"), now)
        name, _, widget = token[1].partition(".")
        for node in _named(prompt, name):
            value = node.get("inputs", {}).get(widget)
            if isinstance(value, (str, int, float)):
                return RESERVED.sub("_", _text(value)).replace("/", "_").replace("\\", "_")
        return token[0]

    return RESERVED.sub("_", _TOKEN.sub(fill, template))


def format_date(pattern: str, now: datetime) -> str:
    """The date with d, M, h, m, s (doubled: two digits), yy and yyyy replaced; hours count to 23."""
    parts = {"d": now.day, "M": now.month, "h": now.hour, "m": now.minute, "s": now.second}

    def fill(part: re.Match[str]) -> str:
        if part[0][0] == "y":
            return str(now.year)[-len(part[0]) :]
        return str(parts[part[0][0]]).zfill(len(part[0]))

    return _DATE.sub(fill, pattern)


def _named(prompt: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    nodes = list(prompt.items())
    by_type = [node for _, node in nodes if node.get("class_type") == name]
    by_title = [node for _, node in nodes if node.get("_meta", {}).get("title") == name]
    return by_type + by_title + [node for key, node in nodes if key == name]


def _text(value: str | int | float) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)
