"""Every answer of a gateway under test against the OpenAPI document, in which nothing that is not named there may be."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jsonschema_rs

from wan_flf2v.gateway.web.openapi import document, every_address


def check_answer(method: str, path: str, status: int, body: Any) -> None:
    """Fail where an address of the document answers with a status, or with names or types, that it does not tell."""
    for template, answers in _answers().get(method.lower(), {}).items():
        if template.fullmatch(path):
            assert str(status) in answers, f"{method} {path} answers {status}, which its entry does not tell"
            validator = answers[str(status)]
            if validator is not None:
                problems = [f"{error.instance_path}: {error.message}"[:500] for error in validator.iter_errors(body)]
                assert not problems, f"{method} {path} answers {status} in another shape: {problems}"
            return


@lru_cache(maxsize=1)
def _answers() -> dict[str, dict[re.Pattern[str], dict[str, jsonschema_rs.Draft202012Validator | None]]]:
    """By method and path, words before variable parts: what checks each status's JSON."""
    whole = _closed(document(every_address(), "/", "1"))
    found: dict[str, dict[re.Pattern[str], dict[str, Any]]] = {}
    for path, methods in sorted(whole["paths"].items(), key=lambda item: item[0].count("{")):
        template = re.compile(re.sub(r"{\w+}", "[^/]+", path))
        for method, operation in methods.items():
            found.setdefault(method, {})[template] = {
                status: _validator(json.dumps(answer.get("content", {}).get("application/json")), whole["components"])
                for status, answer in operation["responses"].items()
            }
    return found


def _validator(content: str, components: Mapping[str, Any]) -> Any:
    if content not in _VALIDATORS:
        parsed = json.loads(content)
        made = parsed and jsonschema_rs.Draft202012Validator({**parsed["schema"], "components": components})
        _VALIDATORS[content] = made
    return _VALIDATORS[content]


_VALIDATORS: dict[str, Any] = {}


def _closed(schema: Any) -> Any:
    """The same where an object has no other names than its own."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(value) for name, value in schema.items()}
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        closed.setdefault("additionalProperties", False)
    return closed
