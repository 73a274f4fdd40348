"""The OpenAPI document against the running gateway: schemathesis sends what the document allows and what it forbids."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema_rs
import pytest

from wan_flf2v.gateway.offer import every_workflow
from wan_flf2v.gateway.settings import Limits
from wan_flf2v.gateway.web.openapi import document, every_address

from .background import Background
from .local import Local

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,unsupported_method,allow_header_conformance,ignored_auth"
)


@pytest.fixture(params=["sqlite", "postgres"])
def here(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Local]:
    limits = Limits(queued_jobs=100_000, submits_per_second=0, calls_per_second=0, fetch_s=1)
    database = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    with Background(tmp_path / "data", limits=limits, seconds=0.01, database=database) as found:
        yield found


@pytest.mark.slow
def test_no_answer_is_a_5xx_or_undocumented(here: Local, tmp_path: Path) -> None:
    command = [
        str(Path(sys.executable).with_name("st")), "run", f"{here.url}/openapi.json", "--checks", CHECKS,
        "--header", f"Authorization: Bearer {here.secret}", "--phases", "examples,coverage,fuzzing", "--max-examples", "15",
        "--mode", "all", "--seed", "1", "--continue-on-failure", "--generation-database", "none", "--no-color",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=500, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def test_the_documents_bodies_take_their_examples_and_nothing_unknown_and_need_what_is_required() -> None:
    whole = document(every_address(), "/", "1.2")
    assert {"title", "version", "description"} == set(whole["info"])
    schemas = whole["components"]["schemas"]
    for named in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(whole)):
        assert isinstance(schemas[named], dict), named
    for name, bindings in every_workflow().items():
        fields, overrides = (
            jsonschema_rs.Draft202012Validator(schemas[f"{name}.{kind}"]) for kind in ("fields", "overrides")
        )
        example = bindings.example()
        assert fields.is_valid(example), name
        assert not fields.is_valid({**example, "unknown": 1}), name
        if bindings.storyboard:
            continue
        assert overrides.is_valid({"overrides": bindings.overrides(example)}), name
        for left_out in example:
            rest = {field: value for field, value in example.items() if field != left_out}
            assert not fields.is_valid(rest), (name, left_out)
            assert not overrides.is_valid({"overrides": bindings.overrides(rest)}), (name, left_out)
    properties = schemas["wan22_flf2v.fields"]["properties"]
    assert (properties["57_cfg"]["type"], properties["57_steps"]["type"]) == ("number", "integer")
