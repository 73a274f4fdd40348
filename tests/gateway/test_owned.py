"""A ComfyUI that the worker owns: what it inherits, and what is deleted there after a job."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from wan_flf2v.engine.locate import Engine
from wan_flf2v.engine.process import ComfyServer
from wan_flf2v.gateway.worker.supervisor import Owned

from .local import BODY, local, png, run

SECRETS = {
    "WAN_FLF2V_DATABASE": "postgresql://gateway:hunter2@db/gateway",
    "RUNCOMFY_API_TOKEN": "hunter2",
    "WAVESPEED_API_KEY": "hunter2",
    "HF_TOKEN": "hunter2",
    "COMFY_API_KEY": "hunter2",
    "PGPASSWORD": "hunter2",
    "AWS_SECRET_ACCESS_KEY": "hunter2",
    "HTTPS_PROXY": "http://user:hunter2@proxy:3128",
}


def test_comfyui_inherits_what_it_needs_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: every custom node could read the database's password and the providers' keys."""
    for name, value in {
        **SECRETS,
        "CUDA_VISIBLE_DEVICES": "3",
        "PYTORCH_CUDA_ALLOC_CONF": "x",
        "HF_HOME": "/hf",
    }.items():
        monkeypatch.setenv(name, value)
    code = f"import json, os; open({str(tmp_path / 'out')!r}, 'w').write(json.dumps(dict(os.environ)))"
    owned = Owned(tmp_path, command=[sys.executable, "-c", code])
    assert owned.ensure()
    for _ in range(100):
        if (tmp_path / "out").exists() and (text := (tmp_path / "out").read_text()):
            break
        time.sleep(0.1)
    owned.stop()
    got = json.loads(text)
    assert "hunter2" not in text
    assert not set(SECRETS) & set(got)
    assert got["CUDA_VISIBLE_DEVICES"] == "3"
    assert {"PATH", "HOME", "PYTORCH_CUDA_ALLOC_CONF", "HF_HOME"} <= set(got)


def test_of_a_jobs_files_none_is_left_and_of_other_jobs_all(tmp_path: Path) -> None:
    """Whichever process of the worker put them there: after a restart its pictures stayed."""
    home = tmp_path / "comfyui"
    gone = ["input/flf2v_job-1_1_a.png", "input/flf2v_job-1_2_b.png", "output/gateway/job-1_1_00001_.mp4"]
    gone += ["output/gateway/job-1_2_00001_.mp4", "temp/x.png"]
    kept = ["input/flf2v_job-2_1_a.png", "input/mine.png", "output/gateway/job-2_1_00001_.mp4", "output/mine.mp4"]
    for name in gone + kept:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(b"x")
    owned = Owned(tmp_path, server=ComfyServer(Engine(tmp_path, tmp_path, False), home))
    assert owned.clean("job-1")
    assert [name for name in gone + kept if (home / name).exists()] == kept


@pytest.mark.skipif(os.name != "posix", reason="zombies")
def test_a_process_is_found_again_by_the_next_agent_and_no_other_process_is_taken_for_it(tmp_path: Path) -> None:
    def agent() -> Owned:
        return Owned(tmp_path, command=[sys.executable, "-c", "import time; time.sleep(600)"])

    first, next_one = agent(), agent()
    assert first.ensure()
    try:
        assert first.alive()
        assert not next_one.ensure()
        assert next_one.url == first.url == f"http://127.0.0.1:{first.port}"
        remembered = json.loads((tmp_path / "comfyui.json").read_text())
        reused = {**remembered, "started": remembered["started"] - 60}  # the number belonged to another one before
        (tmp_path / "comfyui.json").write_text(json.dumps(reused))
        assert not next_one.alive()
        (tmp_path / "comfyui.json").write_text(json.dumps(remembered))
        os.kill(remembered["pid"], signal.SIGKILL)
        while psutil.Process(remembered["pid"]).status() != psutil.STATUS_ZOMBIE:  # its parent has not asked for it yet
            time.sleep(0.01)
        assert not next_one.alive()
        assert not first.alive()
        assert first.ensure()
    finally:
        first.stop()
    assert not first.alive()


@pytest.mark.skipif(not psutil.LINUX, reason="elsewhere a process keeps the time at which it was started")
def test_a_clock_that_is_set_makes_no_second_comfyui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: one was started every moment, in vain, beside the one that went on."""
    owned = Owned(tmp_path, command=[sys.executable, "-c", "import time; time.sleep(600)"])
    assert owned.ensure()
    try:
        remembered = json.loads((tmp_path / "comfyui.json").read_text())
        system = tmp_path / "proc"
        (system / str(remembered["pid"])).parent.mkdir()
        (system / str(remembered["pid"])).symlink_to(f"/proc/{remembered['pid']}")
        (system / "stat").write_text(f"btime {int(psutil.boot_time()) + 3600}\n")
        by_clock = psutil.Process(remembered["pid"]).create_time()
        with monkeypatch.context() as stepped:
            stepped.setattr(psutil, "PROCFS_PATH", str(system))
            assert not owned.ensure()
            assert not Owned(tmp_path).ensure()
        (tmp_path / "comfyui.json").write_text(json.dumps({**remembered, "started": by_clock}))
        assert Owned(tmp_path).alive(), "the release before noted it so"
    finally:
        owned.stop()


@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled"])
def test_however_a_job_ends_its_pictures_files_and_prompt_leave_a_comfyui_of_ones_own(tmp_path: Path, end: str) -> None:
    cleaned: list[str] = []

    def clean(job: str) -> bool:
        cleaned.append(job)
        return True

    async def main() -> None:
        async with local(tmp_path, seconds=60 if end == "cancelled" else 0.1) as here:
            assert here.agent is not None
            here.agent.runner.supervisor.clean = clean  # type: ignore[method-assign]
            here.comfy.settings["fail"] = "no" if end == "failed" else ""
            own = "data:image/png;base64," + base64.b64encode(png()).decode()
            job = await here.submit({**BODY, "62_image": own})
            await here.until(job, "running", "succeeded", "failed")
            if end == "cancelled":
                await asyncio.sleep(0.2)
                await here.call("POST", f"/v1/requests/{job}/cancel")
            row = await here.until(job, end)
            assert [output["filename"] for output in row["outputs"]] == [f"{job}_1_00001_.mp4"] * (end == "succeeded")
            for _ in range(500):
                if cleaned and not here.comfy.history:
                    break
                await asyncio.sleep(0.02)
            assert here.comfy.history == {}
            assert cleaned == [job]
            example, own_name = sorted(here.comfy.files)
            assert own_name.startswith(f"flf2v_{job}_1_"), "its own picture goes with it"
            assert example == "first.png", "and the example stays for the next job"

    run(main)
