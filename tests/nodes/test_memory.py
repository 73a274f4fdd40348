"""Weights that do not fit and are brought in for each call, as with ``--lowvram``: the same bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from wan_flf2v.flf2v.clip import Clip


def without_room(patcher: Any) -> Any:
    """The model as ``--lowvram`` loads it where hardly anything fits: its weights are brought in for each call.

    ComfyUI takes ``--lowvram`` on a GPU alone, so its own loader is asked here for what it would do there.
    """
    load = patcher.load

    def partly(device_to: Any = None, **options: Any) -> Any:
        return load(device_to, **{**options, "lowvram_model_memory": 1, "full_load": False})

    patcher.load = partly
    return patcher


def brought_in(model: Any) -> int:
    """The number of layers whose weights are brought in for each call."""
    return sum(bool(getattr(part, "comfy_cast_weights", False)) for part in model.modules())


@torch.inference_mode()
def test_a_vae_that_does_not_fit_encodes_the_same(comfy: ModuleType, models: Path) -> None:
    import comfy.sd
    import comfy.utils

    from wan_flf2v.nodes.host.encode import encode_clip

    vae = comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(models / "vae/wan_2.1_vae.safetensors")), dtype=torch.float32)
    pictures = [torch.rand(1, 32, 32, 3, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    clip = Clip(41, 32, 32, *pictures)
    expected = vae.encode(clip.whole())
    vae.patcher.detach()
    without_room(vae.patcher)
    seen: list[int] = []
    layer = vae.first_stage_model.encoder.downsamples[0]
    hook = layer.register_forward_pre_hook(lambda *_: seen.append(brought_in(vae.first_stage_model)))
    latent = encode_clip(vae, clip)
    hook.remove()
    assert min(seen) > 10
    assert torch.equal(latent, expected)


@torch.inference_mode()
def test_experts_that_do_not_fit_run_continuously_too(
    comfy: ModuleType, call: Callable[..., Any], models: Path, conditioning: list[Any]
) -> None:
    import comfy.sd

    experts = [
        comfy.sd.load_diffusion_model(str(next((models / "diffusion_models").glob(f"wan2.2_i2v_{side}_*"))))
        for side in ("high", "low")
    ]
    frames = {"concat_latent_image": torch.rand(1, 16, 3, 4, 6), "concat_mask": torch.ones(1, 4, 3, 4, 6)}
    prompt = [[conditioning[0][0], frames]]
    seen: list[int] = []

    def run() -> torch.Tensor:
        latent, _ = call(
            "WanFLF2VContinuousSampler", model_high=experts[0], model_low=experts[1], positive=prompt, negative=prompt,
            latent_image={"samples": torch.zeros(1, 16, 3, 4, 6)}, noise_seed=5, steps=6, start_at_step=0,
            switch_at_step=3, cfg=2.0, cfg_low=2.0, sampler_name="dpmpp_2m", scheduler="simple",
        )  # fmt: skip
        result: torch.Tensor = latent["samples"]
        return result

    expected = run()
    for expert in experts:
        expert.detach()
        without_room(expert)
        net = expert.model.diffusion_model
        net.blocks[0].register_forward_pre_hook(lambda *_, net=net: seen.append(brought_in(net)))
    assert torch.equal(run(), expected)
    assert min(seen) > 10
