"""The ComfyUI process: where it listens, when it is ready, and that it ends. A small program stands in for ComfyUI."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from wan_flf2v.engine.errors import EngineError
from wan_flf2v.engine.locate import Engine, find_engine
from wan_flf2v.engine.process import MODEL_FOLDERS, ComfyServer, free_port, has_gpu

# Answers /system_stats where --listen and --port say, and prints its options; the launcher runs it as ComfyUI's main.py.
MAIN = """
import http.server, json, os, signal, sys, time
if os.environ.get("STANDS_IN") == "dies":
    print("no model found"); sys.exit(3)
if os.environ.get("STANDS_IN") == "not its Python":
    import a_package_of_comfyui
if os.environ.get("STANDS_IN") == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
options = dict(zip(sys.argv[1:], sys.argv[2:]))
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status = 503 if time.time() - started < float(os.environ.get("STANDS_IN_LATE", 0)) else 200
        self.send_response(status); self.end_headers()
        self.wfile.write(json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode())
started = time.time()
print("it starts", flush=True)
print("with a warning", file=sys.stderr, flush=True)
http.server.HTTPServer((options["--listen"], int(options["--port"])), Answer).serve_forever()
"""


@pytest.fixture
def server(tmp_path: Path) -> ComfyServer:
    folder = tmp_path / "comfyui"
    (folder / "comfy").mkdir(parents=True)
    (folder / "main.py").write_text(MAIN)
    (folder / "comfy" / "sd.py").touch()
    for heavy in ("torch", "torchvision"):  # which the launcher looks at before ComfyUI does
        (folder / f"{heavy}.py").touch()
    pack = tmp_path / "pack"
    pack.mkdir()
    return ComfyServer(Engine(folder, Path(sys.executable), own=False), tmp_path / "home", tiny=True, pack=pack)


def told(server: ComfyServer) -> tuple[list[str], str, dict[str, str]]:
    """The options, the folder and the environment that the program has."""
    with urllib.request.urlopen(f"{server.url}/system_stats") as answer:
        argv, folder, environment = json.loads(answer.read())
    return argv, folder, environment


def listening(process: subprocess.Popen[bytes]) -> set[str]:
    """The addresses that this process and its children listen on."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    return {
        connection.laddr.ip
        for one in family
        for connection in one.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def test_it_listens_on_loopback_alone(server: ComfyServer) -> None:
    with server:
        assert server.process is not None
        assert listening(server.process) == {"127.0.0.1"}
        assert server.url == f"http://127.0.0.1:{server.port}"
        argv, folder, _ = told(server)
        assert argv.count("--listen") == 1
        assert Path(folder) == server.home
    assert not server.running


def test_the_real_comfyui_listens_on_loopback_alone(request: pytest.FixtureRequest) -> None:
    if os.environ.get("MUTANT_UNDER_TEST"):
        pytest.skip("a start of the real ComfyUI for every fault takes too long")
    comfy = request.getfixturevalue("comfy_server")
    assert listening(comfy.server.process) == {"127.0.0.1"}


@pytest.mark.parametrize("tiny", [True, False])
def test_it_gets_a_home_of_its_own_and_touches_no_other(
    server: ComfyServer, tiny: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    server = replace(server, tiny=tiny, models=tmp_path / "my models", extra_args=["--fast", "x"], pack_name="mine")
    with server:
        argv, _, environment = told(server)
    options = dict(itertools.pairwise(argv))
    assert options["--base-directory"] == str(server.home)
    assert options["--database-url"] == "sqlite:///:memory:"
    assert options["--port"] == str(server.port)
    assert "--disable-auto-launch" in argv
    assert "--cpu" in argv  # there is no GPU here, and tiny weights need none anywhere
    assert argv[-2:] == ["--fast", "x"]
    config = Path(options["--extra-model-paths-config"])
    assert config == server.home / "extra_model_paths.yaml"
    lines = config.read_text().splitlines()
    assert lines[:2] == ["models:", f"  base_path: {str((tmp_path / 'my models').resolve())!r}"]
    assert lines[2:] == [f"  {name}: {name}/" for name in MODEL_FOLDERS]
    assert {path.name for path in server.home.iterdir() if path.is_dir()} >= {"custom_nodes", "input", "output", "user"}
    assert (server.home / "custom_nodes" / "mine").resolve() == server.pack
    assert (server.home / "custom_nodes" / "tiny-model-support").exists() is tiny
    assert (environment.get("OMP_NUM_THREADS") == "1") is tiny


def test_without_models_no_folders_are_named(server: ComfyServer) -> None:
    with server:
        assert "--extra-model-paths-config" not in told(server)[0]


def test_what_the_caller_set_in_the_environment_wins(server: ComfyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with server:
        assert told(server)[2]["OMP_NUM_THREADS"] == "3"


def test_a_given_environment_takes_the_place_of_this_processs_own(server: ComfyServer, monkeypatch) -> None:
    monkeypatch.setenv("OURS", "1")
    given = {name: value for name, value in os.environ.items() if name != "OURS"} | {"GIVEN": "1"}
    with replace(server, environment=given) as chosen:
        environment = told(chosen)[2]
    assert ("OURS" in environment, environment.get("GIVEN")) == (False, "1")


@pytest.mark.skipif(os.name == "nt", reason="a Python that is a script")
def test_a_gpu_is_asked_for_once_of_the_python_that_comfyui_runs_on(tmp_path: Path) -> None:
    for answer in ("True", "False", ""):
        python = tmp_path / f"python-{answer}"
        python.write_text(f"#!/bin/sh\necho asked >> {tmp_path}/log-{answer}\necho {answer}\n")
        python.chmod(0o755)
        engine = Engine(tmp_path, python, own=False)
        assert has_gpu(engine) is has_gpu(engine) is (answer == "True")
        assert (tmp_path / f"log-{answer}").read_text() == "asked\n"
        command = ComfyServer(engine, tmp_path / "home").command()
        assert ("--cpu" in command) is (answer != "True")


def test_it_is_ready_when_it_answers_and_not_before(server: ComfyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDS_IN_LATE", "1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # as behind a company's proxy
    monkeypatch.setenv("no_proxy", "")
    began = time.monotonic()
    with server:
        assert time.monotonic() - began >= 1
        monkeypatch.delenv("http_proxy")
        told(server)


def test_one_that_ends_while_starting_is_an_error_with_the_end_of_its_log(server, monkeypatch) -> None:
    monkeypatch.setenv("STANDS_IN", "dies")
    with pytest.raises(EngineError, match=r"(?s)ended while starting.*comfyui\.log.*no model found"):
        server.start()
    assert not server.running


def test_one_that_lacks_its_packages_tells_how_to_name_its_python(server, monkeypatch) -> None:
    monkeypatch.setenv("STANDS_IN", "not its Python")
    with pytest.raises(EngineError, match="set COMFYUI_PYTHON to the Python that it runs on"):
        server.start()


def test_one_that_stays_silent_is_stopped_after_the_time(server, monkeypatch) -> None:
    monkeypatch.setenv("STANDS_IN_LATE", "600")
    server.spawn()
    while "it starts" not in server.log_tail():
        time.sleep(0.05)
    with pytest.raises(EngineError, match=r"(?s)did not answer in 1 s.*it starts"):
        server.wait_ready(timeout_s=1)
    assert not server.running


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal to ignore")
def test_one_whose_start_is_interrupted_is_stopped(server: ComfyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(timeout_s: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(server, "wait_ready", interrupted)
    with pytest.raises(KeyboardInterrupt), server:
        pass
    assert server.process is not None
    assert not server.running


def test_one_that_will_not_end_is_killed_after_the_grace(server, monkeypatch) -> None:
    monkeypatch.setenv("STANDS_IN", "stubborn")
    server.start()
    began = time.monotonic()
    server.stop(grace_s=0.5)
    assert time.monotonic() - began >= 0.5
    assert server.process.returncode == -signal.SIGKILL
    server.stop()  # and once more is no error


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
def test_one_that_ends_when_asked_is_not_killed(server: ComfyServer) -> None:
    with server:
        pass
    assert server.process is not None
    assert server.process.returncode == -signal.SIGTERM


@pytest.mark.skipif(os.name == "nt", reason="a group of processes there is another thing")
def test_a_ctrl_c_at_the_terminal_is_for_the_caller(server: ComfyServer) -> None:
    with server:
        assert server.process is not None
        assert os.getpgid(server.process.pid) == server.process.pid != os.getpgid(0)


def test_a_given_port_is_taken_and_a_free_one_else(server: ComfyServer) -> None:
    port = free_port()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
    with replace(server, port=port) as chosen:
        assert chosen.port == port
        assert told(chosen)


def test_the_log_is_the_programs_own_words_and_its_end_is_shown(server: ComfyServer) -> None:
    assert server.log_tail() == ""
    with server:
        threading.Event().wait(0.1)
    assert {"it starts", "with a warning"} <= set(server.log_path.read_text().splitlines())
    server.log_path.write_text("".join(f"{number}\n" for number in range(100)))
    assert server.log_tail(3) == "97\n98\n99"
    assert server.log_tail() == "\n".join(str(number) for number in range(75, 100))


def test_the_log_of_a_crash_is_kept_by_the_start_after_it(server: ComfyServer) -> None:
    server.start()
    server.kill()
    with server:
        assert server.log_path.read_text().count("it starts") == 2


def test_a_folder_that_holds_no_comfyui_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match=r"is no ComfyUI.*Give its folder"):
        find_engine(tmp_path)
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"is no ComfyUI"):
        find_engine()


@pytest.mark.parametrize("place", ["inside", "beside", "environment", "none"])
@pytest.mark.parametrize("name", [".venv", "venv"])
def test_the_python_of_a_comfyui(place, name, server: ComfyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = server.engine.comfyui
    monkeypatch.delenv("COMFYUI_PYTHON", raising=False)
    python = {"inside": folder, "beside": folder.parent}.get(place, folder) / name / "bin" / "python"
    if place in ("inside", "beside"):
        python.parent.mkdir(parents=True)
        python.touch()
    elif place == "environment":
        monkeypatch.setenv("COMFYUI_PYTHON", str(python))
    else:
        python = Path(sys.executable)
    assert find_engine(folder) == Engine(folder.resolve(), python, own=False)
    monkeypatch.setenv("COMFYUI_PATH", str(folder))
    assert find_engine() == Engine(folder.resolve(), python, own=False)
