"""A graph as the API call that runs it: the fields, and the call as payload, curl line, Python and command line."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from .bindings import Bindings, first_last_workflows
from .fields import Field, FieldError, Target

BASE_URL = "https://model-api.runcomfy.net"
PUBLISHED = "community/wan-2-2/first-last-frame"
FREE = "This call uses more than RunComfy publishes ({error}), so RunComfy refuses it; your own gateway's deployments "
FREE += "and `wan-flf2v generate --free` take it."


class ApiCallError(ValueError):
    """A graph that carries no shipped workflow's nodes."""


def api_call(body: object) -> dict[str, Any]:
    """The API call of ``{"graph": an API graph}``: payload, curl, python, cli, notes. Raises ApiCallError."""
    graph = body.get("graph") if isinstance(body, Mapping) else None
    if not isinstance(graph, Mapping) or not all(isinstance(node, Mapping) for node in graph.values()):
        raise ApiCallError('the body must be {"graph": …} with a graph in API format.')
    bindings = workflow_of(graph)
    payload = payload_of(bindings, graph)
    notes = differences(bindings, graph, payload)
    try:
        bindings.check(payload)
    except FieldError as error:
        try:
            bindings.check(payload, free=True)
        except FieldError as wrong:
            raise ApiCallError(str(wrong)) from None
        notes.insert(0, FREE.format(error=str(error).rstrip(".")))
    if bindings.model != PUBLISHED:
        notes.insert(
            0, f"RunComfy publishes {PUBLISHED} alone; this workflow runs on your own gateway (RUNCOMFY_BASE_URL)."
        )
    return {
        "workflow": bindings.name,
        "title": bindings.title,
        "payload": payload,
        "curl": curl_line(bindings, payload),
        "python": python_snippet(bindings, payload),
        "cli": f"wan-flf2v generate --workflow {bindings.name} --free --payload payload.json",
        "notes": notes,
    }


def workflow_of(graph: Mapping[str, Any]) -> Bindings:
    """The shipped workflow that this graph is: all its bound nodes, and most nodes alike. Raises ApiCallError."""
    best: tuple[int, Bindings] | None = None
    for name in first_last_workflows():
        bindings = Bindings.load(name)
        bound = {target.node for field in bindings.fields.values() for target in field.bind} | {bindings.output_node}
        if not all(_type(graph, node) == _type(bindings.graph, node) for node in bound):
            continue
        alike = sum(1 for node in bindings.graph if _type(graph, node) == _type(bindings.graph, node))
        extra = sum(1 for node in graph if node not in bindings.graph)
        if best is None or alike - extra > best[0]:
            best = alike - extra, bindings
    if best is None:
        raise ApiCallError(
            "this graph has no API call: its node ids are not those of a shipped workflow. Open one from the template "
            "browser (Workflows of Wan FLF2V) and change its values; nodes that are pasted get new ids."
        )
    return best[1]


def payload_of(bindings: Bindings, graph: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every field that differs from none: all public fields, and the extra ones that are in use."""
    payload: dict[str, Any] = {}
    fields = bindings.every_field
    chosen = {name for name, field in fields.items() if _in_use(bindings, field, graph)}
    for name, field in fields.items():
        value = _value(field, graph)
        if name in chosen and value is not None:
            payload[name] = value
    return payload


def _in_use(bindings: Bindings, field: Field, graph: Mapping[str, Any]) -> bool:
    """Whether this field says something: constants it would set are set, and no other field's constant hides it."""
    constants = [target for target in field.bind if target.transform == "constant"]
    if constants:
        return all(_input(graph, target) == target.value for target in constants)
    if field.public:
        hidden = [  # a list, as a linked input is one itself and can't be in a set
            (target.node, target.input, target.value)
            for other in bindings.extra.values()
            for target in other.bind
            if target.transform == "constant"
        ]
        return not any((target.node, target.input, _input(graph, target)) in hidden for target in field.bind)
    return bool(_value(field, graph) != field.default)


def _value(field: Field, graph: Mapping[str, Any]) -> Any:
    value = _input(graph, next(target for target in field.bind if target.transform != "constant"))
    if isinstance(value, float) and field.type == "integer" and value.is_integer():
        return int(value)
    return None if isinstance(value, list) else value


def differences(bindings: Bindings, graph: Mapping[str, Any], payload: Mapping[str, Any]) -> list[str]:
    """What this graph does otherwise than the call will: inputs that no field sets, nodes added or taken away."""
    known = bindings.every_field
    settable = {(target.node, target.input) for name in payload for target in known[name].bind}
    notes = []
    for node, mine in bindings.graph.items():
        if _type(graph, node) != mine["class_type"]:
            notes.append(f"node {node} ({mine['class_type']}) is not in this graph; the API runs it.")
            continue
        for name, shipped in mine["inputs"].items():
            here = graph[node].get("inputs", {}).get(name)
            if here == shipped or (node, name) in settable or (node, name) in _preset_sizes(bindings):
                continue
            if isinstance(here, list) or isinstance(shipped, list):
                notes.append(f"{name} of node {node} ({mine['class_type']}) is linked otherwise here than in the API.")
            else:
                notes.append(f"{name} of node {node} is {here!r} here, but no field sets it; the API runs {shipped!r}.")
    for node in graph:
        if node not in bindings.graph:
            notes.append(f"node {node} ({_type(graph, node)}) is not part of the API's workflow.")
    return notes


def _preset_sizes(bindings: Bindings) -> set[tuple[str, str]]:
    """Inputs that only matter together with a constant (width and height beside a preset)."""
    return {
        (target.node, target.input)
        for field in bindings.extra.values()
        if any(other.transform == "constant" for other in field.bind)
        for target in field.bind
    }


def _type(graph: Mapping[str, Any], node: str) -> str | None:
    return graph[node].get("class_type") if node in graph else None


def _input(graph: Mapping[str, Any], target: Target) -> Any:
    return graph.get(target.node, {}).get("inputs", {}).get(target.input)


def curl_line(bindings: Bindings, payload: Mapping[str, Any]) -> str:
    """The call with curl; the key comes from the environment. Pictures are to be replaced by URLs."""
    text = json.dumps(payload, ensure_ascii=False, indent=2)
    return (
        f'curl -X POST "${{RUNCOMFY_BASE_URL:-{BASE_URL}}}/v1/models/{bindings.model}" \\\n'
        '  -H "Authorization: Bearer $RUNCOMFY_API_TOKEN" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(text)}"
    )


def python_snippet(bindings: Bindings, payload: Mapping[str, Any]) -> str:
    """The call in Python with requests; the key comes from the environment."""
    return (
        "import os\n\nimport requests\n\n"
        f'base = os.environ.get("RUNCOMFY_BASE_URL", "{BASE_URL}")\n'
        f"payload = {_literal(payload)}\n\n"
        "response = requests.post(\n"
        f'    base + "/v1/models/{bindings.model}",\n'
        '    headers={"Authorization": f"Bearer {os.environ[\'RUNCOMFY_API_TOKEN\']}"},\n'
        "    json=payload,\n    timeout=60,\n)\n"
        "response.raise_for_status()\n"
        'print(response.json()["request_id"])\n'
    )


def _literal(payload: Mapping[str, Any]) -> str:
    lines = [f"    {name!r}: {value!r}," for name, value in payload.items()]
    return "\n".join(["{", *lines, "}"])
