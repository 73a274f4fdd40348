"""JSON that people write: read strictly, and checked against a JSON schema with one sentence for what is wrong.

Of JSON schema this knows type, minimum, maximum, exclusiveMinimum, enum, minLength, maxLength, minItems, maxItems,
items and properties; a field that the schema doesn't list is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from .errors import FLF2VError

_TYPES = {"integer": "a whole number", "number": "a number", "string": "a text", "boolean": "true or false"}
_TYPES |= {"array": "a list [ … ]", "object": "an object { … }"}


class _Object(dict[str, Any]):
    """A JSON object that knows a field it was given twice."""

    repeated: str | None = None


def read_json(text: str, what: str, most: int) -> Any:
    """The value of a JSON text of at most ``most`` characters. Raises FLF2VError, which calls the text ``what``."""
    if len(text) > most:
        raise FLF2VError(f"{what} must be at most {most} characters long; got {len(text)}.")
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise FLF2VError(f"{what} is no JSON: {error.msg} at {place}. Is a bracket, comma or quote missing?") from None
    except RecursionError:
        raise FLF2VError(f"{what} is no usable JSON: brackets are nested too deep.") from None
    except ValueError as error:  # a number of thousands of digits
        raise FLF2VError(f"{what} is no usable JSON: {error}.") from None


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    found = _Object()
    for name, value in pairs:
        if name in found:
            found.repeated = name
        found[name] = value
    return found


def check_value(value: Any, schema: Mapping[str, Any], name: str) -> Any:
    """The value as the schema wants it (whole numbers as int). Raises FLF2VError, which calls it ``name``."""
    kind = schema["type"]
    if not _is(value, kind):
        raise FLF2VError(f"{name} must be {_TYPES[kind]}; got {_show(value)}.")
    if "enum" in schema and value not in schema["enum"]:
        raise FLF2VError(f"{name} must be one of {', '.join(map(str, schema['enum']))}; got {_show(value)}.")
    if kind == "object":
        return _check_object(value, schema, name)
    if kind in ("integer", "number"):
        low, high = schema.get("minimum", schema.get("exclusiveMinimum", -math.inf)), schema.get("maximum", math.inf)
        if not low <= value <= high or value == schema.get("exclusiveMinimum"):
            raise FLF2VError(f"{name} must be between {low} and {high}; got {_show(value)}.")
        return int(value) if kind == "integer" else float(value)
    if kind in ("string", "array"):
        unit, which = ("characters", "Length") if kind == "string" else ("entries", "Items")
        least, most = schema.get(f"min{which}", 0), schema.get(f"max{which}", math.inf)
        if not least <= len(value) <= most:
            raise FLF2VError(f"{name} must have between {least} and {most} {unit}; got {len(value)}.")
    if kind == "string" and not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise FLF2VError(f"{name} holds half a character (a lone \\uD800 … \\uDFFF). Write the whole character.")
    if kind == "array":
        one = name.removesuffix("s")
        return [check_value(item, schema["items"], f"{one} {number}") for number, item in enumerate(value, 1)]
    return value


def _check_object(value: dict[str, Any], schema: Mapping[str, Any], name: str) -> dict[str, Any]:
    repeated = getattr(value, "repeated", None)
    if repeated is not None:
        raise FLF2VError(f"{name} gives {_show(repeated)} twice; leave one of them out.")
    fields = schema["properties"]
    for field in value:
        if field not in fields:
            raise FLF2VError(f"{name} has no field {_show(field)}. It takes {', '.join(fields)}.")
    inner = "" if "$schema" in schema else f"{name}: "
    return {field: check_value(item, fields[field], inner + field) for field, item in value.items()}


def _is(value: Any, kind: str) -> bool:
    if kind in ("integer", "number"):
        if isinstance(value, float):
            return math.isfinite(value) and (kind == "number" or value.is_integer())
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, {"string": str, "boolean": bool, "array": list, "object": dict}[kind])


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"
