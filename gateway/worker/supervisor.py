"""Looks after one ComfyUI: starts it, finds it again after the agent's own restart, kills it, starts it anew."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from ...engine.process import ComfyServer, free_port

_PASSED = re.compile(
    r"(PATH|HOME|USER|USERNAME|LOGNAME|SHELL|LANG|LANGUAGE|TZ|TMPDIR|TEMP|TMP|TERM|COLUMNS|VIRTUAL_ENV|LD_LIBRARY_PATH"
    r"|SYSTEMROOT|SYSTEMDRIVE|WINDIR|COMSPEC|PATHEXT|APPDATA|LOCALAPPDATA|PROGRAMDATA|PROGRAMFILES.*|USERPROFILE"
    r"|NUMBER_OF_PROCESSORS|PROCESSOR_.*|SSL_CERT_.*|REQUESTS_CA_BUNDLE"
    r"|(LC|XDG|CONDA|PYTHON|CUDA|CUDNN|CUBLAS|NVIDIA|NCCL|HIP|HSA|ROCR|ROCM|AMD|MIOPEN|ONEAPI|SYCL|ZE|UR|ASCEND|NPU"
    r"|PYTORCH|TORCH|TORCHINDUCTOR|TRITON|OMP|MKL|KMP|OPENBLAS|NUMEXPR|MALLOC|DYLD|HF|COMFY|COMFYUI)_?.*)$",
    re.IGNORECASE,
)
STAGED = "flf2v_"  # how the names of a job's pictures in ComfyUI's input folder begin; its id follows
_LOG_BYTES = 16 * 2**20
_SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|KEY|AUTH", re.IGNORECASE)
log = logging.getLogger(__name__)


class Supervisor:
    """Looks after a ComfyUI that somebody else runs: starts, ends and deletes nothing. Methods block."""

    url = ""

    def __init__(self, url: str) -> None:
        self.url = url

    def ensure(self) -> bool:
        """Start ComfyUI unless its process lives; whether it was started now."""
        return False

    def alive(self) -> bool:
        """Whether its process lives, as far as can be told."""
        return True

    def kill(self) -> None:
        """End it at once, where it is ours to end."""

    def clean(self, job_id: str) -> bool:
        """Delete what a job left in its folders; False where they are not ours to touch."""
        return False


@dataclass
class Owned(Supervisor):
    """A ComfyUI process of our own, by ``server`` or else ``command``; ``home`` tells the next agent of it."""

    home: Path
    server: ComfyServer | None = None
    command: Sequence[str] = ()
    port: int = 0
    _child: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def _file(self) -> Path:
        return self.home / "comfyui.json"

    def ensure(self) -> bool:
        if self._process() is not None:
            return False
        self.home.mkdir(parents=True, exist_ok=True)
        for log_file in (self.home / "comfyui.log", self.home / "comfyui" / "comfyui.log"):
            if log_file.exists() and log_file.stat().st_size > _LOG_BYTES:
                os.replace(log_file, log_file.with_suffix(".log.1"))
        self._child = self._spawn()
        state = {"pid": self._child.pid, "started": _starts(self._child.pid)[0], "port": self.port}
        scratch = self._file.with_suffix(".new")
        try:
            scratch.write_text(json.dumps(state), encoding="utf-8")
            os.replace(scratch, self._file)
        except OSError:  # a full disk: what nobody can find again would keep its port and the GPU
            self._child.kill()
            raise
        log.info("started ComfyUI", extra={"pid": self._child.pid, "port": self.port})
        return True

    def alive(self) -> bool:
        return self._process() is not None

    def kill(self) -> None:
        process = self._process()
        if process is None:
            return
        with suppress(psutil.Error, subprocess.TimeoutExpired):  # it went by itself, or its driver holds it
            victims = [*process.children(recursive=True), process]
            for victim in victims:
                with suppress(psutil.NoSuchProcess):
                    victim.kill()
            psutil.wait_procs(victims, timeout=10)
            if self._child is not None:
                self._child.wait(10)

    def clean(self, job_id: str) -> bool:
        if self.server is not None:
            home = self.server.home
            paths = [*(home / "input").glob(f"{STAGED}{job_id}_*")]
            for start in (job_id, f".{job_id}"):  # hidden is what is not whole
                paths += (home / "output").glob(f"gateway/{start}_*")
            paths += (path for path in (home / "temp").glob("**/*") if path.is_file())
            for path in paths:
                path.unlink(missing_ok=True)
        return True

    def stop(self, grace_s: float = 10) -> None:
        """End it in an orderly way, at the agent's own end."""
        process = self._process()
        if process is not None:
            process.terminate()
            psutil.wait_procs([process], timeout=grace_s)
            self.kill()
        self._file.unlink(missing_ok=True)

    def _process(self) -> psutil.Process | None:
        """The living process that was remembered, unless its number now belongs to another one."""
        try:
            state = json.loads(self._file.read_text(encoding="utf-8"))
            process = psutil.Process(state["pid"])
            same = any(abs(at - state["started"]) < 1 for at in _starts(process.pid))
            if not same or process.status() == psutil.STATUS_ZOMBIE:
                if self._child is not None:
                    self._child.poll()  # lets a zombie of ours go
                return None
        except (OSError, ValueError, KeyError, psutil.Error):
            return None
        self._use(int(state["port"]))
        return process

    def _use(self, port: int) -> None:
        self.port, self.url = port, f"http://127.0.0.1:{port}"

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._use(self.port or free_port())
        if self.server is not None:
            self.server.port = self.port
            return self.server.spawn()
        with (self.home / "comfyui.log").open("ab") as output:
            return subprocess.Popen(
                [part.replace("{port}", str(self.port)) for part in self.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=os.name == "posix",
                env=environment(),
            )


def _starts(pid: int) -> tuple[float, float]:
    """When it was started: since the boot, which on Linux stays the same when the clock is set, and by the clock."""
    boot, at = psutil.boot_time(), psutil.Process(pid).create_time()  # in this order: older psutils keep the first boot
    return at - boot if psutil.LINUX else at, at


def environment() -> dict[str, str]:
    """What ComfyUI, and so every custom node in it, gets of our environment: no password, key or token."""
    return {name: value for name, value in os.environ.items() if _PASSED.match(name) and not _SECRET.search(name)}
