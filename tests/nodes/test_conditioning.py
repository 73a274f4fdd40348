"""Conditioning equals ComfyUI core's, bit for bit, and refuses what would silently go wrong there."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from wan_flf2v.flf2v.frames import fit_frames

Call = Callable[..., tuple[Any, ...]]


def frames(count: int, height: int = 40, width: int = 72, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(seed))


def core_node(comfy: Any) -> Any:
    import comfy_extras.nodes_wan

    return comfy_extras.nodes_wan.WanFirstLastFrameToVideo


def ours(call: Call, vae: Any, conditioning: Any, length: int, start: Any, end: Any, **more: Any) -> tuple[Any, ...]:
    (encoded,) = call(
        "WanFLF2VEncodeFrames",
        vae=vae,
        width=48,
        height=32,
        length=length,
        fit="crop",
        start_image=start,
        end_image=end,
    )
    return call(
        "WanFLF2VApplyFrames", positive=conditioning, negative=conditioning, frames=encoded, **{"batch_size": 2, **more}
    )


@pytest.mark.parametrize("length", [5, 17, 81])
@pytest.mark.parametrize(
    ("start", "end"),
    [(1, 1), (1, 0), (0, 1), (3, 0), (0, 5), (3, 1), (3, 2)],
    ids=["first+last", "first", "last", "3 start", "5 end", "3 start+last", "3 start+2 end"],
)
def test_latent_and_mask_equal_cores(
    comfy: Any, call: Call, vae: Any, conditioning: Any, length: int, start: int, end: int
) -> None:
    first = frames(start, seed=1) if start else None
    last = frames(end, 90, 50, seed=2) if end else None
    positive, negative, latent = ours(call, vae, conditioning, length, first, last)
    expected = core_node(comfy).execute(
        conditioning, conditioning, vae, 48, 32, length, 2, start_image=first, end_image=last
    )
    for mine, cores in zip((positive, negative), expected.result[:2], strict=True):
        for key in ("concat_latent_image", "concat_mask"):
            assert torch.equal(mine[0][1][key], cores[0][1][key]), key
        assert set(mine[0][1]) == set(cores[0][1])
    assert torch.equal(latent["samples"], expected.result[2]["samples"])


def applied(call: Call, vae: Any, conditioning: Any, **more: Any) -> tuple[Any, ...]:
    inputs = {"vae": vae, "width": 48, "height": 32, "length": 17, "fit": "crop", "batch_size": 1}
    inputs |= {"positive": conditioning, "negative": conditioning, "start_image": frames(1, seed=1)}
    return call("WanFLF2VConditioning", **{**inputs, "end_image": frames(1, seed=2), **more})


@pytest.mark.parametrize("number", [1, 6, 7, 8, 15])
def test_a_middle_frame_is_encoded_at_its_own_number_and_both_stages_are_told(
    call: Call, vae: Any, conditioning: Any, number: int
) -> None:
    middle = frames(1, seed=3)
    inputs = {"middle_images": middle, "middle_frames": str(number), "middle_strength_low": 0.25}
    positive, negative, _, positive_low, negative_low = applied(call, vae, conditioning, **inputs)
    fitted = [fit_frames(frames(1, seed=seed), 48, 32, "crop") for seed in (1, 2, 3)]
    clip = torch.full((17, 32, 48, 3), 0.5)
    clip[:1], clip[-1:], clip[number] = fitted[0], fitted[1], fitted[2][0]
    for stage, mask in (((positive, negative), 0.0), ((positive_low, negative_low), 0.75)):
        for prompt in stage:
            given = prompt[0][1]
            assert torch.equal(given["concat_latent_image"], vae.encode(clip))
            per_frame = given["concat_mask"][0, :, :, 0, 0].T.flatten()[3:].tolist()
            assert per_frame == [0.0] + [mask if at == number else 1.0 for at in range(1, 16)] + [0.0]


def test_without_middle_frames_both_stages_get_the_same(call: Call, vae: Any, conditioning: Any) -> None:
    plain = applied(call, vae, conditioning)
    weak = applied(call, vae, conditioning, middle_strength=0.3, middle_strength_low=0.1)
    for one, other in ((plain[0], plain[3]), (plain[1], plain[4]), (plain[0], weak[0]), (plain[0], weak[3])):
        for key in ("concat_latent_image", "concat_mask"):
            assert torch.equal(one[0][1][key], other[0][1][key])


def test_a_strength_edit_encodes_nothing_and_another_number_does(call: Call, vae: Any, conditioning: Any) -> None:
    inputs = {"middle_images": frames(2, seed=93), "middle_frames": "5, 9"}

    def run(**changes: Any) -> int:
        return encodes(vae, lambda: applied(call, vae, conditioning, **{**inputs, **changes}))

    assert run() > 0
    assert run(middle_strength=0.5) == run(middle_strength_low=0.5) == run() == 0
    assert run(middle_frames="9, 5") > 0, "the pictures the other way round"
    assert run(middle_frames="5, 10") > 0


def test_middle_frames_serve_without_ends(call: Call, vae: Any, conditioning: Any) -> None:
    alone = {"start_image": None, "end_image": None, "middle_images": frames(1, seed=3), "middle_frames": "8"}
    positive, *_ = applied(call, vae, conditioning, **alone)
    assert positive[0][1]["concat_mask"].eq(0).sum() == 4 * 6


def test_clip_vision_of_both_pictures_equals_cores(
    comfy: Any, call: Call, vae: Any, conditioning: Any, models: Any
) -> None:
    import comfy.clip_vision

    import wan_flf2v.engine.support_pack  # noqa: F401 - lets the core loader read the tiny CLIP vision

    weights = comfy.utils.load_torch_file(str(models / "clip_vision/clip_vision_h.safetensors"))
    model = comfy.clip_vision.load_clipvision_from_sd(weights)
    first, last = frames(1, seed=1), frames(1, seed=2)
    seen = [model.encode_image(picture, crop=False) for picture in (first, last)]
    expected = core_node(comfy).execute(
        conditioning, conditioning, vae, 48, 32, 5, 1,
        start_image=first, end_image=last, clip_vision_start_image=seen[0], clip_vision_end_image=seen[1],
    )  # fmt: skip
    positive, _, _ = ours(call, vae, conditioning, 5, first, last, clip_vision_start=seen[0], clip_vision_end=seen[1])
    mine, cores = (
        result[0][1]["clip_vision_output"].penultimate_hidden_states for result in (positive, expected.result[0])
    )
    assert mine.shape == (1, 514, 1280)
    assert torch.equal(mine, cores)
    both = torch.cat([first, last])
    alone = applied(call, vae, conditioning, length=5, start_image=both, end_image=both, clip_vision=model)[0]
    assert torch.equal(alone[0][1]["clip_vision_output"].penultimate_hidden_states, cores)
    (one, _, _) = ours(call, vae, conditioning, 5, None, last, clip_vision_end=seen[1])
    assert one[0][1]["clip_vision_output"] is seen[1]


def encodes(vae: Any, run: Callable[[], Any]) -> int:
    """How often the VAE's encoder is begun while this runs."""
    chunks: list[int] = []
    hook = vae.first_stage_model.encoder.conv1.register_forward_pre_hook(lambda *_: chunks.append(1))
    try:
        run()
    finally:
        hook.remove()
    return len(chunks)


def test_only_pictures_size_length_or_vae_make_it_encode_again(call: Call, vae: Any, conditioning: Any) -> None:
    inputs = {"vae": vae, "width": 48, "height": 32, "length": 5, "fit": "crop", "batch_size": 1}
    inputs |= {"positive": conditioning, "negative": conditioning, "start_image": frames(1, seed=91)}

    def run(**changes: Any) -> int:
        return encodes(vae, lambda: call("WanFLF2VConditioning", **{**inputs, **changes}))

    assert run() > 0
    other_prompt = [[torch.ones_like(conditioning[0][0]), {}]]
    assert run(positive=other_prompt, batch_size=2) == 0
    assert run(start_image=frames(1, seed=91)) == 0, "the same picture in another tensor"
    nearly = frames(1, seed=91)
    nearly[0, 20, 36, 0] += 0.01
    for change in ({"start_image": nearly}, {"end_image": frames(1, seed=92)}, {"length": 9}, {"width": 64}):
        assert run(**change) > 0, change
    patched = copy.copy(vae)
    patched.patcher = vae.patcher.clone()
    patched.patcher.patches_uuid = "another"
    assert run(vae=patched) > 0


def test_what_is_kept_of_a_model_is_bounded_and_goes_with_it(comfy: Any) -> None:
    from wan_flf2v.nodes.host.memo import KEPT, Memo

    class Model:
        pass

    kept: Memo[list[int]] = Memo()
    model, made = Model(), []
    for key in [*range(KEPT + 1), 0, 0]:
        kept.get(model, key, lambda key=key: made.append(key) or [key])
    assert made == [*range(KEPT + 1), 0], "the oldest was dropped, the newest is kept"
    assert len(kept) == 1
    del model
    assert len(kept) == 0


def test_inputs_are_not_changed(call: Call, vae: Any, conditioning: Any) -> None:
    first, last = frames(1, seed=1), frames(1, seed=2)
    before = copy.deepcopy((conditioning, first, last))
    ours(call, vae, conditioning, 5, first, last)
    assert torch.equal(before[1], first)
    assert torch.equal(before[2], last)
    assert torch.equal(before[0][0][0], conditioning[0][0])
    assert before[0][0][1] == conditioning[0][1]


def test_bilinear_is_the_default_and_others_are_scaled_as_their_names_say(call: Call, vae: Any) -> None:
    inputs = {"width": 48, "height": 32, "length": 5, "fit": "stretch", "end_image": frames(2, 300, 500)}

    def latent(**more: Any) -> torch.Tensor:
        (encoded,) = call("WanFLF2VEncodeFrames", vae=vae, **{**inputs, **more})
        return encoded.latent  # type: ignore[no-any-return]

    assert torch.equal(latent(), latent(resize="bilinear"))
    scaled = fit_frames(inputs["end_image"], 48, 32, "stretch", "lanczos")  # type: ignore[arg-type]
    assert torch.equal(latent(resize="lanczos"), latent(end_image=scaled))
    assert not torch.equal(latent(resize="lanczos"), latent(resize="area"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"length": 140}, "Use 137 or 141"),
        ({"length": 3}, "at least 5 frames"),
        ({"width": 541}, "width must be even"),
        ({"height": 8}, "height must be between 16 and 16384"),
        ({"start_image": None, "end_image": None}, "Connect start_image, end_image or both"),
        ({"start_image": torch.zeros(1, 1, 1, 3)}, "between 16 and 16384 pixels on each side"),
        ({"start_image": frames(1)[:0]}, "1 or more frames"),
        ({"end_image": frames(1) * float("nan")}, "no numbers .NaN., so it shows nothing"),
        ({"middle_images": frames(2), "middle_frames": "2"}, "each picture; got 2 pictures and 1 numbers"),
        ({"middle_images": frames(1)}, "each picture; got 1 pictures and 0 numbers"),
        ({"middle_frames": "2"}, "each picture; got 0 pictures and 1 numbers"),
        ({"middle_images": frames(1), "middle_frames": "4"}, "between 1 and 3, what start_image and end_image leave"),
        ({"middle_images": frames(1), "middle_frames": "two"}, "frame numbers such as \"24, 48\", from 0; got 'two'"),
    ],
)
def test_wrong_inputs_are_refused(call: Call, vae: Any, change: dict[str, Any], message: str) -> None:
    inputs = {"width": 48, "height": 32, "length": 5, "fit": "crop", "start_image": frames(1), "end_image": frames(1)}
    with pytest.raises(ValueError, match=message):
        call("WanFLF2VEncodeFrames", vae=vae, **{**inputs, **change})


def test_a_5b_vae_and_an_image_vae_are_refused(comfy: Any, call: Call) -> None:
    class Other:
        latent_channels = 48
        latent_dim = 3

    inputs = {"width": 48, "height": 32, "length": 5, "fit": "crop", "start_image": frames(1), "end_image": frames(1)}
    with pytest.raises(ValueError, match=r"Wan 2\.2 VAE of the 5B model.*Load wan_2.1_vae.safetensors"):
        call("WanFLF2VEncodeFrames", vae=Other(), **inputs)
    Other.latent_channels, Other.latent_dim = 4, 2
    with pytest.raises(ValueError, match="this VAE has 4 channels and is no video VAE of Wan"):
        call("WanFLF2VEncodeFrames", vae=Other(), **inputs)


def test_another_video_models_vae_of_16_channels_is_refused(comfy: Any, call: Call, vae: Any) -> None:
    from comfy.ldm.models.autoencoder import AutoencoderKL

    sizes = {"double_z": True, "z_channels": 16, "resolution": 16, "in_channels": 3, "out_ch": 3, "ch": 32}
    sizes |= {"ch_mult": [1], "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.0, "conv3d": True}
    hunyuan = copy.copy(vae)
    hunyuan.first_stage_model = AutoencoderKL(ddconfig=sizes, embed_dim=16)  # as ComfyUI makes Hunyuan Video's
    inputs = {"width": 48, "height": 32, "length": 5, "fit": "crop", "start_image": frames(1)}
    with pytest.raises(ValueError, match="this VAE has 16 channels and is no video VAE of Wan"):
        call("WanFLF2VEncodeFrames", vae=hunyuan, **inputs)


def test_sizes_and_length_are_checked_before_a_prompt_is_queued(pack: dict[str, Any]) -> None:
    for node in ("WanFLF2VConditioning", "WanFLF2VEncodeFrames"):
        validate = pack[node].validate_inputs
        assert validate(width=48, height=32, length=81) is True
        assert validate(width=None, height=None, length=None) is True  # linked
        assert "137 or 141" in validate(width=48, height=32, length=140)
        assert "even" in validate(width=49, height=32, length=81)
        assert validate(length=81, middle_frames="24, 48") is True
        assert "between 1 and 79" in validate(length=81, middle_frames="24, 80")
        assert "from 0; got 'half'" in validate(middle_frames="half")
