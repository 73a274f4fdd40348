"""Workers that live but are sick: no models, a GPU that fell over, a ComfyUI that is gone or hangs. Jobs pass them by."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web

from wan_flf2v.engine.client import OutputFile
from wan_flf2v.engine.process import free_port
from wan_flf2v.gateway.assets import AssetStore
from wan_flf2v.gateway.database import Database
from wan_flf2v.gateway.settings import Settings
from wan_flf2v.gateway.tables import Job
from wan_flf2v.gateway.worker.agent import Agent
from wan_flf2v.gateway.worker.attempt import Runner
from wan_flf2v.gateway.worker.collect import Collector
from wan_flf2v.gateway.worker.comfy import outcome_of, runnable
from wan_flf2v.gateway.worker.keeper import Keeper, _is_old
from wan_flf2v.gateway.worker.supervisor import Supervisor
from wan_flf2v.workflows.bindings import Bindings

from .fake_comfyui import FakeComfyUI
from .local import FAST, Local, attempts_of, local, run, video

GRAPH = {"57": {"class_type": "X", "_meta": {"title": "Sampler"}}}


@dataclass
class Machine:
    """One more worker with a ComfyUI of its own."""

    comfy: FakeComfyUI
    agent: Agent
    port: int
    site: web.AppRunner | None = None

    @property
    def name(self) -> str:
        return self.agent.runner.worker

    async def start_comfy(self) -> None:
        self.site = web.AppRunner(self.comfy.app(), shutdown_timeout=0.1)
        await self.site.setup()
        await web.TCPSite(self.site, "127.0.0.1", self.port).start()

    async def stop_comfy(self) -> None:
        assert self.site is not None
        await self.site.cleanup()

    async def until(self, *status: str, timeout_s: float = 30) -> None:
        for _ in range(int(timeout_s / 0.02)):
            if self.agent.status in status:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"{self.name} is {self.agent.status}, wanted {status}")


@asynccontextmanager
async def machine(here: Local, name: str, seconds: float = 0.1, **sick: Any) -> AsyncIterator[Machine]:
    """A worker beside ``local``'s; ``sick`` are settings of its fake ComfyUI."""
    database = Database(here.settings.database_url)
    comfy, port = FakeComfyUI(video(), seconds=seconds), free_port()
    comfy.settings.update(sick)
    runner = Runner(name, here.settings, database, Supervisor(f"http://127.0.0.1:{port}"))
    made = Machine(comfy, Agent(runner), port)
    await made.start_comfy()
    task = asyncio.create_task(made.agent.run())
    try:
        up = ("ready", "busy", "quarantined")
        await made.until(*up)
        while not any(row.id == name and row.status in up for row in made.agent.workers.every()):
            await asyncio.sleep(0.02)  # until the gateway knows it too
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await made.stop_comfy()
        database.close()


def by_worker(here: Local, jobs: list[str]) -> Counter[str]:
    return Counter(attempt.worker for job in jobs for attempt in attempts_of(here.jobs, job))


def test_a_worker_without_models_takes_nothing_until_it_has_some(tmp_path: Path) -> None:
    """Regression: it failed 9 of 10 jobs."""

    async def main() -> None:
        async with local(tmp_path, seconds=0.2) as here, machine(here, "poor", models=False) as poor:
            jobs = [await here.submit() for _ in range(10)]
            assert {(await here.until(job))["state"] for job in jobs} == {"succeeded"}
            assert by_worker(here, jobs) == {"w1": 10}
            poor.comfy.settings["models"] = True
            while not poor.agent.comfy.workflows:
                await asyncio.sleep(0.05)
            jobs = [await here.submit() for _ in range(10)]
            for job in jobs:
                assert (await here.until(job))["state"] == "succeeded"
            assert by_worker(here, jobs)["poor"] > 0

    run(main)


def test_a_worker_whose_gpu_fell_over_takes_itself_out_after_two_jobs_and_comes_back_healed(tmp_path: Path) -> None:
    """Regression: it failed 28 of 30 jobs, each for good."""

    async def main() -> None:
        async with local(tmp_path, seconds=0.1) as here, machine(here, "sick", cuda=True) as sick:
            jobs = [await here.submit() for _ in range(30)]
            assert {(await here.until(job, timeout_s=40))["state"] for job in jobs} == {"succeeded"}
            assert by_worker(here, jobs)["sick"] <= 2
            await sick.until("quarantined")
            assert 3 <= len(sick.comfy.prompts) <= 12  # two jobs, and probes after growing pauses
            sick.comfy.settings["cuda"] = False
            await sick.until("ready")
            more = [await here.submit() for _ in range(12)]
            for job in more:
                assert (await here.until(job))["state"] == "succeeded"
            assert by_worker(here, more)["sick"] > 0

    run(main, 120)


def test_a_model_that_goes_missing_while_it_runs_is_the_machines_fault_and_no_job_fails(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, seconds=0.2) as here, machine(here, "w2") as other:
            other.comfy.settings["models"] = False
            jobs = [await here.submit() for _ in range(10)]
            assert {(await here.until(job))["state"] for job in jobs} == {"succeeded"}
            assert by_worker(here, jobs)["w2"] <= 1
            assert other.agent.comfy.workflows == []

    run(main)


def test_a_comfyui_of_somebody_elses_that_is_gone_gets_nothing_and_gives_back_what_it_held(tmp_path: Path) -> None:
    """Regression: it stayed ready and failed job after job."""

    async def main() -> None:
        async with local(tmp_path, seconds=0.2) as here, machine(here, "far", seconds=30) as far:
            jobs = [await here.submit() for _ in range(2)]
            await far.until("busy")
            await far.stop_comfy()
            assert {(await here.until(job))["state"] for job in jobs} == {"succeeded"}
            await far.until("unreachable")
            jobs = [await here.submit() for _ in range(5)]
            for job in jobs:
                await here.until(job, "succeeded")
            assert by_worker(here, jobs) == {"w1": 5}
            far.comfy.settings["seconds"] = 0.1
            await far.start_comfy()
            await far.until("ready")
            await far.stop_comfy()
            await far.start_comfy()

    run(main)


def test_a_gpu_that_hangs_behind_a_living_server(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        timing = FAST.model_copy(update={"job_timeout": "600,wan22_flf2v=1", "cancel_grace_s": 0.3})
        async with local(tmp_path, seconds=0.3, timing=timing, worker=False) as here:
            async with machine(here, "hangs", hang=True, deaf=True) as hangs:
                job = await here.submit()
                await hangs.until("busy")
                async with machine(here, "w2", seconds=0.3):
                    row = await here.until(job)
                    assert (row["state"], row["attempt"], row["worker"]) == ("succeeded", 2, "w2")
            async with machine(here, "slow", hang=True):
                row = await here.until(await here.submit())
                assert row["state"] == "failed"
                assert row["attempt"] == 2
                assert "--job-timeout" in row["error"]

    run(main)


def test_a_finished_render_is_fetched_again_and_not_rendered_again(tmp_path: Path) -> None:
    """Regression: one reset connection at /view was another render."""

    async def main() -> None:
        async with local(tmp_path) as here:
            here.comfy.settings["view_fails"] = 2
            row = await here.until(await here.submit())
            assert (row["state"], row["attempt"], len(here.comfy.prompts)) == ("succeeded", 1, 1)
            here.comfy.settings["view_fails"] = 1000
            row = await here.until(await here.submit())
            assert (row["state"], row["attempt"], len(here.comfy.prompts)) == ("failed", 1, 2)
            assert "rendered, but it could not be stored" in row["error"]

    run(main)


def test_a_workflow_with_a_node_that_a_comfyui_lacks_is_not_run_there() -> None:
    class Comfy:
        async def object_info(self) -> dict[str, Any]:
            return {"VAEDecode": {"input": {"required": {}}}}

    shipped = Bindings.load("wan22_flf2v")
    named = {
        name: replace(shipped, graph={"73": {"class_type": name, "inputs": {}}}) for name in ("VAEDecode", "SaveVideo")
    }
    assert asyncio.run(runnable(cast(Any, Comfy()), named)) == ["VAEDecode"]


def test_of_what_a_prompt_left_only_its_results_are_collected(tmp_path: Path) -> None:
    class Comfy:
        async def fetch(self, file: OutputFile) -> bytes:
            return file.filename.encode()

    files = [{"filename": f"{kind}.mp4", "subfolder": "", "type": kind} for kind in ("temp", "output", "input")]
    record = {"outputs": {"73": {"images": files}}, "status": {"status_str": "success", "messages": []}}
    store = AssetStore(Database(f"sqlite:///{tmp_path}/jobs.sqlite"), tmp_path)
    job = Job(**{field.name: {} if field.name == "values" else field.name for field in fields(Job)})
    found = asyncio.run(Collector(store).collect(cast(Any, Comfy()), job, record))
    assert [(output["filename"], output["flagged"]) for output in found] == [("output.mp4", None)]
    asset = store.get(found[0]["asset"])
    assert asset is not None
    assert (store.load(asset), asset.owner, asset.job) == (b"output.mp4", "owner", "id")


def test_a_safety_checker_that_raises_costs_no_second_render(tmp_path: Path) -> None:
    async def main() -> None:
        def broken(_: bytes) -> bool:
            raise RuntimeError("no licence")

        async with local(tmp_path, checkers=[broken]) as here:
            answer = await here.call(
                "POST", "/api/v3/wavespeed-ai/wan-flf2v",
                {"first_image": "Runcomfy_Example_1259_2.png", "last_image": "Runcomfy_Example_1259_1.png"},
            )  # fmt: skip
            row = await here.until(answer.json["data"]["id"])
            assert (row["state"], row["attempt"], len(here.comfy.prompts)) == ("failed", 1, 1)
            assert "no licence" in row["error"]

    run(main)


@pytest.mark.parametrize(
    ("kind", "text", "state"),
    [
        ("torch.AcceleratorError", "CUDA error: an illegal memory access was encountered", "machine"),
        ("RuntimeError", "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", "machine"),
        ("RuntimeError", "HIP error: unspecified launch failure", "machine"),
        ("FileNotFoundError", "[Errno 2] No such file or directory: 'models/vae/x.safetensors'", "machine"),
        ("safetensors_rust.SafetensorError", "Error while deserializing header: HeaderTooLarge", "machine"),
        ("OSError", "[Errno 28] No space left on device", "machine"),
        ("torch.OutOfMemoryError", "CUDA out of memory. Tried to allocate 20 GiB", "out of memory"),
        ("ValueError", "length must be 4n + 1", "failed"),
        ("RuntimeError", "The size of tensor a (3) must match the size of tensor b (4)", "failed"),
    ],
)
def test_whose_fault_an_error_is(kind: str, text: str, state: str) -> None:
    error = {"exception_type": kind, "exception_message": text, "node_id": "57"}
    record = {"status": {"status_str": "error", "messages": [["execution_error", error]]}}
    assert outcome_of(record, GRAPH).state == state


def test_two_faults_in_a_row_take_a_machine_out_and_one_after_a_good_job_does_not(tmp_path: Path) -> None:
    told: list[str] = []

    async def tell() -> None:
        assert not keeper.sound, "nothing is taken before ComfyUI was looked at"
        told.append(keeper.status)

    async def main() -> None:
        for fault in (True, False, True, True):
            keeper.up.set()
            if fault:
                await keeper.fault("CUDA error")
            else:
                keeper.well()

    keeper = Keeper(Supervisor(""), Settings(data=tmp_path), lambda: True, tell, _state="ready")
    run(main)
    assert told == ["restarting", "restarting", "quarantined"]


def test_a_comfyui_without_the_security_fixes_of_0_28_is_known() -> None:
    old, new = ("0.3.75", "v0.27.9", "0.27", "0.0"), ("0.28.0", "v0.28", "0.33.0", "1.0.0", "10.2", "", "1", "main")
    assert [_is_old(version) for version in old + new] == [True] * len(old) + [False] * len(new)


@pytest.mark.slow
def test_three_sick_workers_of_ten_cost_no_job_and_come_back(tmp_path: Path) -> None:
    async def main() -> None:
        sick: dict[str, dict[str, Any]] = {"poor": {"models": False}, "cuda": {"cuda": True}, "gone": {}}
        async with local(tmp_path, seconds=0.3) as here, AsyncExitStack() as stack:
            machines = {
                name: await stack.enter_async_context(machine(here, name, 0.3, **sick.get(name, {})))
                for name in (*sick, *(f"w{number}" for number in range(2, 8)))
            }
            await machines["gone"].stop_comfy()
            jobs = [await here.submit() for _ in range(150)]
            states = Counter([(await here.until(job, timeout_s=120))["state"] for job in jobs])
            taken = by_worker(here, jobs)
            print(f"\n150 jobs: {dict(states)}, attempts by worker {dict(taken)}")
            assert states["succeeded"] >= 149
            assert all(taken[name] <= 3 for name in sick)
            await machines["cuda"].until("quarantined")
            await machines["gone"].until("unreachable")
            machines["poor"].comfy.settings["models"] = True
            machines["cuda"].comfy.settings["cuda"] = False
            await machines["gone"].start_comfy()
            for name in sick:
                await machines[name].until("ready")
            while not machines["poor"].agent.comfy.workflows:
                await asyncio.sleep(0.1)
            jobs = [await here.submit() for _ in range(60)]
            for job in jobs:
                await here.until(job, "succeeded", timeout_s=60)
            taken = by_worker(here, jobs)
            print(f"healed: attempts by worker {dict(taken)}")
            assert all(taken[name] > 0 for name in sick)

    run(main, 300)
