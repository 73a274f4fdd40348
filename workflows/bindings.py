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
from typing import Any

from . import boards
from .fields import Field, Value, check_fields, properties_of, required_of

API_FOLDER = Path(__file__).parent / "api"


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


@lru_cache
def _load(name: str) -> Bindings:
    data = json.loads((API_FOLDER / f"{name}.bindings.json").read_text(encoding="utf-8"))
    return Bindings(
        name=name,
        model=data["model"],
        title=data["title"],
        description=data["description"],
        fields={key: Field.listed(key, value) for key, value in data["fields"].items()},
        extra={key: Field.listed(key, value, public=False) for key, value in data["extra"].items()},
        output_node=data["output"]["node"],
        first_image=data["images"].get("first", ""),
        last_image=data["images"].get("last", ""),
        storyboard=data["images"].get("storyboard", ""),
        graph=json.loads((API_FOLDER / data["workflow"]).read_text(encoding="utf-8")),
    )
