"""The JSON schemas of the bodies that name a workflow's fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...workflows import Bindings, Field
from ...workflows.fields import properties_of, required_of


def fields_schema(fields: Mapping[str, Field], **more: Any) -> dict[str, Any]:
    """The schema of a body with these fields, in words that JSON Schema knows: the vendors write ``float`` for a number."""
    properties = {name: {**schema, "type": _type(schema["type"])} for name, schema in properties_of(fields).items()}
    return _object(properties, required_of(fields)) | more


def overrides_schema(bindings: Bindings) -> dict[str, Any]:
    """The schema of a body with overrides of the node inputs that a workflow's fields set."""
    nodes: dict[str, dict[str, Any]] = {}
    required: dict[str, list[str]] = {}
    for (node, name), field in bindings.inputs.items():
        short = {"type": _type(field.type), "title": field.title}
        nodes.setdefault(node, {})[name] = field.schema() if field.type == "object" else short
        if field.required:
            required.setdefault(node, []).append(name)
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


def _type(name: str) -> str:
    return "number" if name == "float" else name
