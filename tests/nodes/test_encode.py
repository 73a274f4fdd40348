"""The streamed encode equals ``vae.encode`` to the bit, leaves memory to ComfyUI, and leaves nothing behind."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wan_flf2v.flf2v.clip import Clip
from wan_flf2v.tests.doubles.later_encoder import install as install_later_encoder

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
INTERFACES = ("ComfyUI's own", "of later versions")


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
def vae(load_vae: Callable[..., Any]) -> Any:
    """A VAE of this test alone."""
    return load_vae()


@pytest.fixture
def encode(comfy: ModuleType) -> ModuleType:
    """The module under test."""
    import wan_flf2v.nodes.host.encode as module

    return module


def frames(count: int, width: int, height: int, seed: int) -> torch.Tensor | None:
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(seed)) if count else None


class Watched(Clip):
    """A clip that knows the longest part of it that was asked for."""

    longest = 0

    def frames(self, first: int, last: int) -> torch.Tensor:
        object.__setattr__(self, "longest", max(self.longest, last - first))
        return super().frames(first, last)


def clip_of(length: int, start: int = 1, end: int = 1, size: int = 32, middle: Sequence[int] = ()) -> Watched:
    pictures = {number: frames(1, size, size, number)[0] for number in middle}  # type: ignore[index]
    return Watched(length, size, size, frames(start, size, size, 0), frames(end, size, size, 1), pictures)


@contextmanager
def without_collection() -> Iterator[None]:
    """Python's garbage collector off: what is gone then is gone by itself."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def tensors_alive() -> int:
    """The number of tensors in this process."""
    return sum(issubclass(type(item), torch.Tensor) for item in gc.get_objects())


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_latent_is_vae_encodes_to_the_bit(
    encode: ModuleType, vaes: dict[str, Any], dtype: str, interface: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if interface == "of later versions":
        install_later_encoder(monkeypatch)

    @settings(max_examples=12)
    @given(
        length=st.sampled_from([5, 9, 13, 17, 29, 49, 85]),
        given_frames=st.sampled_from([(1, 1), (1, 0), (0, 1), (4, 1), (1, 4), (2, 3), (3, 0)]),
        size=st.sampled_from([(16, 16), (48, 16), (32, 64)]),
    )
    def equal(length: int, given_frames: tuple[int, int], size: tuple[int, int]) -> None:
        (start, end), vae = given_frames, vaes[dtype]
        if start + end > length:
            return
        clip = Watched(length, *size, frames(start, *size, 0), frames(end, *size, 1))
        latent = encode.encode_clip(vae, clip)
        assert clip.longest <= 4, "never more than one chunk at a time"
        expected = vae.encode(clip.whole())
        assert torch.equal(latent, expected)
        assert (latent.dtype, latent.device) == (expected.dtype, expected.device)

    equal()


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("middle", [(20,), (21,), (22,), (23,), (40, 41), (3, 70)])
def test_with_middle_frames_it_is_vae_encodes_too_and_layers_are_left_out_around_them(
    encode: ModuleType, vae: Any, middle: tuple[int, ...], interface: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if interface == "of later versions":
        install_later_encoder(monkeypatch)
    clip = clip_of(81, size=16, middle=middle)
    computed: list[int] = []
    layer = vae.first_stage_model.encoder.downsamples[0]
    hook = layer.register_forward_pre_hook(lambda _, inputs: computed.append(inputs[0].shape[2]))
    latent = encode.encode_clip(vae, clip)
    hook.remove()
    assert torch.equal(latent, vae.encode(clip.whole()))
    assert sum(computed) <= 36 + 20 * len(middle)


def test_both_interfaces_are_one_encoder(vae: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = clip_of(21, size=16)
    expected = vae.encode(clip.whole())
    install_later_encoder(monkeypatch)
    assert torch.allclose(vae.encode(clip.whole()), expected, atol=1e-4)


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("given_frames", [(1, 1), (6, 1), (1, 6), (0, 1), (1, 0)])
def test_few_of_81_frames_pass_the_layers_at_full_resolution(
    encode: ModuleType, vae: Any, given_frames: tuple[int, int], interface: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if interface == "of later versions":
        install_later_encoder(monkeypatch)
    clip = clip_of(81, *given_frames, size=16)
    computed: list[int] = []
    layer = vae.first_stage_model.encoder.downsamples[0]
    hook = layer.register_forward_pre_hook(lambda _, inputs: computed.append(inputs[0].shape[2]))
    latent = encode.encode_clip(vae, clip)
    hook.remove()
    assert sum(computed) <= 36
    assert torch.equal(latent, vae.encode(clip.whole()))


def test_encoders_that_another_pack_replaced_are_used_as_they_are(
    encode: ModuleType, load_vae: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import comfy.ldm.wan.vae as wan
    import comfy.sd

    clip = clip_of(9)
    expected = load_vae().encode(clip.whole())

    on_object = load_vae()
    own = on_object.first_stage_model.encode
    on_object.first_stage_model.encode = lambda pixels: own(pixels) + 1
    assert torch.equal(encode.encode_clip(on_object, clip), expected + 1)

    class Doubled(comfy.sd.VAE):
        def encode(self, pixels: torch.Tensor) -> torch.Tensor:
            return super().encode(pixels) * 2

    doubled = load_vae()
    doubled.__class__ = Doubled
    assert torch.equal(encode.encode_clip(doubled, clip), expected * 2)

    wrapped = load_vae()
    encoder = wrapped.first_stage_model.encoder
    own_forward = encoder.forward

    def tripled(*args: Any, **options: Any) -> Any:
        output = own_forward(*args, **options)
        return None if output is None else output * 3

    encoder.forward = tripled
    assert torch.equal(encode.encode_clip(wrapped, clip), wrapped.encode(clip.whole()))

    by_class = load_vae()
    own_encode = wan.WanVAE.encode
    monkeypatch.setattr(wan.WanVAE, "encode", lambda self, pixels: own_encode(self, pixels) + 4)
    assert torch.equal(encode.encode_clip(by_class, clip), expected + 4)


def test_an_encode_that_takes_the_clip_otherwise_gets_the_whole_of_it(
    encode: ModuleType, vae: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import comfy.ldm.wan.vae as wan

    own = wan.WanVAE.encode
    monkeypatch.setattr(wan.WanVAE, "encode", lambda self, pixels: own(self, pixels * 0.5))
    clip = clip_of(9)
    latent = encode.encode_clip(vae, clip)
    assert clip.longest == clip.length
    assert torch.equal(latent, vae.encode(clip.whole()))


def make_small_memory(vae: Any) -> None:
    """Have the encoder run out of memory in the midst of a clip, unless it gets a tile."""
    import comfy.model_management

    def too_large(_: Any, inputs: tuple[Any, ...]) -> None:
        if inputs[0].shape[-1] > 256 and inputs[0].shape[2] > 1:
            raise comfy.model_management.OOM_EXCEPTION("too large for this test")

    vae.first_stage_model.encoder.register_forward_pre_hook(too_large)


def test_out_of_memory_ends_in_comfyuis_own_tiles(encode: ModuleType, vae: Any) -> None:
    clip = Clip(5, 288, 32, frames(1, 288, 32, 0), frames(1, 288, 32, 1))
    untiled = encode.encode_clip(vae, clip)
    make_small_memory(vae)
    tiled = encode.encode_clip(vae, clip)
    assert torch.equal(tiled, vae.encode(clip.whole()))
    assert not torch.equal(tiled, untiled)


def interrupt_after(vae: Any, chunks: int) -> list[int]:
    """Have the user cancel when the encoder has done so many chunks; the list gets an entry for each."""
    import comfy.model_management

    done: list[int] = []

    def hook(*_: Any) -> None:
        done.append(1)
        if len(done) == chunks:
            comfy.model_management.interrupt_current_processing()

    vae.first_stage_model.encoder.register_forward_hook(hook)
    return done


def test_an_interrupt_stops_the_encode_at_the_next_chunk(encode: ModuleType, vae: Any) -> None:
    from comfy.model_management import InterruptProcessingException

    done = interrupt_after(vae, 3)
    with pytest.raises(InterruptProcessingException):
        encode.encode_clip(vae, clip_of(41))
    assert len(done) == 3


@torch.inference_mode()
def test_no_tensor_outlives_an_encode_however_it_ends(encode: ModuleType, load_vae: Callable[..., Any]) -> None:
    from comfy.model_management import InterruptProcessingException

    cancelled, crowded = load_vae(), load_vae()
    wide = Clip(5, 288, 32, frames(1, 288, 32, 0))
    start_only = clip_of(81, end=0, size=16)
    encode.encode_clip(cancelled, clip_of(5))  # what is made once, as the answer of the self-check, is made now
    encode.encode_clip(crowded, clip_of(5))
    make_small_memory(crowded)
    with without_collection():
        before = tensors_alive()
        encode.encode_clip(crowded, start_only)
        assert tensors_alive() == before, "after a start frame alone"
        interrupt_after(cancelled, 15)
        with suppress(InterruptProcessingException):
            encode.encode_clip(cancelled, start_only)
        assert tensors_alive() == before, "after a cancel"
        encode.encode_clip(crowded, wide)
        assert tensors_alive() == before, "after running out of memory"


def test_a_dropped_vae_takes_its_weights_with_it(encode: ModuleType, load_vae: Callable[..., Any]) -> None:
    vae = load_vae()
    encode.encode_clip(vae, clip_of(81, end=0, size=16))
    weight = weakref.ref(vae.first_stage_model.encoder.conv1.weight)
    with without_collection():
        del vae
        assert weight() is None


def test_the_vae_is_left_as_it_was(encode: ModuleType, vae: Any) -> None:
    before, parts = copy.copy(vars(vae)), list(vae.first_stage_model.modules())
    encode.encode_clip(vae, clip_of(41))
    assert vars(vae) == before
    assert list(vae.first_stage_model.modules()) == parts
    assert not any(part._forward_pre_hooks for part in parts)


class SelfCheck:
    """The self-check, forgotten before each test, with ``happen`` to happen at its first chunk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, happen: Callable[[], None]) -> None:
        import comfy.ldm.wan.vae as wan

        self.chunks = 0
        own = wan.Encoder3d.forward

        def watched(encoder: Any, *args: Any, **options: Any) -> Any:
            if encoder.z_dim == 8:  # the self-check alone has so few
                self.chunks += 1
                if self.chunks == 1:
                    happen()
            return own(encoder, *args, **options)

        monkeypatch.setattr(wan.Encoder3d, "forward", watched)  # code that no self-check has seen


def streams(encode: ModuleType, vae: Any) -> bool:
    clip = clip_of(41)
    assert torch.equal(encode.encode_clip(vae, clip), vae.encode(clip_of(41).whole()))
    return clip.longest <= 4


def test_a_cancel_during_the_self_check_is_passed_on_and_not_remembered(
    encode: ModuleType, vae: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfy.model_management import InterruptProcessingException

    def cancel() -> None:
        raise InterruptProcessingException

    check = SelfCheck(monkeypatch, cancel)
    with pytest.raises(InterruptProcessingException):
        encode.encode_clip(vae, clip_of(41))
    assert streams(encode, vae)
    chunks = check.chunks
    assert streams(encode, vae)
    assert check.chunks == chunks > 1, "its answer is remembered"


def test_running_out_of_memory_during_the_self_check_is_not_remembered(
    encode: ModuleType, vae: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import comfy.model_management

    def crowd() -> None:
        raise comfy.model_management.OOM_EXCEPTION("too large for this test")

    SelfCheck(monkeypatch, crowd)
    clip = clip_of(41)
    assert torch.equal(encode.encode_clip(vae, clip), vae.encode(clip.whole()))
    assert streams(encode, vae)


def test_the_self_check_waits_until_comfyui_has_made_room(
    encode: ModuleType, vae: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import comfy.model_management as management

    events: list[str] = []
    load = management.load_models_gpu

    def loading(*args: Any, **options: Any) -> Any:
        events.append("room")
        return load(*args, **options)

    monkeypatch.setattr(management, "load_models_gpu", loading)
    SelfCheck(monkeypatch, lambda: events.append("self-check"))
    assert streams(encode, vae)
    assert events[:2] == ["room", "self-check"]
