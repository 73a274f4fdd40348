"""The pack's own remote client, pointed at the gateway: the passthrough for real, through all three facades."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from PIL import Image
from yarl import URL

from wan_flf2v.providers import Job, Journal, Picture, RemoteClient, model
from wan_flf2v.providers.errors import MaybeSubmitted
from wan_flf2v.providers.models import Service
from wan_flf2v.providers.profiles import Profile
from wan_flf2v.providers.retry import Policy
from wan_flf2v.providers.secret import Secret

from .local import Local, local, run, web_server

SERVICES: tuple[Service, ...] = ("runcomfy", "runcomfy-deployment", "wavespeed")
QUICK = Policy(poll_s=0.05, slow_poll_s=0.05, backoff_s=0.01)


def picture(colour: str) -> Picture:
    buffer = BytesIO()
    Image.new("RGB", (96, 64), colour).save(buffer, "PNG")
    return Picture(data=buffer.getvalue())


def job_of(service: Service, seed: int) -> Job:
    chosen = model(service, "wan22_flf2v" if service == "runcomfy-deployment" else "")
    inputs = {"prompt": "a puppy", "noise_seed": seed, "steps": 8}
    return Job.build(chosen, chosen.from_local(inputs), picture("red"), picture("blue"))


def client_of(here: Local, service: Service, journal: Journal, report: Callable[[str], None] = print) -> RemoteClient:
    provider = "wavespeed" if service == "wavespeed" else "runcomfy"
    profile = Profile("mine", provider, Secret(here.secret), here.url, here.url, "test")
    return RemoteClient(profile, service, journal, policy=QUICK, report=report)


@pytest.mark.parametrize("service", SERVICES)
def test_a_job_goes_through_the_gateway_and_comes_back_as_its_video(service: Service, tmp_path: Path) -> None:
    async def main() -> None:
        texts: list[str] = []
        async with local(tmp_path / "gateway") as here:
            with Journal(tmp_path / "client") as journal:
                async with client_of(here, service, journal, texts.append) as client:
                    outcome = await client.generate(job_of(service, 3))
                    again = await client.generate(job_of(service, 3))
            assert outcome.video is not None
            assert outcome.video.read_bytes() == here.comfy.video
            assert again.request_id == outcome.request_id
            assert json.loads(outcome.info())["response"]["status"] in ("succeeded", "completed")
            assert not any("$" in text for text in texts)  # a vendor's prices are not the gateway's
            assert not any(here.secret in text for text in texts)

    run(main)


@pytest.mark.parametrize("service", SERVICES)
def test_a_job_that_was_left_is_collected_by_the_next_client(service: Service, tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path / "gateway", seconds=0.5) as here:
            ids = []
            for wait in (False, True):
                with Journal(tmp_path / "client") as journal:
                    async with client_of(here, service, journal) as client:
                        outcome = await client.generate(job_of(service, 4), wait=wait)
                        ids.append(outcome.request_id)
            assert ids[0] == ids[1]
            assert outcome.video is not None

    run(main)


@pytest.mark.parametrize("service", SERVICES)
def test_a_wrong_key_and_a_queued_jobs_cancel_are_understood(service: Service, tmp_path: Path) -> None:
    async def main() -> None:
        from wan_flf2v.providers.errors import KeyRejected

        async with local(tmp_path / "gateway", seconds=20) as here:
            with Journal(tmp_path / "client") as journal:
                async with client_of(here, service, journal) as client:
                    await client.generate(job_of(service, 5), wait=False)
                    await client.generate(job_of(service, 6), wait=False)
                    await asyncio.sleep(0.3)
                    said = await client.cancel(journal.newest(1)[0])
                    assert said.startswith(("cancelled", "deleted"))
                    await client.cancel(journal.newest(2)[1])
            here.secret = "a-wrong-key-123456"
            with Journal(tmp_path / "client") as journal:
                async with client_of(here, service, journal) as client:
                    with pytest.raises(KeyRejected, match="refused the API key of profile 'mine'"):
                        await client.generate(job_of(service, 7))

    run(main)


def test_a_lost_answer_is_found_again_in_the_gateways_history(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path / "gateway") as here:
            with Journal(tmp_path / "client") as journal:
                async with client_of(here, "wavespeed", journal) as client:
                    await client.generate(job_of("wavespeed", 8), wait=False)
                    request_id = journal.newest(1)[0].request_id
                    forget(journal)
                    found = await client.generate(job_of("wavespeed", 8))
                    assert found.request_id == request_id

    run(main)


@asynccontextmanager
async def losing_answers(here: Local) -> AsyncIterator[tuple[str, list[int]]]:
    """The base URL of a way to the gateway on which the answers to the next so many submits get lost."""
    left = [0]

    async def forward(request: web.Request) -> web.StreamResponse:
        url = URL(here.url + request.raw_path, encoded=True)
        body = await request.read()
        async with here.session.request(request.method, url, data=body, headers=request.headers) as answer:
            data = await answer.read()
        if request.method == "POST" and request.path.endswith(("frame", "inference", "wan-flf2v")) and left[0]:
            left[0] -= 1
            assert request.transport is not None
            request.transport.close()
        return web.Response(status=answer.status, body=data, content_type=answer.content_type)

    async with web_server(forward, max_bytes=64 * 2**20) as origin:
        yield origin, left


@pytest.mark.parametrize("lost", [1, 6], ids=["one answer", "every answer of a run"])
@pytest.mark.parametrize("service", SERVICES)
def test_a_submit_whose_answer_was_lost_is_repeated_and_stays_one_job(
    service: Service, lost: int, tmp_path: Path
) -> None:
    async def main() -> None:
        async with local(tmp_path / "gateway") as here, losing_answers(here) as (url, left):
            left[0] = lost
            for run_number in range(2 if lost > 1 else 1):
                with Journal(tmp_path / "client") as journal:
                    async with client_of(replace(here, url=url), service, journal) as client:
                        if lost > 1 and run_number == 0:
                            with pytest.raises(MaybeSubmitted, match="Run again: it stays one job"):
                                await client.generate(job_of(service, 9))
                            assert journal.newest(1)[0].state == "uncertain"
                        else:
                            outcome = await client.generate(job_of(service, 9))
                            assert outcome.video is not None
            assert left == [0]
            assert sum(here.jobs.counts().values()) == 1

    run(main)


def forget(journal: Journal) -> None:
    """What the journal holds when the client was killed before the answer came."""
    db: Any = journal._connection
    db.execute("UPDATE jobs SET state='uncertain', request_id=NULL")
