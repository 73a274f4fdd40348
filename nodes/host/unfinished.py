"""The latent of a video that is not finished: on the disk, beside the video, until the video is."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import comfy.utils
import torch
from comfy_execution.graph_utils import is_link
from safetensors import SafetensorError

FINISH = "wan_flf2v_finish"  # metadata: {"node": the save node's id, "graph": it and all that it needs but the latent}


def keep(folder: Path, name: str, samples: torch.Tensor, finish: Any, metadata: Mapping[str, Any]) -> Path:
    """Write the latent as ComfyUI's SaveLatent does, with ``finish`` in its metadata; returns its path.

    An equal job has an equal name, so that what finishes a video removes what an earlier attempt at it left. Raises
    OSError when it cannot be written.
    """
    samples = samples.detach().cpu().contiguous()
    text = json.dumps(finish)
    digest = hashlib.sha256(samples.float().numpy().tobytes() + text.encode()).hexdigest()[:12]
    path = folder / f"{name}_unfinished_{digest}.latent"
    if not path.exists():
        partial = path.with_name(f".{path.name}.partial")
        tensors = {"latent_tensor": samples, "latent_format_version_0": torch.tensor([])}
        texts = {key: json.dumps(value) for key, value in metadata.items()} | {FINISH: text}
        try:
            comfy.utils.save_torch_file(tensors, str(partial), metadata=texts)
            os.replace(partial, path)
        except SafetensorError as error:
            raise OSError(str(error)) from error
        finally:
            partial.unlink(missing_ok=True)
    return path


def finish_graph(dynprompt: Any, node_id: str, changes: Mapping[str, Any]) -> dict[str, Any] | None:
    """The save node with ``changes`` and all that it needs but the latent, as an API graph; None without a prompt."""
    if dynprompt is None:
        return None
    graph: dict[str, Any] = {}
    pending = [node_id]
    while pending:
        key = pending.pop()
        if key in graph:
            continue
        node = dict(dynprompt.get_node(key))
        inputs = dict(node["inputs"])
        if key == node_id:
            inputs.pop("latent", None)
            inputs |= changes
        graph[key] = {**node, "inputs": inputs}
        pending += [value[0] for value in inputs.values() if is_link(value)]
    return {"node": node_id, "graph": graph}
