"""The two-stage sampler against ComfyUI core's own samplers, through the real server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, equal

from wan_flf2v.engine.client import ComfyClient

Graph = dict[str, Any]
MakeGraph = Callable[..., Graph]


def saving_latents(graph: Graph, **links: list[Any]) -> Graph:
    """The graph without decode and video, saving the latents at ``links`` instead."""
    graph = {node: data for node, data in graph.items() if node not in ("8", "73", "61", "60")}
    for name, link in links.items():
        graph[name] = {"class_type": "SaveLatent", "inputs": {"samples": link, "filename_prefix": f"latents/{name}"}}
    return graph


def core_pair(graph: Graph, split: int, steps: int, low_seed: int = 0, cfg_low: float | None = None) -> None:
    """Add the official pair of KSamplerAdvanced, nodes "ch" and "cl", beside the two-stage sampler 57."""
    ours = graph["57"]["inputs"]
    shared = {name: ours[name] for name in ("cfg", "sampler_name", "scheduler", "positive", "negative")}
    high = {"model": ours["model_high"], "add_noise": "enable", "noise_seed": ours["noise_seed"], "start_at_step": 0}
    high |= {"end_at_step": split, "return_with_leftover_noise": "enable", "latent_image": ours["latent_image"]}
    low = {"model": ours["model_low"], "add_noise": "disable", "noise_seed": low_seed, "start_at_step": split}
    low |= {"end_at_step": 10000, "return_with_leftover_noise": "disable", "latent_image": ["ch", 0]}
    low |= {"cfg": ours["cfg"] if cfg_low is None else cfg_low}
    graph["ch"] = {"class_type": "KSamplerAdvanced", "inputs": {**shared, "steps": steps, **high}}
    graph["cl"] = {"class_type": "KSamplerAdvanced", "inputs": {**shared, "steps": steps, **low}}


def saved(comfy_server: Any, done: Any, name: str) -> Tensor:
    assert done.status == "success", done.error
    item = done.record["outputs"][name]["latents"][0]
    return load_file(Path(comfy_server.output) / item["subfolder"] / item["filename"])["latent_tensor"]


@pytest.mark.parametrize("sampler", ["euler", "uni_pc", "dpmpp_2m"])
def test_equals_two_core_samplers_bit_for_bit(comfy_server: Any, small_graph: MakeGraph, sampler: str) -> None:
    graph = small_graph(**{"57_steps": 6, "57_cfg": 3.5})
    graph["57"]["inputs"] |= {"sampler_name": sampler, "cfg_low": 2.0}
    graph["67"]["inputs"]["batch_size"] = 2
    split = {"euler": 3, "uni_pc": 4, "dpmpp_2m": 3}[sampler]  # the table of the official rule, shift 8
    core_pair(graph, split, 6, cfg_low=2.0)
    done = comfy_server.run(saving_latents(graph, a=["57", 0], b=["cl", 0], ah=["57", 1], bh=["ch", 0]))
    ours, cores = saved(comfy_server, done, "a"), saved(comfy_server, done, "b")
    assert ours.shape == (2, 16, 3, 6, 8)
    assert ours.std() > 0.1
    assert equal(ours, cores)
    assert equal(saved(comfy_server, done, "ah"), saved(comfy_server, done, "bh"))


def test_one_model_on_both_sides_equals_one_ksampler(comfy_server: Any, small_graph: MakeGraph) -> None:
    graph = small_graph()
    graph["54"]["inputs"]["model_low"] = ["37", 0]
    ours = graph["57"]["inputs"]
    names = ("positive", "negative", "latent_image", "steps", "cfg", "sampler_name", "scheduler", "denoise")
    inputs = {name: ours[name] for name in names} | {"model": ours["model_high"], "seed": ours["noise_seed"]}
    graph["one"] = {"class_type": "KSampler", "inputs": inputs}
    done = comfy_server.run(saving_latents(graph, a=["57", 0], b=["one", 0]))
    two, one = saved(comfy_server, done, "a"), saved(comfy_server, done, "b")
    assert (two - one).abs().max() < 1e-4 * one.abs().max()  # the hand-over divides and multiplies by 1 - sigma


def test_denoise_below_one_equals_one_ksampler_with_the_same_denoise(comfy_server: Any, small_graph: MakeGraph) -> None:
    graph = small_graph()
    graph["54"]["inputs"] |= {"model_low": ["37", 0]}
    ours = graph["57"]["inputs"]
    ours |= {"denoise": 0.6, "boundary": 0.7}
    names = ("positive", "negative", "latent_image", "steps", "cfg", "sampler_name", "scheduler", "denoise")
    inputs = {name: ours[name] for name in names} | {"model": ours["model_high"], "seed": ours["noise_seed"]}
    graph["one"] = {"class_type": "KSampler", "inputs": inputs}
    done = comfy_server.run(saving_latents(graph, a=["57", 0], b=["one", 0]))
    two, one = saved(comfy_server, done, "a"), saved(comfy_server, done, "b")
    assert (two - one).abs().max() < 1e-4 * one.abs().max()


@pytest.mark.parametrize("keep_history", [False, True])
@pytest.mark.parametrize(("high_steps", "side"), [(0, "model_low"), (4, "model_high")])
def test_with_no_step_for_one_expert_it_is_one_ksampler_of_the_other(
    comfy_server: Any, small_graph: MakeGraph, high_steps: int, side: str, keep_history: bool
) -> None:
    graph = small_graph(**{"57_noise_seed": 100 + high_steps})
    ours = graph["57"]["inputs"]
    ours |= {"high_steps": high_steps, "sampler_name": "dpmpp_2m", "keep_history": keep_history}
    names = ("positive", "negative", "latent_image", "steps", "cfg", "sampler_name", "scheduler", "denoise")
    inputs = {name: ours[name] for name in names} | {"model": ours[side], "seed": ours["noise_seed"]}
    graph["one"] = {"class_type": "KSampler", "inputs": inputs}
    done = comfy_server.run(saving_latents(graph, a=["57", 0], b=["one", 0]))
    assert equal(saved(comfy_server, done, "a"), saved(comfy_server, done, "b"))


@pytest.mark.parametrize("sampler", ["euler", "uni_pc", "dpmpp_2m", "res_multistep", "dpm_2"])
def test_few_steps_and_a_large_shift_do_not_break(comfy_server: Any, small_graph: MakeGraph, sampler: str) -> None:
    graph = small_graph(**{"57_steps": 6, "54_shift": 15})
    graph["57"]["inputs"]["sampler_name"] = sampler
    done = comfy_server.run(saving_latents(graph, a=["57", 0]))
    assert saved(comfy_server, done, "a").isfinite().all()


def test_the_low_stage_draws_other_noise_than_the_high_stage(comfy_server: Any, small_graph: MakeGraph) -> None:
    graph = small_graph()
    graph["57"]["inputs"]["sampler_name"] = "euler_ancestral"
    seed = graph["57"]["inputs"]["noise_seed"]
    core_pair(graph, 2, 4, low_seed=seed)
    same_noise = comfy_server.run(saving_latents(graph, a=["57", 0], b=["cl", 0]))
    assert not equal(saved(comfy_server, same_noise, "a"), saved(comfy_server, same_noise, "b"))
    core_pair(graph, 2, 4, low_seed=seed + 1)
    next_seed = comfy_server.run(saving_latents(graph, a=["57", 0], b=["cl", 0]))
    assert equal(saved(comfy_server, next_seed, "a"), saved(comfy_server, next_seed, "b"))


def test_the_conditioning_node_equals_cores_through_the_sampler(comfy_server: Any, small_graph: MakeGraph) -> None:
    graph = small_graph(**{"57_noise_seed": 21})
    core = dict(graph["67"]["inputs"])
    core.pop("fit")
    core |= {"width": 64, "height": 48}
    graph["core"] = {"class_type": "WanFirstLastFrameToVideo", "inputs": core}
    links = {"positive": ["core", 0], "negative": ["core", 1], "latent_image": ["core", 2]}
    graph["58"] = {"class_type": "WanFLF2VTwoStageSampler", "inputs": {**graph["57"]["inputs"], **links}}
    done = comfy_server.run(saving_latents(graph, a=["57", 0], b=["58", 0]))
    assert equal(saved(comfy_server, done, "a"), saved(comfy_server, done, "b"))


def test_wan21_with_clip_vision_equals_cores(comfy_server: Any, small_graph: MakeGraph) -> None:
    graph = small_graph("wan21_flf2v")
    core = {name: value for name, value in graph["67"]["inputs"].items() if name not in ("fit", "clip_vision")}
    for side, picture in (("start", "68"), ("end", "62")):
        inputs = {"clip_vision": ["49", 0], "image": [picture, 0], "crop": "none"}
        graph[f"v{side}"] = {"class_type": "CLIPVisionEncode", "inputs": inputs}
        core[f"clip_vision_{side}_image"] = [f"v{side}", 0]
    graph["core"] = {"class_type": "WanFirstLastFrameToVideo", "inputs": core}
    links = {"positive": ["core", 0], "negative": ["core", 1], "latent_image": ["core", 2]}
    graph["58"] = {"class_type": "KSampler", "inputs": {**graph["57"]["inputs"], **links}}
    done = comfy_server.run(saving_latents(graph, a=["57", 0], b=["58", 0]))
    assert equal(saved(comfy_server, done, "a"), saved(comfy_server, done, "b"))


def test_edits_run_only_what_depends_on_them(comfy_server: Any, small_graph: MakeGraph) -> None:
    graph = small_graph(**{"6_text": "a first prompt", "57_noise_seed": 7, "67_length": 13})

    def run(**changes: Any) -> Any:
        for name, value in changes.items():
            node, _, field = name.partition("_")
            graph[node[1:]]["inputs"][field] = value
        done = comfy_server.run(graph)
        assert done.status == "success", done.error
        return done

    def encoded(done: Any) -> bool:
        return "67" in done.progressed

    first = run()
    assert encoded(first)
    assert all(first.ran(node) for node in ("67", "high", "low"))
    prompt = run(n6_text="another prompt")
    assert not encoded(prompt)
    assert all(prompt.ran(node) for node in ("67", "high", "low"))
    low = run(n57_cfg_low=2.5)
    assert not low.ran("67")
    assert not low.ran("high")
    assert low.ran("low")
    seed = run(n57_noise_seed=8)
    assert not seed.ran("67")
    assert all(seed.ran(node) for node in ("high", "low"))
    rate = run(n73_frame_rate=24)
    assert rate.executed == ["73"]
    again = run()
    assert again.executed == []


@pytest.mark.parametrize(
    ("node", "changes", "message"),
    [
        ("54", {"shift": 5, "model_low": None}, "both model_high and model_low must be connected"),
        ("57", {"model_low": ["56", 0]}, "Send both models through one Wan FLF2V Shift node"),
        ("57", {"high_steps": 9}, r"high_steps must be at most steps \(4\)"),
        ("57", {"boundary": 0.0}, "boundary must be above 0 and at most 1"),
        (
            "54",
            {"model_high": ["56", 0], "model_low": ["37", 0]},
            "the unet_name files are swapped: wan2.2_i2v_low_noise",
        ),
        ("57", {"model_high": ["54", 1], "model_low": ["54", 0]}, "Choose them the other way round"),
    ],
)
def test_what_cannot_work_is_refused_on_the_users_own_node(
    comfy_server: Any, small_graph: MakeGraph, node: str, changes: Graph, message: str
) -> None:
    graph = small_graph(**{"54_shift": 5})
    inputs = graph[node]["inputs"] | changes
    graph[node]["inputs"] = {name: value for name, value in inputs.items() if value is not None}
    done = comfy_server.run(saving_latents(graph, a=["57", 0]))
    assert done.status == "error"
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(done.error)
    assert dict(done.record["status"]["messages"])["execution_error"]["node_id"] == "57"


async def texts_on_nodes(url: str, graph: Graph) -> dict[str, str]:
    """The last text that each node shows while the graph runs, from ComfyUI's binary messages of kind 3."""
    texts: dict[str, str] = {}
    async with (
        ComfyClient(url) as client,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}/ws", params={"clientId": client.client_id}) as socket,
    ):
        await socket.receive()
        prompt_id = await client.queue(graph)
        async for message in socket:
            if message.type == aiohttp.WSMsgType.BINARY and message.data[:4] == (3).to_bytes(4, "big"):
                size = int.from_bytes(message.data[4:8], "big")
                texts[message.data[8 : 8 + size].decode()] = message.data[8 + size :].decode()
            elif message.type == aiohttp.WSMsgType.TEXT:
                data = message.json()
                if data["type"] == "executing" and data["data"] == {"node": None, "prompt_id": prompt_id}:
                    break
    return texts


def with_lora(graph: Graph, side: str) -> Graph:
    lora = {"lora_name": f"wan2.2_i2v_lightx2v_4steps_lora_v1_{side}_noise.safetensors", "strength_model": 1.0}
    before = graph["57"]["inputs"][f"model_{side}"]
    graph["lora"] = {"class_type": "LoraLoaderModelOnly", "inputs": {"model": before, **lora}}
    graph["57"]["inputs"][f"model_{side}"] = ["lora", 0]
    return graph


@pytest.mark.parametrize(
    ("changes", "lora", "words"),
    [
        ({"high_steps": 0}, None, ["high-noise model takes no step", "high_steps is set to 0"]),
        ({"cfg": 3.5}, "high", ["cfg is 3.5, but a 4-step LoRA"]),
        ({"cfg": 3.5, "cfg_low": 2.0}, "low", ["cfg is 2, but a 4-step LoRA"]),
        ({"cfg": 3.5, "cfg_low": 1.0}, "low", []),
        ({"cfg": 3.5}, None, []),
    ],
)
def test_warnings_are_shown_on_the_users_node(
    comfy_server: Any, small_graph: MakeGraph, changes: Graph, lora: str | None, words: list[str]
) -> None:
    graph = small_graph(**{"57_noise_seed": 31})
    graph["57"]["inputs"] |= changes
    if lora:
        graph = with_lora(graph, lora)
    texts = asyncio.run(texts_on_nodes(comfy_server.url, saving_latents(graph, a=["57", 0])))
    assert set(texts) == ({"57"} if words else set())
    assert all(each in texts["57"] for each in words)


def test_high_only_saved_to_disk_and_low_only_loading_it_is_both_bit_for_bit(
    comfy_server: Any, small_graph: MakeGraph
) -> None:
    graph = small_graph(**{"57_noise_seed": 41, "57_steps": 6})
    own = {"steps_low": 9, "scheduler_low": "beta", "sampler_low": "dpmpp_2m_sde"}
    graph["57"]["inputs"] |= {"cfg_low": 2.0, "sampler_name": "euler_ancestral", **own}
    both = saved(comfy_server, comfy_server.run(saving_latents(graph, both=["57", 0])), "both")
    graph["57"]["inputs"]["stages"] = "high only"
    high = comfy_server.run(saving_latents(graph, high=["57", 0]))
    assert not high.ran("56"), "the low-noise model is not loaded"
    item = high.record["outputs"]["high"]["latents"][0]
    name = f"{item['subfolder']}/{item['filename']} [output]"
    graph["load"] = {"class_type": "LoadLatent", "inputs": {"latent": name}}
    graph["57"]["inputs"] |= {"stages": "low only", "latent_image": ["load", 0]}
    comfy_server.call(lambda client: client.free())
    low = comfy_server.run(saving_latents(graph, low=["57", 0]))
    assert equal(saved(comfy_server, low, "low"), both)
    assert not low.ran("37"), "the high-noise model is not loaded"


def test_drafts_are_shown_and_only_the_picked_one_is_finished(comfy_server: Any, small_graph: MakeGraph) -> None:
    graph = small_graph("wan22_flf2v_drafts", **{"57_noise_seed": 51, "57_drafts": 3, "94_index": 1})
    for node in ("73", "8"):
        del graph[node]
    graph["s"] = {"class_type": "SaveLatent", "inputs": {"samples": ["58", 0], "filename_prefix": "latents/draft"}}
    graph["94"]["inputs"]["index"] = 0
    looked = comfy_server.run(graph)
    assert looked.status == "success", looked.error
    assert [looked.ran(node) for node in ("high", "high_2", "high_3")] == [True] * 3
    assert "s" not in looked.record["outputs"], "nothing behind the pick has run"
    shown = looked.record["outputs"]["94"]["drafts"]
    assert len({each["filename"] for each in shown}) == 3
    with Image.open(comfy_server.server.home / "temp" / shown[0]["filename"]) as picture:
        assert (picture.n_frames, max(picture.size)) == (3, 320)
    graph["94"]["inputs"]["index"] = 2
    picked = comfy_server.run(graph)
    assert [picked.ran(node) for node in ("high", "high_2", "high_3", "low")] == [False] * 3 + [True], picked.executed
    direct = small_graph(**{"57_noise_seed": 52})
    done = comfy_server.run(saving_latents(direct, a=["57", 0]))
    assert equal(saved(comfy_server, picked, "s"), saved(comfy_server, done, "a"))
    graph["94"]["inputs"]["index"] = 4
    assert "index must be between 1 and 3, the number of drafts; got 4" in comfy_server.run(graph).error
