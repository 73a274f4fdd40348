"""What goes over the wire: the bodies of the vendors' own curl examples, and every state that they document."""

from __future__ import annotations

import json
import shlex
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from wan_flf2v.providers import Picture, ProviderError, model
from wan_flf2v.providers.calls import Reply, Ticket
from wan_flf2v.providers.errors import JobCancelled
from wan_flf2v.providers.models import Job
from wan_flf2v.providers.remote import provider_of
from wan_flf2v.providers.runcomfy import RunComfy, _read
from wan_flf2v.providers.wavespeed import WaveSpeed
from wan_flf2v.tests.doubles.remote import FIRST, LAST, URLS, generate, job_of, rows
from wan_flf2v.tests.doubles.runcomfy import RunComfyDouble
from wan_flf2v.tests.doubles.vendor import Fault, Script
from wan_flf2v.tests.doubles.wavespeed import WaveSpeedDouble

# The submit examples of runcomfy.com/models/community/wan-2-2/first-last-frame/api and of
# wavespeed.ai/docs/docs-api/wavespeed-ai/wan-flf2v; only host and key are replaced when they are run.
RUNCOMFY_CURL = """curl --request POST \\
  --url https://model-api.runcomfy.net/v1/models/community/wan-2-2/first-last-frame \\
  --header "Content-Type: application/json" \\
  --header "Authorization: Bearer <token>" \\
  --data '{
    "62_image": "Runcomfy_Example_1259_2.png",
    "6_text": "Puppy, playing, happy, barking, joyful",
    "68_image": "Runcomfy_Example_1259_1.png"
  }'"""
WAVESPEED_CURL = """curl --location --request POST "https://api.wavespeed.ai/api/v3/wavespeed-ai/wan-flf2v" \\
--header "Content-Type: application/json" \\
--header "Authorization: Bearer ${WAVESPEED_API_KEY}" \\
--data-raw '{
"first_image": "https://raw.githubusercontent.com/Comfy-Org/example_workflows/refs/heads/main/wan2.1_flf2v/input/start_image.png",
"last_image": "https://raw.githubusercontent.com/Comfy-Org/example_workflows/refs/heads/main/wan2.1_flf2v/input/end_image.png",
"prompt": "glass flower blossom",
"negative_prompt": "",
"duration": 5,
"size": "832*480",
"num_inference_steps": 30,
"enable_fast_mode": false,
"guidance_scale": 5,
"seed": -1,
"enable_safety_checker": true
}'"""


def run_curl(command: str, base_url: str, key: str) -> dict[str, object]:
    """Send what this curl command sends, to another host; returns the answer."""
    words = iter(
        shlex.split(command.replace("\\\n", " ").replace("<token>", key).replace("${WAVESPEED_API_KEY}", key))[1:]
    )
    headers, data, url, method = {}, "", "", "GET"
    for word in words:
        if word == "--header":
            name, value = next(words).split(": ", 1)
            headers[name] = value
        elif word in ("--data", "--data-raw"):
            data = next(words)
        elif word == "--request":
            method = next(words)
        elif word == "--url" or word.startswith("https://"):
            url = next(words) if word == "--url" else word
    path = "/" + url.split("/", 3)[3]
    request = urllib.request.Request(base_url + path, data.encode() or None, headers, method=method)
    with urllib.request.urlopen(request) as answer:
        body: dict[str, object] = json.load(answer)
        return body


def test_runcomfy_submit_is_the_vendors_curl(runcomfy: RunComfyDouble, tmp_path: Path) -> None:
    run_curl(RUNCOMFY_CURL, runcomfy.url, runcomfy.key)
    theirs = runcomfy.last("submit")
    # The example names files that lie in the model's own input folder, so the body is built from them directly.
    spec = model("runcomfy")
    body = spec.body(spec.check({"6_text": "Puppy, playing, happy, barking, joyful"}), *_examples(RUNCOMFY_CURL, spec))
    assert body == theirs.json

    generate(
        runcomfy, tmp_path, "runcomfy", job=Job.build(spec, {"6_text": "Puppy, playing, happy, barking, joyful"}, *URLS)
    )
    ours = runcomfy.last("submit")
    pictures = {"68_image": URLS[0].url, "62_image": URLS[1].url}
    assert ours.json == {**theirs.json, **pictures}
    for name in ("Content-Type", "Authorization"):
        assert ours.headers[name] == theirs.headers[name]
    assert (ours.method, ours.path, ours.query) == (theirs.method, theirs.path, theirs.query)


def _examples(command: str, spec: object) -> tuple[str, str]:
    data = json.loads(shlex.split(command.replace("\\\n", " "))[-1])
    return data["68_image"], data["62_image"]


def test_wavespeed_submit_is_the_vendors_curl(wavespeed: WaveSpeedDouble, tmp_path: Path) -> None:
    run_curl(WAVESPEED_CURL, wavespeed.url, wavespeed.key)
    theirs = wavespeed.last("submit")
    values = dict(theirs.json)
    first, last = Picture(url=values.pop("first_image")), Picture(url=values.pop("last_image"))
    generate(wavespeed, tmp_path, job=Job.build(model("wavespeed"), values, first, last))
    ours = wavespeed.last("submit")
    assert ours.json == theirs.json
    for name in ("Content-Type", "Authorization"):
        assert ours.headers[name] == theirs.headers[name]
    assert (ours.method, ours.path, ours.query) == (theirs.method, theirs.path, theirs.query)


@pytest.mark.parametrize("service", ["runcomfy", "runcomfy-deployment", "wavespeed"])
def test_a_job_ends_as_the_video_that_the_provider_made(service, runcomfy, wavespeed, tmp_path, monkeypatch) -> None:
    double = wavespeed if service == "wavespeed" else runcomfy
    monkeypatch.setattr("wan_flf2v.providers.profiles.BASE_URLS", {"wavespeed": wavespeed.url, "runcomfy": ""})
    double.script = Script(queue_s=60, run_s=60)
    texts: list[str] = []

    def report(text: str) -> None:
        texts.append(text)
        if "queued" in text:  # each state lasts until it is told
            double.script.queue_s = 0
        if "generating" in text:
            double.script.run_s = 0

    outcome = generate(double, tmp_path, service, report=report)
    assert outcome.video is not None
    assert outcome.video.read_bytes() == double.video
    assert outcome.video.suffix == ".mp4"
    assert outcome.request_id in double.jobs
    info = json.loads(outcome.info())
    assert info["request_id"] == outcome.request_id
    assert info["response"]["status"] in ("succeeded", "completed")
    assert any("queued" in text for text in texts)
    assert any("generating" in text for text in texts)
    assert any(("position 3" in text) for text in texts) == (service != "wavespeed")
    assert any("about $0.30" in text for text in texts) == (service == "wavespeed")
    assert [row.state for row in rows(tmp_path)] == ["completed"]


def test_of_a_deployments_files_a_preview_is_not_taken_for_the_video() -> None:
    files = [
        {"url": f"https://x.org/{kind}.mp4", "filename": f"{kind}.mp4", "type": kind} for kind in ("temp", "output")
    ]
    body = {"status": "succeeded", "outputs": {"9": {"gifs": files[:1]}, "73": {"images": files[1:]}}}
    assert _read(Reply(200, {}, body, "")).outputs == ("https://x.org/output.mp4", "https://x.org/temp.mp4")


def test_start_is_68_and_end_is_62(runcomfy: RunComfyDouble, tmp_path: Path) -> None:
    generate(runcomfy, tmp_path, "runcomfy", job=job_of("runcomfy", pictures=URLS))
    body = runcomfy.last("submit").json
    assert (body["68_image"], body["62_image"]) == (URLS[0].url, URLS[1].url)


def test_a_deployment_gets_overrides_by_node_id_with_data_uris(runcomfy: RunComfyDouble, tmp_path: Path) -> None:
    generate(
        runcomfy, tmp_path, "runcomfy-deployment", job=job_of("runcomfy-deployment", steps=8, preset="480x480 (1:1)")
    )
    seen = runcomfy.last("submit")
    assert seen.path == "/prod/v1/deployments/dep-1/inference"
    overrides = seen.json["overrides"]
    assert overrides["6"] == {"inputs": {"text": "a flower"}}
    assert overrides["57"] == {"inputs": {"noise_seed": 7, "steps": 8}}
    assert overrides["71"] == {"inputs": {"preset": "480x480 (1:1)"}}
    assert overrides["68"]["inputs"]["image"].startswith("data:image/png;base64,")


def test_pictures_that_the_provider_echoes_are_not_kept(runcomfy: RunComfyDouble, tmp_path: Path) -> None:
    large = Picture(data=FIRST.data + b"0" * 1000), LAST
    outcome = generate(runcomfy, tmp_path, "runcomfy", job=job_of("runcomfy", pictures=large))
    echoed = json.loads(outcome.info())["response"]["input"]["68_image"]
    assert echoed.startswith("data:image/png;base64,… (")
    assert rows(tmp_path)[0].response["input"]["68_image"] == echoed


def test_an_upload_address_inside_the_network_is_refused(wavespeed, tmp_path) -> None:
    wavespeed.old_upload = False
    put = {"method": "PUT", "url": "https://192.168.0.1/put", "headers": {}}
    body = {"code": 200, "data": {"upload": put, "download_url": "https://example.com/a.png"}}
    wavespeed.fail_always("ticket", Fault(status=200, body=body))
    with pytest.raises(ProviderError, match="private network"):
        generate(wavespeed, tmp_path)
    assert wavespeed.count("submit") == 0


@pytest.mark.parametrize(
    "signed", [{}, {"content-type": "image/x-own"}, {"Content-Type": "image/png", "X-Signed": "1"}]
)
def test_a_signed_upload_has_the_tickets_headers_and_no_key(signed, wavespeed, tmp_path) -> None:
    wavespeed.old_upload = False
    put = {"method": "PUT", "url": f"{wavespeed.url}/api/v3/signed/a.png", "headers": signed}
    body = {"code": 200, "data": {"upload": put, "download_url": f"{wavespeed.url}/media/a.png"}}
    wavespeed.fail_always("ticket", Fault(status=200, body=body))
    assert generate(wavespeed, tmp_path, wait=False).request_id
    seen = wavespeed.last("put")
    assert seen.raw in (FIRST.data, LAST.data)
    sent = {name.lower(): value for name, value in seen.headers.items()}
    wanted = {"content-type": None, "x-signed": None, **{name.lower(): value for name, value in signed.items()}}
    assert {name: sent.get(name) for name in wanted} == wanted
    assert not {"authorization", "x-client-name"} & set(sent)


def test_a_newer_version_of_the_deployment_paths_is_followed(runcomfy: RunComfyDouble, tmp_path: Path) -> None:
    runcomfy.version = "v2"
    assert generate(runcomfy, tmp_path, "runcomfy-deployment").video is not None
    assert runcomfy.last("result").path.startswith("/prod/v2/deployments/dep-1/")


def test_links_to_another_host_do_not_get_the_key(runcomfy: RunComfyDouble, tmp_path: Path) -> None:
    with RunComfyDouble() as elsewhere:
        original = runcomfy._base
        runcomfy._base = lambda job, dep: original(job, dep).replace(runcomfy.url, elsewhere.url)  # type: ignore[method-assign]
        assert generate(runcomfy, tmp_path, "runcomfy").video is not None
        assert elsewhere.seen == []


def test_wavespeed_pictures_are_uploaded_and_given_as_urls(wavespeed: WaveSpeedDouble, tmp_path: Path) -> None:
    generate(wavespeed, tmp_path)
    assert wavespeed.count("upload") == 2
    body = wavespeed.last("submit").json
    assert body["first_image"] != body["last_image"]
    assert body["first_image"].startswith("http")


def test_where_the_old_upload_is_gone_the_signed_one_is_used_without_the_key(wavespeed, tmp_path) -> None:
    wavespeed.old_upload = False
    generate(wavespeed, tmp_path)
    put = wavespeed.last("put")
    assert "Authorization" not in put.headers
    assert put.headers["X-Signed"] == "yes"
    assert put.raw in (FIRST.data, LAST.data)


def test_fields_that_newer_schemas_lack_are_sent_only_when_changed(wavespeed, tmp_path) -> None:
    newer = {"first_image", "last_image", "prompt", "negative_prompt", "duration", "size"}
    wavespeed.fields = frozenset(newer | {"num_inference_steps", "guidance_scale", "seed"})
    defaults = {"enable_fast_mode": False, "enable_safety_checker": True, "steps": 30, "cfg": 5.0, "duration": 5}
    assert generate(wavespeed, tmp_path, job=job_of(**defaults)).video is not None
    with pytest.raises(ProviderError, match="enable_fast_mode"):
        generate(wavespeed, tmp_path, job=job_of(enable_fast_mode=True))


@pytest.mark.parametrize("word", ["cancelled", "canceled"])
def test_both_spellings_of_cancelled_end_the_waiting(word, runcomfy, tmp_path) -> None:
    runcomfy.cancelled_word = word
    runcomfy.script = Script(end="cancelled")
    with pytest.raises(JobCancelled, match="cancelled"):
        generate(runcomfy, tmp_path, "runcomfy")


def test_unknown_states_mean_still_running(wavespeed, tmp_path) -> None:
    body = {"code": 200, "data": {"id": "x", "status": "warming", "outputs": None, "has_nsfw_contents": None}}
    wavespeed.fail("status", Fault(status=200, body=body))
    texts: list[str] = []
    assert generate(wavespeed, tmp_path, report=texts.append).video is not None
    assert any("warming" in text for text in texts)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500, body={"code": 500, "message": "oops"}),
        Fault(status=200, body={"code": 500, "message": "oops", "data": None}),
        Fault(status=200, body={"code": 200, "message": "success", "data": None}),
        Fault(status=200, body="<html>busy</html>"),
        Fault(status=429, body={}, headers={"Retry-After": "0"}),
        Fault(drop=True),
    ],
    ids=["500", "200 with 500 inside", "no data", "no json", "429", "dropped"],
)
def test_trouble_while_polling_does_not_end_the_waiting(fault: Fault, wavespeed, tmp_path) -> None:
    wavespeed.fail("status", fault, fault)
    assert generate(wavespeed, tmp_path).video is not None
    assert wavespeed.count("submit") == 1


def test_a_new_model_is_a_new_entry(wavespeed, tmp_path, monkeypatch) -> None:
    entry = {
        "images": {"first": "image", "last": "end_image"},
        "names": {"prompt": "text", "noise_seed": "seed"},
        "max_picture_mib": 1,
        "fields": {
            "image": {"title": "Image", "description": "", "type": "string", "format": "image", "required": True},
            "end_image": {"title": "End", "description": "", "type": "string", "format": "image", "required": True},
            "text": {"title": "Text", "description": "", "type": "string", "required": True},
            "seed": {"title": "Seed", "description": "", "type": "integer", "minimum": 0, "maximum": 9},
        },
    }
    monkeypatch.setattr("wan_flf2v.providers.models._entries", lambda: {"wavespeed": {"vendor/other-flf": entry}})
    other = model("wavespeed", "vendor/other-flf")
    job = Job.build(other, other.from_local({"prompt": "x", "noise_seed": 3}), *URLS)
    wavespeed.fail("submit", Fault(status=400, body={"code": 400, "message": "the double knows one model"}))
    with pytest.raises(ProviderError, match="knows one model"):
        generate(wavespeed, tmp_path, job=job)
    seen = wavespeed.last("submit")
    assert seen.path == "/api/v3/vendor/other-flf"
    assert seen.json == {"image": URLS[0].url, "end_image": URLS[1].url, "text": "x", "seed": 3}


def test_the_same_values_typed_as_int_or_float_are_the_same_job() -> None:
    assert job_of(cfg=5).content_key("a", "b") == job_of(cfg=5.0).content_key("a", "b")
    keys = {job_of().content_key("a", "b"), job_of().content_key("c", "b"), job_of().content_key("a", "c")}
    keys |= {job_of(noise_seed=8).content_key("a", "b"), job_of(pictures=(LAST, FIRST)).content_key("a", "b")}
    assert len(keys) == 5


def told(flow: Any, *bodies: Any) -> tuple[list[str], Any]:
    """What is asked for, and what comes of these answers."""
    asked = [next(flow).target]
    for body in bodies:
        try:
            asked.append(flow.send(Reply(200, {}, body, "")).target)
        except StopIteration as done:
            return asked, done.value
    raise AssertionError(f"more is asked for: {asked}")


def test_only_a_path_of_the_jobs_own_is_followed_and_only_on_the_profiles_host() -> None:
    own = "https://elsewhere.example/v2/requests/job-1/status"
    for named, path in ((own, "/v2/requests/job-1/status"), ("https://x.example/v1/requests/job-2/status", None),
                        (own.replace("status", "result"), None), ("", None)):  # fmt: skip
        asked, _ = told(RunComfy().status(Ticket("job-1", "m", {"status_url": named})), {"status": "in_queue"})
        assert asked == [path or "/v1/requests/job-1/status"]


def test_below_a_path_of_its_host_a_gateways_addresses_are_taken_as_they_are() -> None:
    provider = provider_of("runcomfy", "https://own.example/video")
    for named in ("https://own.example/video/v1/requests/job-1/status", ""):
        asked, _ = told(provider.status(Ticket("job-1", "m", {"status_url": named})), {"status": "in_queue"})
        assert asked == ["/v1/requests/job-1/status"], "below the base URL"


@pytest.mark.parametrize(
    ("result", "state"),
    [
        ({"status": "completed"}, "running"),
        ({"status": "completed", "output": {"video": "https://v.example/a.mp4"}}, "succeeded"),
        ({"status": "succeeded"}, "succeeded"),
        ({"status": "failed", "error": "no"}, "failed"),
        ({}, "running"),
    ],
)
def test_the_end_of_the_polling_is_no_success_before_the_result_says_so(result: Any, state: str) -> None:
    asked, status = told(RunComfy().status(Ticket("job-1", "m")), {"status": "completed"}, result)
    assert asked == ["/v1/requests/job-1/status", "/v1/requests/job-1/result"]
    assert status.state == state


def test_a_history_gives_this_models_jobs_since_then_and_no_other() -> None:
    item = {"id": "job-1", "model": "m", "created_at": "2026-01-02T00:00:00Z"}
    others = [{**item, "id": "job-2", "model": "n"}, {**item, "id": "job-3", "created_at": "2026-01-01T23:59:59Z"},
              {**item, "id": "../x"}, "job-4"]  # fmt: skip
    _, found = told(WaveSpeed().recent("m", 1767312000.0), {"data": {"items": [item, *others]}})
    assert [one.request_id for one in found] == ["job-1"]
    wanted = {"page": 1, "page_size": 100, "model": "m", "created_after": "2026-01-02T00:00:00Z"}
    assert next(WaveSpeed().recent("m", 1767312000.0)).json == wanted, "as many of them as it gives"


def test_what_was_deleted_of_a_job_is_said_as_it_is() -> None:
    for count, words in ((1, "deleted; a job that was already running"), (0, "deleted nothing")):
        _, said = told(WaveSpeed().cancel(Ticket("job-1", "m")), {"data": {"deleted_count": count}})
        assert words in said


@pytest.mark.parametrize("field", ["outcome", "status"])
def test_a_cancelled_job_is_known_by_each_of_the_words_that_runcomfy_has_for_it(field: str) -> None:
    for word, words in (("cancelled", "cancelled"), ("canceled", "cancelled"), ("CANCELLATION_REQUESTED", "cancelled"),
                        ("not_cancellable", "not cancellable any more"), ("in_queue", "RunComfy answered in_queue"),
                        ("", "without an outcome")):  # fmt: skip
        asked, said = told(RunComfy().cancel(Ticket("job-1", "m")), {field: word})
        assert asked == ["/v1/requests/job-1/cancel"]
        assert said.startswith(words) or said.endswith(words)


@pytest.mark.parametrize(
    ("address", "taken"), [("https://m.example/a.png", True), ("http://m.example/a.png", True), ("ftp://m/a", False),
                           ("", False), (None, False), (["https://m.example/a.png"], False)]
)  # fmt: skip
def test_only_an_address_of_the_web_is_taken_for_an_uploaded_picture(address: Any, taken: bool) -> None:
    flow, answer = WaveSpeed().upload(FIRST), {"data": {"download_url": address}}
    if taken:
        assert told(flow, answer) == (["/api/v3/media/upload/binary"], address)
    else:
        with pytest.raises(ProviderError, match="no address for the picture"):
            told(flow, answer)
