"""The OpenAPI document against the running gateway: schemathesis sends what the document allows and what it forbids."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wan_flf2v.gateway.settings import Limits

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
