"""The OpenAPI document, made from the same list of operations as the router."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import ApiError
from ..facades.operation import INTEGER, STRING, Operation, Schema, array, obj

REASONS: Mapping[int, str] = {error.status: str(error.__doc__) for error in ApiError.__subclasses__()}
DETAIL = array({"type": "object"})
ERROR = obj(("error_code", "error_message"), error_code=INTEGER, error_message=STRING, detail=DETAIL)
ERROR_V3 = obj(("code", "message", "error_code"), code=INTEGER, message=STRING, error_code=STRING, detail=DETAIL)


def document(operations: Iterable[Operation], server: str, version: str) -> dict[str, Any]:
    """The whole document (OpenAPI 3.0.3)."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "Wan FLF2V gateway",
            "version": version,
            "description": "First and last frame to video on your own machines, through RunComfy's and WaveSpeed's APIs.",
        },
        "servers": [{"url": server}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "wan-flf2v keys create"}}
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": STRING}
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in operation.query.items()]
    parameters += [{"name": name, "in": "header", "schema": schema} for name, schema in operation.headers.items()]
    data: dict[str, Any] = {
        "summary": operation.summary,
        "tags": [operation.tag],
        "operationId": re.sub(r"\W+", "_", f"{operation.method}{operation.path}").strip("_").lower(),
        "responses": _answers(operation),
        "security": [] if operation.scope is None else [{"key": []}],
    }
    if parameters:
        data["parameters"] = parameters
    if operation.body is not None:
        data["requestBody"] = {"required": True, "content": {operation.body_type: {"schema": operation.body}}}
    return data


def _answers(operation: Operation) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status, schema in operation.answers.items():
        answers[str(status)] = {"description": "Well done."}
        if schema is not None:
            answers[str(status)]["content"] = {operation.answer_type: {"schema": schema}}
    for status in dict.fromkeys((*operation.errors, 429)):
        answers[str(status)] = {
            "description": REASONS[status],
            "content": {"application/json": {"schema": _error(operation.path)}},
        }
    return answers


def _error(path: str) -> Schema:
    return ERROR_V3 if path.startswith("/api/v3/") else ERROR
