"""The pack's part of the editor, in Chromium, in both frontends and both renderers."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from wan_flf2v.engine.client import ComfyClient
from wan_flf2v.engine.process import ComfyServer
from wan_flf2v.tests.frontend.browser import EACH_ONCE, READY, load_workflow, set_renderer, shipped_graph
from wan_flf2v.workflows import Bindings

OURS = "/wan_flf2v/"
SET = """([id, values]) => {
  const root = window.app.rootGraph ?? window.app.graph;
  const node = root.getNodeById(id);
  for (const [name, value] of Object.entries(values)) node.widgets.find((widget) => widget.name === name).value = value;
}"""
LOAD_API = "async (graph) => { await window.app.loadApiJson(graph, 'from api') }"
EXPORT = "async () => (await window.app.graphToPrompt()).output"


def panel(page: Page, kind: str = "schedule") -> Any:
    """The pack's panels of one kind that are in the page."""
    return page.locator(f"[data-wan-flf2v={kind}]")


def splits(page: Page) -> list[str]:
    """The split of every plot."""
    found: list[str] = panel(page).evaluate_all("(all) => all.map((each) => each.dataset.split ?? '')")
    return found


def wait_for_split(page: Page, *wanted: int) -> None:
    """Until every plot shows one of these splits."""
    page.wait_for_function(
        "(wanted) => { const all = [...document.querySelectorAll('[data-wan-flf2v=schedule]')]; "
        "return all.length && all.every((each) => wanted.includes(each.dataset.split)) }",
        arg=[str(value) for value in wanted],
    )


def run_api(server: ComfyServer, graph: dict[str, Any]) -> dict[str, Any]:
    """Run an API graph; its outputs."""

    async def work() -> dict[str, Any]:
        async with ComfyClient(server.url) as client:
            prompt_id = await client.queue(graph)
            while (record := await client.history(prompt_id)) is None:
                await asyncio.sleep(0.1)
            assert record["status"]["status_str"] == "success", record["status"]
            return dict(record["outputs"])

    with ThreadPoolExecutor() as pool:  # Playwright has this thread's event loop
        return pool.submit(asyncio.run, work()).result()


def test_plot_shows_the_split_that_the_run_uses_and_follows_every_widget(server: ComfyServer, editor: Page) -> None:
    load_workflow(editor, "wan22_flf2v")
    wait_for_split(editor, 10)
    assert len(splits(editor)) == 2
    expect(panel(editor).first).to_contain_text("10 high + 10 low")
    changes: list[tuple[int, dict[str, Any]]] = [
        (54, {"shift": 5}),
        (57, {"steps": 10}),
        (57, {"scheduler": "beta"}),
        (57, {"sampler_name": "uni_pc"}),
        (57, {"boundary": 0.8}),
        (57, {"high_steps": 2}),
    ]
    for node, change in changes:
        before = panel(editor).last.get_attribute("data-sigmas")
        words = panel(editor).last.inner_text()
        editor.evaluate(SET, [node, change])
        editor.wait_for_function(
            "([sigmas, words]) => { const all = document.querySelectorAll('[data-wan-flf2v=schedule]'); "
            "const last = all[all.length - 1]; return last.dataset.sigmas !== sigmas || last.innerText !== words }",
            arg=[before, words],
        )
        graph = schedule_graph(editor.evaluate(EXPORT))
        outputs = run_api(server, graph)
        report, split = outputs["901"]["text"][0], int(outputs["902"]["text"][0])
        wait_for_split(editor, split)
        shown = json.loads(panel(editor).last.get_attribute("data-sigmas") or "[]")
        assert [f"{sigma:.4f}" for sigma in shown] == report.split("sigmas ")[1].split("\n")[0].split(", ")


def schedule_graph(exported: dict[str, Any]) -> dict[str, Any]:
    """The exported graph's models, shift and sampler values, as a run of the schedule alone, with its results as text."""
    graph = {key: exported[key] for key in ("37", "56", "54")}
    names = ("model_high", "model_low", "steps", "sampler_name", "scheduler", "boundary", "high_steps", "denoise")
    inputs = {name: exported["57"]["inputs"][name] for name in names}
    graph["900"] = {"class_type": "WanFLF2VSchedule", "inputs": inputs}
    graph["901"] = {"class_type": "PreviewAny", "inputs": {"source": ["900", 5]}}
    graph["902"] = {"class_type": "PreviewAny", "inputs": {"source": ["900", 0]}}
    return graph


@EACH_ONCE
def test_plot_warns_of_bad_splits(editor: Page) -> None:
    load_workflow(editor, "wan22_flf2v_4step")
    wait_for_split(editor, 2)
    expect(panel(editor).last.get_by_role("alert")).to_have_count(0)
    editor.evaluate(SET, [57, {"cfg": 4}])
    expect(panel(editor).last.get_by_role("alert")).to_contain_text("distilled for cfg 1")
    editor.evaluate(SET, [57, {"cfg": 1, "high_steps": 0}])
    expect(panel(editor).last.get_by_role("alert").first).to_contain_text("takes no step")
    editor.evaluate(SET, [57, {"boundary": 0}])
    expect(panel(editor).last.get_by_role("alert").first).to_contain_text("boundary must be above 0")


@EACH_ONCE
def test_sixty_quick_changes_leave_one_request_in_flight(editor: Page) -> None:
    load_workflow(editor, "wan22_flf2v")
    wait_for_split(editor, 10)
    editor.evaluate(
        "() => { const ask = window.fetch; window.seen = {flying: 0, most: 0, count: 0}; const seen = window.seen; "
        "window.fetch = (...call) => { if (!String(call[0]).includes('/wan_flf2v/schedule')) return ask(...call); "
        "seen.count++; seen.most = Math.max(seen.most, ++seen.flying); return ask(...call).finally(() => seen.flying--) } }"
    )
    editor.evaluate(
        "async () => { const node = (window.app.rootGraph ?? window.app.graph).getNodeById(57); "
        "const steps = node.widgets.find((widget) => widget.name === 'steps'); "
        "for (let value = 1; value <= 60; value++) { steps.value = value; await new Promise((go) => setTimeout(go, 10)) } }"
    )
    editor.wait_for_function(
        "() => [...document.querySelectorAll('[data-wan-flf2v=schedule]')].every("
        "(each) => JSON.parse(each.dataset.sigmas).length === 61)"
    )
    seen = editor.evaluate("() => window.seen")
    assert 1 <= seen["most"] <= 2, "one for each of the two plots"
    assert seen["count"] <= 30


def test_frames_are_shown_as_they_will_be_used(editor: Page) -> None:
    load_workflow(editor, "wan22_flf2v")
    frames = panel(editor, "frames")
    expect(frames.locator("canvas")).to_have_count(2)
    expect(frames).to_contain_text("720 × 720 · 81 frames = 5.06 s at 16 fps · 21 latent frames")
    editor.evaluate(SET, [71, {"preset": "540x960 (9:16)"}])
    expect(frames).to_contain_text("Rendered at 544 × 960, cropped back when saved.")
    expect(frames).to_contain_text("% cut off")
    editor.evaluate(SET, [67, {"fit": "pad", "length": 49}])
    expect(frames).to_contain_text("49 frames = 3.06 s")
    corner = frames.locator("canvas").first.evaluate("(c) => [...c.getContext('2d').getImageData(2, 2, 1, 1).data]")
    assert corner == [0, 0, 0, 255], "the bars of fit=pad are black"
    editor.evaluate(SET, [67, {"length": 50}])
    expect(frames.get_by_role("alert")).to_contain_text("Use 49 or 53")


def test_panels_survive_toggling_save_reload_api_json_copy_and_paste(editor: Page, renderer: str) -> None:
    load_workflow(editor, "wan22_flf2v")
    wait_for_split(editor, 10)
    saved = editor.evaluate("() => (window.app.rootGraph ?? window.app.graph).serialize()")
    assert all("10 high" not in str(node.get("widgets_values")) for node in saved["nodes"])
    values = {node["id"]: node.get("widgets_values") for node in saved["nodes"]}
    assert values[57][:11] == [96860978, "fixed", 20, 4, 0, "euler", "simple", 0.9, -1, 1, False]
    assert values[57][11:] == ["both", 0, "same", "same", 0, 20, 3.5, 1]
    assert values[54] == [8]
    for each in ("nodes2" if renderer == "classic" else "classic", renderer):
        set_renderer(editor, each)
        wait_for_split(editor, 10)
    editor.evaluate("(graph) => window.app.loadGraphData(graph, true, true, 'again')", saved)
    wait_for_split(editor, 10)
    editor.wait_for_function(
        "() => [localStorage, sessionStorage].some((store) => "
        "Object.values(store).some((value) => String(value).includes('WanFLF2VTwoStageSampler')))"
    )
    editor.reload()  # the editor brings the workflow back that was open
    editor.wait_for_function(READY)
    wait_for_split(editor, 10)
    editor.evaluate(LOAD_API, shipped_graph("wan22_flf2v_4step", api=True))
    wait_for_split(editor, 2)
    # the first Nodes 2.0 draws nodes of an API graph over one another, so that no click would be sure to hit this one
    editor.evaluate("() => { const { canvas } = window.app; canvas.selectItems([canvas.graph.getNodeById(57)]) }")
    editor.keyboard.press("Control+c")
    editor.keyboard.press("Control+v")
    editor.wait_for_function("() => document.querySelectorAll('[data-wan-flf2v=schedule]').length === 3")
    pasted = editor.evaluate(
        "() => window.app.canvas.graph._nodes.filter((node) => node.type === 'WanFLF2VTwoStageSampler')"
        ".map((node) => node.widgets.find((widget) => widget.name === 'steps').value)"
    )
    assert pasted == [4, 4]


def test_works_inside_a_subgraph(editor: Page) -> None:
    load_workflow(editor, "wan22_flf2v_4step")
    wait_for_split(editor, 2)
    before = editor.evaluate(EXPORT)
    editor.evaluate(
        "() => { const canvas = window.app.canvas; const graph = canvas.graph; "
        "const items = new Set([graph.getNodeById(57)]); graph.convertToSubgraph(items); }"
    )
    editor.evaluate(
        "() => { const canvas = window.app.canvas; "
        "const outer = canvas.graph._nodes.find((node) => node.subgraph); canvas.openSubgraph(outer.subgraph, outer); }"
    )
    wait_for_split(editor, 2)
    after = editor.evaluate(EXPORT)
    inner = next(node for node in after.values() if node["class_type"] == "WanFLF2VTwoStageSampler")
    plain = {name: value for name, value in inner["inputs"].items() if not isinstance(value, list)}
    assert plain == {name: value for name, value in before["57"]["inputs"].items() if not isinstance(value, list)}


@EACH_ONCE
@pytest.mark.parametrize("form", ["payload", "cli"])
def test_copied_api_call_is_the_job_of_the_graph(server: ComfyServer, editor: Page, form: str) -> None:
    editor.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.url)
    load_workflow(editor, "wan22_flf2v")
    editor.evaluate(SET, [57, {"steps": 12, "noise_seed": 7}])
    editor.evaluate(SET, [71, {"preset": "custom", "width": 96, "height": 64}])
    editor.evaluate(SET, [7, {"text": "blurred"}])
    editor.evaluate("(id) => window.app.extensionManager.command.execute(id)", f"WanFLF2V.CopyApiCall.{form}")
    expect(editor.get_by_text("Copied: Wan 2.2 FLF2V").first).to_be_visible()
    text = editor.evaluate("() => navigator.clipboard.readText()")
    if form == "cli":
        assert text == "wan-flf2v generate --workflow wan22_flf2v --free --payload payload.json"
        return
    bindings = Bindings.load("wan22_flf2v")
    mine = bindings.apply(bindings.check(json.loads(text), free=True))
    exported = editor.evaluate(EXPORT)
    for key, node in exported.items():
        assert mine[key]["inputs"] == node["inputs"], key


def test_menus_offer_the_api_call(editor: Page, renderer: str) -> None:
    load_workflow(editor, "wan22_flf2v")
    names = editor.evaluate(
        "() => window.app.collectCanvasMenuItems(window.app.canvas).map((item) => item?.content).filter(Boolean)"
    )
    assert "Copy as API call" in names
    names = editor.evaluate(
        "() => window.app.collectNodeMenuItems(window.app.canvas.graph.getNodeById(57)).map((item) => item?.content)"
    )
    assert "Copy as API call" in names


@EACH_ONCE
def test_a_graph_without_a_node_of_ours_has_no_menu_entry_and_no_tab_of_ours(editor: Page) -> None:
    menu = "() => window.app.collectCanvasMenuItems(window.app.canvas).map((item) => item?.content)"
    tab = "() => window.app.extensionManager.getSidebarTabs().some((each) => each.id === 'wan-flf2v-jobs')"
    editor.evaluate("() => { window.app.graph.clear(); }")
    assert "Copy as API call" not in editor.evaluate(menu)
    load_workflow(editor, "wan22_flf2v")
    wait_for_split(editor, 10)
    assert "Copy as API call" in editor.evaluate(menu)
    assert not editor.evaluate(tab)
    load_workflow(editor, "remote_wavespeed")
    expect(panel(editor, "remote")).to_be_visible()
    assert editor.evaluate(tab)


HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@EACH_ONCE
def test_a_hidden_page_reads_and_asks_nothing_and_catches_up_when_it_is_seen(editor: Page) -> None:
    load_workflow(editor, "wan22_flf2v")
    wait_for_split(editor, 10)
    editor.evaluate(HIDE, True)
    editor.wait_for_timeout(1200)  # a look that was planned before
    editor.evaluate(
        "() => { const widget = window.app.graph.getNodeById(57).widgets.find((each) => each.name === 'steps'); "
        "let value = widget.value; window.reads = 0; "
        "Object.defineProperty(widget, 'value', { configurable: true, set: (next) => { value = next }, "
        "get: () => { window.reads += /wan-flf2v/.test(new Error().stack); return value } }); }"
    )
    editor.wait_for_timeout(2500)
    assert editor.evaluate("window.reads") == 0
    editor.evaluate(HIDE, False)
    editor.wait_for_function("window.reads > 0")


PANELS = {
    "schedule": ["WanFLF2VSchedule", "WanFLF2VShift", "WanFLF2VTwoStageSampler"],
    "frames": ["WanFLF2VConditioning"],
    "storyboard": ["WanFLF2VStoryboard"],
    "drafts": ["WanFLF2VPick"],
    "remote": ["WanFLF2VRemoteFetch", "WanFLF2VRunComfy", "WanFLF2VRunComfyDeployment", "WanFLF2VWaveSpeed"],
}
ADD_ALL = """() => {
  const { app, LiteGraph } = window;
  app.graph.clear();
  const types = Object.keys(LiteGraph.registered_node_types).filter((type) => type.startsWith("WanFLF2V")).sort();
  const found = {};
  for (const type of types) {
    const node = LiteGraph.createNode(type);
    const panel = node.widgets?.map(({ element }) => element?.querySelector?.("[data-wan-flf2v]")).find(Boolean);
    if (!panel) continue;
    const index = app.graph._nodes.length;
    node.pos = [(index % 5) * 600, Math.floor(index / 5) * 1500];
    app.graph.add(node);
    (found[panel.dataset.wanFlf2v] ??= []).push(type);
  }
  app.canvas.ds.scale = 0.3;
  app.canvas.ds.offset = [100, 200];
  app.canvas.draw(true, true);
  return found;
}"""


def test_nothing_but_the_entry_is_asked_for_before_a_node_of_the_pack_is_there(
    server: ComfyServer, renderer: str, browser: Any
) -> None:
    asked: list[str] = []
    context = browser.new_context(viewport={"width": 1600, "height": 1000})
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server.url)
    page.wait_for_function("window.app?.extensionManager && window.app?.canvas?.graph", timeout=120_000)
    page.wait_for_timeout(1500)
    ours = [url for url in asked if OURS in url or "/extensions/wan-flf2v/" in url]
    assert [url.rpartition("/")[2] for url in ours] == ["wan_flf2v.js"]
    set_renderer(page, renderer)
    assert page.evaluate(ADD_ALL) == PANELS
    page.wait_for_function(
        "(count) => { const all = [...document.querySelectorAll('[data-wan-flf2v]')]; "
        "return all.length === count && all.every((each) => each.innerText) }",
        arg=sum(map(len, PANELS.values())),
    )
    files = [url.rpartition("/")[2] for url in asked if "/extensions/wan-flf2v/" in url]
    assert sorted(files) == sorted(set(files)), "each file is fetched once"
    context.close()


@EACH_ONCE
def test_remote_node_says_how_to_add_a_key_and_shows_no_key_field(editor: Page) -> None:
    load_workflow(editor, "remote_wavespeed")
    remote = panel(editor, "remote")
    expect(remote.get_by_role("alert")).to_contain_text("wan-flf2v login wavespeed")
    names = editor.evaluate(
        "() => window.app.canvas.graph._nodes.flatMap((node) => (node.widgets ?? []).map((widget) => widget.name))"
    )
    assert not [name for name in names if "key" in name or "token" in name]
    remote.get_by_role("button", name="Job list").click()
    expect(editor.get_by_text("No remote jobs yet.")).to_be_visible()


def words(language: str, part: str, start: str) -> str:
    """A panel's text in this language, by the start of the English one."""
    table = json.loads((Path(__file__).parents[2] / "js" / "words" / f"{language}.json").read_text(encoding="utf-8"))
    return str(next(text for english, text in table[part].items() if english.startswith(start)))


@EACH_ONCE
def test_panels_and_the_tab_speak_the_editor_s_language_as_soon_as_it_does(editor: Page) -> None:
    speak = "(locale) => window.app.extensionManager.setting.set('Comfy.Locale', locale)"
    load_workflow(editor, "wan22_flf2v_4step")
    expect(panel(editor).last).to_contain_text("2 high + 2 low")
    editor.evaluate(speak, "zh")
    try:
        expect(panel(editor).last).to_contain_text("高噪声 2 步 + 低噪声 2 步")
        expect(panel(editor, "frames")).to_contain_text("81 帧 = 5.06 秒")
        editor.evaluate(SET, [57, {"cfg": 4}])
        expect(panel(editor).last.get_by_role("alert")).to_contain_text("请将 cfg 设为 1")
        editor.evaluate(SET, [67, {"length": 50}])
        expect(panel(editor, "frames").get_by_role("alert")).to_contain_text("请用 49 或 53")
        load_workflow(editor, "remote_wavespeed")
        remote = panel(editor, "remote")
        expect(remote.get_by_role("alert")).to_contain_text("请在运行 ComfyUI 的机器上打开终端执行")
        remote.get_by_role("button", name="任务列表").click()
        expect(editor.get_by_text("还没有远程任务")).to_be_visible()
        sidebar = editor.locator("nav, .side-tool-bar-container").first
        expect(sidebar).to_contain_text("Wan 任务")
        for locale, title in {"zh-TW": "Wan 任務", "ja": "Wan ジョブ", "ko": "Wan 작업"}.items():
            editor.evaluate(speak, locale)
            expect(remote.get_by_role("alert")).to_contain_text(words(locale, "server", "No API key is stored")[-12:])
            expect(sidebar).to_contain_text(title)
        load_workflow(editor, "wan22_storyboard")
        for locale in ("ja", "ko"):
            editor.evaluate(speak, locale)
            expect(panel(editor, "storyboard")).to_contain_text(words(locale, "own", "Negative prompt"))
        load_workflow(editor, "remote_wavespeed")
    finally:
        editor.evaluate(speak, "en")
    expect(remote.get_by_role("alert")).to_contain_text("No API key is stored for wavespeed")
