"""run.py as a user calls it: from any folder, ended by a signal, on machines that allow no symbolic link."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from types import ModuleType

import psutil
import pytest

from wan_flf2v.engine.link import link_folder
from wan_flf2v.engine.process import free_port

ROOT = Path(__file__).resolve().parents[1]
RUN = [sys.executable, str(ROOT / "run.py")]
posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no signal that asks a process to end")
SLEEPER = """
import subprocess, sys, time
import pytest
from wan_flf2v.tests import conftest  # noqa: F401 - as this project's own tests are run

@pytest.fixture(scope="session")
def server():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True) as process:
        yield process
        process.kill()

def test_that_takes_long(server):
    time.sleep(600)
"""


@pytest.fixture
def run_py() -> ModuleType:
    """The file run.py, as a module."""
    spec = importlib.util.spec_from_file_location("run_py", RUN[1])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def marked(mark: str) -> list[psutil.Process]:
    """Every living process that inherited this mark, wherever in the process tree it is.

    A worker passes few variables on to its ComfyUI; those of the desktop are among them.
    """
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("XDG_WAN_FLF2V_TEST") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


@posix
@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "after_s"), [("serve", 0), ("serve", 15), ("worker", 0), ("demo", 10), ("bench", 0), ("test", 0)]
)
def test_a_long_command_that_is_told_to_end_leaves_no_process(command: str, after_s: float, tmp_path: Path) -> None:
    (tmp_path / "test_sleeper.py").write_text(SLEEPER)
    own = {
        "serve": ["--demo", "--data", str(tmp_path / "data"), "--port", str(free_port())],
        "worker": ["--tiny", "--data", str(tmp_path / "data")],
        "demo": ["--out", str(tmp_path / "demo.mp4"), "--set", "57_steps=1000"],
        "bench": ["--name", "unused"],
        "test": [str(tmp_path / "test_sleeper.py"), "-p", "no:cacheprovider"],
    }
    deepest = "time.sleep(600)" if command == "test" else "launch.py"
    mark = uuid.uuid4().hex
    process = subprocess.Popen(
        [*RUN, command, *own[command]],
        cwd=tmp_path,
        env={**os.environ, "XDG_WAN_FLF2V_TEST": mark},
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not any(deepest in part for each in marked(mark) for part in each.cmdline()):
            assert process.poll() is None, "it ended by itself"
            assert time.monotonic() < deadline, [each.cmdline() for each in marked(mark)]
            time.sleep(0.2)
        time.sleep(after_s)
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 60
        while marked(mark):
            assert time.monotonic() < deadline, [each.cmdline() for each in marked(mark)]
            time.sleep(0.2)
    finally:
        for left in marked(mark):
            left.kill()
        process.wait()


def test_the_tests_run_from_any_folder(tmp_path: Path) -> None:
    asked = ["test", "--collect-only", "tests/test_run.py"]
    done = subprocess.run([*RUN, *asked], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_the_tests_run_from_any_folder" in done.stdout


def test_a_users_paths_are_meant_from_where_the_user_is(tmp_path: Path) -> None:
    (tmp_path / "payload.json").write_text("[]")
    asked = ["demo", "--payload", "payload.json"]
    done = subprocess.run([*RUN, *asked], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "payload.json must hold a JSON object" in done.stderr


@pytest.mark.parametrize(
    ("asked", "groups"),
    [
        ("demo", ["engine", "cli"]),
        ("generate --models m", ["engine", "cli"]),
        ("batch pairs.csv --models m", ["engine", "cli"]),
        ("storyboard a.json --models m", ["engine", "cli"]),
        ("storyboard a.json --comfyui-url http://127.0.0.1:8188", ["cli"]),
        ("batch pairs.csv --remote=wavespeed", ["cli"]),
        ("report a.mp4", ["engine", "cli"]),
        ("serve", ["engine", "cli", "gateway"]),
        ("jobs", ["cli"]),
    ],
)
def test_what_a_command_needs_is_installed(
    run_py: ModuleType, monkeypatch: pytest.MonkeyPatch, asked: str, groups: list[str]
) -> None:
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    assert run_py.groups_for(asked.split()[0], asked.split()) == groups


@posix
def test_an_interrupted_installation_is_one_line_and_made_by_the_next_call(tmp_path: Path) -> None:
    for name in ("run.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    command = [sys.executable, str(tmp_path / "run.py"), "jobs"]

    def as_at_a_terminal() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # what runs in a shell's background ignores it

    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=as_at_a_terminal) as process:
        assert process.stderr is not None
        begun = process.stderr.read(len("Making .venv …"))
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".venv/bin/python")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert (begun, process.returncode) == ("Making .venv …", 130)
    assert said.splitlines()[-1] == "run.py: interrupted; the next call goes on"
    assert "Traceback" not in said
    (tmp_path / ".venv" / "wan-flf2v-installed.json").write_text("")  # what a full disk leaves of it
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("Making .venv … ")
        process.terminate()  # before pip installs anything
        assert "Traceback" not in process.communicate(timeout=60)[1]
    assert (tmp_path / ".venv" / "bin" / "pip").exists()


def test_a_folder_that_is_no_comfyui_gets_one_line_and_no_command_the_help(tmp_path: Path) -> None:
    asked = [*RUN, "generate", "--comfyui", str(tmp_path)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"run.py: {tmp_path} is no ComfyUI: it has no main.py and comfy/ folder. Give its folder.\n"
    done = subprocess.run(RUN, capture_output=True, text=True, check=False)
    assert (done.returncode, "demo " in done.stdout, done.stderr) == (0, True, "")


def test_without_symbolic_links_the_linters_still_see_the_package_as_it_is_now(
    run_py: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    (project / "engine").mkdir(parents=True)
    (project / "engine" / "link.py").write_bytes((ROOT / "engine" / "link.py").read_bytes())
    monkeypatch.setattr(run_py, "ROOT", project)

    def refused(*_: object, **__: object) -> None:
        raise OSError("A required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refused)
    assert (run_py._as_package() / "engine" / "link.py").is_file()
    (project / "new.py").touch()
    assert (run_py._as_package() / "new.py").is_file()


def test_a_folder_is_linked_once(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for _ in range(2):
        link_folder(source, tmp_path / "link")
    assert (tmp_path / "link").resolve() == source
