"""The shipped workflows in the real editor: nothing missing, and the export is the shipped API graph."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from wan_flf2v.engine.locate import Engine
from wan_flf2v.engine.process import ComfyServer
from wan_flf2v.tests.frontend.browser import LATER, set_renderer
from wan_flf2v.tests.frontend.draw_workflows import draw
from wan_flf2v.tests.frontend.layouts import LAYOUTS

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.json"))
LOAD = """
async (graph) => {
  await window.app.loadGraphData(graph, true, true, "checked");
  const root = window.app.rootGraph ?? window.app.graph;
  const known = window.LiteGraph.registered_node_types;
  const missing = root._nodes.filter((node) => !(node.type in known)).map((node) => node.type);
  const exported = await window.app.graphToPrompt();
  return {missing, api: exported.output};
}
"""


def shipped(name: str) -> dict[str, Any]:
    """The API graph without the titles."""
    graph = json.loads((WORKFLOWS / "api" / f"{name}.json").read_text(encoding="utf-8"))
    return {key: {"inputs": node["inputs"], "class_type": node["class_type"]} for key, node in graph.items()}


def test_every_api_graph_has_a_ui_graph() -> None:
    api = {path.stem for path in (WORKFLOWS / "api").glob("*.json") if "class_type" in path.read_text(encoding="utf-8")}
    assert set(NAMES) == api


def test_ui_graphs_open_without_a_missing_node_and_export_the_api_graph(
    server: ComfyServer, open_page: Callable[..., Page]
) -> None:
    page = open_page(server.url)
    for name in NAMES:
        graph = json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))
        result = page.evaluate(LOAD, graph)
        assert result["missing"] == [], name
        for node in result["api"].values():
            node.pop("_meta", None)
            node["inputs"] = {key: value for key, value in node["inputs"].items() if key not in LATER}
        assert result["api"] == shipped(name), name


def test_ui_graphs_are_what_the_drawing_gives(
    engine: Engine, server_of: Callable[[str], ComfyServer], open_page: Callable[..., Page]
) -> None:
    if not engine.own:
        pytest.skip("they are drawn in the ComfyUI that the project sets up")
    page = open_page(server_of("bundled").url)
    set_renderer(page, "classic")  # Nodes 2.0 has its own sizes
    for name in LAYOUTS:
        assert draw(page, name) == json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8")), (
            f"workflows/{name}.json is out of date: run python -m wan_flf2v.tests.frontend.draw_workflows"
        )


@pytest.mark.parametrize("name", NAMES)
def test_layout_runs_from_left_to_right_without_overlap(name: str) -> None:
    graph = json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))
    nodes = {node["id"]: node for node in graph["nodes"]}
    boxes = [(node["id"], *node["pos"], *node["size"]) for node in graph["nodes"]]
    for index, (first, x, y, width, height) in enumerate(boxes):
        for second, x2, y2, width2, height2 in boxes[index + 1 :]:
            apart = x + width <= x2 or x2 + width2 <= x or y + height + 30 <= y2 or y2 + height2 + 30 <= y
            assert apart, f"nodes {first} and {second} overlap"
    for _, source, _, target, _, _ in graph["links"]:
        start, end = nodes[source], nodes[target]
        assert start["pos"][0] <= end["pos"][0], f"the link {source} -> {target} runs backwards"
    for group in graph["groups"]:
        assert len(group["title"]) * group["font_size"] / 2 <= group["bounding"][2], f"{group['title']} fits its group"


@pytest.mark.parametrize("name", NAMES)
def test_note_names_every_model_file_with_folder_size_and_source(name: str) -> None:
    graph = json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))
    known = json.loads((WORKFLOWS / "api" / "models.json").read_text(encoding="utf-8"))
    note = next(node for node in graph["nodes"] if node["type"] == "MarkdownNote")["widgets_values"][0]
    files = {value for node in shipped(name).values() for value in node["inputs"].values() if value in list(known)}
    for file in files:
        model = known[file]
        assert f"[{file}]({model['url']}), {model['size']}, into `models/{model['folder']}/`" in note
