"""The real shapes on a GPU: both 14B experts with random bf16 weights and the real VAE, ours and core's by turns.

``python gpu.py COMFYUI PACK OUT.json [--rounds N] [--toy]``, run by the interpreter of a ComfyUI with a GPU. Needs about
80 GB of GPU memory to keep both experts loaded; with less, ComfyUI moves them, which the switch time then shows.
``--toy`` runs the same code on the CPU with tiny shapes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also where Python is told to leave a script's folder out
import measure_in_comfyui as base

REAL = {"dim": 5120, "ffn_dim": 13824, "num_heads": 40, "num_layers": 40}
TOY = {"dim": 256, "ffn_dim": 512, "num_heads": 2, "num_layers": 2}
SIZES = ((832, 480, 81), (1280, 720, 81))
TOY_SIZES = ((64, 48, 9),)
STEPS, SWITCH = 4, 2


def random_expert(shape: dict[str, int], seed: int) -> Any:
    """ComfyUI's Wan 2.2 I2V expert of this shape with random bf16 weights, as its loader makes it."""
    import comfy.ldm.wan.model
    import comfy.model_management
    import comfy.ops
    import comfy.sd
    import torch

    with torch.device("meta"):
        model = comfy.ldm.wan.model.WanModel(
            **shape, model_type="t2v", in_dim=36, out_dim=16, operations=comfy.ops.disable_weight_init
        )
    device = comfy.model_management.get_torch_device()
    generator = torch.Generator(device).manual_seed(seed)
    weights = {}
    for name, weight in model.state_dict().items():
        made = torch.randn(weight.shape, generator=generator, device=device, dtype=torch.bfloat16)
        scale = 1.0 if weight.ndim == 1 else weight[0].numel() ** -0.5
        weights[name] = (made * scale).cpu() if not name.endswith("bias") else torch.zeros_like(made).cpu()
    return comfy.sd.load_diffusion_model_state_dict(weights, model_options={"dtype": torch.bfloat16})


class Peaks:
    """Seconds, the GPU's peak memory and the process's peak memory of one run, in GB above what was held before."""

    def __enter__(self) -> Peaks:
        """Start from a settled device."""
        import torch

        self._memory = base.PeakMemory()
        self._before = 0
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated()
        self._memory.start()
        self._started = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the figures."""
        import torch

        gpu = 0
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            gpu = torch.cuda.max_memory_allocated() - self._before
        self.seconds = time.perf_counter() - self._started
        self.figures = {"seconds": self.seconds, "gpu_gb": gpu / 1e9, "host_gb": self._memory.stop() / 1e3}


def conditionings(nodes: dict[str, Any], vae: Any, size: tuple[int, int, int], rounds: int) -> dict[str, Any]:
    """Figures of a conditioning, ours and core's by turns."""
    import torch

    figures: dict[str, Any] = {"core": [], "ours": []}
    latents: dict[str, Any] = {}
    for turn in range(rounds + 1):
        for who in figures:
            if who == "ours":
                sys.modules["flf2v_pack.nodes.host.frames"].ENCODED.forget()
            make = base.conditioning(who, nodes, vae, *size)
            with Peaks() as peaks:
                latents[who] = make()
            if turn:
                figures[who].append(peaks.figures)
    return {**figures, "bit_identical": all(torch.equal(latents["core"], latent) for latent in latents.values())}


def samplings(
    nodes: dict[str, Any], experts: tuple[Any, Any], frames: Any, size: tuple[int, int, int], rounds: int
) -> dict[str, Any]:
    """Figures of two steps by each expert: core's two KSamplerAdvanced and our continuous run, by turns."""
    import torch

    import nodes as core_nodes

    high, low = experts
    width, height, length = size
    latent = {"samples": torch.zeros(1, 16, (length - 1) // 4 + 1, height // 8, width // 8)}
    prompt = [[torch.randn(1, 512, 4096), {"concat_latent_image": frames.latent, "concat_mask": frames.mask}]]
    steps: list[float] = []
    for model in experts:
        model.model.diffusion_model.register_forward_hook(lambda *_: steps.append(_now()))

    def core() -> Any:
        shared = ("simple", prompt, prompt)
        (first,) = core_nodes.common_ksampler(high, 1, STEPS, 1.0, "dpmpp_2m", *shared, latent, last_step=SWITCH)
        return core_nodes.common_ksampler(
            low,
            1,
            STEPS,
            1.0,
            "dpmpp_2m",
            *shared,
            first,
            disable_noise=True,
            start_step=SWITCH,
            force_full_denoise=True,
        )

    def ours() -> Any:
        first, last = nodes["WanFLF2VContinuousHigh"], nodes["WanFLF2VContinuousLow"]
        names: dict[str, Any] = {"steps": STEPS, "start_at_step": 0, "switch_at_step": SWITCH, "scheduler": "simple"}
        names |= {"latent_image": latent, "noise_seed": 1, "sampler_name": "dpmpp_2m"}
        prompts = {"positive": prompt, "negative": prompt, "cfg": 1.0}
        run = first.execute(model=high, **prompts, **names).result[0]
        return last.execute(model=low, **prompts, paused=run)

    figures: dict[str, Any] = {"core": [], "ours": []}
    runs: dict[str, Callable[[], Any]] = {"core": core, "ours": ours}
    for turn in range(rounds + 1):
        for who, run in runs.items():
            steps.clear()
            with Peaks() as peaks:
                run()
            if turn:
                gaps = [after - before for before, after in itertools.pairwise(steps)]
                step = statistics.median(gap for index, gap in enumerate(gaps) if index != SWITCH - 1)
                figures[who].append({**peaks.figures, "step_seconds": step, "switch_seconds": gaps[SWITCH - 1] - step})
    return figures


def _now() -> float:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    """Run as a script inside ComfyUI's environment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("comfyui", type=Path)
    parser.add_argument("pack", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--toy", action="store_true")
    arguments = parser.parse_args()
    base.enter_comfyui(arguments.comfyui.resolve(), arguments.pack.resolve(), cpu=arguments.toy)
    import torch

    shape, sizes, channels = (TOY, TOY_SIZES, 16) if arguments.toy else (REAL, SIZES, 96)
    nodes = base.load_pack(arguments.pack.resolve())
    report: dict[str, Any] = {
        "machine": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "CPU",
        "torch": torch.__version__,
        "toy": arguments.toy,
        "sizes": {},
    }
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    with torch.inference_mode():
        vae = base.random_vae(channels)
        experts = tuple(ModelSamplingSD3().patch(random_expert(shape, seed), 8.0)[0] for seed in (1, 2))
        for size in sizes:
            picture = torch.rand(1, size[1], size[0], 3)
            asked = dict(zip(("width", "height", "length"), size, strict=True)) | {"fit": "crop"}
            ends = {"start_image": picture, "end_image": picture}
            (frames,) = nodes["WanFLF2VEncodeFrames"].execute(vae=vae, **asked, **ends).result
            report["sizes"]["×".join(map(str, size))] = {
                "conditioning": conditionings(nodes, vae, size, arguments.rounds),
                "sampling": samplings(nodes, experts, frames, size, arguments.rounds),
            }
            arguments.out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
