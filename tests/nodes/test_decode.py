"""The streamed decode equals ``vae.decode`` to the bit, never holds the frames, and leaves memory to ComfyUI."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    """As ComfyUI runs its nodes."""
    with torch.inference_mode():
        yield


def latent(batch: int, length: int, height: int, width: int) -> torch.Tensor:
    return torch.randn((batch, 16, length, height, width), generator=torch.Generator().manual_seed(length))


def streamed(vae: Any, samples: torch.Tensor) -> tuple[list[torch.Tensor], list[int]]:
    """The frames of each video, and how many came at a time."""
    from wan_flf2v.nodes.host.decode import decode_streamed

    videos: list[list[torch.Tensor]] = [[] for _ in samples]
    sizes: list[int] = []

    def write(video: int, frames: torch.Tensor) -> None:
        videos[video].append(frames)
        sizes.append(len(frames))

    decode_streamed(vae, samples, write)
    return [torch.cat(frames) for frames in videos], sizes


@pytest.fixture(params=["as it is", "two latents at a time"])
def interface(request: pytest.FixtureRequest, comfy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> str:
    """ComfyUI's decoder, and with the other interface it has had: two latents at a time, a list of chunks back."""
    import comfy.ldm.wan.vae as wan

    if request.param == "two latents at a time":
        whole = wan.Decoder3d.forward
        count = getattr(wan, "count_conv3d", None) or wan.count_cache_layers

        def forward(self: Any, x: torch.Tensor, feat_cache: Any = None, feat_idx: Any = None) -> list[torch.Tensor]:
            parts: list[torch.Tensor] = []
            for one in x.split(1, 2):
                given = whole(self, one, feat_cache, [0])
                parts += given if isinstance(given, list) else [given]
            return parts

        def decode(self: Any, z: torch.Tensor) -> torch.Tensor:
            cache = [None] * count(self.decoder)
            x = self.conv2(z)
            chunks = self.decoder(x[:, :, :1], feat_cache=cache, feat_idx=[0])
            for start in range(1, z.shape[2], 2):
                chunks += self.decoder(x[:, :, start : start + 2], feat_cache=cache, feat_idx=[0])
            return torch.cat(chunks, 2)

        monkeypatch.setattr(wan.Decoder3d, "forward", forward)
        monkeypatch.setattr(wan.WanVAE, "decode", decode)
    return str(request.param)


@pytest.mark.parametrize(
    ("batch", "length", "height", "width"),
    [(1, 1, 4, 6), (1, 2, 5, 7), (1, 5, 4, 4), (2, 5, 5, 3), (1, 21, 2, 3), (3, 2, 2, 2), (1, 4, 9, 2)],
)
def test_the_frames_are_those_of_vae_decode(
    vae: Any, interface: str, batch: int, length: int, height: int, width: int
) -> None:
    samples = latent(batch, length, height, width)
    expected = vae.decode(samples)
    videos, sizes = streamed(vae, samples)
    assert expected.shape[1] == 4 * length - 3
    assert all(torch.equal(video, whole) for video, whole in zip(videos, expected, strict=True))
    assert max(sizes) <= 8


def test_videos_that_are_decoded_one_at_a_time_are_kept_apart(vae: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vae, "memory_used_decode", lambda shape, kind: 2**50)
    samples = latent(3, 2, 2, 2)
    videos, _ = streamed(vae, samples)
    assert all(torch.equal(video, whole) for video, whole in zip(videos, vae.decode(samples), strict=True))


def test_a_chunk_that_was_handed_on_is_not_held(vae: Any) -> None:
    from wan_flf2v.nodes.host.decode import decode_streamed

    chunks: list[Any] = []
    alive: list[int] = []

    def write(_: int, frames: torch.Tensor) -> None:
        alive.append(sum(1 for chunk in chunks if chunk() is not None))
        chunks.append(weakref.ref(frames.untyped_storage()))

    decode_streamed(vae, latent(1, 21, 3, 3), write)
    gc.collect()
    assert max(alive) <= 4 < len(chunks) / 5
    assert not any(chunk() is not None for chunk in chunks)


def test_without_memory_it_is_decoded_in_tiles_and_says_so(vae: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import comfy.model_management as management

    from wan_flf2v.nodes.host.decode import DecodeWholeError, decode_streamed, decode_whole

    samples = latent(1, 3, 4, 4)
    real = vae.first_stage_model.decoder.forward
    calls: list[tuple[int, ...]] = []

    def forward(x: torch.Tensor, *args: Any, **options: Any) -> Any:
        calls.append(tuple(x.shape))
        if len(calls) == 2:
            raise management.OOM_EXCEPTION("no memory")
        return real(x, *args, **options)

    monkeypatch.setattr(vae.first_stage_model.decoder, "forward", forward)
    with pytest.raises(DecodeWholeError, match="memory ran out") as raised:
        decode_streamed(vae, samples, lambda *_: None)
    assert raised.value.no_memory
    assert len(calls) == 2, "it was tried again whole"
    frames = decode_whole(vae, samples, raised.value)
    monkeypatch.undo()
    assert torch.allclose(frames, vae.decode(samples), atol=1e-4)


def test_a_cancel_passes_and_the_next_decode_is_streamed(vae: Any) -> None:
    import comfy.model_management as management

    from wan_flf2v.nodes.host import decode

    decode._decodes_in_chunks.cache_clear()
    management.interrupt_current_processing(True)
    with pytest.raises(management.InterruptProcessingException):
        decode.decode_streamed(
            vae, latent(1, 2, 2, 2), lambda *_: management.throw_exception_if_processing_interrupted()
        )
    management.interrupt_current_processing(False)
    assert sum(streamed(vae, latent(1, 3, 2, 2))[1]) == 9


@pytest.mark.parametrize("change", ["decode of the model", "decode of the VAE", "a decoder that keeps its frames"])
def test_what_another_pack_replaced_is_decoded_whole(vae: Any, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    import comfy.ldm.wan.vae as wan
    import comfy.sd

    from wan_flf2v.nodes.host.decode import DecodeWholeError, decode_streamed, decode_whole

    samples = latent(1, 2, 3, 3)
    expected = vae.decode(samples)
    if change == "decode of the model":
        monkeypatch.setattr(vae.first_stage_model, "decode", vae.first_stage_model.decode, raising=False)
    elif change == "decode of the VAE":
        other = type("Other", (comfy.sd.VAE,), {"decode": lambda self, x: comfy.sd.VAE.decode(self, x)})
        monkeypatch.setattr(vae, "__class__", other)
    else:
        real = wan.WanVAE.decode
        monkeypatch.setattr(wan.WanVAE, "decode", lambda self, z: real(self, z).mul(0.5))
        expected = vae.decode(samples)
    written: list[torch.Tensor] = []
    with pytest.raises(DecodeWholeError) as raised:
        decode_streamed(vae, samples, lambda _, frames: written.append(frames))
    assert not written
    assert torch.equal(decode_whole(vae, samples, raised.value), expected)
