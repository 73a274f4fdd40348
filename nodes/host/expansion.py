"""What a composite node becomes: a graph of smaller nodes that ComfyUI runs, and caches, in its place.

ComfyUI orders nodes by what they wait for, and keeps a result for those that wait for it. What has run and is in no cache
runs again for a child that asks later. So a composite expands before anything above it runs: all its inputs are lazy (it
waits for nothing) and raw (it gets links), and it is a coroutine (ComfyUI takes those first).
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from comfy.cli_args import args
from comfy_api.latest import io
from comfy_execution.graph import ExecutionBlocker
from comfy_execution.graph_utils import GraphBuilder as GraphBuilder
from comfy_execution.graph_utils import is_link as is_link
from comfy_execution.progress import get_progress_state
from comfy_execution.utils import get_executing_context

from ...flf2v.errors import FLF2VError
from ...flf2v.pairs import check_sides
from .experts import BY_NAME, NONE, add_expert
from .schema import schema
from .types import Link

SHIFT_NODE = "WanFLF2VShift"
SHIFT_INPUTS = ("model_high", "model_low")  # in the order of its outputs
LOADER_NODE = "WanFLF2VLoadExperts"
LOADER_INPUTS = {
    "low_file": BY_NAME,
    "lora_high": NONE,
    "lora_low": BY_NAME,
    "weight_dtype": "default",
    "lora_strength": 1.0,
}


def composite_schema(*, read_early: Container[str] = (), **fields: Any) -> io.Schema:
    """The schema of a node that expands: each of its inputs is a link or a widget's value, but for those read early."""
    for each in fields["inputs"]:
        if each.id not in read_early:
            each.lazy = True
            each.extra_dict = {**each.extra_dict, "rawLink": True}
    return schema(enable_expand=True, **fields)


def past_shift(graph: GraphBuilder, prompt: Any, link: Link) -> Link:
    """The model behind ``link``; Wan FLF2V Shift and Load Experts on its way are put into ``graph`` for this model alone.

    Both outputs of such a node come together, so both experts would be in memory. What lies between (LoRAs, patches) is
    put into ``graph`` again, too. Raises FLF2VError where the shift has no such model, or the files are no pair.
    """
    if not _carries_model(prompt, link):
        return link
    node_id, output = link
    kind, inputs = (prompt.get_node(node_id)[key] for key in ("class_type", "inputs"))
    if kind == SHIFT_NODE:
        name = SHIFT_INPUTS[output]
        if name not in inputs:
            raise FLF2VError(
                "both model_high and model_low must be connected to Wan FLF2V Shift; with one model use ComfyUI's KSampler."
            )
        model = past_shift(graph, prompt, inputs[name])
        copy = graph.node("ModelSamplingSD3", id=f"{node_id}_{name}", model=model, shift=inputs["shift"])
        output = 0
    elif kind == LOADER_NODE and not any(map(is_link, inputs.values())):
        return add_expert(graph, node_id, {**LOADER_INPUTS, **inputs}, output, display=node_id)
    else:
        moved = {name: past_shift(graph, prompt, given) if is_link(given) else given for name, given in inputs.items()}
        if moved == inputs:
            return link
        copy = graph.node(kind, id=node_id, **moved)
    copy.set_override_display_id(node_id)
    found: Link = copy.out(output)
    return found


def past_shifts(graph: GraphBuilder, prompt: Any, high: Link, low: Link) -> tuple[Link, Link]:
    """``past_shift`` of both models, which ``check_order`` takes for rightly connected."""
    check_order(prompt, high, low)
    return past_shift(graph, prompt, high), past_shift(graph, prompt, low)


def check_order(prompt: Any, high: Link, low: Link) -> None:
    """Raise FLF2VError where the names of the two models' files, or of their LoRAs, say that they are swapped."""
    files, others = _files(prompt, high), _files(prompt, low)
    for name in sorted(files.keys() & others.keys()):
        check_sides(name, ", ".join(files[name]), ", ".join(others[name]))


def model_files(hidden: Any, name: str) -> str:
    """All texts that the nodes on the way of the running node's model ``name`` were given, file names among them."""
    if hidden is None or hidden.dynprompt is None:
        return ""
    found = _files(hidden.dynprompt, hidden.dynprompt.get_node(hidden.unique_id)["inputs"][name])
    return "\n".join(text for texts in found.values() for text in texts)


def _files(prompt: Any, link: Any) -> dict[str, list[str]]:
    """The texts that the nodes on a model's way were given, by their inputs' names."""
    found: dict[str, list[str]] = {}
    if not is_link(link) or not _carries_model(prompt, link):
        return found
    kind, inputs = (prompt.get_node(link[0])[key] for key in ("class_type", "inputs"))
    for name, given in inputs.items():
        if isinstance(given, str):
            found.setdefault(name, []).append(given)
        elif kind != SHIFT_NODE or name == SHIFT_INPUTS[link[1]]:
            for other, texts in _files(prompt, given).items():
                found.setdefault(other, []).extend(texts)
    return found


def _carries_model(prompt: Any, link: Link) -> bool:
    import nodes  # late: it is ComfyUI's main module, which scripts that import the pack don't need

    kind = nodes.NODE_CLASS_MAPPINGS[prompt.get_node(link[0])["class_type"]]
    return bool(kind.RETURN_TYPES[link[1]] == "MODEL")


def is_read(dynprompt: Any, node_id: str | None, output: int) -> bool:
    """Whether anything takes this output of the node; of the node that is asked about now when both are None."""
    if dynprompt is None:
        dynprompt, running = get_progress_state().dynprompt, get_executing_context()
        node_id = None if running is None else running.node_id
    nodes = (dynprompt.get_node(each) for each in dynprompt.all_node_ids())
    return any(value == [node_id, output] for node in nodes for value in node["inputs"].values())


def stop_here() -> Any:
    """An output behind which nothing runs."""
    return ExecutionBlocker(None)


def not_kept(nodes: int) -> list[str]:
    """What ComfyUI, as it was started, can't keep of an expansion of so many nodes, in a sentence."""
    if args.cache_none:
        return ["ComfyUI keeps no results (--cache-none): each edit makes everything again."]
    if args.cache_lru and args.cache_lru < nodes:
        return [f"ComfyUI keeps {args.cache_lru} results (--cache-lru) and this takes {nodes}: edits make more again."]
    return []
