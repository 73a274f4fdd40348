"""Several jobs of one workflow as one graph, in which ComfyUI loads each model once (Wan FLF2V Pairs)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..workflows import Bindings

Graph = Mapping[str, Any]
NODE = "pairs"
_OWN = {("6", "text"), ("7", "text"), ("62", "image"), ("68", "image"), ("67", "length"), ("57", "noise_seed")}
_MODELS = ("model_high", "model_low")
_RUN = (*_MODELS, "steps", "cfg", "cfg_low", "sampler_name", "scheduler", "boundary", "high_steps")
_SAVED = ("frame_rate", "filename_prefix", "format", "quality", "codec", "crf", "playback", "frames_per_video")
_TAKEN = {
    "57": {*_RUN, "noise_seed"},
    "67": {"width", "height", "fit", "vae", "length"},
    "73": {*_SAVED, "width", "height"},
}


def fits(graph: Graph) -> bool:
    """Whether this workflow's jobs can be put together: but for what is taken over, they sample and save as the main one."""
    main = Bindings.load().graph
    return all(_rest(graph, node) == _rest(main, node) for node in _TAKEN)


def _rest(graph: Graph, node: str) -> Any:
    """What of this node is not taken over."""
    given = graph.get(node, {"class_type": "", "inputs": {}})
    return given["class_type"], {name: value for name, value in given["inputs"].items() if name not in _TAKEN[node]}


def common(graph: Graph) -> str:
    """What jobs that are put together share, as a text: all but their pictures, texts, lengths and seeds."""
    shared = {
        key: [node["class_type"], {name: value for name, value in node["inputs"].items() if (key, name) not in _OWN}]
        for key, node in graph.items()
    }
    return json.dumps(shared, sort_keys=True)


def together(graphs: Sequence[Graph]) -> dict[str, Any]:
    """One graph that makes the videos of all these, which share what is ``common``; the n-th is saved by ``save_n``."""
    graph = dict(graphs[0])
    sampler, frames, save = (graph.pop(node)["inputs"] for node in ("57", "67", "73"))
    text = graph["6"]["inputs"]["clip"]
    for node in ("6", "7", "62", "68", "8"):
        graph.pop(node, None)
    pairs = [
        {
            "first": each["68"]["inputs"]["image"],
            "last": each["62"]["inputs"]["image"],
            "length": each["67"]["inputs"]["length"],
            "prompt": each["6"]["inputs"]["text"],
            "negative": each["7"]["inputs"]["text"],
            "seed": each["57"]["inputs"]["noise_seed"],
        }
        for each in graphs
    ]
    inputs = {name: sampler[name] for name in _RUN} | {name: frames[name] for name in ("width", "height", "fit", "vae")}
    saved = {name: save[name] for name in _SAVED if name in save}
    texts = {"pairs": json.dumps(pairs, ensure_ascii=False), "save": json.dumps(saved)}
    graph[NODE] = {
        "class_type": "WanFLF2VPairs",
        "inputs": {**inputs, "clip": text, **texts},
        "_meta": {"title": "Pairs"},
    }
    return graph
