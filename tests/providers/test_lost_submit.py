"""The job that a lost submit made is found in the provider's history, and nothing is guessed."""

from __future__ import annotations

import pytest

from wan_flf2v.providers.errors import MaybeSubmitted
from wan_flf2v.providers.reconcile import CLOCK_SKEW_S
from wan_flf2v.tests.doubles.remote import generate, job_of, rows
from wan_flf2v.tests.doubles.vendor import Fault
from wan_flf2v.tests.doubles.wavespeed import WaveSpeedDouble


@pytest.mark.parametrize(
    "fault", [Fault(drop=True, work=True), Fault(status=502, body="", work=True)], ids=["drop", "502"]
)
@pytest.mark.parametrize("show_input", [False, True])
def test_a_job_that_was_made_is_found_in_the_history(fault, show_input, wavespeed: WaveSpeedDouble, tmp_path) -> None:
    wavespeed.show_input = show_input
    wavespeed.fail("submit", fault)
    outcome = generate(wavespeed, tmp_path)
    assert outcome.video is not None
    assert wavespeed.count("submit") == 1
    assert list(wavespeed.jobs) == [outcome.request_id]
    assert "answer to the submit was lost" in outcome.info()


def test_someone_elses_job_is_not_taken_for_a_lost_one(wavespeed: WaveSpeedDouble, tmp_path) -> None:
    generate(wavespeed, tmp_path / "other", job=job_of(noise_seed=1))
    wavespeed.show_input = True
    wavespeed.fail("submit", Fault(drop=True))
    with pytest.raises(MaybeSubmitted):
        generate(wavespeed, tmp_path / "mine", job=job_of(noise_seed=2))


def test_a_job_with_other_pictures_is_not_taken_for_a_lost_one(wavespeed: WaveSpeedDouble, tmp_path) -> None:
    wavespeed.show_input = True
    generate(wavespeed, tmp_path / "other", job=job_of(noise_seed=1))  # as mine in every value, with its own uploads
    wavespeed.fail("submit", Fault(drop=True))
    with pytest.raises(MaybeSubmitted):
        generate(wavespeed, tmp_path / "mine", job=job_of(noise_seed=1))


def test_two_candidates_are_not_guessed_between(wavespeed: WaveSpeedDouble, tmp_path) -> None:
    for seed in (1, 2):
        generate(wavespeed, tmp_path / "other", job=job_of(noise_seed=seed))
    wavespeed.fail("submit", Fault(drop=True))
    with pytest.raises(MaybeSubmitted):
        generate(wavespeed, tmp_path / "mine", job=job_of(noise_seed=3))


def test_a_lost_job_is_not_looked_for_before_it_was_sent(wavespeed, tmp_path) -> None:
    generate(wavespeed, tmp_path / "other", job=job_of(noise_seed=1))
    old = next(iter(wavespeed.jobs.values()))
    old.created -= CLOCK_SKEW_S + 5
    wavespeed.fail("submit", Fault(drop=True))
    with pytest.raises(MaybeSubmitted):
        generate(wavespeed, tmp_path / "mine", job=job_of(noise_seed=2))
    assert wavespeed.last("history").json["model"] == "wavespeed-ai/wan-flf2v"


def test_a_job_that_this_journal_knows_is_nobody_elses(wavespeed, tmp_path) -> None:
    generate(wavespeed, tmp_path, job=job_of(noise_seed=1), wait=False)
    wavespeed.fail("submit", Fault(drop=True))
    with pytest.raises(MaybeSubmitted):
        generate(wavespeed, tmp_path, job=job_of(noise_seed=2))


def test_a_history_that_lags_behind_is_asked_again(wavespeed, tmp_path) -> None:
    wavespeed.fail("submit", Fault(drop=True, work=True))
    empty = Fault(status=200, body={"code": 200, "data": {"items": []}})
    wavespeed.fail("history", empty, empty)
    assert generate(wavespeed, tmp_path).request_id == next(iter(wavespeed.jobs))
    assert (wavespeed.count("history"), wavespeed.count("submit")) == (3, 1)


def test_a_history_that_cannot_be_read_leaves_the_question_open_and_says_so(wavespeed, tmp_path) -> None:
    wavespeed.fail("submit", Fault(drop=True, work=True))
    wavespeed.fail_always("history", Fault(status=403, body={"message": "no"}))
    with pytest.raises(MaybeSubmitted, match="history could not be read either"):
        generate(wavespeed, tmp_path)
    assert [row.state for row in rows(tmp_path)] == ["uncertain"]


def test_where_pictures_were_uploaded_to_is_written_down_and_pictures_themselves_are_not(
    wavespeed, runcomfy, tmp_path
) -> None:
    generate(wavespeed, tmp_path, wait=False)
    generate(runcomfy, tmp_path, "runcomfy-deployment", wait=False)
    inline, uploaded = rows(tmp_path)
    assert (dict(inline.uploads), len(uploaded.uploads)) == ({}, 2)
    assert "base64" not in str(inline.inputs)
    assert uploaded.price is None, "what a vendor publishes is no price of another address"
