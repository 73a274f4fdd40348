"""Makes the subgraph blueprint ``subgraphs/*.json``, the main workflow as one node, from the workflow's UI graph.

``draw_workflows`` writes it too; alone: ``python -m wan_flf2v.tests.frontend.draw_blueprint``. The two pictures come
from outside; the other public fields are widgets of the node.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "workflows" / "wan22_flf2v.json"
BLUEPRINT = ROOT / "subgraphs" / "Wan FLF2V First-Last-Frame to Video.json"
OUTSIDE = {68, 62, 8, 1000}  # the pictures; the decoder, which Save Video does without; the note
FIELDS = {
    "first_frame": (67, "start_image"),
    "last_frame": (67, "end_image"),
    "prompt": (6, "text"),
    "size": (71, "preset"),
    "length": (67, "length"),
    "frame_rate": (73, "frame_rate"),
    "seed": (57, "noise_seed"),
    "steps": (57, "steps"),
    "cfg": (57, "cfg"),
    "shift": (54, "shift"),
}
INSIDE, OUT = -10, -20  # the editor's own ids of a subgraph's two ends
ABOUT = (
    "A video from a first and a last frame with Wan 2.2. For a size of your own, for the negative prompt and for other "
    "model files open the subgraph."
)


def _id(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"wan-flf2v/subgraphs/{name}"))


def blueprint(graph: dict[str, Any]) -> dict[str, Any]:
    """The blueprint of this UI graph, in the form in which the editor publishes one."""
    nodes = {node["id"]: node for node in graph["nodes"] if node["id"] not in OUTSIDE}
    links = [
        dict(zip(("id", "origin_id", "origin_slot", "target_id", "target_slot", "type"), link, strict=True))
        for link in graph["links"]
        if link[1] in nodes and link[3] in nodes
    ]
    for node in nodes.values():
        kept = {link["id"] for link in links}
        for slot in node.get("inputs", []):
            slot["link"] = slot["link"] if slot["link"] in kept else None
    inputs: list[dict[str, Any]] = []
    for name, (target, slot_name) in FIELDS.items():
        number = next(index for index, slot in enumerate(nodes[target]["inputs"]) if slot["name"] == slot_name)
        slot = nodes[target]["inputs"][number]
        slot["link"] = len(graph["links"]) + len(inputs) + 1
        links.append(
            {"id": slot["link"], "origin_id": INSIDE, "origin_slot": len(inputs)}
            | {"target_id": target, "target_slot": number, "type": slot["type"]}
        )
        inputs.append({"id": _id(name), "name": name, "type": slot["type"], "linkIds": [slot["link"]]})
    last = len(graph["links"]) + len(inputs) + 1
    nodes[73]["outputs"][0]["links"] = [last]
    links.append({"id": last, "origin_id": 73, "origin_slot": 0, "target_id": OUT, "target_slot": 0, "type": "VIDEO"})
    left, right = (edge([node["pos"][0] for node in nodes.values()]) for edge in (min, max))
    subgraph = {
        "id": _id("definition"),
        "version": 1,
        "state": {"lastGroupId": len(graph["groups"]), "lastNodeId": 74, "lastLinkId": last, "lastRerouteId": 0},
        "revision": 0,
        "config": {},
        "name": BLUEPRINT.stem,
        "category": "Video generation and editing/FLF2V",
        "description": ABOUT,
        "inputNode": {"id": INSIDE, "bounding": [left - 320, 0, 120, 40 + 20 * len(inputs)]},
        "outputNode": {"id": OUT, "bounding": [right + 700, 0, 120, 60]},
        "inputs": inputs,
        "outputs": [{"id": _id("video"), "name": "video", "type": "VIDEO", "linkIds": [last]}],
        "widgets": [],
        "nodes": list(nodes.values()),
        "groups": [group for group in graph["groups"] if "Pick" not in group["title"]],
        "links": links,
        "extra": {},
    }
    shown = [
        {"name": each["name"], "type": each["type"], "link": None}
        | ({} if each["type"] == "IMAGE" else {"widget": {"name": each["name"]}})
        for each in inputs
    ]
    node = {
        "id": 74,
        "type": subgraph["id"],
        "pos": [0, 0],
        "size": [400, 420],
        "flags": {},
        "order": 0,
        "mode": 0,
        "inputs": shown,
        "outputs": [{"name": "video", "type": "VIDEO", "links": []}],
        "title": BLUEPRINT.stem,
        "properties": {"cnr_id": "wan-flf2v"},
        "widgets_values": [],
    }
    return {
        "revision": 0,
        "last_node_id": 74,
        "last_link_id": 0,
        "nodes": [node],
        "links": [],
        "version": 0.4,
        "definitions": {"subgraphs": [subgraph]},
        "extra": {},
    }


def text() -> str:
    """The blueprint's file."""
    return json.dumps(blueprint(json.loads(SOURCE.read_text(encoding="utf-8"))), ensure_ascii=False, indent=1) + "\n"


def write() -> None:
    """Write the blueprint's file."""
    BLUEPRINT.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    write()
