"""ComfyUI's own executor inside the test process: runs a graph and gives what each of its nodes gives, by value."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch

from wan_flf2v.engine.locate import Engine

Graph = dict[str, Any]
# Core's nodes that the pack's expand to and that are not in ComfyUI's own nodes.py.
EXTRAS = ("nodes_custom_sampler", "nodes_model_advanced", "nodes_images", "nodes_video")
GIVEN: dict[str, Any] = {}
FOUND: dict[str, list[Any]] = {}


class Given:
    """A value of the test as a node's output."""

    RETURN_TYPES = ("*",)
    FUNCTION = "give"
    CATEGORY = "test"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"name": ("STRING", {})}}

    def give(self, name: str) -> tuple[Any]:
        return (GIVEN[name],)


class Find:
    """Keeps a node's output for the test, as its digest."""

    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "keep"
    CATEGORY = "test"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"value": ("*", {}), "name": ("STRING", {})}}

    def keep(self, value: Any, name: str) -> tuple[()]:
        FOUND.setdefault(name, []).append(digest(value))
        return ()


def digest(value: Any) -> str:
    """A name for all that a node's output holds: of models their weights, patches and sampling, of videos their frames.

    A text is its own.
    """
    if isinstance(value, str):
        return value
    found = hashlib.sha256()
    for part in _parts(value):
        found.update(part + b"|")
    return found.hexdigest()


def _parts(value: Any) -> Iterable[bytes]:
    if isinstance(value, torch.Tensor):
        yield repr((value.dtype, value.shape)).encode()
        yield value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield repr(key).encode()
            yield from _parts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _parts(item)
    elif value is None or isinstance(value, (str, int, float, Fraction)):
        yield repr(value).encode()
    elif hasattr(value, "get_components"):
        yield re.sub(r"\d{5}_", "", Path(value.get_stream_source()).name).encode()
        yield from _parts(vars(value.get_components()))
    elif hasattr(value, "model_patches_to"):
        yield from _parts(next(iter(value.model.diffusion_model.parameters())).float())
        yield from _parts([str({each.dtype for each in value.model.diffusion_model.parameters()})])
        yield from _parts(value.get_model_object("model_sampling").sigmas)
        yield from _parts({name: [each[0] for each in patches] for name, patches in value.patches.items()})
    else:
        yield from _parts(vars(value))


class Executor:
    """Runs graphs as ComfyUI does, with the pack's nodes and core's; what they write goes into ``folder``."""

    def __init__(self, engine: Engine, folder: Path, patch: pytest.MonkeyPatch) -> None:

        import execution
        import folder_paths
        import server

        import nodes
        import wan_flf2v

        for name in ("input", "output", "temp", "user"):
            patch.setattr(folder_paths, f"{name}_directory", str(folder / name))
            (folder / name).mkdir()
        loop = asyncio.new_event_loop()
        patch.setattr(server.PromptServer, "instance", None, raising=False)
        self._server = server.PromptServer(loop)
        for name in EXTRAS:
            path = str(engine.comfyui / "comfy_extras" / f"{name}.py")
            loop.run_until_complete(nodes.load_custom_node(path, module_parent="comfy_extras"))
        extension = loop.run_until_complete(wan_flf2v.comfy_entrypoint())
        schemas = {node.GET_SCHEMA().node_id: node for node in loop.run_until_complete(extension.get_node_list())}
        self._outputs = {name: [each.display_name or each.id for each in node.GET_SCHEMA().outputs]
                         for name, node in schemas.items()}  # fmt: skip
        patch.setattr(
            nodes, "NODE_CLASS_MAPPINGS", {**nodes.NODE_CLASS_MAPPINGS, **schemas, "Given": Given, "Find": Find}
        )
        self._executor = execution.PromptExecutor(
            self._server, execution.CacheType.CLASSIC, {"lru": 0, "ram": 0, "ram_inactive": 0}
        )

    def run(self, graph: Graph, wanted: Iterable[str]) -> dict[str, dict[str, list[str]]]:
        """The digests of each output of these nodes, by its name. Raises ValueError with the words of a node that fails."""
        links = {(node, name): [node, number] for node in wanted
                 for number, name in enumerate(self._outputs[graph[node]["class_type"]])}  # fmt: skip
        finds = {f"{node} {name}": {"class_type": "Find", "inputs": {"value": value, "name": f"{node} {name}"}}
                 for (node, name), value in links.items()}  # fmt: skip
        FOUND.clear()
        self._executor.reset()
        self._executor.execute(graph | finds, "test", {}, list(finds))
        messages = dict(self._executor.status_messages)
        if not self._executor.success:
            raise ValueError(messages["execution_error"]["exception_message"])
        found: dict[str, dict[str, list[str]]] = {}
        for node, name in links:
            found.setdefault(node, {})[name] = FOUND.get(f"{node} {name}", [])
        return found


@dataclass(frozen=True)
class Link:
    """An output of a node that is put into the graph where the link is used."""

    kind: str
    inputs: Mapping[str, Any]
    output: int = 0


def link(kind: str, output: int = 0, **inputs: Any) -> Link:
    """The output of this number of a node of this class."""
    return Link(kind, inputs, output)


def given(name: str) -> Link:
    """A value of ``GIVEN``."""
    return link("Given", name=name)


def add(graph: Graph, kind: str, inputs: Mapping[str, Any]) -> str:
    """Put a node and all that its links name into the graph, equal ones once; returns its id. None is left out."""
    made = {name: [add(graph, value.kind, value.inputs), value.output] if isinstance(value, Link) else value
            for name, value in inputs.items() if value is not None}  # fmt: skip
    node = hashlib.sha256(json.dumps([kind, made]).encode()).hexdigest()[:12]
    graph[node] = {"class_type": kind, "inputs": made}
    return node
