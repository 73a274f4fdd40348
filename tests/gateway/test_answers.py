"""Answers as HTTP and the vendors have them: headers, HEAD, ranges, codes, health; and bodies that are too many."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy.exc
from aiohttp import web

from wan_flf2v.engine.process import free_port
from wan_flf2v.gateway.jobs import JobStore
from wan_flf2v.gateway.server import listening
from wan_flf2v.gateway.settings import Limits
from wan_flf2v.gateway.web.app import SPOKE

from .local import BODY, EXAMPLES, FLF2V, WAVESPEED, local, png, run
from .test_facades import DEPLOYMENT, OVERRIDES


def test_files_are_served_whole_in_ranges_and_by_head_and_never_sniffed(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path) as here:
            job = await here.submit()
            await here.until(job)
            url = (await here.call("GET", f"/v1/requests/{job}/result")).json["output"]["video"]
            whole = await here.call("GET", url)
            assert (whole.status, whole.body) == (200, here.comfy.video)
            told = [whole.headers[name] for name in ("Content-Type", "Content-Disposition", "Cache-Control")]
            assert told == ["video/mp4", f"inline; filename*=UTF-8''{job}_1_00001_.mp4", "private, max-age=3600"]
            size = len(whole.body)
            for header, status, body in (
                ("bytes=0-9", 206, whole.body[:10]),
                ("bytes=10-", 206, whole.body[10:]),
                ("bytes=-7", 206, whole.body[-7:]),
                (f"bytes={size}-", 416, None),
                ("items=0-3", 200, whole.body),
                ("bytes=0-1,4-5", 200, whole.body),
            ):
                answer = await here.call("GET", url, headers={"Range": header})
                assert (answer.status, answer.body if body is not None else None) == (status, body), header
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
            head = await here.call("HEAD", url)
            assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(size))
            assert head.headers["Content-Type"] == "video/mp4"
            for path in ("/", "/health", "/v1/models", f"/v1/requests/{job}/status", "/openapi.json"):
                head = await here.call("HEAD", path)
                assert (head.status, head.body) == (200, b""), path
            for answer in (whole, head, await here.call("GET", "/nowhere"), await here.call("GET", "/v1/models")):
                assert "Server" not in answer.headers
                assert answer.headers["X-Content-Type-Options"] == "nosniff"

    run(main)


def test_a_process_that_lives_and_one_that_can_take_requests_are_two_questions(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, worker=False) as here:
            for path, status, word in (
                ("/health/live", 200, "ok"),
                ("/health/ready", 200, "ok"),
                ("/health", 503, "unavailable"),
            ):
                answer = await here.call("GET", path)
                assert (answer.status, answer.json["status"]) == (status, word), path

    run(main)


def test_the_serverless_api_has_codes_of_its_own(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path) as here:
            secret = (await asyncio.to_thread(here.keys.create, "reader", ["read"]))[1]
            submits = (("/v1/models/" + FLF2V, BODY), (f"{DEPLOYMENT}/inference", {"overrides": OVERRIDES}))
            for headers, codes in (
                ({"Authorization": ""}, (400004, 401001)),
                ({"Authorization": f"Bearer {secret}"}, (403001, 403003)),
            ):
                for (path, body), code in zip(submits, codes, strict=True):
                    assert (await here.call("POST", path, body, headers=headers)).json["error_code"] == code

    run(main)


def test_a_webhook_that_no_database_takes_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path) as here:
            for webhook in ("https://example.com/\0", "https://example.com/\ud800"):
                body = {"overrides": OVERRIDES, "webhook": webhook}
                answer = await here.call("POST", f"{DEPLOYMENT}/inference", body)
                assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["body", "webhook"])

    run(main)


def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path) as here:
            text = json.dumps(BODY)[:-1] + ', "6_text": "another"}'
            answer = await here.call("POST", f"/v1/models/{FLF2V}", data=text)
            assert (answer.status, "'6_text' twice" in answer.json["error_message"]) == (400, True)

    run(main)


def test_a_connection_that_died_in_the_commit_is_not_said_to_have_done_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with local(tmp_path, worker=True, seconds=300) as here:
            add = JobStore.add

            def dies(self: JobStore, *args: Any) -> Any:
                add(self, *args)
                raise sqlalchemy.exc.OperationalError("COMMIT", {}, OSError("server closed the connection"))

            monkeypatch.setattr(JobStore, "add", dies)
            headers = {"Idempotency-Key": "k"}
            answer = await here.call("POST", f"/v1/models/{FLF2V}", BODY, headers=headers)
            assert (answer.status, "Retry-After" in answer.headers) == (503, True)
            assert "whether this call was carried out is not known" in answer.json["error_message"]
            monkeypatch.undo()
            await here.submit(headers=headers)
            assert sum(here.jobs.counts().values()) == 1

    run(main)


def test_only_a_picture_of_ones_own_is_taken_as_picture(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path) as here:
            job = await here.submit()
            await here.until(job)
            video = (await here.call("GET", f"/v1/requests/{job}/result")).json["output"]["video"]
            answer = await here.call("POST", f"/v1/models/{FLF2V}", {**BODY, "62_image": video})
            assert (answer.status, "video/mp4" in answer.json["error_message"]) == (422, True)

    run(main)


def test_a_used_or_wrong_upload_is_refused_before_anything_is_decoded(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path) as here:
            data = png()
            asked = {"filename": "a.png", "size": len(data)}
            url = (await here.call("POST", "/api/v3/media/uploads", asked)).json["data"]["upload"]["url"]
            assert (await here.call("PUT", url, data=data + b"x")).status == 422  # not what was announced
            assert (await here.call("PUT", url, data=data)).status == 200
            assert (await here.call("PUT", url, data=b"no picture at all")).status == 404

    run(main)


@pytest.mark.parametrize("length", ["Content-Length: 500000", "Content-Encoding: gzip\r\nContent-Length: 100"])
def test_bodies_beyond_the_budget_are_503_and_other_keys_go_on(tmp_path: Path, length: str) -> None:
    limits = Limits(body_bytes=1_000_000, bodies_bytes=1_000_000)

    async def main() -> None:
        async with local(tmp_path, limits=limits) as here:
            other = (await asyncio.to_thread(here.keys.create, "other", ["submit", "read"]))[1]
            host, port = here.url.removeprefix("http://").split(":")
            assert (await here.call("GET", "/v1/models")).status == 200  # from here on its key is looked up no more
            _, writer = await asyncio.open_connection(host, int(port))
            head = f"POST /v1/models/{FLF2V} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {here.secret}\r\n"
            writer.write(f"{head}Content-Type: application/json\r\n{length}\r\n\r\n{{".encode())
            while (refused := await here.call("POST", f"/v1/models/{FLF2V}", BODY)).status == 200:
                await asyncio.sleep(0.1)
            assert (refused.status, refused.headers["Retry-After"]) == (503, "2")
            assert (await here.call("GET", "/v1/models")).status == 200
            await here.submit(headers={"Authorization": f"Bearer {other}"})
            writer.close()
            for _ in range(100):
                if (await here.call("POST", f"/v1/models/{FLF2V}", BODY)).status == 200:
                    return
                await asyncio.sleep(0.02)
            raise AssertionError("the budget was not given back")

    run(main)


def test_a_client_that_goes_away_is_no_fault_of_the_gateways(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Regression: each was an error with a traceback in the log."""

    async def main() -> None:
        async with local(tmp_path, worker=False) as here:
            host, port = here.url.removeprefix("http://").split(":")
            _, writer = await asyncio.open_connection(host, int(port))
            head = f"POST {WAVESPEED} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {here.secret}\r\nContent-Length: 9"
            writer.write(f"{head}\r\n\r\n{{".encode())
            await asyncio.sleep(0.3)
            writer.close()
            while b'status="499"' not in (await here.call("GET", "/metrics")).body:
                await asyncio.sleep(0.05)

    run(main)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_addresses_without_a_key_are_limited_too(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, limits=Limits(calls_per_second=0.5)) as here:
            await here.submit()
            for path, headers in (("/openapi.json", {}), ("/v1/models", {"Authorization": "Bearer wrong"})):
                statuses = [(await here.call("GET", path, headers=headers)).status for _ in range(12)]
                assert 429 in statuses, path  # of a slow dozen the last may be let in again
            assert (await here.call("POST", f"/v1/models/{FLF2V}", {**EXAMPLES, "6_text": "x"})).status == 200

    run(main)


def test_a_connection_that_sends_no_whole_request_is_closed(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.Response:
        request.app[SPOKE].add(request.protocol)
        return web.Response(text="here")

    async def main() -> None:
        app, port = web.Application(), free_port()
        app[SPOKE] = set()
        app.router.add_get("/", answer)
        async with listening(app, "127.0.0.1", port, header_s=1, stop_s=0):
            slow, writer = await asyncio.open_connection("127.0.0.1", port)
            good, other = await asyncio.open_connection("127.0.0.1", port)
            other.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            writer.write(b"GET / HTTP/1.1\r\n")
            for _ in range(4):  # a line now and then
                writer.write(b"X: y\r\n")
                await asyncio.sleep(0.25)
            assert await asyncio.wait_for(slow.read(), 20) == b""
            other.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")  # is still open
            assert (await asyncio.wait_for(good.readuntil(b"here"), 20)).startswith(b"HTTP/1.1 200")
            writer.close()
            other.close()

    run(main)
