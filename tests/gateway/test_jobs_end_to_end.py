"""What becomes of a job: accepted, run, followed, cancelled, tried again, repaired."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from wan_flf2v.gateway.assets import AssetStore
from wan_flf2v.gateway.attempts import AttemptStore
from wan_flf2v.gateway.database import Database
from wan_flf2v.gateway.jobs import JobStore
from wan_flf2v.gateway.worker.agent import Agent
from wan_flf2v.gateway.worker.attempt import Runner
from wan_flf2v.gateway.worker.supervisor import Supervisor

from .local import BODY, FAST, attempts_of, local, new_job, run


def test_a_job_runs_and_its_video_is_served_whole_and_in_ranges(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path) as here:
            job = await here.submit()
            await here.until(job)
            result = (await here.call("GET", f"/v1/requests/{job}/result")).json
            assert result["status"] == "succeeded"
            link = result["output"]["video"]
            whole = await here.session.get(link)  # no key: the signature is enough
            assert whole.status == 200
            assert await whole.read() == here.comfy.video
            part = await here.session.get(link, headers={"Range": "bytes=10-19"})
            assert (part.status, await part.read()) == (206, here.comfy.video[10:20])
            beyond = await here.session.get(link, headers={"Range": "bytes=99999999-"})
            assert beyond.status == 416
            forged = await here.session.get(link[:-1] + ("0" if link[-1] != "0" else "1"))
            assert forged.status == 403

    run(main)


def test_progress_is_told_and_never_falls(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, seconds=2) as here:
            job = await here.submit()
            seen, stages = [], set()
            while (body := (await here.call("GET", f"/v1/requests/{job}/status")).json)["status"] != "completed":
                seen.append(body.get("progress", 0.0))
                stages.add(body.get("stage"))
                await asyncio.sleep(0.05)
            assert seen == sorted(seen)
            assert max(seen) > 0.2
            assert "Sampling" in stages

    run(main)


def test_the_place_in_the_queue_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, seconds=30) as here:
            jobs = [await here.submit() for _ in range(4)]
            await here.until(jobs[0], "running")
            places = [(await here.call("GET", f"/v1/requests/{job}/status")).json for job in jobs]
            assert [body.get("queue_position") for body in places] == [None, 1, 2, 3]

    run(main)


def test_a_queued_job_is_cancelled_at_once_and_never_reaches_comfyui(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, seconds=3) as here:
            first, second = await here.submit(), await here.submit()
            await here.until(first, "running")
            answer = await here.call("POST", f"/v1/requests/{second}/cancel")
            assert (answer.status, answer.json["outcome"]) == (202, "cancelled")
            status = (await here.call("GET", f"/v1/requests/{second}/status")).json["status"]
            assert status == "cancelled"
            await here.until(first, "succeeded")
            await asyncio.sleep(0.3)
            assert len(here.comfy.prompts) == 1
            again = await here.call("POST", f"/v1/requests/{second}/cancel")
            assert again.json["outcome"] == "not_cancellable"

    run(main)


def test_a_running_job_is_interrupted(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, seconds=30) as here:
            job = await here.submit()
            await here.until(job, "running")
            await asyncio.sleep(0.2)
            assert (await here.call("POST", f"/v1/requests/{job}/cancel")).json["outcome"] == "cancelled"
            await here.until(job, "cancelled")

    run(main)


def test_an_interrupt_that_comfyui_forgets_is_sent_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, seconds=30, timing=FAST.model_copy(update={"cancel_grace_s": 20.0})) as here:
            here.comfy.settings["deaf"] = True
            job = await here.submit()
            await here.until(job, "running")
            await here.call("POST", f"/v1/requests/{job}/cancel")
            await asyncio.sleep(0.3)
            assert here.jobs.get(job).state == "running"  # type: ignore[union-attr]
            here.comfy.settings["deaf"] = False
            await here.until(job, "cancelled")

    run(main)


@pytest.mark.parametrize("times", [1, 3])
def test_a_job_that_comfyui_lost_is_tried_again_up_to_three_times(tmp_path: Path, times: int) -> None:
    async def main() -> None:
        async with local(tmp_path, seconds=3) as here:
            job = await here.submit()
            for attempt in range(1, times + 1):
                while (row := here.jobs.get(job)) is None or row.attempt < attempt or not here.comfy.running:
                    await asyncio.sleep(0.02)
                await here.call("POST", f"{here.comfy_url}/fake", {"forget": True})
            row = await here.until(job)
            assert row["state"] == ("succeeded" if times < 3 else "failed")
            why = "lost: ComfyUI does not know the prompt any more"
            assert [item.outcome for item in attempts_of(here.jobs, job)][:times] == [why] * times
            assert len(set(here.comfy.looks)) >= times, "before each try ComfyUI was asked what it can run"
            if times == 3:
                assert "lost 3 times" in row["error"]

    run(main)


def test_a_failing_node_fails_the_job_at_once_in_words(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path) as here:
            here.comfy.settings["fail"] = "length must be 4n + 1"
            job = await here.submit()
            row = await here.until(job)
            assert row["attempt"] == 1
            result = (await here.call("GET", f"/v1/requests/{job}/result")).json
            assert result["status"] == "failed"
            assert result["error"] == "First and last frame: length must be 4n + 1"
            path = f"/prod/v1/deployments/wan22_flf2v/requests/{job}/result"
            told = {"errorCode": 500001, "error": result["error"], "debugInfo": "attempt 1"}
            assert (await here.call("GET", path)).json["error"] == [told]

    run(main)


def test_out_of_memory_is_tried_once_more_after_freeing_models(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path) as here:
            here.comfy.settings["oom"] = 1
            row = await here.until(await here.submit())
            assert (row["state"], row["attempt"]) == ("succeeded", 2)
            here.comfy.settings["oom"] = 2
            row = await here.until(await here.submit())
            assert (row["state"], row["attempt"]) == ("failed", 2)

    run(main)


def test_a_dead_websocket_costs_the_progress_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path) as here:
            here.comfy.settings["no_ws"] = True
            assert (await here.until(await here.submit()))["state"] == "succeeded"

    run(main)


def test_the_same_idempotency_key_makes_one_job(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, worker=True) as here:
            headers = {"Idempotency-Key": "order-7"}
            first, second = [await here.submit(headers=headers) for _ in range(2)]
            assert first == second
            other = await here.call(
                "POST", "/v1/models/community/wan-2-2/first-last-frame", {**BODY, "6_text": "b"}, headers=headers
            )
            assert other.status == 422
            racing = await asyncio.gather(*(here.submit(headers={"Idempotency-Key": "race"}) for _ in range(8)))
            assert len(set(racing)) == 1

    run(main)


def test_a_place_counts_what_waits_and_only_what_waits_has_one(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/jobs.sqlite")
    store = JobStore(database)
    jobs = [new_job() for _ in range(40)]
    store.add(jobs, 100, 100)
    gone = {jobs[index].id for index in (0, 7, 8, 30)}
    for job in gone:
        assert store.cancel(job, "me") == "cancelled"
    seen = {job.id: store.look(job.id) for job in jobs}
    waiting = [job.id for job in jobs if job.id not in gone]
    assert [seen[job][1] for job in waiting] == list(range(1, 37))
    assert {seen[job][1] for job in gone} == {None}
    assert store.look("unknown") is None
    database.close()


def test_a_worker_killed_between_storing_a_video_and_ending_its_job_leaves_no_second_result(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/jobs.sqlite")
    store, assets = JobStore(database), AssetStore(database, tmp_path)
    attempts = AttemptStore(database, store.queue, 3)
    job = new_job()
    store.add([job], 10, 10)
    claim = attempts.claim(f"{job.id}/1", "w1")
    assert claim is not None

    def collect(data: bytes) -> str:
        return assets.put(data, owner="me", filename="a.mp4", media_type="video/mp4", job=job.id).id

    lost, kept = collect(b"a first video"), collect(b"a video")
    assert attempts.finish(claim, "succeeded", outputs=[{"asset": kept}])
    assert assets.get(lost) is None
    asset = assets.get(kept)
    assert asset is not None
    assert assets.load(asset) == b"a video"
    assert len(list(assets.folder.iterdir())) == 2  # type: ignore[union-attr]
    assets.collect()
    assert [path.name for path in assets.folder.iterdir()] == [asset.content]  # type: ignore[union-attr]
    stray = assets.folder / ".writing-x"  # type: ignore[operator]
    stray.write_bytes(b"half a video")
    assets.remove_strays(time.time() - 60)  # a file that was just written may get its row yet
    assert stray.exists()
    assets.remove_strays(time.time() + 60)
    assert [path.name for path in assets.folder.iterdir()] == [asset.content]  # type: ignore[union-attr]
    database.close()


@pytest.mark.parametrize("left", [True, False])
def test_the_next_process_of_a_worker_follows_its_prompt_and_what_an_orderly_stop_cut_off_is_no_attempt(
    tmp_path: Path, left: bool
) -> None:
    async def main() -> None:
        async with local(tmp_path, seconds=1.5) as here:
            job = await here.submit()
            await here.until(job, "running")
            for _ in range(500):
                if here.comfy.running:
                    break
                await asyncio.sleep(0.02)
            assert here.agent is not None
            assert here.worker is not None
            if not left:
                await here.agent.drain()
            here.stop_worker()
            await asyncio.gather(here.worker, return_exceptions=True)
            if not left:
                await here.call("POST", f"{here.comfy_url}/fake", {"forget": True})
            runner = Runner("w1", here.settings, here.jobs.database, Supervisor(here.comfy_url))
            again = asyncio.create_task(Agent(runner, here.agent.home).run())
            row = await here.until(job, timeout_s=40)
            again.cancel()
            await asyncio.gather(again, return_exceptions=True)
            outcomes = ["succeeded"] if left else ["stopped", "succeeded"]
            assert row["state"] == "succeeded"
            assert [item.outcome for item in attempts_of(here.jobs, job)] == outcomes
            assert len(here.comfy.prompts) == len(outcomes), "no prompt is given to ComfyUI a second time"

    run(main, 120)
