"""Every input of every node changes what it should and nothing else, or is refused; an input without a row here fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from wan_flf2v.tests.nodes.executor import GIVEN, Executor, Graph, add, given, link

HIGH, LOW = (f"wan2.2_i2v_{side}_noise_14B_fp8_scaled.safetensors" for side in ("high", "low"))
LORA_HIGH = "wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors"
WAN21 = "wan2.1_flf2v_720p_14B_fp16.safetensors"


@dataclass(frozen=True)
class Row:
    """What happens when an input is ``change``d alone, in a node that is set up ``given`` so: exactly these outputs change.

    Or it is ``refused`` with these words.
    """

    change: Any
    outputs: str = ""
    given: dict[str, Any] | None = None
    refused: str = ""


def expert(file: str, shift: float = 8.0) -> Any:
    return link("ModelSamplingSD3", model=link("UNETLoader", unet_name=file, weight_dtype="default"), shift=shift)


def text(words: str) -> Any:
    return link("CLIPTextEncode", text=words, clip=given("clip"))


SIZE = {"width": 32, "height": 32, "length": 5}
ENDS = {"start_image": given("start"), "end_image": given("end")}
MIDDLE = {"middle_images": given("middle"), "middle_frames": "2"}
FRAMES = {"vae": given("vae"), **SIZE, "fit": "crop", **ENDS, **MIDDLE, "resize": "bilinear"}
ENCODED = link("WanFLF2VEncodeFrames", **FRAMES)
OTHER_ENCODED = link("WanFLF2VEncodeFrames", **{**FRAMES, "start_image": given("other")})
PROMPTS = {"positive": text("a puppy"), "negative": text("blurred")}
CONDITIONED = {**PROMPTS, **FRAMES, "batch_size": 1, "middle_strength": 1.0, "middle_strength_low": 1.0}
CONDITIONING = "positive negative positive_low negative_low"
FIRST, LAST, OF_BATCH = (link("WanFLF2VConditioning", number, **CONDITIONED) for number in range(3))
SEVERAL = link("WanFLF2VConditioning", 2, **{**CONDITIONED, "batch_size": 2})
OTHER_PROMPT = link("WanFLF2VConditioning", 0, **{**CONDITIONED, "positive": text("a kitten")})
RUN = {"sampler_name": "euler", "scheduler": "simple", "boundary": 0.9, "high_steps": -1, "denoise": 1.0, "steps": 4}
EXPERTS = {"model_high": expert(HIGH), "model_low": expert(LOW)}
SAMPLED = {"positive": FIRST, "negative": LAST, "latent_image": OF_BATCH, "noise_seed": 5, "cfg": 2.0}
BOTH = "latent high_noise_latent"
THREE = {"model_first": expert(LOW), "first_steps": 1}
SIGMAS = "sigmas sigmas_high sigmas_low plot report"
SAVED = {"frame_rate": 16.0, "filename_prefix": "clip", "format": "mp4", "quality": "default", "width": 0, "height": 0,
         "frames_per_video": 0, "codec": "auto", "crf": -1, "playback": "once"}  # fmt: skip
OF_LATENT = {"images": None, "latent": given("other latent"), "vae": given("vae")}
BOARD = '{"keyframes": [{"slot": 1}, {"slot": %d}], "length": 5, "prompt": "a", "seed": %d}'
LAST_SLOTS = {f"keyframe_{number}": Row(given("other"), "video images segments", {"storyboard": BOARD % (number, 1),
              f"keyframe_{number}": given("end")}) for number in range(2, 13)}  # fmt: skip

BASES: dict[str, dict[str, Any]] = {
    "WanFLF2VResolution": {"preset": "custom", "width": 64, "height": 48},
    "WanFLF2VConditioning": CONDITIONED,
    "WanFLF2VEncodeFrames": FRAMES,
    "WanFLF2VApplyFrames": {**PROMPTS, "frames": ENCODED, "batch_size": 1, "middle_strength": 1.0},
    "WanFLF2VShift": {"model_high": expert(HIGH), "model_low": expert(LOW), "shift": 5.0},
    "WanFLF2VAutoShift": {"steps": 8, "high_steps": 4, "scheduler": "simple", "boundary": 0.9},
    "WanFLF2VSchedule": {**EXPERTS, **RUN},
    "WanFLF2VTwoStageSampler": {**EXPERTS, **SAMPLED, **RUN, "cfg_low": 0.0},
    "WanFLF2VSaveVideo": {**SAVED, "images": given("clip of 6")},
    "WanFLF2VContinuousSampler": {**EXPERTS, **SAMPLED, "steps": 4, "start_at_step": 0, "switch_at_step": 2, "cfg_low": 2.0,
                                  "sampler_name": "dpmpp_2m", "scheduler": "simple"},
    "WanFLF2VReport": {"images": given("clip of 6"), "fit": "crop", **ENDS, "resize": "bilinear", "joints": ""},
    "WanFLF2VEndFrames": {"images": given("clip of 6"), "trim": 0, "match_colour": 2, "fit": "crop",
                          "end_image": given("end"), "resize": "bilinear"},
    "WanFLF2VStoryboard": {**EXPERTS, **RUN, "steps": 2, "high_steps": 1, "denoise": None, "clip": given("clip"),
                           "vae": given("vae"), "storyboard": BOARD % (2, 1), "width": 32, "height": 32, "fit": "crop",
                           "frame_rate": 16.0, "cfg": 2.0, "cfg_low": 0.0, "keyframe_1": given("start"),
                           "keyframe_2": given("end")},
    "WanFLF2VLoadExperts": {"high_file": HIGH, "low_file": LOW, "weight_dtype": "default", "lora_high": LORA_HIGH,
                            "lora_low": "by name", "lora_strength": 1.0},
    "WanFLF2VPick": {"drafts": given("drafts"), "index": 1},
    "WanFLF2VSegments": {"segments": given("segments"), "number": 0},
}  # fmt: skip

SAMPLED = {  # what both samplers take
    "model_high": Row(expert(LOW), BOTH),
    "model_low": Row(expert(HIGH), "latent"),
    "positive": Row(OTHER_PROMPT, BOTH),
    "negative": Row(OTHER_PROMPT, BOTH),
    "latent_image": Row(SEVERAL, BOTH),
    "noise_seed": Row(6, BOTH),
}
ROWS: dict[str, dict[str, Row]] = {
    "WanFLF2VResolution": {
        "preset": Row("480x480 (1:1)", "width height"),
        "width": Row(80, "width"),
        "height": Row(80, "height"),
    },
    "WanFLF2VConditioning": {
        "positive": Row(text("a kitten"), "positive positive_low"),
        "negative": Row(text("sharp"), "negative negative_low"),
        "vae": Row(given("other vae"), CONDITIONING),
        "width": Row(48, CONDITIONING + " latent"),
        "height": Row(48, CONDITIONING + " latent"),
        "length": Row(9, CONDITIONING + " latent"),
        "batch_size": Row(2, "latent"),
        "fit": Row("pad", CONDITIONING),
        "start_image": Row(given("other"), CONDITIONING),
        "end_image": Row(given("other"), CONDITIONING),
        "clip_vision": Row(given("clip vision"), CONDITIONING),
        "resize": Row("lanczos", CONDITIONING),
        "middle_images": Row(given("other"), CONDITIONING),
        "middle_frames": Row("3", CONDITIONING),
        "middle_strength": Row(0.5, "positive negative"),
        "middle_strength_low": Row(0.5, "positive_low negative_low"),
    },
    "WanFLF2VEncodeFrames": {
        "vae": Row(given("other vae"), "frames"),
        "width": Row(48, "frames"),
        "height": Row(48, "frames"),
        "length": Row(9, "frames"),
        "fit": Row("stretch", "frames"),
        "start_image": Row(given("other"), "frames"),
        "end_image": Row(given("other"), "frames"),
        "resize": Row("area", "frames"),
        "middle_images": Row(given("other"), "frames"),
        "middle_frames": Row("1", "frames"),
    },
    "WanFLF2VApplyFrames": {
        "positive": Row(text("a kitten"), "positive"),
        "negative": Row(text("sharp"), "negative"),
        "frames": Row(OTHER_ENCODED, "positive negative"),
        "batch_size": Row(2, "latent"),
        "clip_vision_start": Row(given("seen"), "positive negative"),
        "clip_vision_end": Row(given("seen"), "positive negative", {"clip_vision_start": given("seen")}),
        "middle_strength": Row(0.5, "positive negative"),
    },
    "WanFLF2VShift": {
        "model_high": Row(expert(WAN21), "model_high"),
        "model_low": Row(expert(WAN21), "model_low"),
        "shift": Row(6.0, "model_high model_low"),
    },
    "WanFLF2VAutoShift": {
        "steps": Row(9, "shift"),
        "high_steps": Row(5, "shift"),
        "scheduler": Row("beta", "shift"),
        "boundary": Row(0.8, "shift"),
    },
    "WanFLF2VSchedule": {
        "model_high": Row(expert(HIGH, 5.0), SIGMAS, {"model_low": None}),
        "model_low": Row(expert(LOW, 5.0), refused="different shifts"),
        "steps": Row(6, SIGMAS + " split_step"),
        "sampler_name": Row("uni_pc", SIGMAS + " split_step"),
        "scheduler": Row("beta", SIGMAS),
        "boundary": Row(0.5, "sigmas_high sigmas_low plot report split_step"),
        "high_steps": Row(1, "sigmas_high sigmas_low plot report split_step"),
        "denoise": Row(0.6, SIGMAS + " split_step"),
        "steps_low": Row(9, SIGMAS),
        "sampler_low": Row("uni_pc", SIGMAS),
        "scheduler_low": Row("beta", SIGMAS),
        "first_steps": Row(1, "sigmas sigmas_first sigmas_high plot report split_step"),
        "first_resolution": Row(4, "sigmas sigmas_first plot report split_step", {"first_steps": 1}),
    },
    "WanFLF2VTwoStageSampler": {
        **SAMPLED,
        "steps": Row(6, BOTH + " split_step"),
        "cfg": Row(3.0, BOTH),
        "cfg_low": Row(3.0, "latent"),
        "sampler_name": Row("heun", BOTH),
        "scheduler": Row("beta", BOTH),
        "boundary": Row(0.5, BOTH + " split_step"),
        "high_steps": Row(1, BOTH + " split_step"),
        "denoise": Row(0.6, BOTH + " split_step"),
        "positive_low": Row(OTHER_PROMPT, "latent"),
        "negative_low": Row(OTHER_PROMPT, "latent"),
        "keep_history": Row(True, "latent", {"sampler_name": "dpmpp_2m"}),
        "stages": Row("high only", BOTH),
        "steps_low": Row(9, BOTH),
        "sampler_low": Row("uni_pc", BOTH),
        "scheduler_low": Row("beta", BOTH),
        "first_steps": Row(2, BOTH + " split_step", THREE),
        "first_resolution": Row(4, BOTH + " split_step", THREE),
        "model_first": Row(expert(HIGH), BOTH, THREE),
        "cfg_first": Row(2.0, BOTH, THREE),
        "drafts": Row(2, BOTH, {"stages": "high only"}),
    },
    "WanFLF2VSaveVideo": {
        "images": Row(given("clip of 4"), "video last_frame"),
        "frame_rate": Row(24.0, "video"),
        "filename_prefix": Row("another", "video"),
        "format": Row("webm", "video"),
        "quality": Row("small", "video"),
        "width": Row(46, "video last_frame"),
        "height": Row(30, "video last_frame"),
        "frames_per_video": Row(3, "video last_frame"),
        "audio": Row(given("sound"), "video"),
        "latent": Row(given("latent"), "video last_frame", OF_LATENT),
        "vae": Row(given("other vae"), "video last_frame", OF_LATENT),
        "codec": Row("vp9", "video"),
        "crf": Row(40, "video"),
        "playback": Row("loop", "video"),
    },
    "WanFLF2VContinuousSampler": {
        **SAMPLED,
        "steps": Row(5, BOTH),
        "start_at_step": Row(1, BOTH),
        "switch_at_step": Row(3, BOTH),
        "cfg": Row(3.0, BOTH),
        "cfg_low": Row(3.0, "latent"),
        "sampler_name": Row("res_multistep", BOTH),
        "scheduler": Row("beta", BOTH),
        "positive_low": Row(OTHER_PROMPT, "latent"),
        "negative_low": Row(OTHER_PROMPT, "latent"),
    },
    "WanFLF2VReport": {
        "images": Row(given("clip of 4"), "report figures plot filmstrip"),
        "fit": Row("pad", "report figures"),
        "start_image": Row(given("other"), "report figures"),
        "end_image": Row(given("other"), "report figures"),
        "vae": Row(given("vae"), "report figures"),
        "resize": Row("lanczos", "report figures"),
        "video": Row(
            given("video of 4"), "report figures plot filmstrip", {"images": None, "video": given("video of 6")}
        ),
        "joints": Row("2", "report figures plot filmstrip"),
    },
    "WanFLF2VEndFrames": {
        "images": Row(given("clip of 4"), "images"),
        "trim": Row(1, "images"),
        "match_colour": Row(3, "images"),
        "fit": Row("pad", "images"),
        "end_image": Row(given("other"), "images"),
        "resize": Row("lanczos", "images"),
    },
    "WanFLF2VStoryboard": {
        "model_high": Row(expert(LOW), "video images segments"),
        "model_low": Row(expert(HIGH), "video images segments"),
        "clip": Row(given("other clip"), "video images segments"),
        "vae": Row(given("other vae"), "video images segments"),
        "storyboard": Row(BOARD % (2, 2), "video images report segments"),
        "width": Row(48, "video images segments"),
        "height": Row(48, "video images segments"),
        "fit": Row("pad", "video images segments"),
        "frame_rate": Row(24.0, "video report segments"),
        "steps": Row(3, "video images segments"),
        "cfg": Row(3.0, "video images segments"),
        "cfg_low": Row(3.0, "video images segments"),
        "sampler_name": Row("heun", "video images segments"),
        "scheduler": Row("beta", "video images segments", {"steps": 4, "high_steps": 2}),
        "boundary": Row(0.5, "video images segments", {"steps": 4, "high_steps": -1}),
        "high_steps": Row(2, "video images segments"),
        "keyframe_1": Row(given("other"), "video images segments"),
        **LAST_SLOTS,
        "video_before": Row(given("video of 6"), "video images report segments"),
        "video_after": Row(given("video of 6"), "video images report segments"),
    },
    "WanFLF2VLoadExperts": {
        "high_file": Row(WAN21, "model_high model_first"),
        "low_file": Row(WAN21, "model_low"),
        "weight_dtype": Row("fp8_e5m2", "model_high model_low model_first"),
        "lora_high": Row("none", "model_high model_low"),
        "lora_low": Row("none", "model_low"),
        "lora_strength": Row(0.5, "model_high model_low"),
    },
    "WanFLF2VPick": {"drafts": Row(given("other drafts"), "latent seed"), "index": Row(2, "latent seed")},
    "WanFLF2VSegments": {"segments": Row(given("other segments"), "videos"), "number": Row(2, "videos")},
}


@pytest.fixture(scope="module", autouse=True)
def _given(
    comfy: ModuleType, models: Path, executor: Executor, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    import folder_paths

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder_paths, "folder_names_and_paths", {**folder_paths.folder_names_and_paths})
        for folder in ("diffusion_models", "loras"):
            folder_paths.add_model_folder_path(folder, str(models / folder))
        GIVEN.update(values(comfy, models, tmp_path_factory.mktemp("given")))
        yield
        GIVEN.clear()


def values(comfy: ModuleType, models: Path, folder: Path) -> dict[str, Any]:
    """What the rows take."""
    import comfy.clip_vision
    from comfy_api.latest import InputImpl, Types

    import wan_flf2v.engine.support_pack  # noqa: F401 - lets core's loaders read the tiny encoders
    from wan_flf2v.nodes.host.hand_over import hand_over

    draw = torch.Generator().manual_seed(0)
    pictures = {name: torch.rand(1, 40, 72, 3, generator=draw) for name in ("start", "end", "other", "middle")}
    clips = {count: torch.rand(count, 32, 48, 3, generator=draw) for count in (4, 6)}
    videos = {f"video of {count}": InputImpl.VideoFromComponents(Types.VideoComponents(frames, Fraction(16)))
              for count, frames in clips.items()}  # fmt: skip
    weights = comfy.utils.load_torch_file(str(models / "vae/wan_2.1_vae.safetensors"))
    vaes = {"vae": weights, "other vae": {name: weight * 1.01 for name, weight in weights.items()}}
    text = comfy.utils.load_torch_file(str(next((models / "text_encoders").iterdir())))
    other = {name: weight * 1.1 if weight.is_floating_point() else weight for name, weight in text.items()}
    clip, other_clip = (
        comfy.sd.load_text_encoder_state_dicts([weights], clip_type=comfy.sd.CLIPType.WAN) for weights in (text, other)
    )
    seen = comfy.clip_vision.load(str(models / "clip_vision/clip_vision_h.safetensors"))
    latents = [{"samples": torch.rand(1, 16, 2, 4, 4, generator=draw)} for _ in range(3)]
    drafts = [hand_over(pair, pair, 0.5, seeds) for pair, seeds in ((latents[:2], [1, 2]), (latents[1:], [3, 4]))]
    files = [str(folder / f"{count}.mp4") for count in clips]
    for file, video in zip(files, videos.values(), strict=True):
        video.save_to(file)
    sound = {"waveform": torch.rand(1, 1, 44100, generator=draw), "sample_rate": 44100}
    return {
        **pictures, **videos, **{f"clip of {count}": frames for count, frames in clips.items()},
        **{name: comfy.sd.VAE(sd=weights) for name, weights in vaes.items()},
        "clip": clip, "other clip": other_clip, "clip vision": seen,
        "seen": seen.encode_image(pictures["start"], crop=False),
        "segments": tuple(files), "other segments": tuple(reversed(files)),
        "drafts": drafts[0], "other drafts": drafts[1], "sound": sound, "latent": latents[0], "other latent": latents[1],
    }  # fmt: skip


def test_every_input_has_a_row(pack: dict[str, Any]) -> None:
    inputs = {name: [each.id for each in node.GET_SCHEMA().inputs] for name, node in pack.items()}
    remote = {name for name, node in pack.items() if "Remote" in node.GET_SCHEMA().category}
    assert {name: list(rows) for name, rows in ROWS.items()} == {
        name: rows for name, rows in inputs.items() if name not in remote
    }


@pytest.mark.parametrize("kind", ROWS)
def test_an_input_changes_what_it_should_and_nothing_else(executor: Executor, kind: str) -> None:
    graph: Graph = {}
    pairs = {}
    for name, row in ROWS[kind].items():
        before = {**BASES[kind], **(row.given or {})}
        pairs[name] = [add(graph, kind, inputs) for inputs in (before, {**before, name: row.change})]
        if row.refused:
            with pytest.raises(ValueError, match=row.refused):
                executor.run(graph, [pairs.pop(name)[1]])
    found = executor.run(graph, {node for pair in pairs.values() for node in pair})
    changed = {name: {output for output, value in found[before].items() if value != found[after][output]}
               for name, (before, after) in pairs.items()}  # fmt: skip
    assert changed == {name: set(row.outputs.split()) for name, row in ROWS[kind].items() if not row.refused}
