"""A submit that may have been received is never sent again."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from dataclasses import replace
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from wan_flf2v.providers import Journal, Outcome, RemoteClient
from wan_flf2v.providers.errors import (
    JournalError,
    MaybeSubmitted,
    NotSent,
    ProviderError,
    RateLimited,
)
from wan_flf2v.providers.journal import FILE_NAME, KEEP_RESULT_S
from wan_flf2v.providers.retry import Clock, Policy, parse_retry_after
from wan_flf2v.tests.doubles.remote import QUICK, generate, job_of, profile_of, rows
from wan_flf2v.tests.doubles.vendor import Fault, Script
from wan_flf2v.tests.doubles.wavespeed import WaveSpeedDouble

SLOW_ANSWER = 1.0
LOST = {
    "disconnect after the body": Fault(drop=True),
    "502": Fault(status=502, body="<html>Bad Gateway</html>"),
    "500 inside 200": Fault(status=200, body={"code": 500, "message": "internal", "data": None}),
    "answer without an id": Fault(status=200, body={"code": 200, "data": {}}),
    "504": Fault(status=504, body={"message": "timeout"}),
}


class Watch:
    """A clock that notes the sleeps and does not sleep."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    @property
    def clock(self) -> Clock:
        return Clock(sleep=self.sleep, random=lambda: 0.0)


@pytest.mark.parametrize("service", ["runcomfy", "wavespeed"])
@pytest.mark.parametrize("fault", LOST.values(), ids=LOST.keys())
def test_one_post_and_a_clear_error_when_the_answer_is_lost_and_no_job_is_found(
    fault, service, runcomfy, wavespeed, tmp_path
) -> None:
    double = wavespeed if service == "wavespeed" else runcomfy
    double.fail_always("submit", fault)
    for _ in range(2):  # and running again asks again, but does not submit again
        with pytest.raises(MaybeSubmitted, match=r"may have been created.*not resubmitted.*jobs adopt 1.*forget 1"):
            generate(double, tmp_path, service)
    assert double.count("submit") == 1
    assert [row.state for row in rows(tmp_path)] == ["uncertain"]


def test_one_post_when_the_answer_never_comes(runcomfy, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("wan_flf2v.providers.runcomfy.SUBMIT_TIMEOUT_S", 0.2)
    runcomfy.fail_always("submit", Fault(seconds=SLOW_ANSWER, drop=True))
    with pytest.raises(MaybeSubmitted, match="no answer in time"):
        generate(runcomfy, tmp_path, "runcomfy")
    assert runcomfy.count("submit") == 1


def test_where_the_process_lives_on_a_lost_submit_is_an_open_question_and_nobody_waits_for_it(
    runcomfy, tmp_path
) -> None:
    runcomfy.fail_always("submit", Fault(drop=True))

    async def main() -> None:
        with Journal(tmp_path) as journal:
            async with RemoteClient(profile_of(runcomfy, "runcomfy"), "runcomfy", journal, policy=QUICK) as client:
                for _ in range(2):
                    with pytest.raises(MaybeSubmitted):
                        await asyncio.wait_for(client.generate(job_of("runcomfy")), 20)
                    assert [row.state for row in journal.newest()] == ["uncertain"]

    asyncio.run(main())
    assert runcomfy.count("submit") == 1


def test_a_key_is_sent_to_who_says_that_it_keeps_one_alone(wavespeed: WaveSpeedDouble, tmp_path) -> None:
    wavespeed.fail("submit", Fault(drop=True))
    with pytest.raises(MaybeSubmitted, match="was not resubmitted"):
        generate(wavespeed, tmp_path)
    assert wavespeed.count("submit") == 1
    assert "Idempotency-Key" not in wavespeed.last("submit").headers


class Keeping(WaveSpeedDouble):
    """Says that it makes one job however often a submit comes under its key."""

    def routes(self) -> Any:
        return [*super().routes(), ("health", "GET", "/health/live", self.health)]

    says: Any = True

    async def health(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"idempotency_keys": self.says})


def test_a_gateway_that_keeps_keys_is_sent_a_lost_submit_again_under_its_key_and_a_vendor_never(
    tmp_path, monkeypatch
) -> None:
    lost = Fault(drop=True)
    with Keeping() as double:
        double.fail("submit", lost)
        assert generate(double, tmp_path / "gateway").video is not None
        keys = [seen.headers["Idempotency-Key"] for seen in double.seen if seen.step == "submit"]
        assert len(keys) == 2
        assert len(set(keys)) == 1
        double.reset()
        monkeypatch.setattr("wan_flf2v.providers.submit.VENDOR_URLS", frozenset({double.url}))
        double.fail("submit", lost)
        for _ in range(2):
            with pytest.raises(MaybeSubmitted, match="was not resubmitted"):
                generate(double, tmp_path / "vendor")
        assert (double.count("submit"), double.count("health")) == (1, 0)
        assert "Idempotency-Key" not in double.last("submit").headers


def test_a_server_that_does_not_say_so_gets_no_key_and_a_key_is_kept_for_as_long_as_a_result(tmp_path) -> None:
    later = Clock(time=lambda: time.time() + KEEP_RESULT_S + 60)
    with Keeping() as double:
        double.fail_always("submit", Fault(drop=True))
        for clock in (None, later):  # the gateway may have forgotten the job by then
            with pytest.raises(MaybeSubmitted):
                generate(double, tmp_path / "keeps", clock=clock, policy=replace(QUICK, submit_attempts=1))
        assert double.count("submit") == 1
        double.reset()
        double.says = None
        double.fail("submit", Fault(drop=True))
        for _ in range(2):
            with pytest.raises(MaybeSubmitted, match="was not resubmitted"):
                generate(double, tmp_path / "says nothing")
        assert double.count("submit") == 1


def test_a_refused_connection_is_tried_again_and_costs_nothing(tmp_path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    double = WaveSpeedDouble()
    double.port = port  # nobody listens there yet

    class Opens(Watch):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds)
            if len(self.slept) == 2:
                double.__enter__()

    watch = Opens()
    try:
        assert generate(double, tmp_path, clock=watch.clock).video is not None
    finally:
        double.__exit__()
    assert double.count("submit") == 1
    assert watch.slept[:2] != []


def test_a_connection_that_never_opens_is_an_error_that_frees_the_job(tmp_path) -> None:
    double = WaveSpeedDouble()
    double.port = 1
    with pytest.raises(NotSent, match=r"WaveSpeed cannot be reached at 127\.0\.0\.1"):
        generate(double, tmp_path, clock=Watch().clock)
    assert [row.state for row in rows(tmp_path)] == ["failed"]


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("7", 7, 8),
        (lambda: formatdate(time.time() + 9, usegmt=True), 7, 10),
        ("99999999999999", 150, 151),
        ("-5", 0, 1),
        ("soon", 0.5, 31),
        ("nan", 0.5, 31),
        ("", 0.5, 31),
    ],
    ids=["seconds", "date", "absurd", "negative", "words", "nan", "empty"],
)
def test_429_on_submit_is_waited_for_and_sent_again(header, low, high, wavespeed, tmp_path) -> None:
    value = header() if callable(header) else header
    wavespeed.fail(
        "submit", Fault(status=429, body={"code": 429, "message": "slow down"}, headers={"Retry-After": value})
    )
    watch = Watch()
    policy = Policy(poll_s=0.02, slow_poll_s=0.02, deadline_s=1000)
    wavespeed.script = Script(run_s=0)
    assert generate(wavespeed, tmp_path, clock=watch.clock, policy=policy).video is not None
    assert wavespeed.count("submit") == 2
    assert low <= watch.slept[0] <= high
    assert list(wavespeed.jobs) == [rows(tmp_path)[0].request_id]


def test_between_two_tries_of_a_refused_submit_the_journal_says_that_nothing_was_sent(wavespeed, tmp_path) -> None:
    states: list[str] = []

    class Looks(Watch):
        async def sleep(self, seconds: float) -> None:
            states.append(rows(tmp_path)[0].state)

    wavespeed.fail("submit", Fault(status=429, body={}))
    wavespeed.script = Script(run_s=0)
    generate(wavespeed, tmp_path, clock=Looks().clock)
    assert states == ["preparing"], "a kill now leaves no open question"


def test_429_without_end_is_an_error_and_not_an_open_question(wavespeed, tmp_path) -> None:
    wavespeed.fail_always("submit", Fault(status=429, body={}))
    with pytest.raises(RateLimited, match="limits the rate"):
        generate(wavespeed, tmp_path)
    assert wavespeed.count("submit") == QUICK.submit_attempts
    assert [row.state for row in rows(tmp_path)] == ["failed"]


def test_retry_after_is_bounded() -> None:
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT", 2e9) == 0
    assert parse_retry_after("Wed, 21 Oct 9999 07:28:00 GMT", 2e9) == 150
    assert parse_retry_after("inf", 0) == 150
    assert parse_retry_after(None, 0) is None


@pytest.mark.parametrize("broken", ["a folder in place of the file", "not a database", "read-only disk"])
def test_a_journal_that_cannot_be_written_stops_before_anything_is_sent(
    broken, wavespeed, tmp_path, monkeypatch
) -> None:
    if broken == "a folder in place of the file":
        (tmp_path / FILE_NAME).mkdir()
    elif broken == "not a database":
        (tmp_path / FILE_NAME).write_bytes(b"no database" * 1000)
    else:
        generate(wavespeed, tmp_path, job=job_of(noise_seed=1))
        wavespeed.seen.clear()
        import sqlite3

        connect = sqlite3.connect
        monkeypatch.setattr(sqlite3, "connect", lambda path, **rest: connect(f"file:{path}?mode=ro", uri=True, **rest))
    with pytest.raises(JournalError, match=r"journal.*nothing is submitted.*writable"):
        generate(wavespeed, tmp_path)
    assert wavespeed.seen == []


def test_a_job_that_failed_may_be_submitted_anew(wavespeed, tmp_path) -> None:
    wavespeed.script = Script(end="failed", error="out of memory")
    with pytest.raises(ProviderError, match="out of memory"):
        generate(wavespeed, tmp_path)
    wavespeed.script = Script()
    assert generate(wavespeed, tmp_path).video is not None
    assert wavespeed.count("submit") == 2


def test_the_same_content_is_served_from_the_finished_job(wavespeed, tmp_path) -> None:
    first = generate(wavespeed, tmp_path)
    asked = len(wavespeed.seen)
    again = generate(wavespeed, tmp_path)
    assert (again.request_id, again.collected) == (first.request_id, True)
    assert json.loads(again.info())["response"] == json.loads(first.info())["response"]
    assert len(wavespeed.seen) == asked
    assert generate(wavespeed, tmp_path, job=job_of(noise_seed=8)).request_id != first.request_id


def test_a_finished_job_whose_file_was_deleted_is_downloaded_again(wavespeed, tmp_path: Path) -> None:
    first = generate(wavespeed, tmp_path)
    assert first.video is not None
    first.video.unlink()
    assert generate(wavespeed, tmp_path).video == first.video
    first.video.unlink()

    async def collect() -> Outcome:
        with Journal(tmp_path) as journal:
            async with RemoteClient(profile_of(wavespeed, "wavespeed"), "wavespeed", journal, policy=QUICK) as client:
                return await client.collect(first.request_id)

    assert asyncio.run(collect()).video == first.video
    assert wavespeed.count("submit") == 1


def test_submit_only_hands_the_id_on_and_the_next_run_collects(wavespeed, tmp_path) -> None:
    wavespeed.script = Script(run_s=0.3)
    handed = generate(wavespeed, tmp_path, wait=False)
    assert handed.video is None
    assert handed.request_id in wavespeed.jobs
    assert wavespeed.count("status") == 0
    done = generate(wavespeed, tmp_path)
    assert done.request_id == handed.request_id
    assert wavespeed.count("submit") == 1


def _cut_answer(length: int) -> object:
    """An answer whose body breaks off after this many of the bytes that its head promised."""

    async def respond(request: web.Request) -> web.StreamResponse:
        body = b'{"code": 200, "data": {"id": "job-1", "status": "created"}}'
        answer = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
        await answer.prepare(request)
        await answer.write(body[:length])
        assert request.transport is not None
        request.transport.abort()
        return answer

    return respond


# What surely made no job, or says so: these may be sent again by whoever runs the job again.
REFUSED = {400, 401, 402, 403, 404, 405, 406, 407, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424}
REFUSED |= {426, 428, 431, 451, *range(300, 309)}
ANSWERS: dict[str, tuple[Fault, bool]] = {
    **{
        f"HTTP {status.value}": (Fault(status=status.value, body={"message": "no"}), status.value not in REFUSED)
        for status in HTTPStatus
        if status.value >= 300 and status.value != 429
    },
    **{
        f"code {code} inside 200": (Fault(status=200, body={"code": code, "data": None}), True)
        for code in (500, 1, 999)
    },
    **{f"code {code} inside 200": (Fault(status=200, body={"code": code, "data": None}), False) for code in (400, 401)},
    "a page": (Fault(status=200, body="<html>busy</html>"), True),
    "nothing": (Fault(status=200, body=""), True),
    "half an answer": (Fault(respond=_cut_answer(30)), True),  # type: ignore[arg-type]
    "a head alone": (Fault(respond=_cut_answer(0)), True),  # type: ignore[arg-type]
    "no connection any more": (Fault(drop=True), True),
    "an id that is none": (Fault(status=200, body={"code": 200, "data": {"id": "../x"}}), True),
    "a number as id": (Fault(status=200, body={"code": 200, "data": {"id": 7}}), True),
    "null": (Fault(status=200, body="null"), True),
}


@pytest.mark.parametrize(("fault", "open_question"), ANSWERS.values(), ids=ANSWERS.keys())
def test_whatever_answers_a_submit_one_run_sends_it_once_and_another_only_after_a_refusal(
    fault, open_question, wavespeed, tmp_path
) -> None:
    wavespeed.fail_always("submit", fault)
    for run in (1, 2):
        with pytest.raises(MaybeSubmitted if open_question else ProviderError) as caught:
            generate(wavespeed, tmp_path)
        assert isinstance(caught.value, MaybeSubmitted) is open_question
        assert wavespeed.count("submit") == (1 if open_question else run)
    assert {row.state for row in rows(tmp_path)} == {"uncertain" if open_question else "failed"}


def test_the_other_services_send_an_unanswered_submit_once_too(runcomfy, tmp_path) -> None:
    for service in ("runcomfy", "runcomfy-deployment"):
        runcomfy.fail_always("submit", Fault(status=503, body=""))
        for _ in range(2):
            with pytest.raises(MaybeSubmitted):
                generate(runcomfy, tmp_path, service)
    assert runcomfy.count("submit") == 2


@pytest.mark.parametrize("service", ["runcomfy", "wavespeed"])
def test_no_request_goes_out_on_a_connection_that_the_server_may_be_closing(
    service, runcomfy, wavespeed, tmp_path
) -> None:
    double = wavespeed if service == "wavespeed" else runcomfy
    generate(double, tmp_path, service)
    asked = [seen for seen in double.seen if seen.step != "media"]
    assert {seen.headers.get("Connection", "").lower() for seen in asked} == {"close"}
