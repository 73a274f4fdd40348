"""Node schemas across ComfyUI's versions."""

from __future__ import annotations

import dataclasses
from typing import Any

from comfy_api.latest import io

CATEGORY = "Wan FLF2V"
FRAMES = io.Custom("WAN_FLF2V_FRAMES")
SEGMENTS = io.Custom("WAN_FLF2V_SEGMENTS")
_SCHEMA_FIELDS = {field.name for field in dataclasses.fields(io.Schema)}


def schema(**fields: Any) -> io.Schema:
    """A node schema, without the fields that this ComfyUI does not know (search_aliases before 0.11, for one)."""
    fields.setdefault("category", CATEGORY)
    return io.Schema(**{name: value for name, value in fields.items() if name in _SCHEMA_FIELDS})


PART: dict[str, Any] = {
    "category": f"{CATEGORY}/Parts",
    "is_dev_only": True,
    "description": "Made by the nodes that need it.",
}


def part_schema(**fields: Any) -> io.Schema:
    """The schema of a node that composite nodes expand to, and nobody places."""
    return schema(**PART, **fields)
