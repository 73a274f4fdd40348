"""Every refusal becomes one clear sentence that names what to do, whatever shape the vendor gives it."""

from __future__ import annotations

from typing import Any

import pytest

from wan_flf2v.providers import Picture
from wan_flf2v.providers.calls import Call, Reply
from wan_flf2v.providers.errors import (
    BadInput,
    ConfigError,
    Flagged,
    JobFailed,
    JobGone,
    KeyRejected,
    NoCredit,
    ProviderError,
    Rejected,
    ServerTrouble,
)
from wan_flf2v.providers.faults import error_text, judge
from wan_flf2v.providers.models import Job, model
from wan_flf2v.providers.runcomfy import VENDOR as RUNCOMFY
from wan_flf2v.providers.wavespeed import VENDOR as WAVESPEED
from wan_flf2v.tests.doubles.remote import URLS, generate, job_of, rows
from wan_flf2v.tests.doubles.vendor import Fault, Script
from wan_flf2v.workflows import FieldError

BAD_KEY = [
    ("wavespeed", 401, {"code": 401, "message": "Unauthorized"}),
    ("wavespeed", 200, {"code": 401, "message": "Unauthorized", "data": None}),
    ("runcomfy", 400, {"error_code": 400004, "error_message": "UserAccountError"}),
    ("runcomfy", 400, {"code": "400004", "error": "UserAccountError"}),
    ("runcomfy", 200, {"error_code": 400004, "error_message": "UserAccountError"}),
    ("runcomfy", 401, {"error_code": 401001, "message": "Unauthorized"}),
]
NO_CREDIT = [
    ("wavespeed", 402, {"code": 402, "message": "Payment required"}),
    ("wavespeed", 403, {"message": "Insufficient credits, please top up"}),
    ("wavespeed", 200, {"code": 402, "message": "no balance", "data": None}),
    ("runcomfy", 400, {"error_code": 400002, "error_message": "InsufficientResources"}),
    ("runcomfy", 200, {"error_code": 400002}),
    ("runcomfy", 403, {"error_code": 10001, "error_message": "InsufficientFunds"}),
    ("runcomfy", 200, {"error_code": 10001, "error_message": "InsufficientFunds"}),
    ("runcomfy", 402, "insufficient balance"),
]


@pytest.mark.parametrize(("service", "status", "body"), BAD_KEY)
def test_a_bad_key_names_the_profile_and_the_way_out(service, status, body, wavespeed, runcomfy, tmp_path) -> None:
    double = wavespeed if service == "wavespeed" else runcomfy
    double.fail_always("submit", Fault(status=status, body=body))
    with pytest.raises(
        KeyRejected, match=rf"refused the API key of profile '{service}'.*wan-flf2v login {service}"
    ) as caught:
        generate(double, tmp_path, service, job=job_of(service, pictures=URLS))
    assert ("before the account's first top-up" in str(caught.value)) == (service == "wavespeed")
    assert double.count("submit") == 1
    assert rows(tmp_path)[0].state == "failed"
    assert rows(tmp_path)[0].error == str(caught.value), "what the list of jobs shows"


@pytest.mark.parametrize(("service", "status", "body"), NO_CREDIT)
def test_no_credit_says_so(service, status, body, wavespeed, runcomfy, tmp_path) -> None:
    double = wavespeed if service == "wavespeed" else runcomfy
    double.fail_always("submit", Fault(status=status, body=body))
    with pytest.raises(NoCredit, match=r"has no credit left.*add credit at https://"):
        generate(double, tmp_path, service, job=job_of(service, pictures=URLS))
    assert double.count("submit") == 1


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ("CUDA out of memory", "CUDA out of memory"),
        ({"type": "execution_error", "message": "node 57 failed"}, "node 57 failed - execution_error"),
        ([{"errorCode": 7, "error": "boom", "debugInfo": "trace"}], "boom - trace"),
        (["one", {"message": "two"}], "one; two"),
        ({"code": 3}, '{"code": 3}'),
        (None, "the provider gave no reason"),
        (17, "17"),
    ],
    ids=["text", "object", "list of objects", "mixed list", "odd object", "nothing", "number"],
)
@pytest.mark.parametrize("service", ["runcomfy", "runcomfy-deployment"])
def test_a_failed_job_tells_its_reason_in_any_shape(error: Any, shown: str, service, runcomfy, tmp_path) -> None:
    runcomfy.script = Script(end="failed", error=error)
    with pytest.raises(JobFailed) as caught:
        generate(runcomfy, tmp_path, service, job=job_of(service, pictures=URLS))
    job = next(iter(runcomfy.jobs))
    assert str(caught.value) == f"RunComfy job {job} failed: {shown}."
    assert (caught.value.provider, caught.value.request_id) == ("runcomfy", job)
    assert rows(tmp_path)[0].response["status"] == "failed"


def test_a_flagged_video_is_delivered_with_a_note(wavespeed, tmp_path) -> None:
    wavespeed.script = Script(nsfw=[True])
    outcome = generate(wavespeed, tmp_path)
    assert outcome.video is not None
    assert "safety checker flagged this video" in outcome.info()


@pytest.mark.parametrize("end", ["succeeded", "failed"])
def test_a_withheld_video_is_one_clear_sentence(end, wavespeed, tmp_path) -> None:
    wavespeed.script = Script(nsfw=[True], no_output=True, end=end)
    with pytest.raises(
        Flagged, match=r"job \S+: the safety checker flagged the video as unsafe \(NSFW\) and withheld it"
    ):
        generate(wavespeed, tmp_path)


@pytest.mark.parametrize("word", ["", "completed"])
def test_a_success_without_a_video_is_an_error_or_still_running(word, runcomfy, tmp_path) -> None:
    runcomfy.script = Script(no_output=True)
    with pytest.raises(JobFailed, match="names no video"):
        generate(runcomfy, tmp_path, "runcomfy")


def test_a_result_that_calls_itself_completed_is_a_success(runcomfy, tmp_path) -> None:
    runcomfy.script = Script(completed_word="completed")
    assert generate(runcomfy, tmp_path, "runcomfy").video is not None


def test_refused_data_uris_say_what_to_do(runcomfy, tmp_path) -> None:
    runcomfy.urls_only = True
    with pytest.raises(BadInput, match=r"public https URLs only: give URLs.*serverless deployment"):
        generate(runcomfy, tmp_path, "runcomfy")
    assert generate(runcomfy, tmp_path, "runcomfy", job=job_of("runcomfy", pictures=URLS)).video is not None


def test_a_failed_job_with_data_uris_says_what_to_do(runcomfy, tmp_path) -> None:
    runcomfy.script = Script(end="failed", error="invalid image file")
    with pytest.raises(
        JobFailed, match=r"invalid image file\. RunComfy's Model API documents pictures as public https URLs"
    ):
        generate(runcomfy, tmp_path, "runcomfy")


@pytest.mark.parametrize(
    ("vendor", "status", "body", "about", "error", "text"),
    [
        (
            RUNCOMFY,
            403,
            {"error_code": 403001, "error_message": "PermissionDenied"},
            "job",
            KeyRejected,
            "may not do this",
        ),
        (RUNCOMFY, 404, {"error_code": 404001}, "job", JobGone, "has expired"),
        (RUNCOMFY, 404, {}, "submit", BadInput, "does not know the model"),
        (RUNCOMFY, 400, {"error_code": 400001, "error_message": "bad id"}, "submit", BadInput, "bad id"),
        (
            RUNCOMFY,
            422,
            {"error_code": 422001, "detail": [{"loc": ["6", "text"], "msg": "x"}]},
            "submit",
            BadInput,
            "6.text: x",
        ),
        (RUNCOMFY, 403, {"error_code": 10002}, "submit", Rejected, "deployment is disabled"),
        (RUNCOMFY, 403, {"error_code": 10003}, "submit", Rejected, "deployment is deleted"),
        (RUNCOMFY, 200, {"error_code": 10002}, "submit", Rejected, "deployment is disabled"),
        (RUNCOMFY, 200, {"code": 10003}, "submit", Rejected, "deployment is deleted"),
        (RUNCOMFY, 200, {"error_code": 500001, "error_message": "internal"}, "submit", ServerTrouble, "internal"),
        (WAVESPEED, 400, {"code": 400, "message": "size must be one of"}, "submit", BadInput, "size must be"),
        (WAVESPEED, 413, "too large", "upload", BadInput, "too large"),
        (WAVESPEED, 200, {"code": 5004, "message": "sync", "data": None}, "submit", ServerTrouble, "5004"),
        (WAVESPEED, 503, "", "job", ServerTrouble, "HTTP 503"),
        (WAVESPEED, 409, {"message": "no"}, "job", Rejected, "HTTP 409"),
        (WAVESPEED, 302, "", "submit", ConfigError, "redirect to evil.example"),
        (WAVESPEED, 300, "", "submit", ConfigError, "redirect to evil.example"),
        (WAVESPEED, 399, "", "job", ConfigError, "redirect to evil.example"),
        (WAVESPEED, 200, "not json", "job", ServerTrouble, "other than JSON"),
    ],
)
def test_what_an_answer_means(vendor, status, body, about, error, text) -> None:
    json = body if isinstance(body, dict) else None
    reply = Reply(status, {"Location": "https://evil.example/x"}, json, str(body))
    found = judge(reply, Call("GET", "/x", about=about), vendor, "p", 0)
    assert type(found) is error
    assert text in str(found)


def test_good_answers_are_no_errors() -> None:
    for body in ({"code": 200, "data": {}}, {"code": 0}, {"request_id": "x"}, {"code": 500, "data": {"id": "x"}}):
        assert judge(Reply(200, {}, body, ""), Call("GET", "/x"), WAVESPEED, "p", 0) is None


def test_a_redirect_of_the_api_is_not_followed(wavespeed, runcomfy, tmp_path) -> None:
    wavespeed.fail_always("submit", Fault(status=307, body="", headers={"Location": runcomfy.url}))
    with pytest.raises(ConfigError, match=r"redirect to 127\.0\.0\.1:\d+, where no key is sent"):
        generate(wavespeed, tmp_path)
    assert runcomfy.seen == []


@pytest.mark.parametrize(
    ("service", "inputs", "text"),
    [
        ("wavespeed", {"size": "640*480"}, "size (Size) must be one of"),
        ("wavespeed", {"duration": 11}, "must be between 5 and 10; got 11"),
        ("wavespeed", {"steps": 41}, "must be between 1 and 40"),
        ("wavespeed", {"cfg": 1.0}, "must be between 1.01 and 10"),
        ("wavespeed", {"noise_seed": 10**10}, "must be between -1 and 9999999999"),
        ("wavespeed", {"enable_fast_mode": 1}, "must be true or false"),
        ("wavespeed", {"shift": 8.0}, "shift is not an input"),
        ("runcomfy", {"length": 85}, "must be one of 81, 141"),
        ("runcomfy", {"steps": 5}, "must be between 6 and 20"),
        ("runcomfy", {"cfg": 4.5}, "must be between 0.6 and 4"),
        ("runcomfy", {"frame_rate": 30}, "must be between 12 and 24"),
        ("runcomfy", {"shift": 0.5}, "must be between 1 and 15"),
        ("runcomfy", {"negative_prompt": "x"}, "negative_prompt is not an input"),
        ("runcomfy-deployment", {"length": 82}, "use 81 or 85"),
        ("runcomfy-deployment", {"width": 640}, "71_height is missing"),
    ],
)
def test_bad_values_are_refused_at_the_door(service, inputs, text) -> None:
    with pytest.raises(FieldError) as caught:
        job_of(service, **inputs)
    assert text in str(caught.value)


def test_bad_pictures_are_refused_at_the_door() -> None:
    with pytest.raises(BadInput, match="exactly one of the two"):
        Picture()
    for url in ("ftp://x/a.png", "https://user:pass@x/a.png", "a.png", "https://x/a b.png"):
        with pytest.raises(BadInput, match=r"public http\(s\) address"):
            Picture(url=url)
    big = Picture(data=b"x" * (6 * 2**20 + 1))
    with pytest.raises(BadInput, match=r"at most 6 MiB.*it has 6\.0 MiB.*Scale it"):
        Job.build(model("runcomfy"), {"6_text": "x"}, big, URLS[1])
    with pytest.raises(BadInput, match="id of a RunComfy deployment"):
        model("runcomfy-deployment", "../../v1")
    with pytest.raises(BadInput, match="no model"):
        model("wavespeed", "other/model")


@pytest.mark.parametrize(
    ("inputs", "price"),
    [
        ({}, 0.30),
        ({"duration": 10}, 0.45),
        ({"enable_fast_mode": True, "size": "1280*720", "duration": 10}, 0.375),
        ({"duration": 7}, None),
    ],
)
def test_the_published_price_is_told_where_there_is_one(inputs, price) -> None:
    job = job_of(**inputs)
    assert job.model.price(job.values) == price


def test_error_text_is_short_and_one_line() -> None:
    assert error_text({"message": "a\n  b", "detail": "a b", "error": "success"}) == "a b"
    assert len(error_text("x" * 10_000)) == 500
    assert isinstance(ProviderError("x"), Exception)
