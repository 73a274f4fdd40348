"""A gateway as a user runs it: real processes, found and killed by their ids, and a plain HTTP client for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from wan_flf2v.engine.process import free_port

FAKE = Path(__file__).with_name("fake_comfyui.py")
ROOT = Path(__file__).resolve().parents[2]


def fake_command(seconds: float = 0.2, log: Path | None = None) -> str:
    """The --comfyui-command that runs the fake."""
    parts = [sys.executable, str(FAKE), "--port", "{port}", "--seconds", str(seconds)]
    return " ".join(parts + (["--log", str(log)] if log else []))


@dataclass
class Serve:
    """``wan-flf2v serve`` (or ``worker``) with these options, its log in ``data``."""

    data: Path
    options: Sequence[str] = ()
    port: int = 0
    name: str = "w1"
    command: str = "serve"
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.data / f"{self.command}-{self.name}.log"

    def start(self, wait_s: float = 60) -> None:
        """Start it; with a time to wait, return once ``/health`` answers 200."""
        self.data.mkdir(parents=True, exist_ok=True)
        self.port = self.port or free_port()
        command = [
            sys.executable,
            "-m",
            "wan_flf2v.gateway",
            self.command,
            "--data",
            str(self.data),
            "--name",
            self.name,
        ]
        if self.command == "serve":
            command += ["--port", str(self.port)]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*command, *self.options], stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                env={**os.environ, **self.environment},
            )  # fmt: skip
        if wait_s:
            self.wait_healthy(wait_s)

    def wait_healthy(self, wait_s: float = 60) -> None:
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError(f"serve ended: {self.log.read_text()[-3000:]}")
            if self.call("GET", "/health")[0] == 200:
                return
            time.sleep(0.1)
        raise AssertionError(f"not healthy: {self.call('GET', '/health')}\n{self.log.read_text()[-3000:]}")

    def stop(self) -> None:
        """End it in an orderly way, with everything that it started."""
        if self.process is not None and self.process.poll() is None:
            children = psutil.Process(self.process.pid).children(recursive=True)
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
            for child in children:
                _kill(child.pid)
        self.kill_comfy()

    def kill_gateway(self) -> None:
        """kill -9 of the gateway process alone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def agent_pid(self) -> int | None:
        """The worker agent that this gateway started."""
        try:
            children = psutil.Process(self.process.pid).children() if self.process else []
            return next((child.pid for child in children if "worker" in child.cmdline()), None)
        except psutil.Error:
            return None

    def kill_agent(self) -> bool:
        """kill -9 of the worker agent."""
        pid = self.agent_pid()
        return pid is not None and _kill(pid)

    def comfy_pid(self) -> int | None:
        """The ComfyUI process that the worker looks after."""
        try:
            return int(json.loads((self.data / "workers" / self.name / "comfyui.json").read_text())["pid"])
        except (OSError, ValueError):
            return None

    def comfy_url(self) -> str:
        """Where that ComfyUI answers."""
        port = json.loads((self.data / "workers" / self.name / "comfyui.json").read_text())["port"]
        return f"http://127.0.0.1:{port}"

    def set_fake(self, **settings: Any) -> None:
        """Change how the worker's fake ComfyUI behaves from now on."""
        assert self.call("POST", f"{self.comfy_url()}/fake", settings)[0] == 200

    def kill_comfy(self) -> bool:
        """kill -9 of ComfyUI."""
        pid = self.comfy_pid()
        return pid is not None and _kill(pid)

    def call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, timeout_s: float = 20
    ) -> tuple[int, Any]:
        """(status, JSON) of a call; status 0 where there was no answer."""
        data = None if body is None else json.dumps(body).encode()
        url = path if path.startswith("http") else self.url + path
        request = urllib.request.Request(
            url, data, {"Content-Type": "application/json", **(headers or {})}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as response:
                return response.status, _json(response.read())
        except urllib.error.HTTPError as error:
            return error.code, _json(error.read())
        except OSError:
            return 0, None


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data


def _kill(pid: int) -> bool:
    try:
        psutil.Process(pid).kill()
    except psutil.Error:
        return False
    return True
