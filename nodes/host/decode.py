"""Decode with ComfyUI's Wan VAE chunk by chunk: the frames of ``vae.decode``, never all of them in memory.

ComfyUI's own ``VAE.decode`` does all the memory management: it is called on a shallow copy of the VAE, and the model's
own ``decode`` drives the decoder. Only the decoder's output is tapped: each chunk is handed on and an empty one put in
its place. So it serves every way in which ComfyUI cuts a latent into chunks.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import comfy.ldm.wan.vae as wan
import comfy.sd
import torch

from .streaming import check_once, layout_of, same, tiny_vae, with_model, with_parts
from .types import Vae

logger = logging.getLogger(__name__)
Write = Callable[[int, torch.Tensor], None]
TILE, OVERLAP = 32, 8  # in latent pixels, as VAE.decode chooses them when it runs out of memory


class DecodeWholeError(Exception):
    """The video has to be decoded with ``decode_whole``; what was handed on so far is no part of it."""

    def __init__(self, reason: str, *, no_memory: bool = False) -> None:
        super().__init__(reason)
        self.no_memory = no_memory


def decode_streamed(vae: Vae, latent: torch.Tensor, write: Write) -> None:
    """Hand the frames of ``[B, 16, T, h, w]`` to ``write``, some at a time: the video's number and ``[n, H, W, 3]``.

    The frames lie where the VAE works; several videos may come side by side. Raises DecodeWholeError when this VAE cannot
    be decoded so, or memory runs out.
    """
    model = vae.first_stage_model
    if type(vae).decode is not comfy.sd.VAE.decode or type(model) is not wan.WanVAE or "decode" in vars(model):
        raise DecodeWholeError("the VAE is none of ComfyUI's Wan VAEs, or another pack has replaced its decode")
    kind = getattr(vae, "vae_output_dtype", lambda: torch.float32)()  # later versions can keep half precision

    def hand_on(first_video: int, chunk: torch.Tensor) -> None:
        for number, frames in enumerate(vae.process_output(chunk.to(kind)), first_video):
            write(number, frames.movedim(0, -1))

    with_model(vae, _StreamedModel(model, vae.device, latent.shape, hand_on)).decode(latent)


def decode_whole(vae: Vae, latent: torch.Tensor, reason: DecodeWholeError) -> torch.Tensor:
    """All frames ``[B, F, H, W, 3]`` at once; in tiles when memory had run out."""
    logger.warning("The video is not decoded chunk by chunk: %s.", reason)
    tiles = {"tile_x": TILE, "tile_y": TILE, "overlap": OVERLAP}
    frames: torch.Tensor = vae.decode_tiled(latent, **tiles) if reason.no_memory else vae.decode(latent)
    return frames


class _StreamedModel:
    """What ``VAE.decode`` sees as its model; it asks for some of the videos at a time, and for tiles after a failure."""

    def __init__(self, model: Any, device: torch.device, shape: torch.Size, hand_on: Callable[..., None]) -> None:
        self._model = model
        self._device = device
        self._shape = shape
        self._hand_on = hand_on
        self._asked = 0

    def decode(self, latent: torch.Tensor, **options: Any) -> torch.Tensor:
        """No frames, as they were handed on."""
        first_video, self._asked = self._asked, self._asked + latent.shape[0]
        if self._asked > self._shape[0] or latent.shape[1:] != self._shape[1:]:
            raise DecodeWholeError("the memory ran out, so it is decoded in tiles", no_memory=True)
        code = wan.WanVAE.decode, wan.Decoder3d.forward  # checked again when another pack replaces one
        if not _decodes_in_chunks(code, layout_of(self._model), self._device):
            raise DecodeWholeError("this ComfyUI's Wan VAE does not give its frames chunk by chunk")
        try:
            tapped = _tapped(self._model, functools.partial(self._hand_on, first_video))
            rest: torch.Tensor = tapped.decode(latent, **options)
            return rest
        except Exception:  # ComfyUI decides which of them mean a lack of memory
            self._asked = self._shape[0]
            raise


class _Tap(torch.nn.Module):
    """The decoder, with its output taken away."""

    def __init__(self, decoder: torch.nn.Module, hand_on: Callable[[torch.Tensor], None]) -> None:
        super().__init__()
        self.decoder = decoder
        self.hand_on = hand_on

    def forward(self, *args: Any, **options: Any) -> Any:
        """What the decoder gives, without a frame: a tensor or, in later versions, a list."""
        given = self.decoder(*args, **options)
        chunks = given if isinstance(given, list) else [given]
        for chunk in chunks:
            self.hand_on(chunk)
        empty = chunks[0].new_empty((*chunks[0].shape[:2], 0, *chunks[0].shape[3:]))
        return [empty] if isinstance(given, list) else empty


def _tapped(model: Any, hand_on: Callable[[torch.Tensor], None]) -> Any:
    return with_parts(model, decoder=_Tap(model.decoder, hand_on))


@check_once
def _decodes_in_chunks(_code: Any, layout: Any, device: torch.device) -> bool:
    """Whether a tiny VAE hands on what its own ``decode`` gives, in chunks, and nothing remains."""
    generator = torch.Generator().manual_seed(0)
    model = tiny_vae(layout, device, generator)
    latent = torch.randn((1, 4, 4, 2, 2), generator=generator).to(device)
    chunks: list[torch.Tensor] = []
    with torch.no_grad():
        rest = _tapped(model, chunks.append).decode(latent)
        return len(chunks) > 1 and rest.shape[2] == 0 and same(torch.cat(chunks, 2), model.decode(latent))
