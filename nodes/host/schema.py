"""Node schemas across ComfyUI's versions."""

from __future__ import annotations

import dataclasses
from typing import Any

from comfy_api.latest import io

CATEGORY = "Wan FLF2V"
RAW_LINK = {"rawLink": True}
FRAMES = io.Custom("WAN_FLF2V_FRAMES")
_SCHEMA_FIELDS = {field.name for field in dataclasses.fields(io.Schema)}


def schema(**fields: Any) -> io.Schema:
    """A node schema, without the fields that this ComfyUI does not know (search_aliases before 0.11, for one)."""
    fields.setdefault("category", CATEGORY)
    return io.Schema(**{name: value for name, value in fields.items() if name in _SCHEMA_FIELDS})


def raw_links(hidden: Any) -> dict[str, Any]:
    """The inputs of the running node as the prompt holds them: links stay ``[node id, output]``."""
    inputs: dict[str, Any] = hidden.dynprompt.get_node(hidden.unique_id)["inputs"]
    return inputs
