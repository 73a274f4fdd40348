"""Remote jobs as a user sees them: queued by Run, followed and stopped on the node, fetched from the job list."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import av
import pytest
from playwright.sync_api import Page, expect

from wan_flf2v.engine.locate import Engine
from wan_flf2v.tests.doubles.comfy import RemoteComfy, error_of, graph
from wan_flf2v.tests.doubles.runcomfy import RunComfyDouble
from wan_flf2v.tests.doubles.vendor import Script
from wan_flf2v.tests.doubles.wavespeed import WaveSpeedDouble
from wan_flf2v.tests.frontend.browser import EACH_ONCE, READY, load_workflow, set_renderer, trouble_of
from wan_flf2v.tests.frontend.conftest import PICTURES, newest_frontend

CHOOSE = """([type, values]) => {
  const root = window.app.rootGraph ?? window.app.graph;
  const node = (root.nodes ?? root._nodes).find((each) => each.type === type);
  for (const [name, value] of Object.entries(values)) node.widgets.find((widget) => widget.name === name).value = value;
}"""
_seeds = itertools.count(1)
SERVICES = {"remote_runcomfy": ("WanFLF2VRunComfy", "rc"), "remote_wavespeed": ("WanFLF2VWaveSpeed", "ws")}


@pytest.fixture(scope="module")
def remote_of(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], RemoteComfy]]:
    """A ComfyUI of this frontend whose accounts ``rc`` and ``ws`` are at the doubles, started on first use."""
    running: dict[str, RemoteComfy] = {}
    with pytest.MonkeyPatch.context() as patch, WaveSpeedDouble() as ws, RunComfyDouble() as rc:
        for name in ("WAVESPEED_API_KEY", "RUNCOMFY_API_TOKEN", "RUNCOMFY_TOKEN", "WAN_FLF2V_HOME"):
            patch.delenv(name, raising=False)

        def start(frontend: str) -> RemoteComfy:
            if frontend not in running:
                extra = ["--front-end-root", str(newest_frontend())] if frontend == "newest" else []
                comfy = RemoteComfy(engine, tmp_path_factory.mktemp(f"remote-{frontend}"), ws, rc, extra)
                for side in ("first", "last"):
                    shutil.copy(PICTURES / f"{side}.png", comfy.home / "input" / f"wan_flf2v_{side}.png")
                comfy.server.start()
                running[frontend] = comfy
            return running[frontend]

        yield start
        for comfy in running.values():
            comfy.server.stop()


@pytest.fixture
def comfy(remote_of: Callable[[str], RemoteComfy], frontend: str) -> Iterator[RemoteComfy]:
    """The running ComfyUI of this test's frontend, with doubles that have forgotten everything."""
    running = remote_of(frontend)
    for double in (running.ws, running.rc):
        double.reset()
    yield running
    running.post("/interrupt", {})


@pytest.fixture
def remote_editor(comfy: RemoteComfy, renderer: str, open_page: Callable[..., Page]) -> Iterator[Page]:
    """Its editor, in this test's renderer."""
    page = open_page(comfy.server.url)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=comfy.server.url)
    trouble = trouble_of(page)
    set_renderer(page, renderer)
    yield page
    assert trouble == []


def click_run(page: Page, workflow: str, **values: Any) -> Any:
    """Open the workflow, choose the account of the doubles, click Run; the node's panel."""
    node, profile = SERVICES[workflow]
    seed = next(_seeds)
    load_workflow(page, workflow)
    panel = page.locator("[data-wan-flf2v=remote]")
    expect(panel).to_contain_text(f"No API key is stored for {workflow.removeprefix('remote_')}")
    page.evaluate(CHOOSE, [node, {"profile": profile, "noise_seed": seed, **values}])
    expect(panel).to_contain_text("No job of this account runs now.")
    page.get_by_role("button", name="Run", exact=True).first.click()
    return panel


def seconds_of(panel: Any) -> int:
    """The elapsed time that the panel shows."""
    match = re.search(r"(\d+) s · job-", panel.inner_text())
    return int(match[1]) if match else -1


def test_a_job_queued_by_run_shows_its_state_and_is_cancelled_on_the_node(
    comfy: RemoteComfy, remote_editor: Page
) -> None:
    comfy.rc.script = Script(queue_s=60, run_s=60)
    panel = click_run(remote_editor, "remote_runcomfy")
    expect(panel).to_contain_text(re.compile(r"queued · position 3 in the queue · \d+ s · job-0001"))
    before = seconds_of(panel)
    expect(panel).to_contain_text(re.compile(rf"· ({before + 2}|{before + 3}|{before + 4}) s · job-0001"))
    panel.get_by_role("button", name="Cancel").click()
    expect(remote_editor.get_by_text("cancelled", exact=True).first).to_be_visible()
    expect(panel).to_contain_text("No job of this account runs now.")
    assert comfy.rc.count("cancel") == 1
    assert next(iter(comfy.rc.jobs.values())).cancelled
    assert [row.state for row in comfy.rows()][:1] == ["cancelled"]
    record = last_record(comfy)
    assert "was cancelled" in error_of(record)
    assert comfy.rc.count("submit") == 1


@EACH_ONCE
def test_a_cancelled_wavespeed_job_is_deleted_there_and_stops_the_node_at_once(
    comfy: RemoteComfy, remote_editor: Page
) -> None:
    comfy.ws.script = Script(run_s=60)
    panel = click_run(remote_editor, "remote_wavespeed")
    expect(panel).to_contain_text(re.compile(r"running · \d+ s · job-0001"))
    panel.get_by_role("button", name="Cancel").click()
    expect(remote_editor.get_by_text("deleted; a job that was already running").first).to_be_visible()
    comfy.ws.wait_for(lambda: not comfy.get("/queue")["queue_running"], timeout_s=10)
    assert "was cancelled" in error_of(last_record(comfy))
    assert (comfy.ws.count("cancel"), comfy.ws.count("submit"), comfy.ws.jobs) == (1, 1, {})


def last_record(comfy: RemoteComfy) -> Any:
    """What ComfyUI wrote down about the last prompt."""
    comfy.ws.wait_for(lambda: not comfy.get("/queue")["queue_running"])
    return list(comfy.get("/history").values())[-1]


@EACH_ONCE
def test_the_job_list_fetches_cancels_and_copies_ids(comfy: RemoteComfy, remote_editor: Page) -> None:
    comfy.ws.script = Script(run_s=0)
    finished = graph("WanFLF2VWaveSpeed", wait=False)
    comfy.finish(comfy.queue(finished))
    comfy.rc.script = Script(queue_s=600)
    comfy.finish(comfy.queue(graph("WanFLF2VRunComfy", wait=False)))
    waiting, done = comfy.rows()[:2]
    load_workflow(remote_editor, "remote_wavespeed")
    remote_editor.locator("[data-wan-flf2v=remote]").get_by_role("button", name="Job list").click()

    def job(row: int) -> Any:
        return remote_editor.locator(f".wan-flf2v-job[data-row='{row}']")

    expect(job(waiting.row)).to_contain_text("a flower")
    job(waiting.row).get_by_role("button", name="Copy id").click()
    expect(remote_editor.get_by_text("Copied", exact=True).first).to_be_visible()
    assert remote_editor.evaluate("() => navigator.clipboard.readText()") == waiting.request_id
    job(waiting.row).get_by_role("button", name="Fetch").click()
    expect(remote_editor.get_by_text("Still running").first).to_be_visible()
    job(waiting.row).get_by_role("button", name="Cancel").click()
    expect(job(waiting.row)).to_contain_text("cancelled")
    assert comfy.rc.count("cancel") == 1
    job(done.row).get_by_role("button", name="Fetch").click()
    expect(remote_editor.get_by_text("Video saved").first).to_be_visible()
    expect(job(done.row)).to_contain_text("completed")
    with remote_editor.context.expect_page() as opened:
        job(done.row).get_by_role("link", name="Open the video").click()
    assert "/view?" in opened.value.url
    saved = sorted((comfy.home / "output" / "video").glob("wan_flf2v_remote_*.mp4"))
    with av.open(str(saved[-1])) as video:
        assert sum(1 for _ in video.decode(video=0)) == 5
    assert comfy.ws.count("submit") == 1


@EACH_ONCE
def test_what_a_user_wrote_is_no_sentence_of_ours_in_any_language(comfy: RemoteComfy, remote_editor: Page) -> None:
    asked = "a kite flies high"
    comfy.finish(comfy.queue(graph("WanFLF2VWaveSpeed", wait=False, prompt=asked)))
    load_workflow(remote_editor, "remote_wavespeed")
    speak = "(locale) => window.app.extensionManager.setting.set('Comfy.Locale', locale)"
    remote_editor.evaluate(speak, "zh")
    try:
        remote_editor.locator("[data-wan-flf2v=remote]").get_by_role("button", name="任务列表").click()
        job = remote_editor.locator(f".wan-flf2v-job[data-row='{comfy.rows()[0].row}']")
        expect(job.locator(".prompt")).to_have_text(asked)
        expect(job.get_by_role("button", name="取回")).to_be_visible()
    finally:
        remote_editor.evaluate(speak, "en")


@EACH_ONCE
def test_many_remote_nodes_ask_for_one_job_list_also_after_a_reload_in_mid_run(
    comfy: RemoteComfy, remote_editor: Page
) -> None:
    comfy.ws.script = Script(run_s=600)
    comfy.queue(graph("WanFLF2VWaveSpeed"))
    load_workflow(remote_editor, "remote_runcomfy")  # its account has no job and no key: only the run keeps it asking
    remote_editor.evaluate(
        "() => { for (let count = 0; count < 7; count++) { const node = window.LiteGraph.createNode('WanFLF2VRunComfy'); "
        "node.pos = [600 * count, 900]; window.app.graph.add(node); } }"
    )
    expect(remote_editor.locator("[data-wan-flf2v=remote]")).to_have_count(8)

    def asked_in_six_seconds() -> int:
        asked: list[str] = []
        note = lambda request: asked.append(request.url)  # noqa: E731 - to take it off again
        remote_editor.on("request", note)
        remote_editor.wait_for_timeout(6000)
        remote_editor.remove_listener("request", note)
        return sum("remote/jobs" in url for url in asked)

    assert 2 <= asked_in_six_seconds() <= 6
    remote_editor.wait_for_function(
        "() => [localStorage, sessionStorage].some((store) => "
        "Object.values(store).some((value) => String(value).includes('WanFLF2VRunComfy')))"
    )
    remote_editor.reload()
    remote_editor.wait_for_function(READY)
    expect(remote_editor.locator("[data-wan-flf2v=remote]").first).to_be_visible()
    remote_editor.wait_for_timeout(1000)
    assert 2 <= asked_in_six_seconds() <= 6
