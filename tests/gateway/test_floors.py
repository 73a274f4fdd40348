"""The oldest versions that the package says it works with, installed once and really run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
import venv
from pathlib import Path

import pytest

from wan_flf2v.engine.process import free_port
from wan_flf2v.tests.gateway.processes import fake_command

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]


def floors(*extras: str) -> list[str]:
    """Every requirement of these extras at its floor."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [line for extra in extras for line in project["optional-dependencies"][extra]]
    return [re.sub(r">=([\w.]+).*", r"==\1", line) for line in wanted]


def test_every_requirement_of_the_gateway_has_a_floor() -> None:
    assert all("==" in line for line in floors("gateway", "cli")), floors("gateway", "cli")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_gateway_runs_on_its_floors(tmp_path: Path) -> None:
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile"]
    subprocess.run([*install, *floors("gateway", "cli")], check=True, timeout=600)
    subprocess.run([*install, "--no-deps", "-e", ROOT], check=True, timeout=300)
    command = [str(python), "-m", "wan_flf2v.gateway", "serve"]
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "--max-queue" in shown.stdout
    port = free_port()
    options = ["--no-auth", "--port", str(port), "--data", str(tmp_path / "data")]
    with (tmp_path / "log").open("wb") as log:
        options += ["--comfyui-command", fake_command(0.1)]  # the fake needs no floors: it is not the package's own
        process = subprocess.Popen([*command, *options], stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            job = _call(f"{url}/v1/models/community/wan-2-2/first-last-frame", {
                "6_text": "x", "62_image": "Runcomfy_Example_1259_2.png", "68_image": "Runcomfy_Example_1259_1.png",
            }, until=200)["request_id"]  # fmt: skip
            deadline = time.monotonic() + 60
            while (state := _call(f"{url}/v1/requests/{job}/result")["status"]) != "succeeded":
                assert time.monotonic() < deadline, state
                time.sleep(0.2)
        except AssertionError:
            raise AssertionError((tmp_path / "log").read_text()[-3000:]) from None
        finally:
            process.terminate()
            process.wait(60)


def _call(url: str, body: object = None, until: int = 200) -> dict[str, str]:
    deadline = time.monotonic() + 60
    data = None if body is None else json.dumps(body).encode()
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data), timeout=20) as answer:
                if answer.status == until:
                    found: dict[str, str] = json.loads(answer.read())
                    return found
        except OSError:
            assert time.monotonic() < deadline, url
            time.sleep(0.3)
