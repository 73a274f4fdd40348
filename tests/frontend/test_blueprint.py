"""The main workflow as one node, from the editor's search."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from playwright.sync_api import Page, TimeoutError, expect

from wan_flf2v.tests.frontend.browser import shipped_graph
from wan_flf2v.tests.frontend.draw_blueprint import BLUEPRINT, FIELDS, OUTSIDE, text

ADD_PICTURES = """() => {
  const { canvas } = window.app;
  const node = canvas.graph._nodes.find((each) => each.subgraph);
  for (const [slot, file] of [["first_frame", "wan_flf2v_first.png"], ["last_frame", "wan_flf2v_last.png"]]) {
    const picture = window.LiteGraph.createNode("LoadImage");
    canvas.graph.add(picture);
    picture.widgets.find((each) => each.name === "image").value = file;
    picture.connect(0, node, node.inputs.findIndex((each) => each.name === slot));
  }
}"""
SET = """(values) => {
  const node = window.app.canvas.graph._nodes.find((each) => each.subgraph);
  for (const [name, value] of Object.entries(values)) node.widgets.find((each) => each.name === name).value = value;
}"""
EXPORT = "async () => (await window.app.graphToPrompt()).output"


def test_the_file_is_what_the_main_workflow_gives() -> None:
    assert BLUEPRINT.read_text(encoding="utf-8") == text(), (
        "run python -m wan_flf2v.tests.frontend.draw_blueprint: the blueprint is out of date"
    )
    assert [path.name for path in BLUEPRINT.parent.iterdir()] == [BLUEPRINT.name]


def add_blueprint(page: Page) -> None:
    """Find the blueprint in the editor's search and take it, as a user does."""
    page.evaluate("() => window.app.canvas.graph.clear()")
    search = page.locator("input:focus")
    with contextlib.suppress(TimeoutError):  # on a busy machine the canvas takes slow clicks for two single ones
        page.mouse.dblclick(500, 350)
        search.wait_for(timeout=10_000)
    if not search.is_visible():
        page.mouse.dblclick(500, 350)
    expect(search).to_be_visible()
    page.keyboard.type(BLUEPRINT.stem)
    expect(page.get_by_text(BLUEPRINT.stem).first).to_be_visible()
    page.wait_for_timeout(500)  # the list follows the last letter
    page.keyboard.press("Enter")
    page.wait_for_function("() => window.app.canvas.graph._nodes.some((node) => node.subgraph)")


def inner(exported: dict[str, Any]) -> dict[str, Any]:
    """The exported graph of the subgraph with the workflow's own ids; what comes from outside by its class."""
    names = {key: key.rpartition(":")[2] if ":" in key else exported[key]["class_type"] for key in exported}

    def bare(value: Any) -> Any:
        return [names[value[0]], value[1]] if isinstance(value, list) else value

    return {
        names[key]: {name: bare(value) for name, value in node["inputs"].items()}
        for key, node in exported.items()
        if ":" in key
    }


def test_the_blueprint_is_the_main_workflow_and_its_fields_are_the_workflow_s(editor: Page) -> None:
    add_blueprint(editor)
    editor.evaluate(ADD_PICTURES)
    api: dict[str, Any] = shipped_graph("wan22_flf2v", api=True)
    expected = {key: dict(node["inputs"]) for key, node in api.items() if int(key) not in OUTSIDE}
    for side in ("start_image", "end_image"):
        expected["67"][side] = ["LoadImage", 0]
    assert inner(editor.evaluate(EXPORT)) == expected
    widgets = list(FIELDS)[2:]
    shown = "() => window.app.canvas.graph._nodes.find((each) => each.subgraph).widgets.map((each) => each.name)"
    assert editor.evaluate(shown) == widgets
    given = ("a puppy", "480x720 (2:3)", 49, 24, 7, 12, 3, 5)
    editor.evaluate(SET, dict(zip(widgets, given, strict=True)))
    changed = json.loads(json.dumps(expected))
    for name, value in zip(widgets, given, strict=True):
        node, field = FIELDS[name]
        changed[str(node)][field] = value
    assert inner(editor.evaluate(EXPORT)) == changed
