"""The JSON schemas of the bodies that name a workflow's fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...workflows import Bindings, Field


def fields_schema(fields: Mapping[str, Field], **more: Any) -> dict[str, Any]:
    """The schema of a body with these fields, in words that JSON Schema knows: the vendors write ``float`` for a number."""
    properties = {name: {**field.schema(), "type": _type(field)} for name, field in fields.items()}
    return _object(properties, [name for name, field in fields.items() if field.required]) | more


def overrides_schema(bindings: Bindings) -> dict[str, Any]:
    """The schema of a body with overrides of the node inputs that a workflow's fields set."""
    nodes: dict[str, dict[str, Any]] = {}
    required: dict[str, list[str]] = {}
    for field in {**bindings.fields, **bindings.extra}.values():
        for target in field.bind:
            if target.transform != "constant":
                nodes.setdefault(target.node, {})[target.input] = {"type": _type(field), "title": field.title}
                if field.required:
                    required.setdefault(target.node, []).append(target.input)
    overrides = {
        node: _object({"inputs": _object(inputs, required.get(node, []))}, ["inputs"]) for node, inputs in nodes.items()
    }
    properties = {
        "overrides": _object(overrides, sorted(required)),
        "webhook": {"type": "string", "format": "uri"},
        "webhook_intermediate_status": {"type": "boolean"},
    }
    return _object(properties, ["overrides"])


def _object(properties: Mapping[str, Any], required: list[str]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"required": required} if required else {})


def _type(field: Field) -> str:
    return "number" if field.type == "float" else field.type
