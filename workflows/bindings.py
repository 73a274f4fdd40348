"""The public fields of a shipped workflow: read from ``api/<name>.bindings.json``, checked, and put into the graph.

One file per workflow says for every public field which node inputs it sets. The command line, the gateway and the
remote nodes all read that file through this module; nothing parses a field's name.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from ..flf2v.errors import FLF2VError
from . import boards

API_FOLDER = Path(__file__).parent / "api"
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
    def listed(cls, name: str, data: Mapping[str, Any]) -> Field:
        """A public field from its entry in a JSON file."""
        return _field(name, data, public=True)

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


@dataclass(frozen=True)
class Bindings:
    """A workflow's public fields and how they reach its nodes.

    Its pictures are in the fields ``first_image`` and ``last_image``, or else in the one named by ``storyboard``.
    """

    name: str
    model: str
    title: str
    description: str
    fields: Mapping[str, Field]
    extra: Mapping[str, Field]
    output_node: str
    first_image: str
    last_image: str
    storyboard: str
    graph: Mapping[str, Any]

    @classmethod
    def load(cls, name: str = "wan22_flf2v") -> Bindings:
        """The bindings of one shipped workflow, by file name without ending. Raises KeyError for an unknown one."""
        if name not in available_bindings():
            raise KeyError(f"no workflow named {name!r}; there are {', '.join(available_bindings())}")
        return _load(name)

    @property
    def every_field(self) -> dict[str, Field]:
        """The public fields, then the extra ones."""
        return {**self.fields, **self.extra}

    @property
    def inputs(self) -> dict[tuple[str, str], Field]:
        """The field behind each (node, input) that one sets."""
        settable = ((field, target) for field in self.every_field.values() for target in field.bind)
        return {(target.node, target.input): field for field, target in settable if target.transform != "constant"}

    def check(self, values: Mapping[str, object], *, free: bool = False) -> dict[str, Value]:
        """Every field's value: the given ones checked, the defaults for the rest.

        ``free`` also accepts the pack's extra fields and the nodes' own ranges. Raises FieldError for the first field
        that is unknown, missing or wrong.
        """
        return check_fields(self.every_field if free else self.fields, values, self.model, free=free)

    def gathered(self, fields: Mapping[str, object]) -> Mapping[str, object]:
        """These fields with those of a storyboard put together to one, where the workflow has one."""
        if not self.storyboard:
            return fields
        board = {name: value for name, value in fields.items() if name in boards.SCHEMA["properties"]}
        return {name: value for name, value in fields.items() if name not in board} | {self.storyboard: board}

    def pictures(self, values: Mapping[str, Value]) -> dict[str, str]:
        """The pictures in these checked values, by the names that errors call them by."""
        if self.storyboard:
            return boards.pictures_in(str(values[self.storyboard]))
        return {name: str(values[name]) for name in (self.first_image, self.last_image)}

    def clips(self, values: Mapping[str, Value]) -> int:
        """How many clips these checked values make."""
        return len(set(boards.board_of(values[self.storyboard]).identities)) if self.storyboard else 1

    def with_pictures(self, values: Mapping[str, Value], pictures: Mapping[str, str]) -> dict[str, Value]:
        """These values with other pictures, by the same names."""
        if self.storyboard:
            return {**values, self.storyboard: boards.with_pictures(str(values[self.storyboard]), pictures)}
        return {**values, **pictures}

    def overrides(self, values: Mapping[str, Value]) -> dict[str, dict[str, dict[str, Value]]]:
        """The node inputs that these checked values set: ``{node id: {"inputs": {name: value}}}``."""
        out: dict[str, dict[str, dict[str, Value]]] = {}
        for name, field in self.every_field.items():  # in file order, so that an explicit size comes after the preset
            if name not in values:
                continue
            for target in field.bind:
                value = target.value if target.transform == "constant" else values[name]
                if value is not None:
                    out.setdefault(target.node, {"inputs": {}})["inputs"][target.input] = value
        return out

    def apply(self, values: Mapping[str, Value]) -> dict[str, Any]:
        """A fresh API graph with these checked values in it; pictures are file names in ComfyUI's input folder."""
        graph = copy.deepcopy(dict(self.graph))
        for node, override in self.overrides(values).items():
            graph[node]["inputs"].update(override["inputs"])
        return graph

    def example(self) -> dict[str, Any]:
        """A request: the required fields with their defaults."""
        if self.storyboard:
            return dict(json.loads(str(self.fields[self.storyboard].default)))
        return {name: field.default for name, field in self.fields.items() if field.required}

    def input_schema(self) -> dict[str, Any]:
        """The JSON schema of the public fields, in RunComfy's form."""
        return {
            "type": "object",
            "title": "Input schema",
            "required": required_of(self.fields),
            "properties": properties_of(self.fields),
        }

    def model_files(self) -> list[tuple[str, str]]:
        """The (folder below ``models/``, file name) of every model file that the graph loads."""
        return model_files_of(self.graph)


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


def model_files_of(graph: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The (folder below ``models/``, file name) of every model file that an API graph loads."""
    files = []
    for node in graph.values():
        for name, folder in MODEL_INPUTS.get(node["class_type"], {}).items():
            files.append((folder, str(node["inputs"][name])))
    return files


MODEL_INPUTS: Mapping[str, Mapping[str, str]] = {
    "UNETLoader": {"unet_name": "diffusion_models"},
    "CLIPLoader": {"clip_name": "text_encoders"},
    "VAELoader": {"vae_name": "vae"},
    "CLIPVisionLoader": {"clip_name": "clip_vision"},
    "LoraLoaderModelOnly": {"lora_name": "loras"},
}


@lru_cache(maxsize=1)
def available_bindings() -> tuple[str, ...]:
    """The names of the workflows that have public fields."""
    return tuple(sorted(path.name.removesuffix(".bindings.json") for path in API_FOLDER.glob("*.bindings.json")))


@lru_cache(maxsize=1)
def first_last_workflows() -> tuple[str, ...]:
    """Those of them that take a first and a last picture."""
    return tuple(name for name in available_bindings() if not Bindings.load(name).storyboard)


def _field(name: str, data: Mapping[str, Any], *, public: bool) -> Field:
    return Field(
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


@lru_cache
def _load(name: str) -> Bindings:
    data = json.loads((API_FOLDER / f"{name}.bindings.json").read_text(encoding="utf-8"))
    return Bindings(
        name=name,
        model=data["model"],
        title=data["title"],
        description=data["description"],
        fields={key: _field(key, value, public=True) for key, value in data["fields"].items()},
        extra={key: _field(key, value, public=False) for key, value in data["extra"].items()},
        output_node=data["output"]["node"],
        first_image=data["images"].get("first", ""),
        last_image=data["images"].get("last", ""),
        storyboard=data["images"].get("storyboard", ""),
        graph=json.loads((API_FOLDER / data["workflow"]).read_text(encoding="utf-8")),
    )
