"""What users put around these nodes works as around core's: the same bits, nothing carried over the hand-over."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import pytest
import torch
from safetensors.torch import load_file, save_file

from wan_flf2v.engine.client import ComfyClient
from wan_flf2v.engine.locate import Engine
from wan_flf2v.engine.process import ComfyServer

Graph = dict[str, Any]
MakeGraph = Callable[..., Graph]
STEPS, SPLIT = 6, 3
LORA = "wan2.2_i2v_lightx2v_4steps_lora_v1_{}_noise.safetensors"
# Nodes that are put between the shift (54) and the sampler (57), by side, or on both.
PATCHES: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "a LoRA on high": {"high": ("LoraLoaderModelOnly", {"lora_name": LORA.format("high"), "strength_model": 1.0})},
    "a LoRA on low": {"low": ("LoraLoaderModelOnly", {"lora_name": LORA.format("low"), "strength_model": 0.7})},
    "a LoRA on both": {
        side: ("LoraLoaderModelOnly", {"lora_name": LORA.format(side), "strength_model": 1.0})
        for side in ("high", "low")
    },
    "EasyCache": {
        side: ("EasyCache", {"reuse_threshold": 3.0, "start_percent": 0.0, "end_percent": 1.0, "verbose": False})
        for side in ("high", "low")
    },
    "context windows": {
        side: (
            "WanContextWindowsManual",
            {"context_length": 5, "context_overlap": 1, "context_schedule": "standard_static", "context_stride": 1}
            | {"closed_loop": False, "fuse_method": "pyramid"}
            # later versions ask for these, 0.3.75 does not know them
            | {"freenoise": False, "retain_first_frame": False, "split_conds_to_windows": False},
        )
        for side in ("high", "low")
    },
    "CFGZeroStar on high, RescaleCFG on low": {"high": ("CFGZeroStar", {}), "low": ("RescaleCFG", {"multiplier": 0.7})},
}


def patched(graph: Graph, patches: dict[str, tuple[str, dict[str, Any]]]) -> Graph:
    """The graph with these nodes before the sampler's models, and without decode and video."""
    graph = {node: data for node, data in graph.items() if node not in ("8", "73")}
    for side, (kind, inputs) in patches.items():
        before = graph["57"]["inputs"][f"model_{side}"]
        graph[f"patch_{side}"] = {"class_type": kind, "inputs": {"model": before, **inputs}}
        graph["57"]["inputs"][f"model_{side}"] = [f"patch_{side}", 0]
    graph["57"]["inputs"] |= {"steps": STEPS, "high_steps": SPLIT, "cfg": 3.0}
    return graph


def saved_latents(graph: Graph, **links: list[Any]) -> Graph:
    for name, link in links.items():
        graph[name] = {"class_type": "SaveLatent", "inputs": {"samples": link, "filename_prefix": f"compose/{name}"}}
    return graph


def core_pair(graph: Graph) -> Graph:
    """Add core's two KSamplerAdvanced ("ch", "cl") on the models that the two-stage sampler gets."""
    ours = graph["57"]["inputs"]
    names = ("cfg", "sampler_name", "scheduler", "positive", "negative", "steps")
    shared = {name: ours[name] for name in names}
    high = {"model": ours["model_high"], "add_noise": "enable", "noise_seed": ours["noise_seed"], "start_at_step": 0}
    high |= {"end_at_step": SPLIT, "return_with_leftover_noise": "enable", "latent_image": ours["latent_image"]}
    low = {"model": ours["model_low"], "add_noise": "disable", "noise_seed": 0, "start_at_step": SPLIT}
    low |= {"end_at_step": 10000, "return_with_leftover_noise": "disable", "latent_image": ["ch", 0]}
    graph["ch"] = {"class_type": "KSamplerAdvanced", "inputs": {**shared, **high}}
    graph["cl"] = {"class_type": "KSamplerAdvanced", "inputs": {**shared, **low}}
    return graph


def without(graph: Graph, node: str) -> Graph:
    return {name: data for name, data in graph.items() if name != node}


def latent_of(server: ComfyServer, done: Any, name: str) -> torch.Tensor:
    assert done.status == "success", done.error
    item = done.record["outputs"][name]["latents"][0]
    return load_file(server.home / "output" / item["subfolder"] / item["filename"])["latent_tensor"]


@pytest.mark.parametrize("name", PATCHES)
def test_patched_experts_give_cores_bits(comfy_server: Any, small_graph: MakeGraph, name: str) -> None:
    graph = core_pair(patched(small_graph(), PATCHES[name]))
    cores = comfy_server.run(saved_latents(without(graph, "57"), b=["cl", 0]))
    if name == "context windows" and cores.status != "success":
        pytest.skip("this ComfyUI's context windows do not cut the frames' latent, with core's nodes either (0.3.75)")
    done = comfy_server.run(saved_latents(graph, a=["57", 0], b=["cl", 0]))
    ours = latent_of(comfy_server.server, done, "a")
    assert torch.equal(ours, latent_of(comfy_server.server, done, "b"))
    plain = comfy_server.run(saved_latents(patched(small_graph(), {}), a=["57", 0]))
    assert not torch.equal(ours, latent_of(comfy_server.server, plain, "a")), "the patch does something"


@pytest.mark.parametrize("name", ["a LoRA on high", "CFGZeroStar on high, RescaleCFG on low"])
def test_patched_experts_run_continuously_too(comfy_server: Any, small_graph: MakeGraph, name: str) -> None:
    patches = PATCHES[name]["high"]
    graph = patched(small_graph(), {"high": patches})
    ours = graph["57"]["inputs"]
    ours |= {"sampler_name": "uni_pc", "keep_history": True, "model_low": ours["model_high"]}
    names = ("positive", "negative", "latent_image", "steps", "cfg", "sampler_name", "scheduler", "denoise")
    one = {name: ours[name] for name in names} | {"model": ours["model_high"], "seed": ours["noise_seed"]}
    graph["one"] = {"class_type": "KSampler", "inputs": one}
    done = comfy_server.run(saved_latents(graph, a=["57", 0], b=["one", 0]))
    assert done.ran("part_high")
    assert torch.equal(latent_of(comfy_server.server, done, "a"), latent_of(comfy_server.server, done, "b"))


def test_a_step_cache_begins_anew_at_the_hand_over(
    comfy: ModuleType, call: Callable[..., Any], load_model: Callable[[str], Any], conditioning: list[Any]
) -> None:
    from comfy_extras.nodes_easycache import EasyCacheNode

    import nodes

    model = load_model("high_noise")
    cached = EasyCacheNode.execute(model, 3.0, 0.0, 1.0, False).result[0]
    frames = {"concat_latent_image": torch.rand(1, 16, 3, 4, 6), "concat_mask": torch.ones(1, 4, 3, 4, 6)}
    prompt = [[conditioning[0][0], frames]]
    inputs = {"positive": prompt, "negative": prompt, "latent_image": {"samples": torch.zeros(1, 16, 3, 4, 6)}}
    computed: list[int] = []
    hook = model.model.diffusion_model.blocks[0].register_forward_pre_hook(lambda *_: computed.append(1))
    with contextlib.ExitStack() as stack, torch.inference_mode():
        stack.callback(hook.remove)
        nodes.common_ksampler(
            cached, 5, 8, 1.0, "dpmpp_2m", "simple", prompt, prompt, inputs["latent_image"], last_step=4
        )
        first_half = len(computed)
        computed.clear()
        call(
            "WanFLF2VContinuousSampler", model_high=cached, model_low=cached, noise_seed=5, steps=8, start_at_step=0,
            switch_at_step=4, cfg=1.0, cfg_low=1.0, sampler_name="dpmpp_2m", scheduler="simple", **inputs,
        )  # fmt: skip
    assert first_half < 4, "the cache skips steps"
    assert len(computed) > first_half, "the low-noise part computes its own first step"


def fp8_scaled(path: Path, target: Path) -> None:
    """A model file as ComfyUI's scaled fp8 files are: 8-bit linear weights, each with its scale."""
    weights = load_file(path)
    out = {"scaled_fp8": torch.empty(2).to(torch.float8_e4m3fn)}
    for name, weight in weights.items():
        if weight.ndim == 2 and name.startswith("blocks.") and name.endswith(".weight"):
            scale = weight.float().abs().max() / 448
            out[name] = (weight.float() / scale).to(torch.float8_e4m3fn)
            out[name.replace(".weight", ".scale_weight")] = scale
        else:
            out[name] = weight
    save_file(out, target)


@torch.inference_mode()  # as ComfyUI loads and runs models
def test_fp8_scaled_experts_give_cores_bits(
    comfy: ModuleType, call: Callable[..., Any], models: Path, tmp_path: Path, conditioning: list[Any]
) -> None:
    import comfy.sd

    import nodes

    experts = []
    for side in ("high", "low"):
        file = next((models / "diffusion_models").glob(f"wan2.2_i2v_{side}_*"))
        fp8_scaled(file, tmp_path / file.name)
        experts.append(comfy.sd.load_diffusion_model(str(tmp_path / file.name)))
    weight = experts[0].model.diffusion_model.blocks[0].ffn[0].weight
    assert weight.dtype == torch.float8_e4m3fn or "Quantized" in type(weight).__name__ + type(weight.data).__name__
    high, low = call("WanFLF2VShift", model_high=experts[0], model_low=experts[1], shift=8.0)
    split, *_ = call(
        "WanFLF2VSchedule", model_high=high, model_low=low, steps=STEPS, sampler_name="dpmpp_2m", scheduler="simple",
        boundary=0.9, high_steps=-1, denoise=1.0,
    )  # fmt: skip
    frames = {"concat_latent_image": torch.rand(1, 16, 3, 4, 6), "concat_mask": torch.ones(1, 4, 3, 4, 6)}
    prompt = [[conditioning[0][0], frames]]
    latent = {"samples": torch.zeros(1, 16, 3, 4, 6)}
    (one,) = nodes.common_ksampler(high, 5, STEPS, 2.0, "dpmpp_2m", "simple", prompt, prompt, latent)
    ours, _ = call(
        "WanFLF2VContinuousSampler", model_high=high, model_low=high, positive=prompt, negative=prompt,
        latent_image=latent, noise_seed=5, steps=STEPS, start_at_step=0, switch_at_step=split, cfg=2.0, cfg_low=2.0,
        sampler_name="dpmpp_2m", scheduler="simple",
    )  # fmt: skip
    assert torch.equal(ours["samples"], one["samples"])


def test_comfyuis_tiled_decoder_takes_the_latent(comfy_server: Any, small_graph: MakeGraph) -> None:
    graph = small_graph()
    tiles = {"tile_size": 64, "overlap": 0, "temporal_size": 8, "temporal_overlap": 4}
    graph["8"] = {"class_type": "VAEDecodeTiled", "inputs": {**graph["8"]["inputs"], **tiles}}
    del graph["73"]["inputs"]["latent"], graph["73"]["inputs"]["vae"]
    graph["73"]["inputs"]["images"] = ["8", 0]
    done = comfy_server.run(graph)
    assert done.status == "success", done.error


@pytest.mark.parametrize("keep_history", [False, True])
def test_after_an_interrupt_in_the_low_noise_stage_the_next_run_is_whole(
    comfy_server: Any, small_graph: MakeGraph, keep_history: bool
) -> None:
    graph = patched(small_graph(), {})
    graph["57"]["inputs"] |= {"sampler_name": "dpmpp_2m", "keep_history": keep_history, "noise_seed": 77}
    expected = latent_of(comfy_server.server, comfy_server.run(saved_latents(copy.deepcopy(graph), a=["57", 0])), "a")
    long = saved_latents(copy.deepcopy(graph), a=["57", 0])
    long["57"]["inputs"] |= {"steps": 400, "high_steps": 2, "noise_seed": 78}

    async def interrupted(client: ComfyClient) -> Any:
        events = client.events()
        await anext(events)
        prompt_id = await client.queue(long)
        async for message in events:
            if message["type"] == "progress" and message["data"]["value"] > 4:
                await client.interrupt(prompt_id)
                break
        while (record := await client.history(prompt_id)) is None:
            await asyncio.sleep(0.05)
        return record

    record = comfy_server.call(interrupted)
    assert any(kind == "execution_interrupted" for kind, _ in record["status"]["messages"])
    graph["57"]["inputs"]["cfg_low"] = 3.0  # the same value as cfg's: the same result, not taken from the cache
    again = comfy_server.run(saved_latents(graph, a=["57", 0]))
    assert torch.equal(latent_of(comfy_server.server, again, "a"), expected)


async def run_watched(server: ComfyServer, graph: Graph) -> tuple[Any, int]:
    """The finished job's record and the number of preview pictures that came by websocket."""
    async with ComfyClient(server.url) as client, aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{server.url}/ws", params={"clientId": client.client_id}) as socket:
            await socket.receive()
            prompt_id = await client.queue(graph)
            previews = 0
            async for message in socket:
                previews += message.type == aiohttp.WSMsgType.BINARY
                if message.type == aiohttp.WSMsgType.TEXT:
                    data = message.json()
                    if data["type"] == "executing" and data["data"] == {"node": None, "prompt_id": prompt_id}:
                        break
        while (record := await client.history(prompt_id)) is None:
            await asyncio.sleep(0.05)
        return record, previews


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [("--cache-none", "--preview-method", "latent2rgb"), ("--cache-lru", "3", "--disable-smart-memory")],
    ids=["cache-none, previews", "cache-lru, no smart memory"],
)
def test_other_memory_and_cache_settings_give_the_same_video(
    engine: Engine,
    models: Path,
    tmp_path: Path,
    comfy_server: Any,
    small_graph: MakeGraph,
    pictures: tuple[Path, Path],
    options: tuple[str, ...],
) -> None:
    graph = saved_latents(patched(small_graph(), {}), a=["57", 0])
    expected = latent_of(comfy_server.server, comfy_server.run(graph), "a")
    with ComfyServer(engine, tmp_path, models, tiny=True, extra_args=options) as server:

        async def run_all() -> list[tuple[Any, int]]:
            async with ComfyClient(server.url) as client:
                for node, picture in (("68", pictures[0]), ("62", pictures[1])):
                    graph[node]["inputs"]["image"] = await client.upload_image(picture)
            runs = [await run_watched(server, graph)]
            graph["57"]["inputs"]["keep_history"] = True
            graph["57"]["inputs"]["sampler_name"] = "res_multistep"
            return [*runs, await run_watched(server, graph)]

        (record, previews), (continuous, more_previews) = asyncio.run(run_all())
        assert record["status"]["status_str"] == continuous["status"]["status_str"] == "success"
        item = record["outputs"]["a"]["latents"][0]
        assert torch.equal(
            load_file(tmp_path / "output" / item["subfolder"] / item["filename"])["latent_tensor"], expected
        )
        if "latent2rgb" in options:
            assert previews >= STEPS
            assert more_previews >= STEPS
