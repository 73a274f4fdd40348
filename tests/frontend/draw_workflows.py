"""Draws the UI graphs ``workflows/*.json`` from the API graphs, inside the real frontend.

Run after an API graph or a layout changed: ``python -m wan_flf2v.tests.frontend.draw_workflows``. The frontend
itself turns the API graph into nodes, widgets and links; this adds places, groups, colours and the note.
"""

from __future__ import annotations

import json
import tempfile
import uuid
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from wan_flf2v.engine.process import ComfyServer
from wan_flf2v.engine.setup import prepare, tiny_models
from wan_flf2v.tests.frontend import draw_blueprint
from wan_flf2v.tests.frontend.browser import launch, open_editor
from wan_flf2v.tests.frontend.layouts import LAYOUTS, Layout
from wan_flf2v.workflows.models import model_files

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
PACK_ID = "wan-flf2v"
LOADERS = {
    "UNETLoader": "unet_name",
    "CLIPLoader": "clip_name",
    "VAELoader": "vae_name",
    "CLIPVisionLoader": "clip_name",
    "LoraLoaderModelOnly": "lora_name",
}
APP_FIELDS = (
    "profile",
    "storyboard",
    "text",
    "prompt",
    "negative_prompt",
    "preset",
    "width",
    "height",
    "size",
    "length",
    "duration",
)
APP_FIELDS += ("frame_rate", "fps", "noise_seed", "seed", "steps", "cfg", "shift", "enable_fast_mode")

DRAW = """
async ({api, name, layout, note, models, own}) => {
  const app = window.app;
  await app.loadApiJson(api, name);
  const graph = app.rootGraph ?? app.graph;
  const panels = graph.nodes.flatMap(({widgets}) => widgets ?? []).filter(({name}) => name.startsWith("wan_flf2v_"));
  // their code comes with the first of them, and with it the inputs that are shown
  const isEmpty = ({element}) => !element.firstChild.childElementCount;
  while (panels.some(isEmpty)) await new Promise((done) => setTimeout(done, 20));
  for (const [id, [x, y, w, h]] of Object.entries(layout.nodes)) {
    const node = graph.getNodeById(Number(id));
    node.pos = [x, y];
    node.setSize([w, h]);
    const control = node.widgets?.find((widget) => widget.name === "control_after_generate");
    if (control) control.value = "fixed";
    node.properties = {"Node name for S&R": node.type, cnr_id: own.includes(node.type) ? "wan-flf2v" : "comfy-core"};
    if (models[id]) node.properties.models = models[id];
    const colour = layout.colours[id];
    if (colour) { node.color = colour[0]; node.bgcolor = colour[1]; }
  }
  const noteNode = window.LiteGraph.createNode("MarkdownNote");
  graph.add(noteNode);
  noteNode.title = "Read me";
  noteNode.pos = [-560, 0];
  noteNode.setSize([480, 640]);
  noteNode.widgets[0].value = note;
  return graph.serialize();
}
"""


def note_of(name: str, api: dict[str, Any], layout: Layout) -> str:
    """The note's Markdown: what the workflow does, which files go where, tips."""
    lines = [layout.about]
    needed = {file for node in api.values() if (file := node["inputs"].get(LOADERS.get(node["class_type"], "")))}
    lines += ["", "## Model files", ""] if needed else []
    for file, model in model_files().items():
        if file in needed:
            lines.append(f"- [{file}]({model.url}), {model.size}, into `models/{model.folder}/`")
    lines += ["", "## Tips", "", *(f"- {tip}" for tip in layout.tips)]
    return "\n".join(lines)


def models_of(api: dict[str, Any]) -> dict[str, list[dict[str, str]]]:
    """For each loader node the file it needs, in the form the frontend's missing-models dialog reads."""
    found = {}
    for key, node in api.items():
        file = node["inputs"].get(LOADERS.get(node["class_type"], ""))
        if file:
            model = model_files()[file]
            found[key] = [{"name": file, "url": model.url, "directory": model.folder}]
    return found


def app_mode(api: dict[str, Any]) -> dict[str, Any]:
    """What the newest editor's app mode shows: the public fields in their order, and what comes out.

    A field that two nodes have is left out: set on one of them alone, the workflow would not be the same any more.
    """
    inputs: list[list[Any]] = [[number, "image"] for number in (68, 62) if str(number) in api]
    for name in APP_FIELDS:
        nodes = sorted(int(key) for key, node in api.items() if not isinstance(node["inputs"].get(name, []), list))
        if len(nodes) == 1 or (nodes and name == "text"):  # the first text is the prompt
            inputs.append([nodes[0], name])
    ends = sorted(int(key) for key, node in api.items() if node["class_type"].endswith("SaveVideo"))
    return {"inputs": inputs, "outputs": ends}


def draw(page: Page, name: str) -> dict[str, Any]:
    """One UI graph, as the frontend serialises it, tidied so that a second drawing gives the same file."""
    api = json.loads((WORKFLOWS / "api" / f"{name}.json").read_text(encoding="utf-8"))
    layout = LAYOUTS[name]
    own = sorted({node["class_type"] for node in api.values() if node["class_type"].startswith("WanFLF2V")})
    graph: dict[str, Any] = page.evaluate(
        DRAW,
        {
            "api": api,
            "name": name,
            "layout": {"nodes": layout.nodes, "colours": layout.colours},
            "note": note_of(name, api, layout),
            "models": models_of(api),
            "own": own,
        },
    )
    return tidy(graph, name, layout) | {"extra": {"linearData": app_mode(api)}}


def tidy(graph: dict[str, Any], name: str, layout: Layout) -> dict[str, Any]:
    """The graph with stable ids, the layout's boxes and groups, and no view state."""
    graph = bare(graph)
    note = next(node for node in graph["nodes"] if node["type"] == "MarkdownNote")
    note["id"] = 1000
    renumber_links(graph)
    for node in graph["nodes"]:
        box = layout.nodes.get(str(node["id"]))
        if box is not None:
            node["pos"], node["size"] = list(box[:2]), list(box[2:])
    graph["nodes"].sort(key=lambda node: node["id"])
    for order, node in enumerate(sorted(graph["nodes"], key=lambda node: (node["pos"][0], node["pos"][1]))):
        node["order"] = order
    groups = []
    for number, (title, members) in enumerate(layout.groups.items(), 1):
        boxes = [layout.nodes[member] for member in members]
        left, top = min(box[0] for box in boxes) - 20, min(box[1] for box in boxes) - 80
        right = max(box[0] + box[2] for box in boxes) + 20
        bottom = max(box[1] + box[3] for box in boxes) + 20
        bounding = [left, top, right - left, bottom - top]
        groups.append(
            {"id": number, "title": title, "bounding": bounding, "color": "#3f789e", "font_size": 24, "flags": {}}
        )
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"wan-flf2v/workflows/{name}")),
        "revision": 0,
        "last_node_id": 1000,
        "last_link_id": graph["last_link_id"],
        "nodes": graph["nodes"],
        "links": graph["links"],
        "groups": groups,
        "config": {},
        "extra": {},
        "version": graph["version"],
    }


def bare(value: Any) -> Any:
    """Without empty and translated fields, which every frontend fills in for itself; an unlinked slot stays null."""
    if isinstance(value, dict):
        return {
            key: bare(item)
            for key, item in value.items()
            if (item is not None or key in {"link", "links"}) and key != "localized_name"
        }
    return [bare(item) for item in value] if isinstance(value, list) else value


def renumber_links(graph: dict[str, Any]) -> None:
    """Count the links from 1, whatever was drawn in this editor before."""
    numbers = {link[0]: number for number, link in enumerate(graph["links"], 1)}
    for link in graph["links"]:
        link[0] = numbers[link[0]]
    for node in graph["nodes"]:
        for slot in node.get("inputs", []):
            slot["link"] = numbers.get(slot["link"])
        for slot in node.get("outputs", []):
            slot["links"] = [numbers[link] for link in slot["links"] or []]
    graph["last_link_id"] = len(numbers)


def main() -> None:
    """Draw every workflow of LAYOUTS into ``workflows/``, and the blueprint of the main one."""
    engine = prepare()
    with (
        tempfile.TemporaryDirectory() as home,
        ComfyServer(engine, Path(home), tiny_models(engine), tiny=True) as server,
        sync_playwright() as playwright,
        launch(playwright) as browser,
    ):
        page = open_editor(browser, server.url)
        for name in LAYOUTS:
            text = json.dumps(draw(page, name), ensure_ascii=False, indent=1) + "\n"
            (WORKFLOWS / f"{name}.json").write_text(text, encoding="utf-8")
            print(f"workflows/{name}.json")
    draw_blueprint.write()


if __name__ == "__main__":
    main()
