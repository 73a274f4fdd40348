"""One ComfyUI process on loopback with this pack loaded, started and stopped from here."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .errors import EngineError
from .link import link_folder
from .locate import ROOT, Engine

LAUNCHER = Path(__file__).with_name("launch.py")
SUPPORT_PACK = Path(__file__).with_name("support_pack")
MODEL_FOLDERS = ("diffusion_models", "text_encoders", "vae", "clip_vision", "loras")
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy does not know this machine's loopback
_PROBE = "import torch; print(torch.cuda.is_available() or torch.backends.mps.is_available())"


@dataclass
class ComfyServer:
    """A ComfyUI server that lives in the folder ``home`` (its input, output, user and custom_nodes folders).

    ``models`` is a folder laid out as ComfyUI's ``models/``; ``tiny`` marks tiny weights, which run on the CPU and need
    the support pack. ``pack`` is the folder to load as custom node pack. A context manager; or call start and stop.
    """

    engine: Engine
    home: Path
    models: Path | None = None
    tiny: bool = False
    extra_args: Sequence[str] = ()
    port: int = 0
    pack: Path = ROOT
    pack_name: str = "wan-flf2v"
    environment: Mapping[str, str] | None = None  # None: this process's own
    process: subprocess.Popen[bytes] | None = None
    _log: IO[bytes] | None = None

    @property
    def url(self) -> str:
        """The address to reach it at, once started."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log_path(self) -> Path:
        """Where its output goes."""
        return self.home / "comfyui.log"

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self.process is not None and self.process.poll() is None

    def __enter__(self) -> ComfyServer:
        try:
            self.start()
        except BaseException:  # a Ctrl-C, too
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, timeout_s: float = 180) -> None:
        """Start it and return when it answers. Raises EngineError with the end of its log when it does not."""
        self.spawn()
        self.wait_ready(timeout_s)

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the process without waiting for it."""
        self._lay_out_home()
        if not self.port:
            self.port = free_port()
        self._log = self.log_path.open("ab")
        self.process = subprocess.Popen(
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=self.home,
            env=self._environment(),
            # a Ctrl-C at the terminal is for the caller, who interrupts the job and then stops this process
            start_new_session=os.name == "posix",
            creationflags=0 if os.name == "posix" else 0x200,  # CREATE_NEW_PROCESS_GROUP
        )
        return self.process

    def _environment(self) -> dict[str, str]:
        # several threads on tensors as small as the tiny models' only wait for each other
        own = {"OMP_NUM_THREADS": "1"} if self.tiny else {}
        return {**own, **(os.environ if self.environment is None else self.environment)}

    def command(self) -> list[str]:
        """The command line that runs this ComfyUI."""
        command = [str(self.engine.python), str(LAUNCHER), str(self.engine.comfyui)]
        command += ["--listen", "127.0.0.1", "--port", str(self.port), "--disable-auto-launch"]
        command += ["--base-directory", str(self.home), "--database-url", "sqlite:///:memory:"]
        if self.models is not None:
            command += ["--extra-model-paths-config", str(self.home / "extra_model_paths.yaml")]
        if self.tiny or not has_gpu(self.engine):
            command.append("--cpu")
        return [*command, *self.extra_args]

    def wait_ready(self, timeout_s: float = 180) -> None:
        """Return when it answers. Raises EngineError when it ends or stays silent."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if not self.running:
                said = f"ComfyUI ended while starting. The end of {self.log_path}:\n{self.log_tail()}"
                if "ModuleNotFoundError" in said:
                    said += (
                        f"\nIt was started with {self.engine.python}; set COMFYUI_PYTHON to the Python that it runs on."
                    )
                raise EngineError(said)
            try:
                with _DIRECT.open(f"{self.url}/system_stats", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        self.stop()
        raise EngineError(
            f"ComfyUI did not answer in {timeout_s:.0f} s. The end of {self.log_path}:\n{self.log_tail()}"
        )

    def stop(self, grace_s: float = 10) -> None:
        """End the process: asked first, killed after the grace time."""
        if self.process is not None and self.running:
            self.process.terminate()
            try:
                self.process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self.kill()
        if self._log is not None:
            self._log.close()
            self._log = None

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        if self.process is not None and self.running:
            if os.name == "posix":
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()
            self.process.wait()

    def log_tail(self, lines: int = 25) -> str:
        """The last lines of its output."""
        text = self.log_path.read_text(encoding="utf-8", errors="replace") if self.log_path.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _lay_out_home(self) -> None:
        for name in ("custom_nodes", "input", "output", "models", "user"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        link_folder(self.pack, self.home / "custom_nodes" / self.pack_name)
        if self.tiny:
            link_folder(SUPPORT_PACK, self.home / "custom_nodes" / "tiny-model-support")
        if self.models is not None:
            folders = "".join(f"  {name}: {name}/\n" for name in MODEL_FOLDERS)
            text = f"models:\n  base_path: {str(self.models.resolve())!r}\n{folders}"
            (self.home / "extra_model_paths.yaml").write_text(text, encoding="utf-8")


def free_port() -> int:
    """A TCP port of the loopback address that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


_gpu: dict[Path, bool] = {}


def has_gpu(engine: Engine) -> bool:
    """Whether that ComfyUI's torch sees a GPU. Asks its Python once (about 2 s)."""
    if engine.python not in _gpu:
        done = subprocess.run([str(engine.python), "-c", _PROBE], capture_output=True, text=True, check=False)
        _gpu[engine.python] = done.stdout.strip() == "True"
    return _gpu[engine.python]
