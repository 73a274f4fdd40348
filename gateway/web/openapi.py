"""The addresses, from the list in ``addresses.json``: for the router, and as the OpenAPI document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from ..errors import ApiError
from ..facades import runcomfy, wavespeed
from ..facades.call import Handler
from ..facades.schemas import fields_schema, overrides_schema
from ..keys import Scope
from ..offer import every_workflow
from . import pages

_LIST = json.loads(Path(__file__).with_name("addresses.json").read_text(encoding="utf-8"))
_PARTS = {"runcomfy": runcomfy, "wavespeed": wavespeed, "pages": pages}
_REASONS = {error.status: str(error.__doc__) for error in ApiError.__subclasses__()}
Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Address:
    """One method of one address. ``data`` is its entry in the list, where ``body`` and ``answers`` are schemas or names."""

    method: str
    path: str
    data: Mapping[str, Any]

    @property
    def scope(self) -> Scope | None:
        """What its caller's key must be for; None where no key is asked for."""
        return self.data.get("scope")

    @property
    def handler(self) -> Handler:
        """What answers it."""
        part, _, name = self.data["handler"].partition(".")
        handler: Handler = getattr(_PARTS[part], name)
        return handler


def every_address() -> list[Address]:
    """Every address of the gateway: those of a workflow for each, the serverless API's under both of its versions."""
    found: dict[str, Any] = {}
    for item in _LIST["addresses"].items():
        for version, bindings in product(("v1", "v2"), every_workflow().values()):
            text = json.dumps([item]).replace("<version>", version).replace("<workflow>", bindings.name)
            found |= json.loads(text.replace("<model>", bindings.model).replace("<title>", bindings.title))
    return [Address(name.split()[0], name.split()[1], data) for name, data in found.items()]


def document(addresses: Iterable[Address], server: str, version: str) -> dict[str, Any]:
    """The whole document (OpenAPI 3.0.3)."""
    schemas = {**_LIST["schemas"], "wavespeed.fields": wavespeed.FIELDS}
    for name, bindings in every_workflow().items():
        schemas[f"{name}.fields"] = fields_schema(bindings.fields, title="Input schema", example=bindings.example())
        schemas[f"{name}.overrides"] = overrides_schema(bindings)
    paths: dict[str, dict[str, Any]] = {}
    for address in addresses:
        paths.setdefault(address.path, {})[address.method.lower()] = _operation(address)
    about = "First and last frame to video on your own machines, through RunComfy's and WaveSpeed's APIs."
    key = {"type": "http", "scheme": "bearer", "description": "wan-flf2v keys create"}
    return {
        "openapi": "3.0.3",
        "info": {"title": "Wan FLF2V gateway", "version": version, "description": about},
        "servers": [{"url": server}],
        "paths": paths,
        "components": {"securitySchemes": {"key": key}, "schemas": schemas},
    }


def _operation(address: Address) -> dict[str, Any]:
    data = address.data
    parts = re.findall(r"{(\w+)}", address.path)
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in parts]
    parameters += [{"name": name, **_LIST["parameters"][name]} for name in data.get("parameters", ())]
    operation: dict[str, Any] = {
        "summary": data["summary"],
        "tags": [data["tag"]],
        "operationId": re.sub(r"\W+", "_", f"{address.method}{address.path}").strip("_").lower(),
        "parameters": parameters,
        "responses": _answers(address),
        "security": [{"key": []}] if address.scope else [],
    }
    if "body" in data:
        kind = data.get("body_type", "application/json")
        operation["requestBody"] = {"required": True, "content": {kind: {"schema": _schema(data["body"])}}}
    return operation


def _answers(address: Address) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    wavespeeds = address.path.startswith("/api/v3/")
    for status, schema in address.data["answers"].items():
        answers[status] = {"description": "Well done."}
        if schema is not None:
            kind = address.data.get("answer_type", "application/json")
            answers[status]["content"] = {kind: {"schema": _wrapped(schema) if wavespeeds else _schema(schema)}}
    error = {"application/json": {"schema": _schema("ErrorV3" if wavespeeds else "Error")}}
    for status in address.data["errors"]:
        answers[str(status)] = {"description": _REASONS[status], "content": error}
    return answers


def _wrapped(data: str | Schema) -> Schema:
    properties = {"code": {"type": "integer"}, "message": {"type": "string"}, "data": _schema(data)}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _schema(named: str | Schema) -> Schema:
    return {"$ref": f"#/components/schemas/{named}"} if isinstance(named, str) else named
