"""Which lost job is whose, how long is waited, and what is said meanwhile."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path

import pytest

from wan_flf2v.providers.calls import Candidate, Picture, Status, is_request_id, split_url
from wan_flf2v.providers.client import RemoteClient
from wan_flf2v.providers.data_uri import data_uri, without_data_uris
from wan_flf2v.providers.errors import BadInput, JournalError, ServerTrouble
from wan_flf2v.providers.journal import Journal
from wan_flf2v.providers.outcome import Outcome, progress_text
from wan_flf2v.providers.reconcile import CLOCK_SKEW_S, LATEST_S, choose
from wan_flf2v.providers.retry import Clock, Policy, parse_retry_after
from wan_flf2v.tests.doubles.remote import QUICK, generate, job_of, profile_of, rows
from wan_flf2v.tests.doubles.vendor import Fault, Script

SENT = 1000.0
VALUES = {"prompt": "a kite", "seed": 7}


def seen(name: str, created: float | None, given: object = None) -> Candidate:
    return Candidate(name, created, given)


@pytest.mark.parametrize(
    ("jobs", "told_by_time", "chosen"),
    [
        ([], True, None),
        # by time alone
        ([seen("a", SENT)], True, "a"),
        ([seen("a", SENT + LATEST_S)], True, "a"),
        ([seen("a", SENT + LATEST_S + 1)], True, None),
        ([seen("a", None)], True, "a"),
        ([seen("a", SENT), seen("b", SENT + LATEST_S + 1)], True, "a"),
        ([seen("a", SENT), seen("b", SENT + 1)], True, None),
        ([seen("a", SENT)], False, None),
        # by inputs, which leave no doubt
        ([seen("a", SENT, VALUES)], True, "a"),
        ([seen("a", SENT, VALUES)], False, "a"),
        ([seen("a", SENT, {"prompt": "a kite"})], False, "a"),  # what the history leaves out says nothing
        ([seen("a", SENT, {**VALUES, "more": 1})], False, "a"),
        ([seen("a", SENT, {**VALUES, "prompt": "another"})], True, None),
        ([seen("a", SENT, {**VALUES, "seed": 8})], True, None),
        ([seen("a", SENT, VALUES), seen("b", SENT, {**VALUES, "seed": 8})], True, "a"),
        ([seen("a", SENT, VALUES), seen("b", SENT, VALUES)], True, None),
        # one that shows none may be anybody's
        ([seen("a", SENT, VALUES), seen("b", SENT)], True, None),
        ([seen("a", SENT, {**VALUES, "seed": 8}), seen("b", SENT)], True, None),
        ([seen("a", SENT, "text")], True, "a"),
    ],
)
def test_a_lost_job_is_taken_from_the_history_only_where_nothing_is_guessed(
    jobs: list[Candidate], told_by_time: bool, chosen: str | None
) -> None:
    found = choose(jobs, VALUES, SENT, told_by_time=told_by_time)
    assert (found and found.request_id) == chosen


def test_the_shipped_waiting_rules() -> None:
    """Those that the README and the messages speak of, and those that money hangs on."""
    assert (CLOCK_SKEW_S, LATEST_S) == (60, 180)
    assert dataclasses.asdict(Policy()) == {
        "backoff_s": 1,
        "backoff_cap_s": 30,
        "submit_attempts": 6,
        "poll_s": 2,
        "slow_poll_s": 5,
        "slow_after_s": 20,
        "deadline_s": 3600,
        "unknown_grace_s": 15,
        "reconcile_tries": 3,
        "reconcile_wait_s": 3,
        "interrupt_grace_s": 0.3,
        "download_attempts": 5,
        "connect_s": 10,
    }


@pytest.mark.parametrize(("attempt", "least", "most"), [(0, 0.5, 1), (1, 1, 2), (2, 2, 4), (4, 8, 16), (5, 15, 30)])
def test_the_backoff_doubles_up_to_30_s_with_half_of_it_left_to_chance(attempt: int, least: float, most: float) -> None:
    assert Policy().backoff(attempt, Clock(random=lambda: 0.0)) == least
    assert Policy().backoff(attempt, Clock(random=lambda: 1.0)) == most


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("", None), ("nan", None), ("soon", None), ("-0.5", 0), ("0", 0), ("149.5", 149.5), ("151", 150)],
)
def test_retry_after_in_seconds(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header, 0) == seconds


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (Status("queued", "in_queue", 3), "X: queued · position 3 in the queue · 61 s"),
        (Status("queued", "created", 0), "X: queued · position 0 in the queue · 61 s"),
        (Status("running", "in_progress"), "X: generating · 61 s"),
        (Status("running", ""), "X: generating · 61 s"),
        (Status("running", "uploading"), "X: uploading · 61 s"),
        (Status("succeeded", "completed"), "X: completed · 61 s"),
    ],
)
def test_a_running_jobs_line(status: Status, text: str) -> None:
    assert progress_text("X", status, 61.4, None) == text
    assert progress_text("X", status, 61.4, 0.3) == f"{text} · about $0.30"
    assert progress_text("X", status, 61.4, 0.225) == f"{text} · about $0.225"


def test_the_info_tells_what_is_known_and_nothing_else(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        place = {"profile": "me", "base_url": "https://a.example", "service": "wavespeed", "model": "m"}
        row = journal.claim("key", **place, inputs={}, price=0.3).row
    row = dataclasses.replace(row, request_id="job-1")
    assert json.loads(Outcome(row, "X").info()) == {
        "provider": "X",
        "model": "m",
        "request_id": "job-1",
        "state": "preparing",
        "collected_from_an_earlier_submit": False,
        "estimated_price_usd": 0.3,
    }
    status = Status("running", nsfw=(False, True), cost=0.25, response={"said": "雨"})
    whole = Outcome(row, "X", status, notes=("one",), collected=True, seconds=1.26)
    assert json.loads(whole.info()) == {
        "provider": "X",
        "model": "m",
        "request_id": "job-1",
        "state": "running",
        "collected_from_an_earlier_submit": True,
        "seconds_since_submit": 1.3,
        "estimated_price_usd": 0.3,
        "cost_usd": 0.25,
        "has_nsfw_contents": [False, True],
        "notes": ["one"],
        "response": {"said": "雨"},
    }
    assert '\n    "said": "雨"' in whole.info()
    assert json.loads(Outcome(row, "X", status, video=tmp_path).info())["state"] == "completed"
    written = dataclasses.replace(row, response={"said": "earlier"})
    assert json.loads(Outcome(written, "X").info())["response"] == {"said": "earlier"}
    assert Outcome(dataclasses.replace(row, request_id=None), "X").request_id == ""


@pytest.mark.parametrize(
    ("given", "good"),
    [
        ("a", True),
        ("Az09_-", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("", False),
        ("a/b", False),
        ("a b", False),
        ("a\n", False),
        ("..", False),
        (7, False),
        (None, False),
    ],
)
def test_a_request_id_can_be_put_into_a_path(given: object, good: bool) -> None:
    assert is_request_id(given) is good


@pytest.mark.parametrize("url", ["http://[::1", "https://a.example:port/x", "https://a.example:99999/"])
def test_an_address_that_is_none_has_no_parts(url: str) -> None:
    assert split_url(url) == ("", "", "", "", "")


@pytest.mark.parametrize("picture", [{}, {"data": b"x", "url": "https://a.example/x.png"}])
def test_a_picture_is_given_in_exactly_one_way(picture: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="exactly one of the two"):
        Picture(**picture)  # type: ignore[arg-type]


def test_data_uris_are_cut_out_of_answers_and_short_ones_kept() -> None:
    uri = data_uri(Picture(data=b"x" * 300, media_type="image/jpeg"))
    assert uri.startswith("data:image/jpeg;base64,eHh4")
    short = "data:," + "x" * 194
    answer = {"a": [uri, short, short + "x"], "b": {"c": uri[5:], "d": 1}}
    cut = without_data_uris(answer)
    assert cut == {
        "a": [f"data:image/jpeg;base64,… ({len(uri)} characters)", short, "data:,… (201 characters)"],
        "b": {"c": uri[5:], "d": 1},
    }


class Stepping:
    """A clock that stands still but for its sleeps; the job ends after so many of these."""

    def __init__(self, script: Script, ends_after: int) -> None:
        self.now, self.slept, self.script, self.ends_after = 1000.0, [], script, ends_after
        script.run_s = 600
        self.clock = Clock(time=lambda: self.now, sleep=self.sleep, random=lambda: 1.0)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)
        if len(self.slept) >= self.ends_after:
            self.script.run_s = 0


def test_a_wait_lasts_as_long_as_it_was_set_to_with_its_seconds_running_on(wavespeed, tmp_path: Path) -> None:
    told: list[str] = []
    steps = Stepping(wavespeed.script, 8)
    policy = dataclasses.replace(QUICK, poll_s=3.25)
    generate(wavespeed, tmp_path, clock=steps.clock, policy=policy, report=told.append)
    assert steps.slept == [1.0, 1.0, 1.0, 0.25] * 2
    shown = [text.rpartition(" · ")[2] for text in told if "generating" in text]
    assert list(dict.fromkeys(shown)) == ["0 s", "1 s", "2 s", "3 s", "4 s", "5 s", "6 s"]


def test_trouble_in_asking_is_told_and_waited_out_anew_after_each_answer(wavespeed, tmp_path: Path) -> None:
    told: list[str] = []
    steps = Stepping(wavespeed.script, 9)
    answer, trouble = Fault(), Fault(status=503, body="")
    wavespeed.fail("status", answer, trouble, trouble, answer, trouble)
    policy = dataclasses.replace(QUICK, poll_s=0.25, backoff_s=1, backoff_cap_s=30)
    outcome = generate(wavespeed, tmp_path, clock=steps.clock, policy=policy, report=told.append)
    assert outcome.video is not None
    assert steps.slept[:7] == [0.25, 1.0, 1.0, 1.0, 0.25, 1.0, 0.25]
    assert sum("asking again after trouble" in text for text in told) == 3
    assert wavespeed.count("submit") == 1


def test_an_answer_that_asks_for_no_wait_is_not_hurried_after(wavespeed, tmp_path: Path) -> None:
    steps = Stepping(wavespeed.script, 3)
    wavespeed.fail("status", Fault(status=429, body={}, headers={"Retry-After": "0"}))
    generate(wavespeed, tmp_path, clock=steps.clock, policy=dataclasses.replace(QUICK, poll_s=0.25))
    assert steps.slept == [0.25] * (wavespeed.count("status") - 1)


def test_a_journal_that_fails_meanwhile_ends_no_waiting_and_hides_no_refusal(wavespeed, tmp_path, monkeypatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise JournalError("the disk is full")

    monkeypatch.setattr(Journal, "seen", full)
    assert generate(wavespeed, tmp_path).video is not None
    monkeypatch.setattr(Journal, "finish", full)
    wavespeed.fail("submit", Fault(status=400, body={"message": "a wrong prompt"}))
    with pytest.raises(BadInput, match="a wrong prompt"):
        generate(wavespeed, tmp_path, job=job_of(noise_seed=8))


def test_who_does_not_wait_is_told_of_trouble_at_once_and_the_job_stays(wavespeed, tmp_path: Path) -> None:
    generate(wavespeed, tmp_path, wait=False)
    wavespeed.fail_always("status", Fault(status=503, body=""))

    async def look() -> None:
        with Journal(tmp_path) as journal:
            async with RemoteClient(profile_of(wavespeed, "wavespeed"), "wavespeed", journal, policy=QUICK) as client:
                await client.collect(next(iter(wavespeed.jobs)), wait=False)

    with pytest.raises(ServerTrouble):
        asyncio.run(look())
    assert wavespeed.count("status") == 1
    assert rows(tmp_path)[0].state == "running"
