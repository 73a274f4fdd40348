"""The remote nodes inside the real ComfyUI, against the vendor doubles."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import aiohttp
import av
import pytest

from wan_flf2v.engine.locate import Engine
from wan_flf2v.providers.models import model
from wan_flf2v.providers.profiles import ProfileStore
from wan_flf2v.providers.secret import Secret
from wan_flf2v.tests.doubles.comfy import NODES, RemoteComfy, error_of, graph, sinks
from wan_flf2v.tests.doubles.runcomfy import RunComfyDouble
from wan_flf2v.tests.doubles.vendor import Fault, Script, VendorDouble
from wan_flf2v.tests.doubles.wavespeed import WaveSpeedDouble

VARIABLES = ("WAVESPEED_API_KEY", "RUNCOMFY_API_TOKEN", "RUNCOMFY_TOKEN", "WAN_FLF2V_HOME")


@pytest.fixture(scope="module")
def running(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteComfy]:
    with pytest.MonkeyPatch.context() as patch, WaveSpeedDouble() as ws, RunComfyDouble() as rc:
        for name in VARIABLES:
            patch.delenv(name, raising=False)
        comfy = RemoteComfy(engine, tmp_path_factory.mktemp("remote"), ws, rc)
        with comfy.server:
            yield comfy


@pytest.fixture
def comfy(running: RemoteComfy) -> Iterator[RemoteComfy]:
    """The running ComfyUI with doubles that have forgotten everything."""
    for double in (running.ws, running.rc):
        double.reset()
    yield running
    running.post("/interrupt", {})


def double_of(comfy: RemoteComfy, node: str) -> VendorDouble:
    return comfy.ws if node == "WanFLF2VWaveSpeed" else comfy.rc


@pytest.mark.parametrize("node", NODES)
def test_a_graph_gets_video_request_id_and_info(comfy: RemoteComfy, node: str) -> None:
    double = double_of(comfy, node)
    double.script = Script(run_s=0)
    record = comfy.finish(comfy.queue(graph(node)))
    assert error_of(record) == ""
    job = next(iter(double.jobs))
    assert record["outputs"]["30"]["text"] == [job]
    info = json.loads(record["outputs"]["40"]["text"][0])
    assert (info["request_id"], info["state"]) == (job, "completed")
    assert info["response"]
    saved = record["outputs"]["20"]["images"][0]
    path = comfy.home / "output" / saved["subfolder"] / saved["filename"]
    with av.open(str(path)) as video:
        assert sum(1 for _ in video.decode(video=0)) == 5
    assert double.key.encode() not in path.read_bytes()


def test_the_pictures_arrive_as_they_are_and_in_order(comfy: RemoteComfy) -> None:
    from io import BytesIO

    from PIL import Image

    comfy.ws.script = Script(run_s=0)
    comfy.finish(comfy.queue(graph("WanFLF2VWaveSpeed")))
    sent = {}
    for seen in comfy.ws.seen:
        if seen.step == "upload":
            start = seen.raw.index(b"\x89PNG")
            with Image.open(BytesIO(seen.raw[start:])) as image:
                url = f"{comfy.ws.url}/media/frame-{len(sent) + 1}.png"
                sent[url] = (image.size, image.convert("RGB").getpixel((5, 5)))
    body = comfy.ws.last("submit").json
    assert sent[body["first_image"]] == ((96, 64), (200, 90, 30))
    assert sent[body["last_image"]] == ((96, 64), (30, 60, 200))
    assert "enable_fast_mode" not in body  # at its default; newer versions of the API no longer list it


def test_urls_take_the_place_of_pictures(comfy: RemoteComfy) -> None:
    comfy.rc.script = Script(run_s=0)
    made = graph(
        "WanFLF2VRunComfy", start_image_url="https://example.com/a.png", end_image_url="https://example.com/b.png"
    )
    for name in ("start_image", "end_image"):
        del made["10"]["inputs"][name]
    assert error_of(comfy.finish(comfy.queue(made))) == ""
    body = comfy.rc.last("submit").json
    assert (body["68_image"], body["62_image"]) == ("https://example.com/a.png", "https://example.com/b.png")
    assert set(body) == set(model("runcomfy").fields)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"start_image_url": "https://example.com/a.png"}, "one of the two; both were given"),
        ({"start_image": None}, "one of the two; none was given"),
        ({"length": 121}, "must be one of 81, 141; got 121"),
        ({"profile": "runcomfy"}, "There is no API key for runcomfy. Store one with: wan-flf2v login runcomfy"),
    ],
    ids=["picture and URL", "no picture", "length", "no key"],
)
def test_bad_inputs_are_one_clear_error_and_nothing_is_sent(comfy: RemoteComfy, change: Any, text: str) -> None:
    made = graph("WanFLF2VRunComfy", **change)
    made["10"]["inputs"] = {name: value for name, value in made["10"]["inputs"].items() if value is not None}
    assert text in error_of(comfy.finish(comfy.queue(made)))
    assert comfy.rc.seen == []


def test_wait_off_hands_the_id_on_and_fetch_collects(comfy: RemoteComfy) -> None:
    comfy.ws.script = Script(run_s=1.0)
    record = comfy.finish(comfy.queue(graph("WanFLF2VWaveSpeed", wait=False)))
    job = next(iter(comfy.ws.jobs))
    assert record["outputs"]["30"]["text"] == [job]
    assert "20" not in record["outputs"]  # nothing to save yet, and no error
    fetch = {"profile": "ws", "request_id": job, "deployment_id": "", "wait": False, "max_wait_minutes": 5}
    made = {"10": {"class_type": "WanFLF2VRemoteFetch", "inputs": fetch}, **sinks()}
    record = comfy.finish(comfy.queue(made))
    assert "20" not in record["outputs"]
    assert json.loads(record["outputs"]["40"]["text"][0])["state"] in ("queued", "running")
    time.sleep(1.0)
    record = comfy.finish(comfy.queue(made))  # the same inputs are asked again as long as waiting is off
    assert record["outputs"]["20"]["images"]
    assert comfy.ws.count("submit") == 1


def test_fetch_collects_a_deployments_job_of_another_machine(comfy: RemoteComfy) -> None:
    comfy.rc.script = Script(run_s=0)
    job = comfy.rc.new_job("dep-7", {})
    fetch = {"profile": "rc", "request_id": job.id, "deployment_id": "dep-7", "wait": True, "max_wait_minutes": 5}
    record = comfy.finish(comfy.queue({"10": {"class_type": "WanFLF2VRemoteFetch", "inputs": fetch}, **sinks()}))
    assert error_of(record) == ""
    assert comfy.rc.last("status").path.startswith("/prod/v1/deployments/dep-7/")


def test_identical_inputs_are_served_from_the_finished_job(comfy: RemoteComfy) -> None:
    comfy.ws.script = Script(run_s=0)
    made = graph("WanFLF2VWaveSpeed")
    comfy.finish(comfy.queue(made))
    made["10"]["inputs"]["max_wait_minutes"] = 7  # ComfyUI's own cache does not help here
    record = comfy.finish(comfy.queue(made))
    assert json.loads(record["outputs"]["40"]["text"][0])["collected_from_an_earlier_submit"]
    assert comfy.ws.count("submit") == 1


def test_progress_is_shown_on_the_node(comfy: RemoteComfy) -> None:
    comfy.rc.script = Script(queue_s=1.5, run_s=1.5)
    comfy.ws.script = Script(run_s=0.5)

    async def texts() -> list[str]:
        found: list[str] = []
        url = f"{comfy.server.url}/ws?clientId=watcher"
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            prompt = {"prompt": graph("WanFLF2VRunComfy", "WanFLF2VWaveSpeed"), "client_id": "watcher"}
            async with session.post(f"{comfy.server.url}/prompt", json=prompt) as answer:
                assert answer.status == 200
            async for message in socket:
                if message.type == aiohttp.WSMsgType.BINARY and int.from_bytes(message.data[:4], "big") == 3:
                    length = int.from_bytes(message.data[4:8], "big")
                    found.append(f"{message.data[8 : 8 + length].decode()}: {message.data[8 + length :].decode()}")
                elif message.type == aiohttp.WSMsgType.TEXT:
                    data = json.loads(message.data)
                    if data["type"] == "executing" and data["data"]["node"] is None:
                        return found
        return found

    shown = asyncio.run(asyncio.wait_for(texts(), 60))
    assert any(text.startswith("10: RunComfy: queued · position 3 in the queue · ") for text in shown)
    assert any(text.startswith("10: RunComfy: generating · ") for text in shown)
    assert any(text.startswith("11: WaveSpeed: generating · ") for text in shown)
    assert not any(comfy.rc.key in text for text in shown)


PHASES = {
    "upload": Fault(seconds=30, drop=True),
    "submit": Fault(seconds=30, drop=True),
    "queue": None,
    "run": None,
    "media": Fault(seconds=30, drop=True),
}


@pytest.mark.parametrize("phase", PHASES)
def test_interrupt_stops_both_waiting_nodes_at_once(comfy: RemoteComfy, phase: str) -> None:
    step = phase if phase in ("upload", "submit", "media") else "status"
    fault = PHASES[phase]
    if fault is not None:
        comfy.ws.fail_always(step, fault)
    comfy.ws.script = Script(queue_s=60 if phase == "queue" else 0, run_s=60 if phase in ("queue", "run") else 0)
    prompt_id = comfy.queue(graph("WanFLF2VWaveSpeed", "WanFLF2VWaveSpeed"))
    comfy.ws.wait_for(lambda: comfy.ws.count(step) >= (4 if phase == "upload" else 2))
    pressed = time.monotonic()
    comfy.post("/interrupt", {"prompt_id": prompt_id})
    record = comfy.finish(prompt_id)
    assert time.monotonic() - pressed < 10  # within a second where the machine is not busy; what is waited for takes 30
    assert error_of(record) == "interrupted"
    remembered = {"upload": "failed", "submit": "uncertain"}.get(phase, "running")
    # ComfyUI reports the interrupt with the first node that stops; the second writes its job down right after
    comfy.ws.wait_for(lambda: [row.state for row in comfy.rows()[:2]] == [remembered, remembered])
    asked = len(comfy.ws.seen)
    time.sleep(0.3)
    assert len(comfy.ws.seen) == asked  # and nobody goes on in the background


def test_when_one_node_fails_the_other_nodes_job_is_remembered(comfy: RemoteComfy) -> None:
    comfy.ws.script = Script(run_s=1.5)
    comfy.rc.fail_always("submit", Fault(status=402, body={}, seconds=1))
    made = graph("WanFLF2VWaveSpeed", "WanFLF2VRunComfy")
    assert "has no credit left" in error_of(comfy.finish(comfy.queue(made)))
    assert {row.service: row.state for row in comfy.rows()[:2]} == {"wavespeed": "running", "runcomfy": "failed"}
    comfy.rc.reset()
    comfy.rc.script = Script(run_s=0)
    assert error_of(comfy.finish(comfy.queue(made))) == ""
    assert comfy.ws.count("submit") == 1


def test_the_editor_offers_profile_names_and_no_key_or_address(comfy: RemoteComfy) -> None:
    ProfileStore([comfy.state]).save("made-later", "wavespeed", Secret("another-key-123456"))
    text = json.dumps({name: comfy.get(f"/object_info/{name}") for name in (*NODES, "WanFLF2VRemoteFetch")})
    for secret in (comfy.ws.key, comfy.rc.key, "another-key-123456", comfy.ws.url, comfy.rc.url):
        assert secret not in text
    info = comfy.get("/object_info/WanFLF2VWaveSpeed")["WanFLF2VWaveSpeed"]
    assert info["input"]["required"]["profile"][1]["options"] == ["wavespeed", "made-later", "ws"]
    names = [*info["input"]["required"], *info["input"]["optional"]]
    assert [name for name in names if "url" in name] == ["start_image_url", "end_image_url"]
    assert not [name for name in names if "key" in name or "token" in name]
    assert not info.get("api_node")


def test_the_key_file_is_not_served_and_no_key_is_in_the_log(comfy: RemoteComfy) -> None:
    comfy.ws.fail_always("submit", Fault(status=401, body={"message": f"Authorization: Bearer {comfy.ws.key}"}))
    record = comfy.finish(comfy.queue(graph("WanFLF2VWaveSpeed")))
    assert "refused the API key" in error_of(record)
    assert comfy.ws.key not in json.dumps(record)
    assert comfy.ws.key not in comfy.server.log_path.read_text(encoding="utf-8")
    assert comfy.ws.key not in json.dumps(comfy.get("/settings")) + json.dumps(comfy.get("/internal/logs"))
    tries = ["profiles.json", "../__wan_flf2v/profiles.json", "__wan_flf2v/profiles.json"]
    paths = [f"/userdata/{urllib.parse.quote(name, safe='')}" for name in tries]
    paths += [f"/view?filename=profiles.json&subfolder=../user/__wan_flf2v&type={kind}" for kind in ("output", "input")]
    for path in paths:
        for headers in ({}, {"comfy-user": "__wan_flf2v"}):
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(urllib.request.Request(comfy.server.url + path, headers=headers))


@pytest.mark.parametrize("moment", ["before the first poll", "while polling"])
@pytest.mark.slow
def test_after_kill_9_of_comfyui_the_same_graph_collects_the_same_job(engine, tmp_path, moment, monkeypatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with WaveSpeedDouble() as ws, RunComfyDouble() as rc:
        comfy = RemoteComfy(engine, tmp_path, ws, rc)
        ws.script = rc.script = Script(run_s=6)
        stuck = moment == "before the first poll"
        if stuck:
            for double in (ws, rc):
                double.fail_always("status", Fault(seconds=60, drop=True))
        made = graph(*NODES)
        with comfy.server:
            comfy.queue(made)
            for double, nodes in ((ws, 1), (rc, 2)):
                double.wait_for(
                    lambda double=double, nodes=nodes: double.count("status") >= nodes * (1 if stuck else 2)
                )
            comfy.server.kill()
        for double in (ws, rc):
            double.fail_always("status", None)
        with comfy.server:
            record = comfy.finish(comfy.queue(made))
        assert error_of(record) == ""
        assert {record["outputs"][str(number)]["text"][0] for number in (30, 31, 32)} == {*ws.jobs, *rc.jobs}
        assert (ws.count("submit"), rc.count("submit")) == (1, 2)


def test_eight_nodes_in_one_prompt_run_side_by_side(comfy: RemoteComfy) -> None:
    comfy.ws.script = Script(run_s=600)
    prompt_id = comfy.queue(graph(*["WanFLF2VWaveSpeed"] * 8))
    comfy.ws.wait_for(lambda: comfy.ws.count("submit") == 8, timeout_s=60)  # while none of them is over
    comfy.ws.finish_jobs()
    assert error_of(comfy.finish(prompt_id)) == ""
    assert (comfy.ws.count("submit"), comfy.ws.count("media")) == (8, 8)
