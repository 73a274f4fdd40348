"""ComfyUI's own first/last-frame node and its two samplers become the pack's nodes, where the user asks for it."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from wan_flf2v.tests.frontend.browser import LATER, load_workflow, shipped_graph
from wan_flf2v.tests.frontend.test_undo import remember, wait_for_change

EXPORT = "async () => (await window.app.graphToPrompt()).output"
REPLACE = """(id) => {
  const items = window.app.collectNodeMenuItems(window.app.canvas.graph.getNodeById(id));
  items.find((item) => item?.content === "Replace with Wan FLF2V's nodes").callback();
}"""
SET = """([id, name, value]) => {
  window.app.canvas.graph.getNodeById(id).widgets.find((each) => each.name === name).value = value;
}"""
KINDS = "() => window.app.canvas.graph._nodes.map((node) => node.type).sort()"
PACKED = """() => {
  const { canvas } = window.app;
  const outside = ["LoadImage", "MarkdownNote", "CreateVideo", "SaveVideo"];
  const inside = canvas.graph._nodes.filter((node) => !outside.includes(node.type));
  const { node } = canvas.graph.convertToSubgraph(new Set(inside));
  canvas.openSubgraph(node.subgraph, node);
}"""


def by_class(exported: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The inputs by class and title, links by what they come from, so that ids do not matter."""
    names = {key: f"{node['class_type']} {node['inputs'].get('text', '')[:9]}" for key, node in exported.items()}
    names |= {
        key: f"{node['class_type']} {node['inputs'].get('unet_name') or node['inputs'].get('image') or ''}"
        for key, node in exported.items()
        if node["class_type"] in {"UNETLoader", "LoadImage"}
    }
    names |= {
        key: f"Shift of {names[node['inputs']['model'][0]]}"
        for key, node in exported.items()
        if node["class_type"] == "ModelSamplingSD3"
    }

    def bare(value: Any) -> Any:
        return [names[value[0]], value[1]] if isinstance(value, list) else value

    return {
        names[key]: {name: bare(value) for name, value in node["inputs"].items() if name not in LATER}
        for key, node in exported.items()
    }


def expected() -> dict[str, dict[str, Any]]:
    """The graph of core's nodes with ours in their place, and every value where it was."""
    core: dict[str, Any] = shipped_graph("wan22_flf2v_core", api=True)
    old = {name: dict(core[key]["inputs"]) for key, name in {"67": "frames", "57": "high", "58": "low"}.items()}
    own: dict[str, Any] = shipped_graph("wan22_flf2v", api=True)
    widgets = {name: value for name, value in own["67"]["inputs"].items() if not isinstance(value, list)}
    core["67"] = {"class_type": "WanFLF2VConditioning", "inputs": {**widgets, **old["frames"]}}
    kept = {name: old["high"][name] for name in ("noise_seed", "steps", "cfg", "sampler_name", "scheduler")}
    links = {"model_high": old["high"]["model"], "model_low": old["low"]["model"]}
    core["57"] = {
        "class_type": "WanFLF2VTwoStageSampler",
        "inputs": {**own["57"]["inputs"], **kept, **links, "high_steps": old["high"]["end_at_step"]},
    }
    del core["58"]
    core["8"]["inputs"]["samples"] = ["57", 0]
    return by_class(core)


def test_the_replacement_has_every_value_and_link_and_is_undone_at_once(
    editor: Page, frontend: str, renderer: str
) -> None:
    load_workflow(editor, "wan22_flf2v_core")
    before, kinds = editor.evaluate(EXPORT), editor.evaluate(KINDS)
    changes = remember(editor)
    editor.evaluate(REPLACE, 67)
    expect(editor.get_by_text("Replaced.").first).to_be_visible()
    wait_for_change(editor, changes)
    assert by_class(editor.evaluate(EXPORT)) == expected()
    editor.keyboard.press("Control+z")
    if (frontend, renderer) == ("bundled", "nodes2"):  # which takes the size of a new node down as a step of its own
        editor.keyboard.press("Control+z")
    editor.wait_for_function(f"(kinds) => JSON.stringify(({KINDS})()) === JSON.stringify(kinds)", arg=kinds)
    assert by_class(editor.evaluate(EXPORT)) == by_class(before)


def test_inside_a_subgraph_the_links_to_its_borders_are_kept(editor: Page) -> None:
    load_workflow(editor, "wan22_flf2v_core")
    editor.evaluate(PACKED)
    editor.evaluate(REPLACE, 67)
    assert by_class(editor.evaluate(EXPORT)) == expected()


def test_samplers_that_are_not_one_run_are_refused_in_words_and_left_as_they_are(editor: Page) -> None:
    load_workflow(editor, "wan22_flf2v_core")
    editor.evaluate(SET, [58, "start_at_step", 9])
    editor.evaluate(SET, [58, "steps", 21])
    before = editor.evaluate(EXPORT)
    editor.evaluate(REPLACE, 67)
    expect(editor.get_by_text("look at steps, start_at_step").first).to_be_visible()
    assert editor.evaluate(EXPORT) == before
    offered = (
        "() => window.app.collectNodeMenuItems(window.app.canvas.graph.getNodeById(57)).map((item) => item?.content)"
    )
    assert "Replace with Wan FLF2V's nodes" not in editor.evaluate(offered)
