"""The storyboard's panel in Chromium: built, run, edited, saved and undone by hand, in both frontends and both renderers."""

from __future__ import annotations

import json
from typing import Any

from playwright.sync_api import Locator, Page, expect

from wan_flf2v.tests.frontend.browser import READY, screenshot_folder, shipped_graph, show_node

TEXT = """() => (window.app.rootGraph ?? window.app.graph).getNodeById(57).widgets
  .find((widget) => widget.name === "storyboard").value"""
LOAD = """async (graph) => {
  await window.app.loadApiJson(graph, "board");
  const node = (window.app.rootGraph ?? window.app.graph).getNodeById(57);
  node.pos = [900, 100];
  node.setSize([620, 1150]);
}"""
# the high-noise stages that ran, each by the name of its clip
COUNT = """() => {
  window.ran = new Set();
  window.app.api.addEventListener("progress_state", ({ detail }) => {
    for (const { node_id: id, state } of Object.values(detail.nodes)) {
      if (state === "running" && /\\.high_/.test(id)) window.ran.add(id);
    }
  });
}"""


def keyframes(page: Page) -> list[str]:
    return [keyframe["picture"] for keyframe in json.loads(page.evaluate(TEXT))["keyframes"]]


def states(panel: Locator) -> list[str | None]:
    return [part.get_attribute("data-state") for part in panel.locator("button.segment").all()]


def run(page: Page, panel: Locator) -> int:
    """Run, until every segment is there; how many segments were sampled."""
    page.evaluate("() => { window.ran.clear(); void window.app.queuePrompt(0, 1); }")
    page.wait_for_function(
        "() => document.querySelector('[data-wan-flf2v=storyboard]').dataset.steps === '0'", timeout=120_000
    )
    assert set(states(panel)) <= {"kept", "done"}
    return int(page.evaluate("() => window.ran.size"))


def test_a_board_is_built_run_edited_saved_and_undone_by_hand(editor: Page, renderer: str, frontend: str) -> None:
    editor.set_viewport_size({"width": 1500, "height": 1600})
    graph: dict[str, Any] = shipped_graph("wan22_storyboard", api=True)
    board = {"keyframes": [{"picture": f"wan_flf2v_{side}.png"} for side in ("first", "last")], "length": 5}
    graph["57"]["inputs"] |= {"storyboard": json.dumps(board), "width": 64, "height": 64, "steps": 2, "high_steps": 1}
    editor.evaluate(LOAD, graph)
    editor.evaluate(COUNT)
    show_node(editor, 57)
    panel = editor.locator("[data-wan-flf2v=storyboard]")

    # built: one more keyframe from ComfyUI's folder, dragged to the front, and a prompt for each segment
    expect(panel).to_contain_text("2 keyframes · 5 frames = 0.31 s · 2 steps to come")
    panel.get_by_label("Add a picture").focus()
    panel.locator("option[value='wan_flf2v_first.png']").wait_for(state="attached")
    panel.get_by_label("Add a picture").select_option("wan_flf2v_first.png")
    expect(panel).to_contain_text("3 keyframes · 9 frames = 0.56 s · 4 steps to come")
    dragged, target = (panel.locator(f"[data-part=keyframe-{at}]") for at in (2, 1))
    dragged.drag_to(target, target_position={"x": 10, "y": 30})
    expect(panel.locator("[data-part=keyframe-1]")).to_be_focused()
    built = ["wan_flf2v_first.png", "wan_flf2v_first.png", "wan_flf2v_last.png"]
    assert keyframes(editor) == built
    prompts = [f"a ball rolls, {renderer}", f"the sun rises, {renderer}"]  # other tests' runs are on this server, too
    for at, prompt in enumerate(prompts):
        panel.locator(f"[data-part=segment-{at}]").click()
        panel.locator("textarea[name=prompt]").fill(prompt)
    assert [segment["prompt"] for segment in json.loads(editor.evaluate(TEXT))["segments"]] == prompts

    # the board's own fields
    panel.locator("[data-part=all-0]").click()
    panel.locator("select[name=carry]").select_option("1")
    panel.locator("input[name=colour]").uncheck()
    board = json.loads(editor.evaluate(TEXT))
    assert (board["carry"], board["colour"]) == (1, False)
    panel.locator("select[name=carry]").select_option("0")
    panel.locator("input[name=colour]").check()
    assert not {"carry", "colour"} & set(json.loads(editor.evaluate(TEXT)))

    # keys, undo and redo
    panel.locator("[data-part=keyframe-0]").click()
    editor.keyboard.press("Delete")
    editor.wait_for_function(f"() => JSON.parse(({TEXT})()).keyframes.length === 2")
    assert keyframes(editor) == built[1:]
    panel.get_by_role("button", name="Undo").click()
    editor.wait_for_function(f"() => JSON.parse(({TEXT})()).keyframes.length === 3")
    if frontend == "newest":  # the bundled one measures its nodes anew after an undo, which is a change that ends redo
        editor.keyboard.press("Control+y")
        editor.wait_for_function(f"() => JSON.parse(({TEXT})()).keyframes.length === 2")
        editor.keyboard.press("Control+z")
        editor.wait_for_function(f"() => JSON.parse(({TEXT})()).keyframes.length === 3")
    expect(panel).to_contain_text("3 keyframes")
    assert keyframes(editor) == built
    panel.locator("[data-part=all-0]").click()
    room = "(each) => each.scrollHeight <= each.clientHeight && each.scrollWidth <= each.clientWidth"
    assert panel.evaluate(room), "the undone node is high enough for the whole form"
    panel.locator("textarea[name=prompt]").focus()
    editor.wait_for_timeout(1500)  # the undone node's looks take nothing from the new one
    expect(panel.locator("textarea[name=prompt]")).to_be_focused()

    # run, and again after one prompt was edited: only that segment is made
    assert run(editor, panel) == 2
    assert states(panel) == ["done", "done"]
    panel.locator("[data-part=segment-1]").click()
    expect(panel.locator("video")).to_be_visible()
    panel.locator("textarea[name=prompt]").fill(f"the sun sets, {renderer}")
    expect(panel).to_contain_text("2 steps to come")
    assert states(panel) == ["done", "to do"]
    assert run(editor, panel) == 1
    assert states(panel) == ["kept", "done"]
    editor.screenshot(path=screenshot_folder() / f"storyboard_{frontend}_{renderer}.png")

    # saved and loaded again, in this page and after a reload: the same text, and ComfyUI has kept every segment
    text = editor.evaluate(TEXT)
    saved = editor.evaluate("() => (window.app.rootGraph ?? window.app.graph).serialize()")
    editor.evaluate("(graph) => window.app.loadGraphData(graph, true, true, 'again')", saved)
    expect(panel).to_contain_text("0 steps to come")
    assert editor.evaluate(TEXT) == text
    editor.wait_for_function(
        "() => [localStorage, sessionStorage].some((store) => "
        "Object.values(store).some((value) => String(value).includes('the sun sets')))"
    )
    editor.reload()
    editor.wait_for_function(READY)
    expect(panel).to_contain_text("0 steps to come")
    assert editor.evaluate(TEXT) == text


def test_the_next_keyframe_input_is_shown_when_the_last_is_connected(editor: Page, renderer: str) -> None:
    graph: dict[str, Any] = shipped_graph("wan22_storyboard", api=True)
    for number, side in enumerate(("first", "last"), 1):
        graph[f"{80 + number}"] = {"class_type": "LoadImage", "inputs": {"image": f"wan_flf2v_{side}.png"}}
        graph["57"]["inputs"][f"keyframe_{number}"] = [f"{80 + number}", 0]
    graph["57"]["inputs"]["storyboard"] = '{"length": 5}'
    names = """() => (window.app.rootGraph ?? window.app.graph).getNodeById(57).inputs
      .map((input) => input.name).filter((name) => name.startsWith("keyframe_")).join()"""
    editor.evaluate(LOAD, graph)
    panel = editor.locator("[data-wan-flf2v=storyboard]")
    expect(panel).to_contain_text("2 keyframes · 5 frames")
    expect(panel.locator(".keyframe img")).to_have_count(2)
    assert editor.evaluate(names) == "keyframe_1,keyframe_2,keyframe_3"
    saved = editor.evaluate("() => (window.app.rootGraph ?? window.app.graph).serialize()")
    editor.evaluate("(graph) => window.app.loadGraphData(graph, true, true, 'again')", saved)
    expect(panel.locator(".keyframe img")).to_have_count(2)
    assert editor.evaluate(names) == "keyframe_1,keyframe_2,keyframe_3"
    editor.evaluate(
        "() => { const node = (window.app.rootGraph ?? window.app.graph).getNodeById(57);"
        " node.disconnectInput(node.inputs.findIndex((input) => input.name === 'keyframe_2')) }"
    )
    assert editor.evaluate(names) == "keyframe_1,keyframe_2"
    if renderer == "nodes2":
        expect(editor.locator("[data-node-id='57'] .lg-slot--input", has_text="keyframe_")).to_have_count(2)
    expect(panel.get_by_role("alert")).to_contain_text("needs between 2 and 12 keyframes; got 1")

    # of two pictures one can't be read, and one is taken away
    pictures = ["wan_flf2v_first.png", "absent.png"]
    text = json.dumps({"keyframes": [{"picture": picture} for picture in pictures]})
    editor.evaluate(
        "(text) => { (window.app.rootGraph ?? window.app.graph).getNodeById(57).widgets"
        ".find((widget) => widget.name === 'storyboard').value = text }",
        text,
    )
    expect(panel.locator("[data-part=keyframe-1]")).to_contain_text("can't be read")
    panel.locator("[data-part=keyframe-1]").dispatch_event("click")  # the editor may have something over it
    editor.keyboard.press("Delete")
    expect(panel.get_by_role("alert")).to_contain_text("needs between 2 and 12 keyframes; got 1")
