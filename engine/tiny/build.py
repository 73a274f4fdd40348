"""Write tiny Wan models that ComfyUI's own loaders detect as the real ones.

``python build.py COMFYUI_FOLDER MODELS_FOLDER`` is run by ComfyUI's interpreter, on the CPU. Every tensor comes from a
seeded generator and from the modules that ComfyUI itself would build, so all real code paths run on them; what they
draw is noise.
"""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

FILES: dict[str, Callable[[], dict[str, torch.Tensor]]] = {}
DIM, LAYERS = 256, 2  # head size is fixed at 128 by ComfyUI's detection
VAE_DIM = 8
TEXT_CONFIG = {"d_ff": 8, "d_kv": 8, "num_heads": 1, "num_layers": 1, "vocab_size": 400}  # the rest as in umt5-xxl
CLIP_VISION_CONFIG = {
    "model_type": "clip_vision_model",
    "hidden_act": "gelu",
    "hidden_size": 1280,  # what Wan 2.1's image embedding takes
    "image_size": 224,
    "intermediate_size": 64,
    "num_attention_heads": 16,
    "num_channels": 3,
    "num_hidden_layers": 2,
    "patch_size": 14,
    "projection_dim": 64,
}
_TEXT_SAMPLE = """a first frame and a last frame become a video in which everything moves as it would in the world
the camera pans slowly over a glass flower that opens while a puppy plays barks and is happy and joyful
mountains rivers clouds people cities cars birds water light shadow night day red green blue white black
zoom turn walk run fly fall rise open close begin end fast slow still cinematic soft sharp bright dark
画面 静止 细节 模糊 手指 背景 镜头 切换 晃动 颜色 光线"""


def _file(path: str) -> Callable[[Callable[[], dict[str, torch.Tensor]]], Callable[[], dict[str, torch.Tensor]]]:
    def register(make: Callable[[], dict[str, torch.Tensor]]) -> Callable[[], dict[str, torch.Tensor]]:
        FILES[path] = make
        return make

    return register


def _seeded(state_dict: dict[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
    """The same entries with seeded values: norms 1, biases 0, the rest scaled to keep activations near unit size."""
    generator = torch.Generator().manual_seed(seed)
    out = {}
    for name, tensor in state_dict.items():
        if tensor.ndim == 1 or name.endswith("gamma"):
            value = torch.zeros(tensor.shape) if name.endswith("bias") else torch.ones(tensor.shape)
        else:
            fan_in = math.prod(tensor.shape[1:])
            value = torch.randn(tensor.shape, generator=generator) / math.sqrt(fan_in)
        out[name] = value.contiguous()
    return out


def _wan_model(seed: int, **options: Any) -> dict[str, torch.Tensor]:
    import comfy.ldm.wan.model
    import comfy.ops

    sizes = {"dim": DIM, "ffn_dim": 2 * DIM, "num_heads": DIM // 128, "num_layers": LAYERS, "in_dim": 36, "out_dim": 16}
    model = comfy.ldm.wan.model.WanModel(**sizes, operations=comfy.ops.disable_weight_init, **options)
    return _half(_seeded(model.state_dict(), seed))


def _half(state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.half() for name, tensor in state_dict.items()}


@_file("diffusion_models/wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors")
def high_noise_expert() -> dict[str, torch.Tensor]:
    """Wan 2.2's high-noise expert: 36 channels in, no image embedding."""
    return _wan_model(1, model_type="t2v")


@_file("diffusion_models/wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors")
def low_noise_expert() -> dict[str, torch.Tensor]:
    """Wan 2.2's low-noise expert."""
    return _wan_model(2, model_type="t2v")


@_file("diffusion_models/wan2.1_flf2v_720p_14B_fp16.safetensors")
def wan21_flf2v() -> dict[str, torch.Tensor]:
    """Wan 2.1 FLF2V: with the image embedding for the CLIP vision of two pictures (2 x 257 tokens)."""
    return _wan_model(3, model_type="i2v", flf_pos_embed_token_number=514)


@_file("vae/wan_2.1_vae.safetensors")
def vae() -> dict[str, torch.Tensor]:
    """The Wan 2.1 VAE layout with few channels."""
    import comfy.ldm.wan.vae

    model = comfy.ldm.wan.vae.WanVAE(dim=VAE_DIM, z_dim=16, temperal_downsample=[False, True, True])
    return _seeded(model.state_dict(), 4)


@_file("text_encoders/umt5_xxl_fp8_e4m3fn_scaled.safetensors")
def text_encoder() -> dict[str, torch.Tensor]:
    """umt5-xxl's layout, 4096 wide, with one small block."""
    import comfy.ops
    import comfy.text_encoders.t5
    import comfy.text_encoders.wan

    path = Path(comfy.text_encoders.wan.__file__).with_name("umt5_config_xxl.json")
    config = {**json.loads(path.read_text()), **TEXT_CONFIG}
    model = comfy.text_encoders.t5.T5(config, torch.float32, "cpu", comfy.ops.disable_weight_init)
    state_dict = _half(_seeded(model.state_dict(), 5))
    state_dict["spiece_model"] = torch.frombuffer(bytearray(_sentencepiece_model()), dtype=torch.uint8)
    return _with_config(state_dict, TEXT_CONFIG)


@_file("clip_vision/clip_vision_h.safetensors")
def clip_vision() -> dict[str, torch.Tensor]:
    """CLIP vision as wide as ViT-H, two layers deep."""
    import comfy.clip_model
    import comfy.ops

    model = comfy.clip_model.CLIPVisionModelProjection(
        CLIP_VISION_CONFIG, torch.float32, "cpu", comfy.ops.disable_weight_init
    )
    return _with_config(_half(_seeded(model.state_dict(), 6)), CLIP_VISION_CONFIG)


def _lora(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    out = {}
    for layer in range(LAYERS):
        for part in ("q", "v"):
            name = f"diffusion_model.blocks.{layer}.self_attn.{part}"
            out[f"{name}.lora_down.weight"] = torch.randn(4, DIM, generator=generator).half() / 16
            out[f"{name}.lora_up.weight"] = torch.randn(DIM, 4, generator=generator).half() / 16
    return out


@_file("loras/wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors")
def high_noise_lora() -> dict[str, torch.Tensor]:
    """A LoRA on the high-noise expert's attention."""
    return _lora(7)


@_file("loras/wan2.2_i2v_lightx2v_4steps_lora_v1_low_noise.safetensors")
def low_noise_lora() -> dict[str, torch.Tensor]:
    """A LoRA on the low-noise expert's attention."""
    return _lora(8)


def _with_config(state_dict: dict[str, torch.Tensor], config: dict[str, Any]) -> dict[str, torch.Tensor]:
    from support_pack import CONFIG_KEY  # beside this folder; see main()

    state_dict[CONFIG_KEY] = torch.frombuffer(bytearray(json.dumps(config).encode()), dtype=torch.uint8)
    return state_dict


def _sentencepiece_model() -> bytes:
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_TEXT_SAMPLE.splitlines()),
        model_writer=model,
        vocab_size=TEXT_CONFIG["vocab_size"],
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        byte_fallback=True,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def build(models: Path) -> None:
    """Write every file that is missing below ``models``, each whole or not at all."""
    from safetensors.torch import save_file

    for name, make in FILES.items():
        path = models / name
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        save_file(make(), partial)
        partial.replace(path)


def main() -> None:
    """Run as a script inside ComfyUI's environment."""
    comfyui, models = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    sys.path.append(str(Path(__file__).resolve().parents[1]))  # launch.py and support_pack
    from launch import declare_missing_torchvision_operators, put_first_on_path

    put_first_on_path(comfyui)
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    declare_missing_torchvision_operators()
    import comfy.cli_args

    comfy.cli_args.args.cpu = True
    build(models)


if __name__ == "__main__":
    main()
