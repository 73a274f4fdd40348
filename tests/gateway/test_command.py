"""``wan-flf2v serve`` as a process: what is wrong with its settings ends it with one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from wan_flf2v.engine.process import free_port
from wan_flf2v.engine.setup import Engine


@pytest.mark.slow
def test_serve_ends_when_its_worker_can_never_start_and_says_why(tmp_path: Path, engine: Engine) -> None:
    command = [sys.executable, "-m", "wan_flf2v.gateway", "serve", "--no-auth", "--port", str(free_port())]
    command += ["--data", str(tmp_path), "--comfyui", str(engine.comfyui), "--models", "/nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("--models /nowhere is no folder") == 1
    assert "started again" not in done.stderr
    assert "Fatal Python error" not in done.stderr
