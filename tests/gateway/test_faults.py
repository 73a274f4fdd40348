"""What is around the gateway fails in the worst moment: an answer is lost, a disk is full, a file has just gone."""

from __future__ import annotations

import asyncio
import errno
import gzip
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy.exc
from aiohttp import web

from wan_flf2v.engine.process import free_port
from wan_flf2v.gateway import decode
from wan_flf2v.gateway.assets import AssetStore
from wan_flf2v.gateway.bodies import SCRATCH, remove_scratch
from wan_flf2v.gateway.database import Database
from wan_flf2v.gateway.worker.agent import Agent
from wan_flf2v.gateway.worker.attempt import Runner
from wan_flf2v.gateway.worker.supervisor import Owned, Supervisor

from .local import FAST, FLF2V, local, png, run
from .processes import Serve, fake_command
from .test_sick import by_worker, machine

GONE = sqlalchemy.exc.OperationalError("COMMIT", {}, OSError("server closed the connection"))
FULL = OSError(errno.ENOSPC, "No space left on device")


def test_a_request_that_ends_while_scratch_is_cleared_keeps_nothing_else(tmp_path: Path) -> None:
    (tmp_path / SCRATCH / "old").mkdir(parents=True)
    (tmp_path / SCRATCH / "gone").symlink_to(tmp_path / "gone")
    remove_scratch(tmp_path, time.time() + 60)
    assert not (tmp_path / SCRATCH / "old").exists()


@pytest.mark.parametrize("error", [GONE, FULL], ids=["database", "disk"])
def test_a_render_waits_for_a_store_that_takes_it_however_long_that_is(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: after two minutes it was thrown away; with a full disk so was every other job's."""
    put, calls = AssetStore.put, []

    def fails(self: AssetStore, *args: Any, **kwargs: Any) -> Any:
        calls.append(0)
        if len(calls) < 8:  # of the four tries that are made else
            raise error
        return put(self, *args, **kwargs)

    async def main() -> None:
        async with local(tmp_path) as here:
            monkeypatch.setattr(AssetStore, "put", fails)
            row = await here.until(await here.submit())
            assert (row["state"], row["attempt"], len(here.comfy.prompts)) == ("succeeded", 1, 1)

    run(main)


def test_a_proxy_that_answers_for_comfyui_costs_no_render(tmp_path: Path) -> None:
    """Regression: one 502 was another render, while the first went on."""

    async def main() -> None:
        async with local(tmp_path, seconds=0.4) as here:
            job = await here.submit()
            await here.until(job, "running")
            while not here.comfy.prompts:
                await asyncio.sleep(0.01)
            here.comfy.settings["away"] = 10
            row = await here.until(job)
            assert (row["state"], row["attempt"], len(here.comfy.prompts)) == ("succeeded", 1, 1)

    run(main)


def test_a_result_that_breaks_off_when_it_is_asked_for_costs_no_render(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, worker=False) as here, machine(here, "w2") as other:
            where = other.agent.runner.supervisor
            assert where.url
            history, asked = other.comfy.get_history, []

            async def ends_then_breaks(request: Any) -> Any:
                answer = await history(request)
                if len(answer.body) > 2:
                    asked.append(answer)
                    if len(asked) in (2, 3):  # the first says that it has ended; a client asks twice
                        request.transport.abort()
                return answer

            await other.stop_comfy()
            other.comfy.get_history = ends_then_breaks  # type: ignore[method-assign]
            await other.start_comfy()
            row = await here.until(await here.submit())
            assert (row["state"], row["attempt"], len(other.comfy.prompts)) == ("succeeded", 1, 1)
            assert len(asked) > 3

    run(main)


def test_a_prompt_whose_submit_was_answered_by_a_proxy_is_followed(tmp_path: Path) -> None:
    """Regression: it was taken for lost while it ran, and given to ComfyUI once more."""

    async def main() -> None:
        async with local(tmp_path, worker=False) as here, machine(here, "w2", seconds=0.5) as other:
            prompt = other.comfy.prompt

            async def times_out(request: Any) -> Any:
                await prompt(request)
                return web.Response(status=504, text="<html>Gateway Time-out</html>", content_type="text/html")

            await other.stop_comfy()
            other.comfy.prompt = times_out  # type: ignore[method-assign]
            await other.start_comfy()
            row = await here.until(await here.submit())
            assert (row["state"], row["attempt"], len(other.comfy.prompts)) == ("succeeded", 1, 1)

    run(main)


def test_a_worker_that_can_store_no_picture_takes_itself_out(tmp_path: Path) -> None:
    """Regression: it lost job after job three times, and so failed them all."""

    async def main() -> None:
        timing = FAST.model_copy(update={"restart_pause_s": 300.0})
        async with (
            local(tmp_path, seconds=0.1, timing=timing) as here,
            machine(here, "full", upload_fails=True),
        ):
            jobs = [await here.submit() for _ in range(20)]
            assert {(await here.until(job))["state"] for job in jobs} == {"succeeded"}
            assert by_worker(here, jobs)["full"] <= 2

    run(main)


def test_after_quarantine_one_more_fault_is_enough_until_a_job_goes_well(tmp_path: Path) -> None:
    async def main() -> None:
        timing = FAST.model_copy(update={"restart_pause_s": 0.1})
        async with local(tmp_path, worker=False, timing=timing) as here, machine(here, "w2") as one:
            keeper, seen = one.agent.comfy, []
            for word in ("fault", "fault", "fault", "well", "fault"):
                while not keeper.sound:
                    await asyncio.sleep(0.01)
                if word == "well":
                    keeper.well()
                else:
                    await keeper.fault("CUDA error")
                    seen.append(keeper.status)
            assert seen == ["restarting", "quarantined", "quarantined", "restarting"]

    run(main)


def test_a_held_job_is_given_back_when_comfyui_does_not_come_up_again(tmp_path: Path) -> None:
    """Regression: a machine that came back without its GPU held the job that it had for ever, alive as it was."""

    async def main() -> None:
        timing = FAST.model_copy(update={"start_s": 1.0})
        async with local(tmp_path, worker=False, timing=timing) as here:
            async with machine(here, "sick", hang=True) as sick:
                job = await here.submit()
                await here.until(job, "running")
                database = sick.agent.runner.jobs.database
            database = Database(here.settings.database_url)
            back = Agent(Runner("sick", here.settings, database, Supervisor("http://127.0.0.1:9")), sick.agent.home)
            task = asyncio.create_task(back.run())
            async with machine(here, "w2"):
                row = await here.until(job)
                assert (row["state"], row["attempt"], row["worker"]) == ("succeeded", 2, "w2")
            assert not task.done()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            database.close()

    run(main)


def test_a_comfyui_that_makes_no_sense_ends_no_worker(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path) as here, machine(here, "w2") as other:
            here.comfy.settings["odd"] = True
            assert (await here.until(await here.submit()))["state"] == "succeeded"
            other.comfy.settings["odd"] = True
            await other.agent.comfy.fault("so that it is looked at")
            await asyncio.sleep(1)
            assert not here.worker or not here.worker.done()
            assert other.agent.status == "unreachable"
            other.comfy.settings["odd"] = False
            await other.until("ready")

    run(main)


def test_a_full_disk_gets_back_what_it_had_left(tmp_path: Path) -> None:
    """Regression: what was written of a video stayed, and took the place that the tables need."""
    store = AssetStore(Database(f"sqlite:///{tmp_path}/jobs.sqlite"), tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            store.put(bytes(2**21), owner="me", filename="a.mp4", media_type="video/mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [*(tmp_path / "assets").iterdir()] == []


def test_a_comfyui_that_can_not_be_noted_is_not_left_behind(tmp_path: Path) -> None:
    (tmp_path / "comfyui.new").mkdir()
    sleeper = f"{sys.executable} -c 'import time; time.sleep(60)' {{port}}"
    owned = Owned(tmp_path, command=["sh", "-c", f"exec {sleeper}"])
    with pytest.raises(OSError, match=r"comfyui\.new"):
        owned.ensure()
    assert owned._child is not None
    assert owned._child.wait(10) == -signal.SIGKILL


@pytest.mark.parametrize("body", ["deep", "gzip"])
def test_a_body_that_can_not_be_read_is_a_400(tmp_path: Path, body: str) -> None:
    deep = b'{"seed":' + 700 * b"[" + 700 * b"]" + b"}"
    data, headers = {"deep": (deep, {}), "gzip": (gzip.compress(b"{}")[:-9] + b"?", {"Content-Encoding": "gzip"})}[body]

    async def main() -> None:
        async with local(tmp_path, worker=False) as here:
            for path in (
                f"/v1/models/{FLF2V}",
                "/api/v3/wavespeed-ai/wan-flf2v",
                "/v1/models/community/wan-2-2/storyboard",
            ):
                sent = {"Content-Type": "application/json", "Idempotency-Key": "k", **headers}
                answer = await here.call("POST", path, data=data, headers=sent)
                assert answer.status == 400, answer.json

    run(main)


def test_a_picture_that_comfyui_would_not_take_is_refused_at_the_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "PNG_BYTES", 100)
    with pytest.raises(decode.PictureError, match="as PNG"):
        decode.to_png(png(640, 480), tmp_path / "out.png", 10**6, 10**6)


def test_a_gateway_whose_log_nobody_reads_any_more_starts_its_worker_again(tmp_path: Path) -> None:
    """Regression: a pipe that was closed, or a full disk under the log, ended it with its worker."""
    serve = Serve(tmp_path / "data", ["--no-auth", "--comfyui-command", fake_command()])
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "wan_flf2v.gateway", "serve", "--data", str(serve.data), "--name", serve.name]
    serve.data.mkdir()
    serve.port = free_port()
    serve.process = subprocess.Popen(
        [*command, "--port", str(serve.port), *serve.options], stdin=subprocess.DEVNULL, stdout=writing, stderr=writing
    )
    os.close(writing)
    try:
        serve.wait_healthy()
        os.close(reading)
        first = serve.agent_pid()
        assert first is not None
        psutil.Process(first).kill()
        deadline = time.monotonic() + 60
        while serve.agent_pid() in (None, first):
            assert time.monotonic() < deadline
            assert serve.process.poll() is None
            time.sleep(0.1)
    finally:
        serve.stop()
