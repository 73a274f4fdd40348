"""Storyboards for the tests: their graphs, the same clips by single nodes, and what a run of one executed."""

from __future__ import annotations

import copy
import hashlib
import json
import urllib.request
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np

from wan_flf2v.workflows import Bindings

Graph = dict[str, Any]
Board = dict[str, Any]
LENGTHS = (9, 5, 13, 9)
WORK = ("text", "frames", "high", "low", "clip", "film")
LOADERS = {"37": "high", "56": "low", "38": "text", "39": "vae"}


def board_of(names: Sequence[str], lengths: Sequence[int] = LENGTHS, **fields: Any) -> Board:
    segments = [{"prompt": f"prompt {number}", "length": length} for number, length in enumerate(lengths)]
    return {"keyframes": [{"picture": name} for name in names], "segments": segments, "seed": 5, **fields}


def graph_of(board: Board | str, **inputs: Any) -> Graph:
    """Loaders as shipped, the storyboard (57) and ComfyUI's own save node (73)."""
    bindings = Bindings.load("wan22_flf2v")
    graph = bindings.apply({})
    graph = {node: copy.deepcopy(graph[node]) for node in ("37", "56", "38", "39", "54")}
    text = board if isinstance(board, str) else json.dumps(board)
    widgets = {"width": 64, "height": 48, "fit": "crop", "frame_rate": 16.0, "steps": 2, "cfg": 2.0, "cfg_low": 0.0}
    widgets |= {"sampler_name": "euler", "scheduler": "simple", "boundary": 0.9, "high_steps": 1}
    links = {"model_high": ["54", 0], "model_low": ["54", 1], "clip": ["38", 0], "vae": ["39", 0]}
    graph["57"] = {"class_type": "WanFLF2VStoryboard", "inputs": {**links, **widgets, "storyboard": text, **inputs}}
    saved = {"video": ["57", 0], "filename_prefix": "storyboard/film", "format": "auto", "codec": "auto"}
    graph["73"] = {"class_type": "SaveVideo", "inputs": saved}
    return graph


def run(comfy: Any, board: Board, **inputs: Any) -> Any:
    done = comfy.run(graph_of(board, **inputs))
    assert done.status == "success", done.error
    return done


def work(done: Any) -> Counter[str]:
    """How many of each kind of work were executed."""
    return Counter(kind for kind in map(kind_of, done.executed) if kind in WORK)


def kind_of(node: str) -> str:
    """ "text", "high" … of a child's id; "load …" of a loader's."""
    return f"load {LOADERS[node]}" if node in LOADERS else node.rpartition(".")[2].partition("_")[0]


def told(comfy: Any, board: Board | str, **inputs: Any) -> Any:
    """What the panel is told of this board."""
    body = json.dumps({"graph": graph_of(board, **inputs), "node": "57"}).encode()
    request = urllib.request.Request(f"{comfy.url}/wan_flf2v/storyboard", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def states(facts: Any) -> Counter[str]:
    return Counter(segment["state"] for segment in facts["segments"])


def film_of(comfy: Any, done: Any) -> Path:
    return files_of(comfy, done, "73")[0]


def files_of(comfy: Any, done: Any, node: str) -> list[Path]:
    """What a node saved."""
    saved = [item for items in done.record["outputs"][node].values() for item in items if isinstance(item, dict)]
    return [Path(comfy.output) / item["subfolder"] / item["filename"] for item in saved]


def hashes(path: Path) -> list[str]:
    with av.open(str(path)) as video:
        return [hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest() for frame in video.decode(video=0)]


def pixels_of(path: Path) -> Any:
    with av.open(str(path)) as video:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]).astype(int)


def picture(name: str) -> list[Any]:
    return [f"picture {name}", 0]


def clip_alone(start: Any, end: str, length: int, seed: int, **more: Any) -> Graph:
    """A clip by Wan FLF2V Conditioning and Two-Stage Sampler on the storyboard's loaders, up to its file, ``clip<seed>``."""
    graph = graph_of("{}")
    run = {
        key: graph["57"]["inputs"][key] for key in ("model_high", "model_low", "steps", "cfg", "cfg_low", "scheduler")
    }
    run |= {"sampler_name": "euler", "boundary": 0.9, "high_steps": 1, "denoise": 1.0, "noise_seed": seed}
    size = {"width": 64, "height": 48}
    given = {"start_image": picture(start) if isinstance(start, str) else start, "end_image": picture(end)}
    given |= {"positive": ["p", 0], "negative": ["n", 0], "vae": ["39", 0], "length": length, "batch_size": 1}
    conditioned, sampled, frames = (f"{kind} {seed}" for kind in ("conditioned", "sampled", "frames"))
    links = {"positive": [conditioned, 0], "negative": [conditioned, 1], "latent_image": [conditioned, 2]}
    links |= {"positive_low": [conditioned, 3], "negative_low": [conditioned, 4]}
    carried = {"carried": more.pop("carried")} if "carried" in more else {}
    clip = {"latent": [sampled, 0], "vae": ["39", 0], "frame_rate": 16.0, **size, **carried}
    tail = {"image": [frames, 0], "batch_index": length - 5, "length": 5}
    nodes = {
        conditioned: ("WanFLF2VConditioning", {**given, **size, "fit": "crop", **more}),
        sampled: ("WanFLF2VTwoStageSampler", run | links),
        f"clip{seed}": ("WanFLF2VStoryboardClip", clip),
        frames: ("VAEDecode", {"samples": [sampled, 0], "vae": ["39", 0]}),
        f"tail{seed}": ("ImageFromBatch", tail),
    }
    named = [
        given["start_image"][0],
        given["end_image"][0],
        *(link[0] for link in more.values() if isinstance(link, list)),
    ]
    nodes |= {node: ("LoadImage", {"image": node[8:]}) for node in map(str, named) if node.startswith("picture ")}
    return {node: {"class_type": kind, "inputs": inputs} for node, (kind, inputs) in nodes.items()}


def film_graph(clips: Sequence[Graph], spans: str) -> Graph:
    """The film of such clips, under the storyboard's own number."""
    graph = graph_of("{}")
    for clip in clips:
        graph |= clip
    texts = {"p": "prompt 0", "n": ""}
    graph |= {
        node: {"class_type": "CLIPTextEncode", "inputs": {"clip": ["38", 0], "text": texts[node]}} for node in texts
    }
    files = [node for clip in clips for node in clip if node.startswith("clip")]
    inputs = {f"clip_{number}": [node, 0] for number, node in enumerate(files, 1)} | {"spans": spans}
    graph["57"] = {"class_type": "WanFLF2VStoryboardFilm", "inputs": inputs}
    return graph
