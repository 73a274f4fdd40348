"""Gateway, worker and ComfyUI killed at random: no job lost, none with two results. The long run is a benchmark."""

from __future__ import annotations

from pathlib import Path

import pytest

from wan_flf2v.benchmarks.chaos import chaos

from .processes import fake_command


@pytest.mark.slow
def test_random_kills_lose_and_double_no_job(tmp_path: Path) -> None:
    options = ["--comfyui-command", fake_command(0.3), "--poll", "0.1"]
    report = chaos(tmp_path, kills=15, seed=7, options=options, pause_s=1.0, gap=(0.3, 3.0))
    assert report.faults == []
    assert report.accepted == sum(report.states.values())
    assert set(report.states) <= {"succeeded", "failed"}
