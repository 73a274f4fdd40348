"""The graphs that are compared: the shipped workflow and the same one of ComfyUI's core nodes, cut down to a question."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Graph = dict[str, Any]
WORKFLOWS = Path(__file__).parents[1] / "workflows" / "api"
OURS, CORE = "wan22_flf2v", "wan22_flf2v_core"
CONDITIONING = "67"
SAVE = "save"


def load(name: str, first: str, last: str, *, width: int, height: int, length: int) -> Graph:
    """A shipped API graph with these pictures and this size; the size goes straight into the conditioning node."""
    graph: Graph = json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))
    graph["68"]["inputs"]["image"], graph["62"]["inputs"]["image"] = first, last
    graph[CONDITIONING]["inputs"].update(width=width, height=height, length=length)
    graph.pop("71", None)
    return graph


def conditioning_only(graph: Mapping[str, Any]) -> Graph:
    """The graph up to the conditioning, which ``PreviewAny`` asks for."""
    show = {"class_type": "PreviewAny", "inputs": {"source": [CONDITIONING, 0]}}
    return _with_ancestors(graph, {SAVE: show})


def sampling_only(graph: Mapping[str, Any], steps: int, seed: int, cfg_low: float) -> Graph:
    """The graph up to the finished latent, which is saved; ``steps`` half by each expert."""
    graph = copy.deepcopy(dict(graph))
    if "58" in graph:
        graph["57"]["inputs"].update(steps=steps, noise_seed=seed, end_at_step=steps // 2)
        graph["58"]["inputs"].update(steps=steps, noise_seed=seed + 1, start_at_step=steps // 2, cfg=cfg_low)
        last = "58"
    else:
        graph["57"]["inputs"].update(steps=steps, noise_seed=seed, high_steps=steps // 2, cfg_low=cfg_low)
        last = "57"
    save = {"class_type": "SaveLatent", "inputs": {"samples": [last, 0], "filename_prefix": f"bench/{last}_{seed}"}}
    return _with_ancestors(graph, {SAVE: save})


def _with_ancestors(graph: Mapping[str, Any], targets: Graph) -> Graph:
    """The targets and every node of the graph that they need."""
    kept: Graph = {}
    waiting = list(targets.items())
    while waiting:
        name, node = waiting.pop()
        kept[name] = node
        for value in node["inputs"].values():
            if isinstance(value, list) and value[0] not in kept:
                waiting.append((value[0], graph[value[0]]))
    return kept
