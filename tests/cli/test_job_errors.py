"""What ComfyUI's record of a failed job becomes on the command line."""

from __future__ import annotations

from typing import Any

import pytest

from wan_flf2v.cli.errors import CliError
from wan_flf2v.cli.job import _outputs
from wan_flf2v.engine.errors import JobFailed, JobInterrupted
from wan_flf2v.workflows import Bindings


def record(kind: str, **data: Any) -> dict[str, Any]:
    """A history record as ComfyUI 0.3.75 writes it for a job that did not succeed."""
    return {"status": {"status_str": "error", "completed": False, "messages": [["execution_start", {}], [kind, data]]}}


def test_out_of_memory_says_what_to_lower() -> None:
    failed = record(
        "execution_error",
        node_id="57.0.0.high",
        exception_type="torch.OutOfMemoryError",
        exception_message="Allocation on device 0 would exceed allowed memory.\nmore",
    )
    with pytest.raises(
        CliError, match=r"^Two-stage sampler \(node 57\): the GPU's memory ran out. Lower the size .*--lowvram"
    ):
        _outputs(failed, Bindings.load().graph)


def test_only_the_first_line_of_a_node_error_is_shown() -> None:
    failed = record("execution_error", node_id="67", exception_type="ValueError", exception_message="bad\nTips: …")
    with pytest.raises(CliError, match=r"^First and last frame \(node 67\): bad$"):
        _outputs(failed, Bindings.load().graph)


def test_an_interrupted_job_is_told_apart() -> None:
    with pytest.raises(JobInterrupted):
        _outputs(record("execution_interrupted", node_id="57"), Bindings.load().graph)


def test_a_failure_without_a_reason_is_still_a_failure() -> None:
    with pytest.raises((CliError, JobFailed), match="see its log"):
        _outputs({"status": {"status_str": "error", "messages": []}}, Bindings.load().graph)
