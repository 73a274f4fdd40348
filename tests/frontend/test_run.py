"""From the template browser to a playing video, as a new user would; and a screenshot of every node."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from wan_flf2v.engine.process import ComfyServer
from wan_flf2v.tests.frontend.browser import (
    load_workflow,
    screenshot_folder,
    set_renderer,
    shipped_graph,
    show_node,
    trouble_of,
)

EXPORT = "async () => (await window.app.graphToPrompt()).output"
FIELDS = "() => [...document.querySelectorAll('textarea')].map((each) => each.value).join(' ')"
SMALL = """() => {
  const graph = window.app.rootGraph ?? window.app.graph;
  const set = (id, name, value) => { graph.getNodeById(id).widgets.find((widget) => widget.name === name).value = value; };
  set(71, "preset", "custom"); set(71, "width", 96); set(71, "height", 64); set(67, "length", 9); set(57, "steps", 4);
}"""


def test_template_opens_runs_and_its_video_plays(
    server: ComfyServer, renderer: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(server.url)
    trouble = trouble_of(page)
    set_renderer(page, renderer)
    page.evaluate("() => void window.app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.get_by_text("wan-flf2v", exact=True).first.click()
    card = page.get_by_text("wan22_flf2v", exact=True).first
    expect(card).to_be_visible()
    card.click()
    page.wait_for_function("() => (window.app.rootGraph ?? window.app.graph).getNodeById(57) != null")
    exported = page.evaluate(EXPORT)
    shipped = shipped_graph("wan22_flf2v", api=True)
    assert {key: node["inputs"] for key, node in exported.items()} == {
        key: node["inputs"]
        for key, node in shipped.items()  # type: ignore[index]
    }
    page.evaluate(SMALL)
    page.get_by_role("button", name="Run", exact=True).first.click()
    page.wait_for_function("() => [...document.querySelectorAll('video')].some((video) => video.readyState >= 2)")
    moved = page.evaluate(
        "async () => { const video = [...document.querySelectorAll('video')].find((each) => each.readyState >= 2); "
        "video.muted = true; await video.play(); while (!video.currentTime) await new Promise((go) => setTimeout(go, 50)); "
        "return [video.currentTime, video.videoWidth, video.videoHeight, video.error] }"
    )
    assert moved[0] > 0
    assert moved[1:] == [96, 64, None]
    assert trouble == []
    page.screenshot(path=screenshot_folder() / f"run-{renderer}-{server.home.name}.png")


def test_drafts_are_looked_at_one_is_clicked_and_only_that_one_is_finished(
    server: ComfyServer, renderer: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(server.url)
    trouble = trouble_of(page)
    set_renderer(page, renderer)
    load_workflow(page, "wan22_flf2v_drafts")
    page.evaluate(SMALL)
    page.evaluate(
        "() => { for (const [id, name, value] of [[57, 'drafts', 3], [58, 'steps', 4]]) (window.app.rootGraph ?? "
        "window.app.graph).getNodeById(id).widgets.find((widget) => widget.name === name).value = value; }"
    )
    show_node(page, 94)
    strip = page.locator('[data-wan-flf2v="drafts"]').last
    expect(strip).to_contain_text("Run with index 0")
    page.get_by_role("button", name="Run", exact=True).first.click()
    drafts = strip.get_by_role("button")
    expect(drafts).to_have_count(3)
    assert page.locator("video").count() == 0, "nothing is finished yet"
    page.wait_for_function(
        "() => [...document.querySelectorAll('.wan-flf2v-drafts img')].every((one) => one.naturalWidth)"
    )
    drafts.nth(1).click()
    expect(drafts.nth(1)).to_have_attribute("aria-pressed", "true")
    index = "() => window.app.graphToPrompt().then(({output}) => output[94].inputs.index)"
    assert page.evaluate(index) == 2
    page.screenshot(path=screenshot_folder() / f"drafts-{renderer}-{server.home.name}.png")
    page.get_by_role("button", name="Run", exact=True).first.click()
    page.wait_for_function("() => [...document.querySelectorAll('video')].some((video) => video.readyState >= 2)")
    expect(drafts).to_have_count(3)
    assert trouble == []


def test_the_template_runs_from_its_app_panel_alone(
    server_of: Callable[[str], ComfyServer], open_page: Callable[..., Page]
) -> None:
    server = server_of("newest")
    page = open_page(server.url)
    trouble = trouble_of(page)
    load_workflow(page, "wan22_flf2v")
    page.evaluate(SMALL)
    page.evaluate("() => window.app.extensionManager.command.execute('Comfy.ToggleLinear')")
    run = page.get_by_test_id("linear-run-button")
    expect(run).to_be_visible()
    page.wait_for_timeout(1000)
    page.keyboard.press("Escape")  # the editor's own word of welcome to this mode
    page.screenshot(path=screenshot_folder() / "app-mode.png")
    assert "the sun rises over the hills" in page.evaluate(FIELDS)
    run.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_function("() => [...document.querySelectorAll('video')].some((video) => video.readyState >= 2)")
    page.screenshot(path=screenshot_folder() / "app-mode-done.png")
    assert trouble == []


def test_every_node_is_drawn(server: ComfyServer, frontend: str, renderer: str, open_page: Callable[..., Page]) -> None:
    page = open_page(server.url, viewport={"width": 2400, "height": 1700})
    set_renderer(page, renderer)
    count = page.evaluate(
        """async () => {
          const empty = {version: 0.4, last_node_id: 0, last_link_id: 0, nodes: [], links: [], groups: []};
          await window.app.loadGraphData(empty, true, true, "all nodes");
          const graph = window.app.rootGraph ?? window.app.graph;
          const names = Object.keys(window.LiteGraph.registered_node_types).filter((name) => name.startsWith("WanFLF2V"));
          const columns = Array(6).fill(0);
          for (const name of names) {
            const node = window.LiteGraph.createNode(name);
            graph.add(node);
            const column = columns.indexOf(Math.min(...columns));
            node.pos = [column * 440, columns[column]];
            node.setSize([380, Math.max(node.size[1], node.computeSize()[1])]);
            columns[column] += node.size[1] + 120;
          }
          await window.app.loadGraphData(graph.serialize(), true, true, "all nodes, placed");
          await new Promise((go) => setTimeout(go, 500));
          await window.app.extensionManager.command.execute("Comfy.Canvas.FitView");
          await new Promise((go) => setTimeout(go, 1500));
          return names.length;
        }"""
    )
    panels = page.locator("[data-wan-flf2v]").filter(visible=True)
    expect(panels.first).to_be_visible()
    assert panels.count() == 10, "3 plots, 1 pair of frames, 1 strip of drafts, 1 storyboard, 4 remote accounts"
    assert count >= 13
    page.keyboard.press("Escape")
    for palette in ("light", "dark"):
        page.evaluate("(name) => window.app.extensionManager.setting.set('Comfy.ColorPalette', name)", palette)
        page.wait_for_timeout(500)
        texts = panels.all_inner_texts()
        assert all(text.strip() for text in texts), texts
        page.screenshot(path=screenshot_folder() / f"nodes-{frontend}-{renderer}-{palette}.png")
