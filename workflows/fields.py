"""One public field of a shipped workflow: what it takes, and what of a request's values is right."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..flf2v.errors import FLF2VError
from . import boards

Value = str | int | float


class FieldError(ValueError):
    """A field that is unknown, missing, of the wrong type or out of range. ``field`` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Target:
    """One node input that a field sets; ``constant`` targets set ``value`` whenever the field is given."""

    node: str
    input: str
    transform: Literal["value", "image", "constant"]
    value: Value | None = None


@dataclass(frozen=True)
class Field:
    """One public field. ``limits`` are the published ones, ``accepts`` what the nodes themselves can do."""

    name: str
    title: str
    description: str
    type: Literal["string", "integer", "float", "boolean", "object"]
    default: Value | None
    required: bool
    format: str | None
    enum: tuple[Value, ...] | None
    limits: Mapping[str, float]
    accepts: Mapping[str, float]
    bind: tuple[Target, ...]
    together_with: str | None
    public: bool

    @classmethod
    def listed(cls, name: str, data: Mapping[str, Any], *, public: bool = True) -> Field:
        """A field from its entry in a JSON file."""
        return cls(
            name=name,
            title=data["title"],
            description=data["description"],
            type=data["type"],
            default=data.get("default"),
            required=data.get("required", False),
            format=data.get("format"),
            enum=tuple(data["enum"]) if "enum" in data else None,
            limits={key: data[key] for key in ("minimum", "maximum") if key in data},
            accepts=data.get("accepts", {}),
            bind=tuple(Target(**target) for target in data.get("bind", ())),
            together_with=data.get("together_with"),
            public=public,
        )

    @property
    def is_image(self) -> bool:
        """Whether the value names a picture."""
        return self.format == "image"

    def schema(self) -> dict[str, Any]:
        """The field as RunComfy's input schema shows it; of a storyboard its own schema."""
        if self.type == "object":
            return {"title": self.title, **boards.SCHEMA}
        schema: dict[str, Any] = {"title": self.title, "description": self.description, "type": self.type}
        if self.enum is not None:
            schema["enum"] = list(self.enum)
        if self.default is not None:
            schema["default"] = self.default
        return schema | {key: self.limits[key] for key in ("minimum", "maximum") if key in self.limits}

    def check(self, value: object, *, free: bool = False) -> Value:
        """The value, typed as the workflow needs it.

        ``free`` keeps to what the nodes accept instead of the narrower published enum and range.
        Raises FieldError.
        """
        typed = self._typed(value)
        if self.enum is not None and typed not in self.enum and not (free and self.accepts):
            raise self._error(f"must be one of {', '.join(json.dumps(option) for option in self.enum)}", value)
        if not isinstance(typed, (str, bool)):
            self._check_range(typed, self.accepts if free else {**self.accepts, **self.limits})
        return typed

    def _typed(self, value: object) -> Value:
        if self.type == "string":
            if not isinstance(value, str):
                raise self._error("must be a text", value)
            return value
        if self.type == "object":
            try:
                return boards.text_of(value)
            except FLF2VError as error:
                raise FieldError(self.name, str(error)) from None
        if self.type == "boolean":
            if not isinstance(value, bool):
                raise self._error("must be true or false", value)
            return value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:  # NaN
            raise self._error(f"must be {'a whole number' if self.type == 'integer' else 'a number'}", value)
        if self.type == "integer":
            if isinstance(value, float) and not value.is_integer():
                raise self._error("must be a whole number", value)
            return int(value)
        return value

    def _check_range(self, value: int | float, limits: Mapping[str, float]) -> None:
        low, high = limits.get("minimum"), limits.get("maximum")
        if (low is not None and value < low) or (high is not None and value > high):
            raise self._error(f"must be between {low} and {high}", value)
        step = int(limits.get("step", 0))
        if step:
            offset = int(limits.get("offset", 0))
            below = int((value - offset) // step * step + offset)
            if below != value:
                rule = f"{step}n + {offset}" if offset else f"a multiple of {step}"
                raise self._error(f"must be {rule}: use {below} or {below + step}", value)

    def _error(self, what: str, value: object) -> FieldError:
        given = json.dumps(value, default=str)
        return FieldError(self.name, f"{self.name} ({self.title}) {what}; got {given[:80]}.")


def check_fields(
    known: Mapping[str, Field], values: Mapping[str, object], model: str, *, free: bool = False
) -> dict[str, Value]:
    """Every known field's value: the given ones checked, the defaults of public ones for the rest. Raises FieldError."""
    for name in values:
        if name not in known:
            fields = ", ".join(properties_of(known))
            raise FieldError(str(name), f"{str(name)[:60]} is not a field of {model}. Fields: {fields}.")
    checked: dict[str, Value] = {}
    for name, field in known.items():
        if name in values:
            checked[name] = field.check(values[name], free=free)
            if field.is_image and not checked[name]:
                raise FieldError(name, f"{name} ({field.title}) must name a picture; got an empty text.")
        elif field.required:
            raise FieldError(name, f"{name} ({field.title}) is required.")
        elif field.public and field.default is not None:
            checked[name] = field.default
    for name in checked:
        partner = known[name].together_with
        if partner is not None and partner not in checked:
            raise FieldError(partner, f"{name} and {partner} go together; {partner} is missing.")
    return checked


def properties_of(fields: Mapping[str, Field]) -> dict[str, Any]:
    """The schema of each field; a storyboard's fields stand beside the others."""
    found: dict[str, Any] = {}
    for name, field in fields.items():
        found |= field.schema()["properties"] if field.type == "object" else {name: field.schema()}
    return found


def required_of(fields: Mapping[str, Field]) -> list[str]:
    """The names of those that must be given."""
    required = [(name, field) for name, field in fields.items() if field.required]
    return [each for name, field in required for each in (field.schema().get("required", [name]))]
