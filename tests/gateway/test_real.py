"""The demo gateway with the real ComfyUI: vendors' own clients, this pack's remote nodes, and a person at the page."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from wan_flf2v.engine.client import ComfyClient
from wan_flf2v.engine.locate import Engine
from wan_flf2v.gateway.worker.comfy import probe
from wan_flf2v.tests.doubles.comfy import RemoteComfy, error_of, graph
from wan_flf2v.tests.frontend.browser import launch, screenshot_folder

from .looks import distance, drawn, frames, images, share_at
from .processes import Serve

pytestmark = pytest.mark.slow
# The request of RunComfy's public API page for this model.
SEED_BODY = """{
    "62_image": "Runcomfy_Example_1259_2.png",
    "6_text": "Puppy, playing, happy, barking, joyful",
    "68_image": "Runcomfy_Example_1259_1.png"
  }"""

# What the micro models can run: each model is asked below what it makes of a drawn pair.
DEMO_MODELS = ["community/wan-2-2/first-last-frame", "community/wan-2-2/first-last-frame/drafts"]
STORYBOARD = "community/wan-2-2/storyboard"


@pytest.fixture(scope="module")
def demo(engine: Engine, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    serve = Serve(tmp_path_factory.mktemp("demo"), ["--demo"], environment={"OMP_NUM_THREADS": "1"})
    serve.start(wait_s=400)
    yield serve
    serve.stop()


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url) as response:
        return bytes(response.read())


def test_the_official_wavespeed_sdk_uploads_runs_and_gets_a_playable_video(
    demo: Serve, pictures: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from wavespeed import Client

    client = Client(api_key="any", base_url=demo.url)
    first, last = (client.upload(str(path)) for path in pictures)
    answer = client.run(
        "wavespeed-ai/wan-flf2v",
        {"first_image": first, "last_image": last, "prompt": "glass flower blossom", "duration": 5, "seed": 7},
        timeout=240,
    )
    assert len(answer["outputs"]) == 1
    video = images(fetch(answer["outputs"][0]))
    assert len(video) == 17  # the demo's length
    # the trained micro models: it begins with the one picture and ends with the other, which random weights can't
    begin, end = (Path(path) for path in pictures)
    assert distance(video[0], begin) < 0.6 * distance(video[0], end)
    assert distance(video[-1], end) < 0.6 * distance(video[-1], begin)


def test_a_finished_job_leaves_its_prompt_neither_in_its_video_nor_in_comfyui(
    demo: Serve, pictures: tuple[Path, Path]
) -> None:
    """Regression: every MP4 carried the whole graph, and pictures, videos and prompts stayed in ComfyUI for ever."""
    prompt = "a private prompt, to be found nowhere"
    first, last = (f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}" for path in pictures)
    body = {"first_image": first, "last_image": last, "prompt": prompt}
    job = demo.call("POST", "/api/v3/wavespeed-ai/wan-flf2v", body)[1]["data"]["id"]
    deadline = time.monotonic() + 240
    while (data := demo.call("GET", f"/api/v3/predictions/{job}/result")[1]["data"])["status"] != "completed":
        assert data["status"] != "failed", data
        assert time.monotonic() < deadline
        time.sleep(0.5)
    video = fetch(data["outputs"][0])
    assert prompt.encode() not in video
    with av.open(io.BytesIO(video)) as container:
        assert "prompt" not in container.metadata
    time.sleep(1)
    home = demo.data / "workers" / demo.name / "comfyui"
    assert not list((home / "output").glob(f"gateway/{job}*"))
    assert not list((home / "input").glob("flf2v_*"))
    assert prompt not in json.dumps(json.loads(fetch(f"{demo.comfy_url()}/history")))


def test_the_probe_prompt_runs_in_the_real_comfyui_every_time_and_leaves_no_record(demo: Serve) -> None:
    async def main() -> None:
        async with ComfyClient(demo.comfy_url()) as client:
            for _ in range(2):
                assert await probe(client, 60) == ""

    asyncio.run(main())
    assert "ImageBlur" not in fetch(f"{demo.comfy_url()}/history").decode()


def test_runcomfys_own_curl_lines_with_the_host_changed(demo: Serve) -> None:
    def curl(*arguments: str) -> Any:
        done = subprocess.run(["curl", "--silent", *arguments], capture_output=True, check=True, timeout=60)
        return json.loads(done.stdout)

    key = ("--header", "Authorization: Bearer <token>")
    ticket = curl(
        "--request", "POST", "--url", f"{demo.url}/v1/models/community/wan-2-2/first-last-frame",
        "--header", "Content-Type: application/json", *key, "--data", SEED_BODY,
    )  # fmt: skip
    assert set(ticket) == {"request_id", "status_url", "result_url", "cancel_url"}
    request = f"{demo.url}/v1/requests/{ticket['request_id']}"
    deadline = time.monotonic() + 240
    while (status := curl("--request", "GET", "--url", f"{request}/status", *key))["status"] != "completed":
        assert status["status"] in ("in_queue", "in_progress")
        assert time.monotonic() < deadline
        time.sleep(0.5)
    result = curl("--request", "GET", "--url", f"{request}/result", *key)
    assert result["status"] == "succeeded"
    assert frames(fetch(result["output"]["video"])) == 17
    assert curl("--request", "POST", "--url", f"{request}/cancel", *key)["outcome"] == "not_cancellable"


@pytest.mark.parametrize("model", DEMO_MODELS)
def test_what_a_newcomer_draws_moves_and_does_not_fade(demo: Serve, model: str) -> None:
    def link(picture: Image.Image) -> str:
        data = io.BytesIO()
        picture.save(data, "PNG")
        return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()

    first, last = drawn(0.2), drawn(0.76)
    fade = Image.blend(first, last, 0.5)
    assert share_at(fade, 0.48) < 0.1, "the measure takes a cross-fade for what it is"
    fields = {"6_text": "x", "68_image": link(first), "62_image": link(last), "57_steps": 6}
    status, ticket = demo.call("POST", f"/v1/models/{model}", fields)
    assert status == 200, ticket
    deadline = time.monotonic() + 240
    while (result := demo.call("GET", f"/v1/requests/{ticket['request_id']}/result")[1])["status"] != "succeeded":
        assert result["status"] in ("in_queue", "in_progress"), result
        assert time.monotonic() < deadline
        time.sleep(0.5)
    video = images(fetch(result["output"]["video"]))
    assert video[0].size == (64, 64)
    assert share_at(video[len(video) // 2], 0.48) > 0.4


def test_a_newcomer_finds_nothing_that_shows_noise(demo: Serve) -> None:
    models = demo.call("GET", "/v1/models")[1]["models"]
    assert [model["model_id"] for model in models] == [*DEMO_MODELS, STORYBOARD]
    assert "micro models" in models[0]["note"]


def test_this_packs_remote_nodes_with_their_profiles_at_the_gateway(
    demo: Serve, engine: Engine, tmp_path: Path
) -> None:
    def wait_for(condition: Callable[[], bool], timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.2)

    account = SimpleNamespace(key="sk-anything-at-all", url=demo.url, wait_for=wait_for)
    comfy = RemoteComfy(engine, tmp_path, account, account)  # type: ignore[arg-type]
    with comfy.server:
        nodes = graph("WanFLF2VWaveSpeed", "WanFLF2VRunComfy", "WanFLF2VRunComfyDeployment")
        nodes["12"]["inputs"]["deployment_id"] = "wan22_flf2v"
        record = comfy.finish(comfy.queue(nodes), timeout_s=300)
    assert error_of(record) == ""
    videos = sorted((tmp_path / "output" / "remote").glob("*.mp4"))
    assert len(videos) == 3
    assert {frames(path.read_bytes()) for path in videos} == {17}


@pytest.fixture(scope="module")
def page(demo: Serve) -> Iterator[Page]:
    with sync_playwright() as playwright, launch(playwright) as browser:
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.set_default_timeout(30_000)
        yield page


def open_playground(page: Page, url: str) -> list[str]:
    """Open the page; the list gets every error of its console."""
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(url)
    page.wait_for_selector("#field-6_text")
    return problems


def test_a_video_is_made_at_the_playground_by_clicking(
    page: Page, demo: Serve, pictures: tuple[Path, Path], tmp_path: Path
) -> None:
    problems = open_playground(page, demo.url)
    page.click("#run")  # the example pictures, with the prompt that belongs to them
    play = "() => { const video = document.querySelector('#video'); return !video.paused && video.currentTime > 0 }"
    page.wait_for_function(play, timeout=240_000)
    assert page.evaluate("document.querySelector('#video').loop")
    for side in ("first", "last"):
        size = page.evaluate(f"document.querySelector('#outcome-{side}').naturalWidth")
        assert size == 64, "the picture stands beside the video"
    (tmp_path / "a.png").write_text("no picture")
    page.evaluate("scrollTo(0, 0)")
    page.set_input_files("#field-68_image", tmp_path / "a.png")
    expect(page.locator("#problem")).to_contain_text("can't be read")
    expect(page.locator("#problem")).to_be_in_viewport()
    expect(page.locator("#field-68_image")).to_be_in_viewport()
    assert problems.pop().startswith("Failed to load resource")
    page.set_input_files("#field-68_image", pictures[0])
    page.set_input_files("#field-62_image", pictures[1])
    page.fill("#field-57_steps", "99")
    page.click("#run")
    page.wait_for_selector("#problem:not([hidden])")
    assert "57_steps" in page.inner_text("#problem")
    assert page.get_attribute("#field-57_steps", "aria-invalid") == "true"
    assert problems.pop().startswith("Failed to load resource")  # the browser's own note of the 422
    page.fill("#field-57_steps", "6")
    page.click("#run")
    page.wait_for_selector("#outcome:not([hidden])", timeout=240_000)
    page.wait_for_function("document.querySelector('#video').videoWidth === 64")
    line = page.text_content("#curl") or ""
    assert f"{demo.url}/v1/models/community/wan-2-2/first-last-frame" in line
    assert '"57_steps": 6' in line
    page.screenshot(path=screenshot_folder() / "playground.png", full_page=True)
    assert problems == []


def test_a_film_of_three_pictures_is_made_at_the_playground_by_clicking(
    page: Page, demo: Serve, pictures: tuple[Path, Path]
) -> None:
    problems = open_playground(page, demo.url)
    page.select_option("#model", STORYBOARD)
    page.click("#add-keyframe")
    link = page.get_by_label("Keyframe 3: a link")
    link.fill("https://example.org/a.png")
    link.press("Tab")
    assert link.input_value() == "https://example.org/a.png"
    page.set_input_files("#field-keyframe-3", pictures[0])
    assert link.input_value() == "", "the picture has taken the link's place"
    page.click('[aria-label="Keyframe 3: earlier"]')
    page.fill("#field-segment-1-prompt", "红球滚过小路")
    page.fill("#field-segment-2-length", "34")
    page.click("#run")
    page.wait_for_selector("#problem:not([hidden])")
    assert page.inner_text("#problem").startswith("segment 2: length must be 4n + 1")
    assert page.evaluate("document.activeElement.id") == "field-segment-2-prompt"
    assert problems.pop().startswith("Failed to load resource")
    page.fill("#field-segment-2-length", "33")
    page.evaluate("""() => {
      window.stages = [];
      const note = () => window.stages.push(document.querySelector("#stage").textContent);
      new MutationObserver(note).observe(document.querySelector("#stage"), { childList: true });
    }""")
    page.click("#run")
    page.wait_for_selector("#outcome:not([hidden])", timeout=240_000)
    page.wait_for_function("document.querySelector('#video').duration > 0")
    seconds = page.evaluate("document.querySelector('#video').duration")
    assert abs(seconds - (17 + 17 - 1) / 16) < 0.05, "the demo's segments are 17 frames long, and share one"
    assert any(stage.startswith("Segment ") and " of 2: " in stage for stage in page.evaluate("window.stages"))
    body = json.loads((page.text_content("#curl") or "").split("--data '")[1].rpartition("'")[0])
    assert len(body["keyframes"]) == 3
    assert body["keyframes"][1]["picture"].startswith(f"{demo.url}/files/"), "the upload, moved to the middle"
    assert [segment["length"] for segment in body["segments"]] == [81, 33]
    assert not {"carry", "colour"} & set(body)

    # one clip through the middle, its joints, and what the gateway says to that
    page.get_by_text("Pass through").click()
    page.check("#field-keyframe-3-through")  # the number it was added with: now the second
    page.fill("#field-keyframe-3-strength", "0.5")
    assert page.locator("#field-segment-2-prompt").count() == 0, "a segment that goes on has a length alone"
    page.get_by_text("Over the joints").click()
    page.select_option("#field-carry", "5")
    page.uncheck("#field-colour")
    body = json.loads((page.text_content("#curl") or "").split("--data '")[1].rpartition("'")[0])
    assert {name: value for name, value in body["keyframes"][1].items() if name != "picture"} == {
        "through": True,
        "strength": 0.5,
    }
    assert body["segments"][1] == {"length": 33}
    assert (body["carry"], body["colour"]) == (5, False)
    page.screenshot(path=screenshot_folder() / "playground-storyboard.png", full_page=True)
    status, ticket = demo.call("POST", f"/v1/models/{STORYBOARD}", body)
    assert status == 200, ticket
    assert demo.call("POST", f"/v1/requests/{ticket['request_id']}/cancel")[0] == 202
    page.click('[aria-label="Keyframe 2: later"]')  # at the film's end there is nothing to pass through it to
    body = json.loads((page.text_content("#curl") or "").split("--data '")[1].rpartition("'")[0])
    assert [set(keyframe) for keyframe in body["keyframes"]] == [{"picture"}] * 3
    assert problems == []


def test_the_curl_line_of_the_playground_runs(page: Page, demo: Serve) -> None:
    line = page.text_content("#curl") or ""
    done = subprocess.run(["bash", "-c", f"{line} --silent"], capture_output=True, check=True, timeout=60)
    assert "request_id" in json.loads(done.stdout)


def test_the_playground_fits_a_phone_and_works_by_keyboard(page: Page, demo: Serve) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    problems = open_playground(page, demo.url)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    visited = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        visited.add(page.evaluate("document.activeElement.id"))
    assert {"field-68_image", "field-62_image", "field-6_text", "field-57_cfg", "run"} <= visited
    page.screenshot(path=screenshot_folder() / "playground-phone.png", full_page=True)
    page.fill("#field-57_steps", "99")
    page.focus("#run")
    page.keyboard.press("Enter")
    page.wait_for_selector("#problem:not([hidden])")
    assert page.evaluate("document.activeElement.id") == "field-57_steps"
    page.set_viewport_size({"width": 1200, "height": 900})
    assert problems.pop().startswith("Failed to load resource")
    assert problems == []


def test_the_api_page_shows_every_address_without_the_network(page: Page, demo: Serve) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{demo.url}/docs")
    page.wait_for_selector(".operation")
    paths = json.loads(fetch(f"{demo.url}/openapi.json"))["paths"]
    assert page.locator(".operation").count() == sum(len(methods) for methods in paths.values())
    page.screenshot(path=screenshot_folder() / "api.png")
    assert all(url.startswith(demo.url) for url in asked)


def test_a_job_is_rendered_again_after_its_comfyui_was_killed(demo: Serve) -> None:
    status, ticket = demo.call("POST", "/v1/models/community/wan-2-2/first-last-frame", json.loads(SEED_BODY))
    assert status == 200
    request = f"/v1/requests/{ticket['request_id']}"
    deadline = time.monotonic() + 240
    while (status := demo.call("GET", f"{request}/status")[1]["status"]) != "in_progress":
        assert status == "in_queue"
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert demo.kill_comfy()
    while (body := demo.call("GET", f"{request}/result")[1])["status"] in ("in_queue", "in_progress"):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert body["status"] == "succeeded"


def test_a_film_is_made_after_its_comfyui_was_killed_and_once_more_of_the_same_pictures(demo: Serve) -> None:
    """What the first leaves in ComfyUI goes with it, so the second may not count on any of it."""
    names = ("Runcomfy_Example_1259_1.png", "Runcomfy_Example_1259_2.png", "Runcomfy_Example_1259_1.png")
    board = {"keyframes": [{"picture": name} for name in names], "carry": 1, "57_steps": 20}
    deadline = time.monotonic() + 480
    for kill in (True, False):
        status, ticket = demo.call("POST", f"/v1/models/{STORYBOARD}", board)
        assert status == 200, ticket
        request = f"/v1/requests/{ticket['request_id']}"
        while kill and "Segment" not in (now := demo.call("GET", f"{request}/status")[1]).get("stage", ""):
            assert now["status"] in ("in_queue", "in_progress"), now
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert not kill or demo.kill_comfy()
        while (body := demo.call("GET", f"{request}/result")[1])["status"] in ("in_queue", "in_progress"):
            assert time.monotonic() < deadline
            time.sleep(0.5)
        assert body["status"] == "succeeded", body
        assert frames(fetch(body["output"]["video"])) == 33
    time.sleep(1)
    home = demo.data / "workers" / demo.name / "comfyui"
    left = [path for folder in ("input", "output", "temp") for path in (home / folder).rglob("*") if path.is_file()]
    assert [path for path in left if "flf2v" in str(path.relative_to(home)) or "gateway" in path.parts] == []
