"""No node changes what it is given: other branches of the graph, and ComfyUI's cache, hold the same objects."""

from __future__ import annotations

from typing import Any

import torch


def frozen(value: Any) -> Any:
    """A copy by value of nested tensors, lists and dicts."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: frozen(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [frozen(item) for item in value]
    return value


def snapshot(model: Any) -> Any:
    """All of a model patcher that a node could change, by value."""
    sampling = model.get_model_object("model_sampling")
    buffers = dict(sampling.named_buffers())
    kept = (
        model.patches,
        list(model.object_patches),
        model.model_options,
        list(model.attachments),
        sampling.shift,
        buffers,
    )
    return frozen(kept)


def same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)


def test_models_stay_as_they_were(call: Any, load_model: Any) -> None:
    models = [load_model("high_noise"), load_model("low_noise")]
    before = [snapshot(model) for model in models]
    high, low = call("WanFLF2VShift", model_high=models[0], model_low=models[1], shift=3.0)
    shifted = [snapshot(high), snapshot(low)]
    settings = {
        "steps": 4,
        "sampler_name": "uni_pc",
        "scheduler": "beta",
        "boundary": 0.9,
        "high_steps": -1,
        "denoise": 0.7,
    }
    call("WanFLF2VSchedule", model_high=high, model_low=low, **settings)
    assert all(map(same, before, [snapshot(model) for model in models]))
    assert all(map(same, shifted, [snapshot(high), snapshot(low)]))


def test_encoded_frames_and_conditioning_stay_as_they_were(call: Any, vae: Any, conditioning: Any) -> None:
    picture = torch.rand(1, 40, 72, 3)
    (frames,) = call(
        "WanFLF2VEncodeFrames",
        vae=vae,
        width=48,
        height=32,
        length=5,
        fit="pad",
        start_image=picture,
        end_image=picture,
    )
    before = frozen((picture, frames.latent, frames.mask, conditioning))
    first = call("WanFLF2VApplyFrames", positive=conditioning, negative=conditioning, frames=frames, batch_size=2)
    first[2]["samples"].fill_(7)  # what a sampler may do to its own latent
    second = call("WanFLF2VApplyFrames", positive=conditioning, negative=conditioning, frames=frames, batch_size=2)
    assert second[2]["samples"].eq(0).all()
    assert same(before, (picture, frames.latent, frames.mask, conditioning))
    assert first[0][0][1].keys() >= {"concat_latent_image", "concat_mask"}


def test_the_low_noise_stage_leaves_the_high_noise_latent_alone(comfy_server: Any, small_graph: Any) -> None:
    """ComfyUI's cache keeps the hand-over latent, so a second run from it must give the same video latent."""
    from pathlib import Path

    from safetensors.torch import load_file

    graph = {node: data for node, data in small_graph(**{"57_noise_seed": 77}).items() if node not in ("8", "73")}

    def latents(prefix: str) -> list[torch.Tensor]:
        for output in (0, 1):
            inputs = {"samples": ["57", output], "filename_prefix": f"unchanged/{prefix}{output}"}
            graph[f"s{output}"] = {"class_type": "SaveLatent", "inputs": inputs}
        outputs = comfy_server.run(graph).record["outputs"]
        items = [outputs[f"s{output}"]["latents"][0] for output in (0, 1)]
        return [load_file(Path(comfy_server.output) / i["subfolder"] / i["filename"])["latent_tensor"] for i in items]

    first = latents("a")
    graph["57"]["inputs"]["cfg_low"] = 1.0
    changed = latents("b")
    graph["57"]["inputs"]["cfg_low"] = 0.0
    again = latents("c")
    assert same(first, again)
    assert same(first[1], changed[1])
    assert not same(first[0], changed[0])
