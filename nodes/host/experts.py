"""The files of both experts: found, checked, and as ComfyUI's own loaders in a graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import folder_paths
from comfy_execution.graph_utils import GraphBuilder

from ...flf2v.errors import FLF2VError
from ...flf2v.pairs import check_sides, partner
from .types import Link

NONE, BY_NAME = "none", "by name"
WEIGHT_DTYPES = ["default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2"]
MODELS, LORAS = "diffusion_models", "loras"
OUTPUTS = ("high", "low", "first")  # first: the high-noise model without its LoRA
COMPARED, BLOCKS = 1 << 16, 16  # bytes of each block, blocks of a file


def files(folder: str) -> list[str]:
    """The files that ComfyUI finds in one of its model folders."""
    found: list[str] = folder_paths.get_filename_list(folder)
    return found


def pair(given: Mapping[str, Any]) -> dict[str, str]:
    """The four files by high, low, lora_high and lora_low. Raises FLF2VError for what is no pair."""
    high, low = given["high_file"], given["low_file"]
    if low == BY_NAME:
        low = _partner("high_file", "low_file", high, MODELS)
    check_sides("model", high, low)
    if same_content(MODELS, high, low):
        raise FLF2VError(
            f"the high- and the low-noise model are the same file ({high} and {low} have the same content). "
            "Choose the other expert for one of them."
        )
    lora_high, lora_low = given["lora_high"], given["lora_low"]
    if lora_low == BY_NAME:
        lora_low = NONE if lora_high == NONE else _partner("lora_high", "lora_low", lora_high, LORAS)
    check_sides("LoRA", lora_high, lora_low)
    return {"high": high, "low": low, "lora_high": lora_high, "lora_low": lora_low}


def _partner(given: str, wanted: str, name: str, folder: str) -> str:
    found = partner(name, files(folder))
    if found is None:
        raise FLF2VError(
            f"no file in {folder} has the name of {given} ({name}) with high and low exchanged. Choose {wanted} by hand."
        )
    return found


def same_content(folder: str, first: str, second: str) -> bool:
    """Whether two files are copies: of one size, and alike in blocks over their whole length."""
    paths = [Path(folder_paths.get_full_path_or_raise(folder, name)) for name in (first, second)]
    size, other = (path.stat().st_size for path in paths)
    if size != other:
        return False
    with paths[0].open("rb") as one, paths[1].open("rb") as two:
        for block in range(BLOCKS):
            for file in (one, two):
                file.seek(max(0, size - COMPARED) * block // (BLOCKS - 1))
            if one.read(COMPARED) != two.read(COMPARED):
                return False
    return True


def add_expert(
    graph: GraphBuilder, name: str, given: Mapping[str, Any], output: int, *, display: str | None = None
) -> Link:
    """One of the outputs as ComfyUI's own loaders in the graph, their ids beginning with ``name``.

    ``display`` is the node on which they are shown, where it is not the one that expands.
    """
    found, side = pair(given), OUTPUTS[output]
    file = "low" if side == "low" else "high"
    nodes = [graph.node("UNETLoader", id=f"{name}_{file}", unet_name=found[file], weight_dtype=given["weight_dtype"])]
    lora = found.get(f"lora_{side}", NONE)
    if lora != NONE:
        asked = {"lora_name": lora, "strength_model": given["lora_strength"]}
        nodes.append(graph.node("LoraLoaderModelOnly", id=f"{name}_lora_{side}", model=nodes[0].out(0), **asked))
    for node in nodes:
        if display is not None:
            node.set_override_display_id(display)
    link: Link = nodes[-1].out(0)
    return link
