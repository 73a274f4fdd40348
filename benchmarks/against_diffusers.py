"""The conditioning and the split against diffusers' Wan pipeline, on the same tiny weights; one JSON line.

``python against_diffusers.py COMFYUI PACK MODELS``, run by ComfyUI's interpreter with diffusers installed beside it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also where Python is told to leave a script's folder out
import measure_in_comfyui as base

WIDTH, HEIGHT, LENGTH = 96, 64, 17
SCHEDULES = [(shift, steps) for shift in (3.0, 5.0, 8.0) for steps in (4, 10, 20, 40)]
BOUNDARY = 0.9


def conditioning_difference(nodes: dict[str, Any], weights: dict[str, Any]) -> dict[str, Any]:
    """The largest difference of the concat latent as the models get it, and whether the masks are equal."""
    import comfy.latent_formats
    import comfy.sd
    import torch
    from diffusers import AutoencoderKLWan, WanImageToVideoPipeline
    from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers

    theirs = AutoencoderKLWan(base_dim=weights["decoder.head.0.gamma"].shape[0])
    theirs.load_state_dict(convert_wan_vae_to_diffusers(dict(weights)))
    first, last = (torch.rand(1, HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    pictures = [(picture * 2 - 1).movedim(-1, 1) for picture in (first, last)]
    pipeline = SimpleNamespace(vae=theirs, vae_scale_factor_temporal=4, vae_scale_factor_spatial=8)
    pipeline.config = SimpleNamespace(expand_timesteps=False)
    with torch.inference_mode():
        _, condition = WanImageToVideoPipeline.prepare_latents(
            pipeline, pictures[0], 1, 16, HEIGHT, WIDTH, LENGTH, torch.float32, torch.device("cpu"),
            torch.Generator().manual_seed(0), None, pictures[1],
        )  # fmt: skip
        size = {"width": WIDTH, "height": HEIGHT, "length": LENGTH, "fit": "crop"}
        vae, encode = comfy.sd.VAE(sd=weights), nodes["WanFLF2VEncodeFrames"].execute
        (frames,) = encode(vae=vae, **size, start_image=first, end_image=last).result
    ours = comfy.latent_formats.Wan21().process_in(frames.latent)
    return {
        "latent_difference": float((condition[:, 4:] - ours).abs().max() / ours.abs().max()),
        "masks_equal": torch.equal(condition[:, :4], 1 - frames.mask),
    }


def splits_that_differ() -> dict[str, int]:
    """How many schedules get another number of high-noise steps than elsewhere, each on its own grid.

    ``official``: Wan 2.2's ``fm_solvers_unipc.py``, g = linspace(0.999, 0, n + 1), sigma = s g / (1 + (s - 1) g),
    timestep = int(1000 sigma). ``at_the_boundary``: those of ``diffusers`` where a sigma of ours is the boundary itself.
    """
    import numpy
    from diffusers import UniPCMultistepScheduler

    schedule = sys.modules["flf2v_pack.nodes.host.grids"]
    split = sys.modules["flf2v_pack.flf2v.split"]
    differ = {"official": 0, "diffusers": 0, "at_the_boundary": 0}
    for shift, steps in SCHEDULES:
        sigmas = schedule.scheduler_sigmas("simple", steps, shift)
        ours = split.split_steps(sigmas, BOUNDARY).high
        grid = numpy.linspace(0.999, 0, steps + 1)[:-1]
        official = (1000 * shift * grid / (1 + (shift - 1) * grid)).astype(int)
        theirs = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift)
        theirs.set_timesteps(steps)
        differ["official"] += ours != int((official >= BOUNDARY * 1000).sum())
        if ours != int((theirs.timesteps >= BOUNDARY * 1000).sum()):
            differ["diffusers"] += 1
            differ["at_the_boundary"] += any(abs(sigma - BOUNDARY) < 1e-6 for sigma in sigmas)
    return differ


def main() -> None:
    """Run as a script inside ComfyUI's environment."""
    comfyui, pack, models = (Path(argument).resolve() for argument in sys.argv[1:4])
    base.enter_comfyui(comfyui, pack)
    import comfy.utils

    nodes = base.load_pack(pack)
    weights = comfy.utils.load_torch_file(str(models / "vae" / "wan_2.1_vae.safetensors"))
    result = {**conditioning_difference(nodes, weights), "splits": splits_that_differ(), "schedules": len(SCHEDULES)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
