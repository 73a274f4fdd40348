"""Nothing is executed more often than in core's graph of the same job, whatever ComfyUI keeps of earlier results."""

from __future__ import annotations

import copy
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wan_flf2v.engine.locate import Engine
from wan_flf2v.engine.process import ComfyServer

Graph = dict[str, Any]
ROOT = Path(__file__).parents[2]
NOT_SHORT, SHORT = "0.001", "100000"  # GB of RAM that ComfyUI is to leave free
MODES = {
    "none": ("--cache-none",),
    "lru 1": ("--cache-lru", "1"),
    "lru 100": ("--cache-lru", "100"),
    "ram": ("--cache-ram", NOT_SHORT),
    "ram short": ("--cache-ram", SHORT),
    "classic": (),
}
KEEPS_ALL = ("classic", "lru 100", "ram")
# What our nodes expand to, by the last part of their ids.
PARTS = {"high": "KSamplerAdvanced", "low": "KSamplerAdvanced"}
PARTS |= {"90_high": "UNETLoader", "90_low": "UNETLoader"}
PARTS |= {"lora_high": "LoraLoaderModelOnly", "lora_low": "LoraLoaderModelOnly"}
ALIKE = {"WanFirstLastFrameToVideo": "encode", "WanFLF2VConditioning": "encode"}
LOADERS = ("UNETLoader", "CLIPLoader", "VAELoader", "LoadImage")
COUNTED = (*LOADERS, "CLIPTextEncode", "encode", "KSamplerAdvanced", "LoraLoaderModelOnly", "GetImageSize")


PARAMETERS = [pytest.param(mode, marks=[] if mode == "classic" else pytest.mark.slow) for mode in MODES]


@pytest.fixture(scope="module", params=PARAMETERS)
def server(
    request: pytest.FixtureRequest, engine: Engine, models: Path, tmp_path_factory: Any, comfy_server: Any
) -> Iterator[tuple[str, Any]]:
    """The name of a cache mode and a ComfyUI that runs in it."""
    mode = request.param
    if mode == "classic":
        yield mode, comfy_server
        return
    home = tmp_path_factory.mktemp("mode")
    (home / "custom_nodes").mkdir()
    # where RAM is short ComfyUI collects garbage for each result: what is loaded once need not be gone through each time
    (home / "custom_nodes" / "frozen.py").write_text("import gc\n\ngc.freeze()\nNODE_CLASS_MAPPINGS = {}\n")
    with ComfyServer(engine, home, models, tiny=True, extra_args=MODES[mode]) as other:
        yield mode, type(comfy_server)(other)


def cores(ours: Graph) -> Graph:
    """The shipped workflow of core's nodes, for the same job. Node ids are the same but for the low-noise stage (58)."""
    graph: Graph = json.loads((ROOT / "workflows/api/wan22_flf2v_core.json").read_text(encoding="utf-8"))
    for node in ("6", "7", "62", "68"):
        graph[node]["inputs"] = ours[node]["inputs"]
    graph["67"]["inputs"] |= {"width": 64, "height": 48, "length": 9}
    for node in ("57", "58"):
        graph[node]["inputs"]["steps"] = 4
    graph["57"]["inputs"]["end_at_step"] = graph["58"]["inputs"]["start_at_step"] = 2
    return graph


def run_afresh(comfy: Any, graph: Graph) -> list[str]:
    """The ids of what is executed when ComfyUI keeps nothing of earlier prompts."""
    for wait_s in (0.2, 1, 4, 8):
        comfy.call(lambda client: client.free())
        time.sleep(wait_s)  # ComfyUI drops its cache between two looks at the queue
        done = comfy.run(graph)
        assert done.status == "success", done.error
        if "38" in done.executed:
            return list(done.executed)
    raise AssertionError("ComfyUI keeps its cache")


def count(graph: Graph, executed: list[str]) -> Counter[str]:
    """How often each kind of node was executed."""
    kinds = Counter[str]()
    for node in executed:
        kind = graph[node]["class_type"] if node in graph else PARTS.get(node.rpartition(".")[2], "other")
        kinds[ALIKE.get(kind, kind)] += 1
    return kinds


def as_shipped(graph: Graph) -> None:
    """No change."""


def linked_and_patched(graph: Graph) -> None:
    """The picture's own size, linked numbers, and a LoRA on each side behind the shift."""
    graph["size"] = {"class_type": "GetImageSize", "inputs": {"image": ["68", 0]}}
    graph["67"]["inputs"] |= {"width": ["size", 0], "height": ["size", 1]}
    graph["seed"] = {"class_type": "PrimitiveInt", "inputs": {"value": 5}}
    graph["cfg"] = {"class_type": "PrimitiveFloat", "inputs": {"value": 2.5}}
    for node in {"57", "58"} & set(graph):
        graph[node]["inputs"] |= {"noise_seed": ["seed", 0], "cfg": ["cfg", 0]}
    for side, node in (("high", "57"), ("low", "58" if "58" in graph else "57")):
        inputs = graph[node]["inputs"]
        name = "model" if "model" in inputs else f"model_{side}"
        lora = {"lora_name": f"wan2.2_i2v_lightx2v_4steps_lora_v1_{side}_noise.safetensors", "strength_model": 1.0}
        graph[f"lora_{side}"] = {"class_type": "LoraLoaderModelOnly", "inputs": {"model": inputs[name], **lora}}
        inputs[name] = [f"lora_{side}", 0]


def test_no_node_runs_more_often_than_in_cores_graph_and_one_expert_is_loaded_at_a_time(
    server: tuple[str, Any], small_graph: Callable[..., Graph], pictures: tuple[Path, Path]
) -> None:
    mode, comfy = server
    shipped = small_graph()
    for node, picture in (("68", pictures[0]), ("62", pictures[1])):
        shipped[node]["inputs"]["image"] = comfy.upload(picture)
    for change in (as_shipped, linked_and_patched):
        ours, core = copy.deepcopy(shipped), cores(shipped)
        change(ours)
        change(core)
        executed, expected = run_afresh(comfy, ours), run_afresh(comfy, core)
        mine, theirs = count(ours, executed), count(core, expected)
        assert {kind: mine[kind] for kind in COUNTED} == {kind: theirs[kind] for kind in COUNTED}, (mode, executed)
        assert (mine["VAEDecode"], theirs["VAEDecode"]) == (0, 1), "the save node decodes"
        order = [expected.index(node) for node in ("38", "67", "37", "57", "56")]
        assert order == sorted(order), "core loads one large model after the other, each when it is needed"
        order = [executed.index(node) for node in ("38", "67", "37", "57.0.0.high", "56")]
        assert order == sorted(order), (mode, executed)


def test_a_continuous_run_too_loads_one_expert_at_a_time(
    server: tuple[str, Any], small_graph: Callable[..., Graph], pictures: tuple[Path, Path]
) -> None:
    _, comfy = server
    graph = small_graph()
    for node, picture in (("68", pictures[0]), ("62", pictures[1])):
        graph[node]["inputs"]["image"] = comfy.upload(picture)
    graph["57"]["inputs"] |= {"keep_history": True, "sampler_name": "uni_pc"}
    executed = run_afresh(comfy, graph)
    found = count(graph, executed)
    assert (found["UNETLoader"], found["CLIPLoader"], found["VAELoader"], found["encode"]) == (2, 1, 1, 1), executed
    first = next(node for node in executed if node.endswith(".part_high"))
    order = [executed.index(node) for node in ("38", "67", "37", first, "56")]
    assert order == sorted(order), executed


def three_stages(graph: Graph) -> str:
    """The high-noise model first makes a step without what the others get."""
    graph["93"] = {"class_type": "WanFLF2VShift", "inputs": {"model_high": ["37", 0], "shift": 8}}
    graph["57"]["inputs"] |= {"model_first": ["93", 0], "first_steps": 1}
    return "37 first high 56 low"


def as_pair(graph: Graph) -> str:
    """Both experts from one node."""
    files = {"high_file": graph["37"]["inputs"]["unet_name"], "low_file": "by name", "weight_dtype": "default"}
    loras = {"lora_high": "none", "lora_low": "by name", "lora_strength": 1.0}
    graph["90"] = {"class_type": "WanFLF2VLoadExperts", "inputs": {**files, **loras}}
    graph["54"]["inputs"] |= {"model_high": ["90", 0], "model_low": ["90", 1]}
    return "90_high high 90_low low"


def with_drafts(graph: Graph, index: int = 2) -> str:
    """Two drafts, one of them finished."""
    high = graph["57"]["inputs"]
    graph["94"] = {"class_type": "WanFLF2VPick", "inputs": {"drafts": ["57", 0], "index": index}}
    graph["58"] = {
        "class_type": "WanFLF2VTwoStageSampler",
        "inputs": {**high, "stages": "low only", "latent_image": ["94", 0]},
    }
    graph["57"]["inputs"] = {**high, "stages": "high only", "drafts": 2}
    graph["73"]["inputs"]["latent"] = ["58", 0]
    return "37 high high_2 94 56 low"


def looking_only(graph: Graph) -> str:
    """Two drafts, none of them picked."""
    with_drafts(graph, 0)
    return "37 high high_2 94"


@pytest.mark.parametrize("change", [three_stages, as_pair, with_drafts, looking_only])
def test_every_way_of_stages_loads_each_expert_once_and_when_its_stage_needs_it(
    server: tuple[str, Any],
    small_graph: Callable[..., Graph],
    pictures: tuple[Path, Path],
    change: Callable[[Graph], str],
) -> None:
    _, comfy = server
    graph = small_graph()
    del graph["8"]
    order = change(graph).split()
    for node, picture in (("68", pictures[0]), ("62", pictures[1])):
        graph[node]["inputs"]["image"] = comfy.upload(picture)
    executed = run_afresh(comfy, graph)
    kinds = count(graph, executed)
    experts = 1 if change is looking_only else 2
    found = [kinds[kind] for kind in ("UNETLoader", "CLIPLoader", "VAELoader", "encode", "CLIPTextEncode")]
    assert found == [experts, 1, 1, 1, 2], executed
    parts = [node.rpartition(".")[2] for node in executed]
    places = [parts.index(node) for node in ("38", "67", *order)]
    assert places == sorted(places), executed


def test_where_results_are_kept_an_edit_runs_only_what_depends_on_it(
    server: tuple[str, Any], small_graph: Callable[..., Graph], pictures: tuple[Path, Path]
) -> None:
    mode, comfy = server
    if mode not in KEEPS_ALL:
        pytest.skip("this cache keeps less than one job's results")
    graph = small_graph(**{"6_text": f"a prompt of {mode}"})
    for node, picture in (("68", pictures[0]), ("62", pictures[1])):
        graph[node]["inputs"]["image"] = comfy.upload(picture)
    assert comfy.run(graph).ran("high")
    graph["57"]["inputs"]["cfg_low"] = 2.5
    low = comfy.run(graph)
    assert (low.ran("high"), low.ran("low"), low.ran("67"), low.ran("56")) == (False, True, False, False), low.executed
    graph["57"]["inputs"]["sampler_low"] = "dpmpp_2m"
    sampler = comfy.run(graph)
    assert (sampler.ran("high"), sampler.ran("low")) == (False, True), sampler.executed
    graph["6"]["inputs"]["text"] += ", at night"
    prompt = comfy.run(graph)
    assert ("67" in prompt.progressed, prompt.ran("high")) == (False, True), "no encode"
