"""What a browser plays of the saved files: by themselves to their end, and in the editor's preview."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page

from wan_flf2v.engine.process import ComfyServer
from wan_flf2v.tests.frontend.browser import set_renderer, trouble_of

PLAYED = [("h264", "mp4"), ("vp9", "webm"), ("vp9", "mp4"), ("av1", "mp4"), ("av1", "webm")]
NOT_PLAYED = [("prores", "mov"), ("ffv1", "mkv")]
CLIP = {"width": 96, "height": 64, "batch_size": 16, "color": 0x3366CC}  # one second
PLAY = """async (url) => {
  const video = document.createElement("video");
  Object.assign(video, {muted: true, src: url});
  document.body.append(video);
  const reached = (name) => new Promise((go) => { video[`on${name}`] = () => go(name); });
  const first = await Promise.race([reached("canplay"), reached("error")]);
  if (first === "error") return [first];
  video.play();
  const then = await Promise.race([reached("ended"), reached("error")]);
  return [first, then, video.videoWidth, video.videoHeight, Math.round(video.duration * 100) / 100];
}"""
BUILD = """([clip, files]) => {
  const graph = window.app.rootGraph ?? window.app.graph;
  graph.clear();
  const add = (type, values, x, y) => {
    const node = window.LiteGraph.createNode(type);
    graph.add(node);
    node.pos = [x, y];
    for (const [name, value] of Object.entries(values)) node.widgets.find((each) => each.name === name).value = value;
    return node;
  };
  const images = add("EmptyImage", clip, 0, 0);
  files.forEach(([codec, format], index) => {
    const save = add("WanFLF2VSaveVideo", {codec, format, filename_prefix: `preview/${codec}`}, 320 + 420 * index, 0);
    images.connect(0, save, save.inputs.findIndex((input) => input.name === "images"));
  });
  const {canvas} = window.app; // the classic one shows a preview where its node is in view
  canvas.ds.scale = 1;
  canvas.ds.offset = [120, 200];
  canvas.draw(true, true);
}"""
SHOWN = """() => [...document.querySelectorAll("video")].filter((video) => video.readyState >= 2).map(
  (video) => [new URL(video.currentSrc).searchParams.get("filename").split(".").pop(), video.videoWidth, video.videoHeight])
"""


def test_a_browser_plays_what_it_should_to_the_end(server_of: Callable[[str], ComfyServer], open_page: Any) -> None:
    server = server_of("bundled")
    page = open_page(server.url)
    files = saved(page, server.url, [*PLAYED, *NOT_PLAYED])
    found = {kind: page.evaluate(PLAY, f"/view?{address}") for kind, address in files.items()}
    assert {kind: found[kind] for kind in PLAYED} == {kind: ["canplay", "ended", 96, 64, 1] for kind in PLAYED}
    assert {kind: found[kind] for kind in NOT_PLAYED} == {kind: ["error"] for kind in NOT_PLAYED}


def test_the_editor_s_preview_plays_each_codec(
    server: ComfyServer, renderer: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(server.url, viewport={"width": 2400, "height": 1200})
    trouble = trouble_of(page)
    set_renderer(page, renderer)
    page.evaluate(BUILD, [CLIP, [["h264", "mp4"], ["vp9", "webm"], ["av1", "mp4"]]])
    page.get_by_role("button", name="Run", exact=True).first.click()
    page.wait_for_function(f"() => ({SHOWN})().length === 3")
    assert sorted(page.evaluate(SHOWN)) == [["mp4", 96, 64], ["mp4", 96, 64], ["webm", 96, 64]]
    assert trouble == []


def saved(page: Page, url: str, kinds: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """A clip in each codec and format, saved by one prompt: the query under which ComfyUI shows it."""
    graph: dict[str, Any] = {"clip": {"class_type": "EmptyImage", "inputs": CLIP}}
    rest = {"frame_rate": 16.0, "quality": "default", "width": 0, "height": 0, "frames_per_video": 0}
    for codec, format in kinds:
        name = f"{codec}_{format}"
        inputs = {"images": ["clip", 0], "filename_prefix": name, "format": format, "codec": codec, **rest}
        graph[name] = {"class_type": "WanFLF2VSaveVideo", "inputs": inputs}
    answer = page.request.post(f"{url}/prompt", data={"prompt": graph})
    assert answer.ok, answer.text()
    prompt = answer.json()["prompt_id"]
    until = time.monotonic() + 120
    while not (history := page.request.get(f"{url}/history/{prompt}").json()):
        assert time.monotonic() < until
        time.sleep(0.2)
    outputs = history[prompt]["outputs"]
    names = {kind: outputs["_".join(kind)]["images"][0]["filename"] for kind in kinds}
    return {kind: f"filename={name}&type=output" for kind, name in names.items()}
