"""The streamed encode equals ``vae.encode`` to the bit, computes no chunk twice, and leaves memory to ComfyUI."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wan_flf2v.flf2v.clip import Clip

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@pytest.fixture(scope="module")
def load_vae(comfy: ModuleType, models: Any) -> Callable[..., Any]:
    """Loads the tiny VAE anew, in a type."""

    def load(dtype: torch.dtype = torch.float32) -> Any:
        import comfy.sd
        import comfy.utils

        return comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(models / "vae/wan_2.1_vae.safetensors")), dtype=dtype)

    return load


@pytest.fixture(scope="module")
def vaes(load_vae: Callable[..., Any]) -> dict[str, Any]:
    """One VAE per type."""
    return {name: load_vae(dtype) for name, dtype in DTYPES.items()}


@pytest.fixture
def fresh_vae(load_vae: Callable[..., Any]) -> Any:
    """A VAE that nothing is kept of."""
    return load_vae()


@pytest.fixture
def stream(comfy: ModuleType) -> Iterator[ModuleType]:
    """The module under test, with nothing kept."""
    import wan_flf2v.nodes.vae_stream as module

    module.PREFIXES.forget()
    yield module
    module.PREFIXES.forget()


def frames(count: int, width: int, height: int, seed: int) -> torch.Tensor | None:
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(seed)) if count else None


def clip_of(length: int, start: int = 1, end: int = 1, size: int = 32, seeds: tuple[int, int] = (0, 1)) -> Clip:
    return Clip(length, size, size, frames(start, size, size, seeds[0]), frames(end, size, size, seeds[1]))


@contextmanager
def counted_chunks(vae: Any) -> Iterator[list[int]]:
    """The number of frames of each call of the real encoder."""
    calls: list[int] = []
    hook = vae.first_stage_model.encoder.register_forward_pre_hook(lambda _, inputs: calls.append(inputs[0].shape[2]))
    yield calls
    hook.remove()


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=12)
@given(
    length=st.integers(1, 6).map(lambda n: 4 * n + 1),
    given_frames=st.sampled_from([(1, 1), (1, 0), (0, 1), (4, 1), (1, 4), (2, 3)]),
    size=st.sampled_from([(16, 16), (48, 16), (32, 64)]),
    seeds=st.tuples(st.integers(0, 1), st.integers(0, 3)),  # few: later examples go on from what earlier ones left
)
def test_the_latent_is_vae_encodes_to_the_bit(
    vaes: dict[str, Any],
    dtype: str,
    length: int,
    given_frames: tuple[int, int],
    size: tuple[int, int],
    seeds: tuple[int, int],
) -> None:
    from wan_flf2v.nodes.vae_stream import encode_clip

    (start, end), vae = given_frames, vaes[dtype]
    if start + end > length:
        return
    clip = Clip(length, *size, frames(start, *size, seeds[0]), frames(end, *size, seeds[1]))
    latent, expected = encode_clip(vae, clip), vae.encode(clip.whole())
    assert torch.equal(latent, expected)
    assert (latent.dtype, latent.device) == (expected.dtype, expected.device)


def test_only_what_depends_on_the_change_is_encoded_again(stream: ModuleType, fresh_vae: Any) -> None:
    changes = {
        "first": clip_of(41),
        "the same": clip_of(41),
        "another last frame": clip_of(41, seeds=(0, 2)),
        "no last frame": clip_of(41, end=0),
        "longer": clip_of(49, seeds=(0, 3)),
        "another first frame": clip_of(41, seeds=(4, 1)),
        "another size": clip_of(41, size=16),
    }
    encoded = {}
    for name, clip in changes.items():
        with counted_chunks(fresh_vae) as calls:
            latent = stream.encode_clip(fresh_vae, clip)
        encoded[name] = sum(calls)
        assert torch.equal(latent, fresh_vae.encode(clip.whole())), name
        assert max(calls) <= 4, "never more than one chunk at a time"
    assert encoded["first"] == encoded["another first frame"] == encoded["another size"] == 41
    assert max(encoded[name] for name in ("the same", "another last frame", "no last frame")) <= 4
    assert encoded["longer"] <= 12


def test_grey_past_the_encoders_memory_is_encoded_once(stream: ModuleType, fresh_vae: Any) -> None:
    encoded = []
    for length in (161, 241):
        stream.PREFIXES.forget()
        clip = clip_of(length, size=16)
        with counted_chunks(fresh_vae) as calls:
            latent = stream.encode_clip(fresh_vae, clip)
        encoded.append(sum(calls))
        assert torch.equal(latent, fresh_vae.encode(clip.whole()))
    assert encoded[0] == encoded[1] < 150


@pytest.mark.parametrize("given_frames", [(1, 1), (6, 1), (1, 6), (0, 1), (1, 0)])
def test_layers_that_grey_has_brought_to_rest_are_left_out(
    stream: ModuleType, fresh_vae: Any, given_frames: tuple[int, int]
) -> None:
    clip, changed = (clip_of(81, *given_frames, size=16, seeds=(0, seed)) for seed in (1, 2))
    for of, most in ((clip, 36), (changed, 8)):
        computed: list[int] = []
        layer = fresh_vae.first_stage_model.encoder.downsamples[0]
        hook = layer.register_forward_pre_hook(lambda _, inputs, seen=computed: seen.append(inputs[0].shape[2]))
        latent = stream.encode_clip(fresh_vae, of)
        hook.remove()
        assert torch.equal(latent, fresh_vae.encode(of.whole()))
        assert sum(computed) <= most, "few of the 81 frames pass the layers at full resolution"


def test_what_moves_never_comes_to_rest(stream: ModuleType, fresh_vae: Any) -> None:
    half = frames(1, 16, 16, 3).expand(40, -1, -1, -1).clone()
    half[12::4] *= 0.5  # a still video, then one that flickers once per chunk, then a still one
    half[24:] = half[0]
    clip = Clip(81, 16, 16, half, half[:37].flip(0))
    assert torch.equal(stream.encode_clip(fresh_vae, clip), fresh_vae.encode(clip.whole()))


def test_the_vaes_layers_are_left_without_hooks(stream: ModuleType, fresh_vae: Any) -> None:
    stream.encode_clip(fresh_vae, clip_of(41))
    assert not any(part._forward_pre_hooks for part in fresh_vae.first_stage_model.modules())


def test_encoders_that_another_pack_replaced_are_used_as_they_are(
    stream: ModuleType, load_vae: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import comfy.ldm.wan.vae as wan
    import comfy.sd

    clip = clip_of(9)
    expected = load_vae().encode(clip.whole())

    on_object = load_vae()
    own = on_object.first_stage_model.encode
    on_object.first_stage_model.encode = lambda pixels: own(pixels) + 1
    assert torch.equal(stream.encode_clip(on_object, clip), expected + 1)

    class Doubled(comfy.sd.VAE):
        def encode(self, pixels: torch.Tensor) -> torch.Tensor:
            return super().encode(pixels) * 2

    doubled = load_vae()
    doubled.__class__ = Doubled
    assert torch.equal(stream.encode_clip(doubled, clip), expected * 2)

    wrapped = load_vae()
    encoder = wrapped.first_stage_model.encoder
    own_forward = encoder.forward

    def tripled(*args: Any, **options: Any) -> Any:
        output = own_forward(*args, **options)
        return None if output is None else output * 3

    encoder.forward = tripled
    assert torch.equal(stream.encode_clip(wrapped, clip), wrapped.encode(clip.whole()))

    by_class = load_vae()
    encode = wan.WanVAE.encode
    monkeypatch.setattr(wan.WanVAE, "encode", lambda self, pixels: encode(self, pixels) + 4)
    assert torch.equal(stream.encode_clip(by_class, clip), expected + 4)


def test_out_of_memory_ends_in_comfyuis_own_tiles(stream: ModuleType, load_vae: Callable[..., Any]) -> None:
    import comfy.model_management

    def too_large(_: Any, inputs: tuple[Any, ...]) -> None:
        if inputs[0].shape[-1] > 256:
            raise comfy.model_management.OOM_EXCEPTION("too large for this test")

    vae = load_vae()
    clip = Clip(5, 288, 32, frames(1, 288, 32, 0), frames(1, 288, 32, 1))
    untiled = stream.encode_clip(vae, clip)
    vae.first_stage_model.encoder.register_forward_pre_hook(too_large)
    tiled = stream.encode_clip(vae, clip)
    assert torch.equal(tiled, vae.encode(clip.whole()))
    assert not torch.equal(tiled, untiled)


def test_an_interrupt_stops_the_encode(stream: ModuleType, fresh_vae: Any) -> None:
    import comfy.model_management as management

    fresh_vae.first_stage_model.encoder.register_forward_hook(lambda *_: management.interrupt_current_processing())
    with counted_chunks(fresh_vae) as calls, pytest.raises(management.InterruptProcessingException):
        stream.encode_clip(fresh_vae, clip_of(41))
    assert len(calls) == 1


def test_what_is_kept_goes_with_the_vae(stream: ModuleType, load_vae: Callable[..., Any]) -> None:
    first, second = load_vae(), load_vae()
    stream.encode_clip(first, clip_of(9))
    one = stream.PREFIXES.nbytes
    stream.encode_clip(second, clip_of(9))
    assert stream.PREFIXES.nbytes == 2 * one > 0
    gc.disable()  # nothing of ours keeps a VAE alive until a collection
    try:
        del first
        assert stream.PREFIXES.nbytes == one
        del second
        assert stream.PREFIXES.nbytes == 0
    finally:
        gc.enable()


def test_what_is_kept_is_given_back_when_ram_is_short(
    stream: ModuleType, fresh_vae: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream.encode_clip(fresh_vae, clip_of(9))
    fresh_vae.patcher.detach()
    assert stream.PREFIXES.nbytes, "an unloaded VAE alone costs nothing"
    monkeypatch.setattr(stream, "KEEP_SHARE", 0.0)
    fresh_vae.patcher.detach()
    assert not stream.PREFIXES.nbytes
    latent = stream.encode_clip(fresh_vae, clip_of(9))
    assert not stream.PREFIXES.nbytes
    assert torch.equal(latent, fresh_vae.encode(clip_of(9).whole()))


def test_the_vae_is_left_as_it_was(stream: ModuleType, fresh_vae: Any) -> None:
    before = copy.copy(vars(fresh_vae))
    stream.encode_clip(fresh_vae, clip_of(9))
    assert vars(fresh_vae) == before
