"""The one entry point: ``python run.py COMMAND …`` makes ``.venv``, installs what the command needs, and runs it.

``python run.py demo`` makes a video on the real ComfyUI without a GPU or downloaded weights; ``python run.py test`` runs
the tests; ``python run.py check`` runs the linters, type checkers and JavaScript tests; ``python run.py mutants PACKAGE``
asks which faults the tests notice; every other command is passed to ``wan-flf2v``, in the folder that it is called from.
Standard library only: this file runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
PIP = BIN / ("pip.exe" if os.name == "nt" else "pip")  # the last file of a new environment
STAMP = VENV / "wan-flf2v-installed.json"
TORCH, TORCHVISION = "torch==2.13.0", "torchvision==0.28.0"
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
# Imported by core node files and needing nothing else for what runs here.
WITHOUT_DEPENDENCIES = ["spandrel", "kornia"]
SETUP_TIME = "about 400 MB are downloaded and unpacked into this folder, which takes 1 to 5 minutes"
SERVER_COMMANDS = {"serve", "worker", "keys", "status"}
# Many tests wait for real processes: two at a time take little longer than one.
WHOLE_SUITE = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", "tests"]
DEVELOPER_COMMANDS = {"test", "check", "bench", "mutants"}


class SetupError(Exception):
    """Something could not be installed; the message says what."""


def main(arguments: list[str]) -> int:
    """Set up what the command needs and run it; returns its exit status."""
    if sys.version_info < (3, 10):  # noqa: UP036 - the Python that runs this file may be any
        print(f"Python 3.10 or newer is needed; this is {platform.python_version()}.", file=sys.stderr)
        return 1
    command = arguments[0] if arguments else "--help"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs below ends with this process
    try:
        set_up(groups_for(command, arguments))
    except (SetupError, OSError) as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nrun.py: interrupted; the next call goes on", file=sys.stderr)
        return 130
    if command == "test":
        return run([str(BIN / "pytest"), *(arguments[1:] or WHOLE_SUITE)], ROOT)
    if command == "check":
        return check()
    if command == "mutants":
        return run([str(PYTHON), str(ROOT / "tests" / "mutants.py"), *arguments[1:]], ROOT)
    start = "from wan_flf2v.cli import main; raise SystemExit(main())"
    return run([str(PYTHON), "-c", start, *(arguments or ["--help"])])


def groups_for(command: str, arguments: list[str]) -> list[str]:
    """What has to be installed for this command."""
    if command in DEVELOPER_COMMANDS:
        return ["engine", "cli", "gateway", "dev"]
    groups = ["cli"]
    starts_comfyui = command == "demo" or (
        command in {"generate", "batch", "storyboard", "finish", "serve", "worker"} and not _has_url(arguments)
    )
    # `report` measures with torch, in its own process
    if command == "report" or (starts_comfyui and _part("locate").find_engine(_option(arguments, "--comfyui")).own):
        groups.insert(0, "engine")
    if command in SERVER_COMMANDS:
        groups.append("gateway")
    return groups


def _has_url(arguments: list[str]) -> bool:
    return any(argument.split("=")[0] in {"--comfyui-url", "--remote"} for argument in arguments)


def _option(arguments: list[str], name: str) -> str | None:
    for index, argument in enumerate(arguments):
        if argument == name and index + 1 < len(arguments):
            return arguments[index + 1]
        if argument.startswith(f"{name}="):
            return argument.split("=", 1)[1]
    return None


def _part(name: str) -> ModuleType:
    """A module of engine/ that needs the standard library alone."""
    path = ROOT / "engine" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"wan_flf2v_{name}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise SetupError(f"engine/{name}.py is missing; get the whole project.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def set_up(groups: list[str]) -> None:
    """Install these groups into ``.venv`` unless exactly they are there already."""
    wanted = {group: _fingerprint(group) for group in groups}
    done = _installed() if PYTHON.exists() else {}
    missing = [group for group in groups if done.get(group) != wanted[group]]
    if not missing:
        return
    if "engine" in missing:
        print(f"First use: {SETUP_TIME}. Later calls start at once.", file=sys.stderr)
    if not (PYTHON.exists() and PIP.exists()):
        _step(f"Making {VENV.relative_to(ROOT)}", _make_venv)
    if "engine" in missing:
        _step("Installing torch (CPU build where there is one)", _install_torch)
        _pip("ComfyUI's packages", "-r", str(ROOT / "engine" / "requirements.txt"))
        _pip("spandrel and kornia", "--no-deps", *WITHOUT_DEPENDENCIES)
    extras = ",".join(group for group in missing if group != "engine")
    if extras:
        _pip(f"wan-flf2v ({extras})", "-e", f"{ROOT}[{extras}]")
    STAMP.write_text(json.dumps(done | wanted, indent=2))


def _installed() -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(STAMP.read_text())
    except (OSError, ValueError):  # nothing yet, or what a full disk left of it
        return {}
    return found


def _fingerprint(group: str) -> str:
    sources = [ROOT / "engine" / "requirements.txt", Path(__file__)] if group == "engine" else [ROOT / "pyproject.toml"]
    text = b"".join(path.read_bytes() for path in sources)
    return hashlib.sha256(text + sys.version.encode()).hexdigest()


def _make_venv() -> None:
    try:
        venv.create(VENV, with_pip=True, clear=True)  # what is there has no pip
    except (OSError, subprocess.CalledProcessError) as error:
        raise SetupError(
            f"the virtual environment {VENV} could not be made ({error}). "
            "On Debian and Ubuntu install the package python3-venv."
        ) from None


def _install_torch() -> None:
    """A CPU build: pip's own sources first, then PyTorch's, then whatever PyPI has (on Linux that one is for CUDA)."""
    attempts: list[list[str]] = [[TORCH, TORCHVISION]]
    if platform.system() == "Linux":
        attempts = [
            [f"{TORCH}+cpu"],
            [TORCH, TORCHVISION, "--retries", "0", "--timeout", "15", "--extra-index-url", CPU_WHEELS],
            [TORCH, TORCHVISION],
        ]
    for attempt in attempts[:-1]:
        if _run_pip(attempt) is None:
            break
    else:
        _install(TORCH, *attempts[-1])
    _install(TORCHVISION, "--no-deps", TORCHVISION)


def _pip(what: str, *arguments: str) -> None:
    _step(f"Installing {what}", lambda: _install(what, *arguments))


def _install(what: str, *arguments: str) -> None:
    error = _run_pip([*arguments])
    if error is not None:
        raise SetupError(f"{what} could not be installed: {error} Check network and disk, and run the command again.")


def _run_pip(arguments: list[str]) -> str | None:
    """None when it worked, else pip's last error line."""
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    lines = [line.strip() for line in done.stderr.splitlines()]
    errors = [line for line in lines if line.startswith("ERROR")]
    last = (errors or [line for line in lines if line] or ["pip gave no reason"])[-1]
    return f"{last.removeprefix('ERROR: ').rstrip('.')}."


def _step(what: str, work: object) -> None:
    print(f"{what} …", end=" ", file=sys.stderr, flush=True)
    start = time.monotonic()
    try:
        work()  # type: ignore[operator]
    except SetupError:
        print("failed", file=sys.stderr)
        raise
    print(f"{time.monotonic() - start:.0f} s", file=sys.stderr)


def run(command: list[str], folder: Path | None = None) -> int:
    """Become this command, in ``folder`` or where the caller is; on Windows run it and return its exit status."""
    # Our nodes/ folder must not shadow ComfyUI's nodes module, so the current folder stays off the import path.
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    if os.name == "posix":  # one process, so that a signal to it reaches whom it is meant for
        os.chdir(folder or ".")
        os.execve(command[0], command, environment)
    process = subprocess.Popen(command, cwd=folder, env=environment)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # Windows gave it to the command too, which ends when it has tidied up
            continue


def check() -> int:
    """ruff, mypy, and the JavaScript checks where Node.js is installed."""
    package = _as_package()
    commands: list[tuple[list[str], Path]] = [
        ([str(BIN / "ruff"), "check", "."], ROOT),
        ([str(BIN / "ruff"), "format", "--check", "."], ROOT),
        ([str(BIN / "mypy"), "--config-file", str(ROOT / "pyproject.toml"), "-p", "wan_flf2v"], package.parent),
    ]
    if shutil.which("node") and shutil.which("npm"):
        scripts = ROOT / "tests" / "js"
        npm = shutil.which("npm") or "npm"
        if not (scripts / "node_modules").is_dir():
            commands.append(([npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], scripts))
        commands += [([npm, "run", "--silent", "check"], scripts), ([npm, "run", "--silent", "test"], scripts)]
    elif os.environ.get("CI"):
        print("Node.js and npm are needed for the JavaScript checks.", file=sys.stderr)
        return 1
    failed = 0
    for command, folder in commands:
        print("$", " ".join([Path(command[0]).name, *command[1:]]), flush=True)
        failed |= _call(command, folder)
    return 1 if failed else 0


def _as_package() -> Path:
    """This folder under the name of the package, which is what mypy checks."""
    link = ROOT / ".engine" / "typecheck" / "wan_flf2v"
    if link.is_symlink():
        link.unlink()  # this folder may have been moved since
    elif link.exists() and link.resolve() != ROOT:
        shutil.rmtree(link)  # a copy of last time, made where no link could be
    link.parent.mkdir(parents=True, exist_ok=True)
    _part("link").link_folder(ROOT, link)
    return link


def _call(command: list[str], folder: Path) -> int:
    with subprocess.Popen(command, cwd=folder) as process:
        try:
            return process.wait()
        except BaseException:
            process.terminate()  # asked, not killed: npm passes it on to what it runs
            raise


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
