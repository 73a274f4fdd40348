"""A job survives crashes, restarts and interrupts, and one job is enough for everyone who asks for it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from wan_flf2v.providers import Interrupted, Journal, RemoteClient, run_interruptible
from wan_flf2v.providers.calls import Ticket
from wan_flf2v.providers.errors import ConfigError, JobCancelled, JobGone, MaybeSubmitted, StillRunning
from wan_flf2v.providers.journal import KEEP_RESULT_S
from wan_flf2v.providers.profiles import Profile
from wan_flf2v.providers.retry import Clock
from wan_flf2v.tests.doubles.remote import QUICK, generate, job_of, profile_of, rows
from wan_flf2v.tests.doubles.vendor import Fault, Script
from wan_flf2v.tests.doubles.wavespeed import WaveSpeedDouble

CHILD = """
import sys
from pathlib import Path
from wan_flf2v.tests.doubles.remote import generate
from wan_flf2v.tests.doubles.wavespeed import WaveSpeedDouble
double = WaveSpeedDouble()
double.port = int(sys.argv[1])
generate(double, Path(sys.argv[2]))
"""


def spawn(double: WaveSpeedDouble, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", CHILD, str(double.port), str(folder)])


@pytest.mark.parametrize("moment", ["before the first poll", "while polling"])
def test_after_kill_9_the_same_job_is_collected(moment: str, wavespeed: WaveSpeedDouble, tmp_path: Path) -> None:
    wavespeed.script = Script(run_s=1.5)
    if moment == "before the first poll":
        wavespeed.fail_always("status", Fault(seconds=30, drop=True))
    child = spawn(wavespeed, tmp_path)
    wavespeed.wait_for(lambda: wavespeed.count("status") >= (1 if moment == "before the first poll" else 3))
    child.kill()
    child.wait()
    wavespeed.fail_always("status", None)
    outcome = generate(wavespeed, tmp_path)
    assert outcome.video is not None
    assert outcome.collected
    assert list(wavespeed.jobs) == [outcome.request_id]
    assert wavespeed.count("submit") == 1


@pytest.mark.parametrize("made", [True, False], ids=["the job was made", "no job was made"])
def test_after_kill_9_in_the_submit_itself_nothing_is_sent_again(made, wavespeed, tmp_path) -> None:
    wavespeed.fail("submit", Fault(work=made, seconds=30, drop=True))
    child = spawn(wavespeed, tmp_path)
    wavespeed.wait_for(lambda: wavespeed.count("submit") == 1)
    child.kill()
    child.wait()
    if made:
        assert list(wavespeed.jobs) == [generate(wavespeed, tmp_path).request_id]
    else:
        with pytest.raises(MaybeSubmitted):
            generate(wavespeed, tmp_path)
    assert wavespeed.count("submit") == 1


def test_after_kill_9_in_the_upload_the_job_is_submitted_normally(wavespeed, tmp_path) -> None:
    wavespeed.fail("upload", Fault(seconds=30, drop=True), Fault(seconds=30, drop=True))
    child = spawn(wavespeed, tmp_path)
    wavespeed.wait_for(lambda: wavespeed.count("upload") >= 1)
    child.kill()
    child.wait()
    assert generate(wavespeed, tmp_path).video is not None
    assert wavespeed.count("submit") == 1


def test_a_job_says_whether_it_was_collected_or_submitted_now(wavespeed, tmp_path) -> None:
    assert [generate(wavespeed, tmp_path, wait=False).collected for _ in ("submitted", "known")] == [False, True]
    assert [generate(wavespeed, tmp_path).collected for _ in ("followed", "served")] == [True, True]
    assert generate(wavespeed, tmp_path, job=job_of(noise_seed=8)).collected is False


PHASES = {
    "upload": Fault(seconds=30, drop=True),
    "submit": Fault(seconds=30, drop=True),
    "status": None,
    "media": Fault(seconds=30, drop=True),
}


@pytest.mark.parametrize("phase", PHASES)
def test_an_interrupt_stops_the_waiting_within_a_second_and_keeps_the_job(phase, wavespeed, tmp_path) -> None:
    fault = PHASES[phase]
    if fault is None:
        wavespeed.script = Script(queue_s=30)
    else:
        wavespeed.fail_always(phase, fault)
    flag = threading.Event()
    stopped: list[float] = []

    def press() -> None:
        wavespeed.wait_for(lambda: wavespeed.count(phase) >= 1)
        stopped.append(time.monotonic())
        flag.set()

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(Interrupted):
        generate(wavespeed, tmp_path, interrupted=flag.is_set)
    took = time.monotonic() - stopped[0]
    presser.join()
    assert took < 5.0  # within a second where the machine is not busy; what is waited for takes 30
    state = rows(tmp_path)[0].state
    assert state == {"upload": "failed", "submit": "uncertain", "status": "running", "media": "running"}[phase]
    wavespeed.fail_always(phase, None)
    wavespeed.script = Script()
    if phase in ("upload", "media"):
        assert generate(wavespeed, tmp_path).video is not None
    assert wavespeed.count("submit") == 1
    assert not list((tmp_path / "videos").glob(".part*"))


def test_an_interrupted_submit_still_takes_an_answer_that_comes_at_once(wavespeed, tmp_path) -> None:
    wavespeed.fail("submit", Fault(seconds=0.15))
    flag = threading.Event()
    presser = threading.Thread(target=lambda: (wavespeed.wait_for(lambda: wavespeed.count("submit") == 1), flag.set()))
    presser.start()
    with pytest.raises(Interrupted):
        # a busy machine's answer takes its time
        generate(wavespeed, tmp_path, interrupted=flag.is_set, policy=replace(QUICK, interrupt_grace_s=10))
    presser.join()
    assert [(row.state, row.request_id) for row in rows(tmp_path)] == [("running", next(iter(wavespeed.jobs)))]


def test_an_interrupted_submit_that_is_refused_leaves_no_question(wavespeed, tmp_path) -> None:
    wavespeed.fail("submit", Fault(seconds=0.15, status=400, body={"message": "no"}))
    with pytest.raises(Interrupted):
        generate(
            wavespeed,
            tmp_path,
            interrupted=lambda: bool(wavespeed.count("submit")),
            policy=replace(QUICK, interrupt_grace_s=10),
        )
    assert [row.state for row in rows(tmp_path)] == ["failed"]


def test_a_second_interrupt_during_the_submit_leaves_it_an_open_question(wavespeed, tmp_path) -> None:
    wavespeed.fail("submit", Fault(seconds=30))

    async def main() -> None:
        with Journal(tmp_path) as journal:
            policy = replace(QUICK, interrupt_grace_s=30)
            async with RemoteClient(profile_of(wavespeed, "wavespeed"), "wavespeed", journal, policy=policy) as client:
                task = asyncio.create_task(client.generate(job_of()))
                while not wavespeed.count("submit"):
                    await asyncio.sleep(0.02)
                for _ in range(2):
                    task.cancel()
                    await asyncio.wait({task}, timeout=0.1)
                assert [row.state for row in journal.newest()] == ["uncertain"]

    asyncio.run(main())


def test_an_interrupt_between_two_tries_of_a_submit_leaves_no_question(wavespeed, tmp_path) -> None:
    wavespeed.fail("submit", Fault(status=429, body={}))
    waits = threading.Event()

    async def sleep(seconds: float) -> None:
        waits.set()
        await asyncio.sleep(30)

    with pytest.raises(Interrupted):
        generate(wavespeed, tmp_path, clock=Clock(sleep=sleep), interrupted=waits.is_set)
    assert [row.state for row in rows(tmp_path)] == ["failed"]
    assert generate(wavespeed, tmp_path).video is not None


def test_one_interrupt_stops_every_waiting_job(wavespeed, tmp_path) -> None:
    wavespeed.script = Script(queue_s=30)
    flag = threading.Event()

    async def one(seed: int) -> None:
        with Journal(tmp_path) as journal:
            async with RemoteClient(profile_of(wavespeed, "wavespeed"), "wavespeed", journal, policy=QUICK) as client:
                await run_interruptible(client.generate(job_of(noise_seed=seed)), flag.is_set)

    async def both() -> list[object]:
        return await asyncio.gather(one(1), one(2), return_exceptions=True)

    def both_wait() -> bool:
        return len({seen.path for seen in list(wavespeed.seen) if seen.step == "status"}) == 2

    presser = threading.Thread(target=lambda: (wavespeed.wait_for(both_wait), flag.set()))
    presser.start()
    assert [type(result) for result in asyncio.run(both())] == [Interrupted, Interrupted]
    presser.join()
    assert sorted(row.state for row in rows(tmp_path)) == ["running", "running"]


def test_equal_jobs_at_the_same_time_are_submitted_once(wavespeed, tmp_path) -> None:
    wavespeed.fail("submit", Fault(seconds=0.3))
    wavespeed.script = Script(run_s=0.3)

    async def one() -> str:
        with Journal(tmp_path) as journal:
            async with RemoteClient(profile_of(wavespeed, "wavespeed"), "wavespeed", journal, policy=QUICK) as client:
                return (await client.generate(job_of())).request_id

    async def all_of_them() -> list[str]:
        return await asyncio.gather(*(one() for _ in range(5)))

    assert len(set(asyncio.run(all_of_them()))) == 1
    assert wavespeed.count("submit") == 1


def test_two_processes_with_the_same_job_submit_it_once(wavespeed, tmp_path) -> None:
    wavespeed.fail("submit", Fault(seconds=0.5))
    wavespeed.script = Script(run_s=0.5)
    children = [spawn(wavespeed, tmp_path) for _ in range(2)]
    assert [child.wait(30) for child in children] == [0, 0]
    assert wavespeed.count("submit") == 1


def test_an_expired_id_is_a_clear_error_and_the_next_run_submits(wavespeed, tmp_path) -> None:
    wavespeed.script = Script(run_s=30)
    generate(wavespeed, tmp_path, wait=False)
    wavespeed.jobs.clear()
    time.sleep(QUICK.unknown_grace_s)
    with pytest.raises(JobGone, match=r"does not know this request.*deleted or has expired.*7 days"):
        generate(wavespeed, tmp_path)
    wavespeed.script = Script()
    assert generate(wavespeed, tmp_path).video is not None
    assert wavespeed.count("submit") == 2


def test_a_404_right_after_the_submit_is_asked_again(wavespeed, tmp_path) -> None:
    wavespeed.fail("status", Fault(status=404, body={"code": 404, "message": "not found"}))
    assert generate(wavespeed, tmp_path).video is not None


def test_the_deadline_ends_the_waiting_and_not_the_job(wavespeed, tmp_path) -> None:
    wavespeed.script = Script(run_s=60)
    policy = type(QUICK)(**{**QUICK.__dict__, "deadline_s": 0.2})
    with pytest.raises(StillRunning, match=r"not finished.*run again to collect it"):
        generate(wavespeed, tmp_path, policy=policy)
    wavespeed.finish_jobs()
    assert generate(wavespeed, tmp_path).video is not None
    assert wavespeed.count("submit") == 1


def test_any_request_id_can_be_collected_and_cancelled(runcomfy, tmp_path) -> None:
    generate(runcomfy, tmp_path / "elsewhere", "runcomfy", wait=False)
    request_id = next(iter(runcomfy.jobs))

    async def collect() -> bytes:
        with Journal(tmp_path / "here") as journal:
            async with RemoteClient(profile_of(runcomfy, "runcomfy"), "runcomfy", journal, policy=QUICK) as client:
                outcome = await client.collect(f" {request_id}\n")
                assert outcome.video is not None
                return outcome.video.read_bytes()

    assert asyncio.run(collect()) == runcomfy.video
    assert runcomfy.count("submit") == 1

    runcomfy.script = Script(queue_s=30)
    generate(runcomfy, tmp_path / "here", "runcomfy", wait=False)

    async def cancel() -> str:
        with Journal(tmp_path / "here") as journal:
            async with RemoteClient(profile_of(runcomfy, "runcomfy"), "runcomfy", journal, policy=QUICK) as client:
                return await client.cancel(journal.newest(1)[0])

    assert asyncio.run(cancel()) == "cancelled"
    assert rows(tmp_path / "here")[0].state == "cancelled"


def test_a_job_that_is_cancelled_elsewhere_ends_the_waiting_at_once_also_where_it_is_gone_then(
    wavespeed, tmp_path
) -> None:
    wavespeed.script = Script(run_s=60)
    patient = replace(QUICK, unknown_grace_s=600)

    async def cancel() -> None:
        with Journal(tmp_path) as journal:
            while not (journal.newest(1) and wavespeed.count("status")):
                await asyncio.sleep(0.02)
            async with RemoteClient(profile_of(wavespeed, "wavespeed"), "wavespeed", journal, policy=QUICK) as client:
                assert (await client.cancel(journal.newest(1)[0])).startswith("deleted")

    other = threading.Thread(target=lambda: asyncio.run(cancel()))
    other.start()
    with pytest.raises(JobCancelled, match="was cancelled"):
        generate(wavespeed, tmp_path, policy=patient)
    other.join(10)
    assert rows(tmp_path)[0].state == "cancelled"


def test_the_journal_tells_where_a_running_job_was_seen(runcomfy, tmp_path) -> None:
    runcomfy.script = Script(queue_s=600)
    seen = []

    def interrupted() -> bool:
        seen.extend(row.response for row in rows(tmp_path))
        return any(seen)

    with pytest.raises(Interrupted):
        generate(runcomfy, tmp_path, "runcomfy", interrupted=interrupted)
    assert seen[-1] == {"state": "queued", "queue_position": 3}


def test_a_wrong_id_is_refused_at_once_and_an_id_of_another_address_is_not_asked_for(runcomfy, tmp_path) -> None:
    generate(runcomfy, tmp_path, "runcomfy", wait=False)
    request_id = next(iter(runcomfy.jobs))
    moved = replace(profile_of(runcomfy, "runcomfy"), base_url="https://elsewhere.example")
    patient = replace(QUICK, unknown_grace_s=60)

    async def ask(profile: Profile, wanted: str, cancel: bool = False) -> None:
        with Journal(tmp_path) as journal:
            async with RemoteClient(profile, "runcomfy", journal, policy=patient) as client:
                await (client.cancel(journal.newest()[-1]) if cancel else client.collect(wanted))

    with pytest.raises(JobGone):
        asyncio.run(ask(profile_of(runcomfy, "runcomfy"), "no-such-job"))
    for cancel in (False, True):
        with pytest.raises(ConfigError, match=r"points to https://elsewhere\.example"):
            asyncio.run(ask(moved, request_id, cancel))


def test_old_results_are_dropped_and_open_jobs_are_not(wavespeed, tmp_path) -> None:
    done = generate(wavespeed, tmp_path)
    generate(wavespeed, tmp_path, job=job_of(noise_seed=8), wait=False)
    later = time.time() + KEEP_RESULT_S + 60
    part = tmp_path / "videos" / ".part-of-a-killed-process"
    part.write_bytes(b"x")
    with Journal(tmp_path, now=lambda: later) as journal:
        journal.prune()
        assert not part.exists()
        assert done.video is not None
        assert not done.video.exists()
        assert [row.state for row in journal.newest()] == ["running", "completed"]
    later += 90 * 86400
    with Journal(tmp_path, now=lambda: later) as journal:
        journal.prune()
        assert [row.state for row in journal.newest()] == ["running"]


def test_a_lost_submit_can_be_answered_by_hand(wavespeed, tmp_path) -> None:
    wavespeed.fail("submit", Fault(drop=True), Fault(drop=True))
    for seed in (1, 2):
        with pytest.raises(MaybeSubmitted):
            generate(wavespeed, tmp_path, job=job_of(noise_seed=seed))
    with Journal(tmp_path) as journal:
        journal.submitted(1, Ticket("job-by-hand", "wavespeed-ai/wan-flf2v"))
        journal.finish(2, "forgotten")
    wavespeed.fail("status", Fault(status=200, body={"data": {"id": "job-by-hand", "status": "failed", "error": "no"}}))
    with pytest.raises(Exception, match="job-by-hand failed: no"):
        generate(wavespeed, tmp_path, job=job_of(noise_seed=1))
    assert generate(wavespeed, tmp_path, job=job_of(noise_seed=2)).video is not None


def test_the_waiting_slows_down_after_a_while() -> None:
    policy = type(QUICK)()
    assert [policy.poll_wait(seconds) for seconds in (0, 19, 20, 600)] == [2, 2, 5, 5]
    assert policy.backoff(3, Clock(random=lambda: 1.0)) == 8
    assert policy.backoff(30, Clock(random=lambda: 0.0)) == 15
