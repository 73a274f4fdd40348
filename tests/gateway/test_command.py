"""``wan-flf2v serve`` as a process: what is wrong with its settings ends it with one line."""

from __future__ import annotations

import os
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
    assert done.stderr.count("--models: there is no folder /nowhere") == 1
    assert "started again" not in done.stderr
    assert "Fatal Python error" not in done.stderr


@pytest.mark.parametrize(
    ("wrong", "status", "words"),
    [
        (
            ["worker", "--comfyui-url", "127.0.0.1:8188"],
            78,
            "ComfyUI's address must be a URL such as http://127.0.0.1:8188",
        ),
        (["serve", "--port", "99999"], 2, "argument --port: must be between 0 and 65535; got '99999'"),
    ],
)
def test_a_wrong_address_is_one_line(tmp_path: Path, wrong: list[str], status: int, words: str) -> None:
    line = [sys.executable, "-m", "wan_flf2v.gateway", *wrong, "--data", str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, words in done.stderr, "Traceback" in done.stderr) == (status, True, False), done.stderr


@pytest.mark.parametrize("command", ["serve", "worker", "status"])
def test_a_database_that_can_not_be_opened_is_one_line_without_its_password(tmp_path: Path, command: str) -> None:
    for url, words in (
        (f"postgresql://gateway:hunter2@127.0.0.1:{free_port()}/gateway", "The database can't be opened"),
        ("postgresql://gateway:hunt@er2@127.0.0.1/gateway", "write @ as %40"),
        ("postgresql://gateway:hunter2@127.0.0.1:port/gateway", "is no URL of a database"),
    ):
        line = [sys.executable, "-m", "wan_flf2v.gateway", command, "--data", str(tmp_path), "--database", url]
        line += ["--no-auth", "--no-worker"] if command == "serve" else []
        done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert not any(part in done.stderr for part in ("hunter2", "er2", "hunt"))


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_an_open_data_folder_and_database_are_made_private(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    (data / "jobs.sqlite").touch(0o644)
    done = subprocess.run(
        [sys.executable, "-m", "wan_flf2v.gateway", "keys", "create", "me", "--data", str(data)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "readable by its owner alone" in done.stderr
    assert [path.stat().st_mode & 0o077 for path in (data, *data.glob("jobs.sqlite*"))] == [0] * (
        1 + len(list(data.glob("jobs.sqlite*")))
    )
