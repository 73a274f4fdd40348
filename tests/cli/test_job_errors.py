"""What becomes of a job's record on the command line: its video, or what went wrong."""

from __future__ import annotations

import asyncio
import errno
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from wan_flf2v.cli.errors import CliError
from wan_flf2v.cli.job import _outputs, _wait, run_graph, save_file
from wan_flf2v.cli.progress import JobProgress
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


def test_a_job_that_ends_between_two_questions_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wan_flf2v.cli.job.POLL_S", 0)

    class Ends:
        asked = 0

        async def history(self, prompt_id: str) -> Any:
            self.asked += 1
            return {"outputs": {}} if self.asked > 1 else None

        async def queue_state(self) -> tuple[list[str], list[str]]:
            return [], []

    progress = JobProgress({}, 1)
    assert asyncio.run(_wait(Ends(), "job", progress)) == {"outputs": {}}  # type: ignore[arg-type]


def test_of_what_a_jobs_nodes_saved_only_the_asked_nodes_files_are_its_videos() -> None:
    class Done:
        async def events(self) -> AsyncIterator[Any]:
            for _ in range(0):
                yield

        async def where(self, prompt_id: str) -> str:
            return "done"

        async def history(self, prompt_id: str) -> Any:
            saved = {node: {"images": [{"filename": f"{node}.mp4"}]} for node in ("9", "73.0.1", "731")}
            return {"status": {"status_str": "success"}, "outputs": saved}

    def run(node: str) -> list[str]:
        graph = Bindings.load().graph
        files = asyncio.run(run_graph(Done(), graph, node, steps=1, prompt_id="known"))  # type: ignore[arg-type]
        return [file.filename for file in files]

    assert (run("73"), run("9")) == (["73.0.1.mp4"], ["9.mp4"])
    with pytest.raises(CliError, match="ended without a video"):
        run("7")


def test_a_video_that_cant_be_written_whole_leaves_the_one_before_and_no_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, fetched = tmp_path / "out" / "a.mp4", tmp_path / "fetched.mp4"
    fetched.write_bytes(b"new video")
    save_file(out, b"the one before")
    whole = Path.write_bytes

    def cut(path: Path, data: bytes) -> int:
        whole(path, data[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", cut)
    monkeypatch.setattr(shutil, "copyfile", lambda source, target: cut(Path(target), Path(source).read_bytes()))
    with pytest.raises(CliError, match=r"could not be written to \S*a\.mp4: No space left on device\.$"):
        save_file(out, b"new video")
    with pytest.raises(CliError, match=r"No space left on device\. It is kept as \S*fetched\.mp4\."):
        save_file(out, fetched)
    assert {path.name: path.read_bytes() for path in out.parent.iterdir()} == {"a.mp4": b"the one before"}
