"""What "Copy as API call" puts on the clipboard, pasted into a terminal, is the job of the graph."""

from __future__ import annotations

import base64
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from wan_flf2v.engine.process import ComfyServer
from wan_flf2v.tests.frontend.browser import load_workflow
from wan_flf2v.tests.frontend.conftest import PICTURES
from wan_flf2v.tests.gateway.processes import Serve

pytestmark = pytest.mark.timeout(400)
COMMAND = f"{shlex.quote(sys.executable)} -c 'from wan_flf2v.cli import main; raise SystemExit(main())'"
SET = """(changes) => {
  const root = window.app.rootGraph ?? window.app.graph;
  for (const [id, name, value] of changes)
    root.getNodeById(id).widgets.find((widget) => widget.name === name).value = value;
}"""


@pytest.fixture(scope="module")
def server(server_of: Callable[[str], ComfyServer]) -> ComfyServer:
    return server_of("bundled")


@pytest.fixture
def page(server: ComfyServer, open_page: Callable[..., Page]) -> Page:
    """An editor that may use the clipboard."""
    page = open_page(server.url)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.url)
    return page


@pytest.fixture(scope="module")
def gateway(server: ComfyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """``wan-flf2v serve`` in front of the editor's own ComfyUI."""
    serve = Serve(
        tmp_path_factory.mktemp("gateway"), ["--no-auth", "--comfyui-url", server.url, "--cancel-grace", "600"]
    )
    serve.start(wait_s=120)
    yield serve
    serve.stop()


def copied(page: Page, form: str) -> str:
    """The text that the command puts on the clipboard."""
    page.evaluate("() => navigator.clipboard.writeText('')")
    page.evaluate("(id) => window.app.extensionManager.command.execute(id)", f"WanFLF2V.CopyApiCall.{form}")
    expect(page.get_by_text("Copied: Wan 2.2 FLF2V").first).to_be_visible()
    page.wait_for_function("async () => (await navigator.clipboard.readText()) !== ''")
    return str(page.evaluate("() => navigator.clipboard.readText()"))


def exported(page: Page) -> dict[str, Any]:
    """The editor's own API graph."""
    graph: dict[str, Any] = page.evaluate("async () => (await window.app.graphToPrompt()).output")
    return graph


def assert_same_job(mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Every node and input alike, but for the names of the files that go in and come out."""
    assert mine.keys() == theirs.keys()
    for key, node in theirs.items():
        ignored = {"image", "filename_prefix"}
        here, there = ({n: v for n, v in one["inputs"].items() if n not in ignored} for one in (mine[key], node))
        assert (mine[key]["class_type"], here) == (node["class_type"], there), key


def get(server: ComfyServer, path: str) -> Any:
    with urllib.request.urlopen(server.url + path) as answer:
        return json.loads(answer.read())


def input_picture(server: ComfyServer, name: str) -> Image.Image:
    """A picture of ComfyUI's input folder, as the node will load it."""
    subfolder, _, filename = name.rpartition("/")
    query = urllib.parse.urlencode({"filename": filename, "subfolder": subfolder, "type": "input"})
    with urllib.request.urlopen(f"{server.url}/view?{query}") as answer:
        return Image.open(io.BytesIO(answer.read())).convert("RGB")


def test_the_command_line_runs_the_graphs_job(server: ComfyServer, page: Page, tmp_path: Path) -> None:
    load_workflow(page, "wan22_flf2v")
    small = [[71, "preset", "custom"], [71, "width", 96], [71, "height", 64], [67, "length", 9], [57, "steps", 4]]
    page.evaluate(SET, [*small, [57, "noise_seed", 7], [57, "cfg", 3.5], [6, "text", 'a "glass" flower\nopens']])
    (tmp_path / "payload.json").write_text(copied(page, "payload"), encoding="utf-8")
    for side in ("first", "last"):
        shutil.copy(PICTURES / f"{side}.png", tmp_path / f"wan_flf2v_{side}.png")
    command = copied(page, "cli")
    assert command.startswith("wan-flf2v generate ")
    line = f"{COMMAND} {command.removeprefix('wan-flf2v ')} --comfyui-url {server.url}"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with av.open(str(tmp_path / "wan_flf2v.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 9
    job = list(get(server, "/history").values())[-1]["prompt"][2]
    assert_same_job(job, exported(page))
    for key, side in (("68", "first"), ("62", "last")):
        with Image.open(PICTURES / f"{side}.png") as picture:
            assert input_picture(server, job[key]["inputs"]["image"]).tobytes() == picture.convert("RGB").tobytes()


@pytest.mark.parametrize("form", ["curl", "python"])
def test_a_gateway_takes_the_call_and_runs_the_graphs_job(
    form: str, server: ComfyServer, page: Page, gateway: Serve
) -> None:
    load_workflow(page, "wan22_flf2v")
    page.evaluate(SET, [[57, "steps", 12], [57, "noise_seed", 8], [54, "shift", 5], [6, "text", 'it\'s a "flower"']])
    text = copied(page, form)
    for name in (
        "wan_flf2v_first.png",
        "wan_flf2v_last.png",
    ):  # as the remark beside "Copied" says: URLs in their place
        assert name in text
        text = text.replace(name, data_uri())
    environment = {**os.environ, "RUNCOMFY_BASE_URL": gateway.url, "RUNCOMFY_API_TOKEN": "any"}
    program = ["bash", "-c"] if form == "curl" else [sys.executable, "-c"]
    done = subprocess.run([*program, text], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    job = done.stdout.strip() if form == "python" else json.loads(done.stdout)["request_id"]
    deadline = time.monotonic() + 120
    while not (running := get(server, "/queue")["queue_running"]):
        assert time.monotonic() < deadline, gateway.call("GET", f"/v1/requests/{job}/status")
        time.sleep(0.1)
    assert gateway.call("POST", f"/v1/requests/{job}/cancel")[0] == 202
    assert_same_job(running[0][2], exported(page))
    while gateway.call("GET", f"/v1/requests/{job}/result")[1]["status"] != "cancelled":
        assert time.monotonic() < deadline
        time.sleep(0.2)


def data_uri() -> str:
    """A small picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (200, 30, 30)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
