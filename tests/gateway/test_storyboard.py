"""A storyboard at the gateway: each address that takes one, what is refused at the door, its pictures, its progress."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from wan_flf2v.gateway.errors import Invalid
from wan_flf2v.gateway.offer import Checker
from wan_flf2v.gateway.settings import Limits
from wan_flf2v.gateway.worker.progress import PromptProgress
from wan_flf2v.tests.flf2v.test_storyboard_refused import BAD
from wan_flf2v.workflows import Bindings

from .local import Local, local, png, run, web_server

MODEL = "community/wan-2-2/storyboard"
WORKFLOW = "wan22_storyboard"
EXAMPLE = "Runcomfy_Example_1259_1.png"
SEGMENTS = [{"prompt": "up", "length": 9}, {"prompt": "down", "seconds": 1, "seed": 2**64 - 1}]


def uri(width: int) -> str:
    return "data:image/png;base64," + base64.b64encode(png(width)).decode()


def board(*pictures: str, **fields: Any) -> dict[str, Any]:
    return {"keyframes": [{"picture": picture} for picture in pictures], **fields}


def checked(fields: dict[str, Any], **limits: Any) -> dict[str, Any]:
    return Checker(Limits(**limits)).model(Bindings.load(WORKFLOW), fields)


async def submit(here: Local, api: str, given: dict[str, Any], **settings: Any) -> str:
    """Submit a board at one of the addresses that take one; the job's id."""
    if api == "model":
        answer = await here.call("POST", f"/v1/models/{MODEL}", given | settings)
        return str(answer.json["request_id"])
    if api == "wavespeed":
        answer = await here.call("POST", f"/api/v3/{MODEL}", given | settings)
        return str(answer.json["data"]["id"])
    inputs = {"storyboard": given if api == "object" else json.dumps(given)}
    inputs |= {name.partition("_")[2]: value for name, value in settings.items()}
    path = f"/prod/v1/deployments/{WORKFLOW}/inference"
    answer = await here.call("POST", path, {"overrides": {"57": {"inputs": inputs}}})
    return str(answer.json["request_id"])


@pytest.mark.parametrize("api", ["model", "wavespeed", "object", "text"])
def test_every_address_makes_the_same_film_of_a_board(tmp_path: Path, api: str) -> None:
    async def main() -> None:
        async with local(tmp_path, seconds=1) as here:
            form = {"file": io.BytesIO(png(40))}
            uploaded = (await here.call("POST", "/api/v3/media/upload/binary", data=form)).json["data"]["download_url"]
            given = board(uri(48), EXAMPLE, uploaded, segments=SEGMENTS, closed=False)
            job = await submit(here, api, given, **{"57_width": 96, "57_height": 64, "57_steps": 6})
            await here.until(job, "running")
            while here.comfy.running is None:
                await asyncio.sleep(0.02)
            inputs = here.comfy.running[2]["57"]["inputs"]
            assert [inputs[name] for name in ("width", "height", "steps")] == [96, 64, 6]
            sent = json.loads(inputs["storyboard"])
            assert {**sent, "keyframes": []} == {**given, "keyframes": []}
            names = [keyframe["picture"] for keyframe in sent["keyframes"]]
            assert len(set(names)) == 3
            assert set(names) <= set(here.comfy.files), "every picture is in ComfyUI's input folder"
            assert all(name.startswith(f"flf2v_{job}_1_") for name in names), "and is this job's alone"
            row = await here.until(job)
            assert (row["state"], row["model"]) == ("succeeded", WORKFLOW if api in ("object", "text") else MODEL)

    run(main)


@pytest.mark.parametrize("case", BAD)
def test_a_bad_board_is_refused_at_the_door_as_the_node_refuses_it(case: str) -> None:
    text, message = BAD[case]
    if "video" in text or "slot" in text:
        message = "has no field"  # there are none here, and that is what is said
    if "without a picture" in case:
        message = "keyframe 3 must have a picture; got none"
    if "no keyframes" in case:
        message = message.replace("got 1", "got 0")  # the node has one connected
    overrides = {"57": {"inputs": {"storyboard": text}}}
    with pytest.raises(Invalid, match=message) as error:
        Checker(Limits()).overrides(Bindings.load(WORKFLOW), overrides)
    assert (error.value.status, "\n" in str(error.value), len(str(error.value)) < 300) == (422, False, True)


def test_a_bad_board_in_a_body_is_a_422_that_names_the_place(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, worker=True) as here:
            good = board(EXAMPLE, EXAMPLE)
            for fields, message in (
                (board(EXAMPLE), "between 2 and 12 keyframes; got 1"),
                (board(*[EXAMPLE] * 13), "between 0 and 12 entries; got 13"),
                (board(EXAMPLE, "a.png"), "keyframe 2: It must be an https URL"),
                (board(EXAMPLE, "data:image/png;base64,AAAA"), "keyframe 2: "),
                ({**good, "segments": [{"length": 140}]}, "segment 1: length must be 4n"),
                ({**good, "segments": [{"promt": ""}]}, "segment 1 has no field"),
                ({**good, "prompt": "a\0b"}, "segment 1: prompt must not have NUL"),
                ({**good, "video_before": "a.mp4"}, "video_before is not a field"),
                ({**good, "57_steps": 1.5}, "57_steps"),
                ({**good, "keyframes": {}}, "keyframes must be a list"),
            ):
                for path in (f"/v1/models/{MODEL}", f"/api/v3/{MODEL}"):
                    answer = await here.call("POST", path, fields)
                    assert answer.status == 422, (fields, answer.json)
                    assert message in answer.body.decode(), (message, answer.json)
            assert here.comfy.prompts == []
            assert not any((tmp_path / "assets").iterdir()), "nothing of a refused board stays"

    run(main)


def test_a_long_board_says_which_segment_is_too_much() -> None:
    segments = [{}, {"prompt": "x" * 101}]
    with pytest.raises(Invalid, match=r"^segment 2: prompt must have at most 100 characters; got 101"):
        checked(board("a", "b", "c", segments=segments), text_characters=100)
    keyframes = [{"picture": "a"}, {"picture": "b", "through": True}, {"picture": "c"}, {"picture": "d"}]
    segments = [{"length": 13}, {"length": 13}, {"length": 29}]
    with pytest.raises(Invalid, match=r"^segment 3 must be at most 25 frames"):
        checked({"keyframes": keyframes, "segments": segments}, video_frames=25)
    assert checked({"keyframes": keyframes, "segments": segments}, video_frames=29)


def test_twelve_links_are_fetched_a_few_at_a_time_and_deleted_with_their_job(tmp_path: Path) -> None:
    now, most = 0, 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.1)
        now -= 1
        return web.Response(body=png(32 + int(request.path[1:])), content_type="image/png")

    async def main() -> None:
        async with web_server(answer) as origin, local(tmp_path, trusted=(origin,), seconds=30) as here:
            form = {"file": io.BytesIO(png(99))}
            uploaded = (await here.call("POST", "/api/v3/media/upload/binary", data=form)).json["data"]["download_url"]
            given = board(*(f"{origin}/{number}" for number in range(11)), uploaded, length=9)
            job = await submit(here, "wavespeed", given)
            assert 2 <= most <= 4
            assert len(list((tmp_path / "assets").iterdir())) == 12
            listed = await here.call("POST", "/api/v3/predictions", {"model": MODEL})
            assert [item["id"] for item in listed.json["data"]["items"]] == [job]
            other = await here.call("POST", "/api/v3/predictions", {"model": "wavespeed-ai/wan-flf2v"})
            assert other.json["data"]["items"] == []
            assert (await here.call("DELETE", f"/api/v3/predictions/{job}")).status == 200
            for _ in range(250):
                if here.jobs.get(job) is None:
                    break
                await asyncio.sleep(0.02)
            assert list((tmp_path / "assets").iterdir()) == []

    run(main)


def test_history_keeps_no_data_uri_of_a_board(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, seconds=0.05) as here:
            await submit(here, "wavespeed", board(uri(48), EXAMPLE))
            listed = await here.call("POST", "/api/v3/predictions", {})
            shown = listed.json["data"]["items"][0]["input"]["keyframes"]
            assert shown == [{"picture": "data:…"}, {"picture": EXAMPLE}]

    run(main)


def test_the_models_tell_a_boards_fields(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path) as here:
            model = (await here.call("GET", f"/v1/models/{MODEL}")).json
            properties = model["input_schema"]["properties"]
            assert model["input_schema"]["required"] == ["keyframes"]
            assert list(properties["keyframes"]["items"]["properties"]) == [
                "picture",
                "through",
                "strength",
                "strength_low",
            ]
            assert {"prompt", "length", "seconds", "seed", "steps"} <= set(
                properties["segments"]["items"]["properties"]
            )
            assert not {"video_before", "storyboard"} & set(properties)
            listed = (await here.call("GET", "/api/v3/models")).json["data"]
            assert [entry["model_id"] for entry in listed] == ["wavespeed-ai/wan-flf2v", MODEL]
            schemas = [entry["api_schema"]["api_schemas"][0]["request_schema"] for entry in listed]
            assert all(schema["x-order-properties"] == list(schema["properties"]) for schema in schemas)
            document = (await here.call("GET", "/openapi.json")).json
            body = document["components"]["schemas"][f"{WORKFLOW}.fields"]
            assert body["properties"]["keyframes"] == properties["keyframes"]
            assert (await here.call("POST", f"/v1/models/{MODEL}", body["example"])).status == 200

    run(main)


def test_progress_names_the_segment_and_never_falls() -> None:
    values = checked(board("a", "b", "c", "d", length=9))
    bindings = Bindings.load(WORKFLOW)
    progress = PromptProgress("p", bindings.graph, bindings.clips(values))
    assert progress.segments == 3
    seen, before = [], 0.0
    for step in ("frames", "high", "low", "clip"):
        for segment in "abc":
            for value in (0, 1):
                node = f"57.0.0.{step}_{segment}"
                state = {"value": value, "max": 1, "state": "finished" if value else "running"}
                progress.message("progress_state", {"prompt_id": "p", "nodes": {node: state}})
                assert progress.value >= before
                before = progress.value
            seen.append(progress.stage)
    assert seen[3:7] == [
        "Segment 1 of 3: high-noise stage",
        "Segment 2 of 3: high-noise stage",
        "Segment 3 of 3: high-noise stage",
        "Segment 1 of 3: low-noise stage",
    ]
    assert 0.85 < progress.value < 1


def test_progress_is_the_share_that_each_node_has_done_and_whole_only_at_the_end() -> None:
    graph = Bindings.load("wan22_flf2v").graph

    def after(*states: dict[str, Any], **more: dict[str, Any]) -> PromptProgress:
        progress = PromptProgress("p", graph)
        for state in states:
            progress.message("progress_state", {"prompt_id": "p", "nodes": {"57": state, **more}})
        return progress

    running = after({"value": 1, "max": 4, "state": "running"})
    assert running.stage == "Sampling"
    half, done = after({"value": 2, "max": 4, "state": "running"}), after({"max": 4, "state": "finished"})
    assert 0 < running.value == pytest.approx(half.value / 2) == pytest.approx(done.value / 4)
    assert after({"value": 3, "max": 4}, {"value": 1, "max": 4}).value == pytest.approx(3 * running.value)
    every = after(*[{"state": "finished"}] * 2, **{node: {"state": "finished"} for node in graph})
    assert every.value == 0.99
    other = PromptProgress("p", graph)
    other.message("progress_state", {"prompt_id": "q", "nodes": {"57": {"value": 1, "max": 4, "state": "running"}}})
    assert (other.stage, other.value) == ("Starting", 0.0)


def test_the_demo_makes_every_segment_small() -> None:
    fields = board("a", "b", "c", segments=[{"length": 81}, {"seconds": 2}], seconds=3)
    values = Checker(Limits(), demo=True).model(Bindings.load(WORKFLOW), {**fields, "57_width": 1280})
    sent = json.loads(values["storyboard"])
    assert (sent["length"], sent["segments"]) == (17, [{}, {}])
    assert (values["57_width"], values["57_height"], values["57_steps"]) == (64, 36, 20)
