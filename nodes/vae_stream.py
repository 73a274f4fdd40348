"""Encode a clip with ComfyUI's Wan VAE without building it, and keep what the next clip can begin with.

ComfyUI's own ``VAE.encode`` does all the memory management: it is called on a shallow copy of the VAE whose model is an
adapter, with a stand-in of the clip's shape that takes no memory. The adapter drives the real encoder chunk by chunk.
"""

from __future__ import annotations

import copy
import sys
import weakref
from collections.abc import Hashable, Sequence
from typing import Any

import comfy.model_management
import comfy.utils
import torch
from comfy.patcher_extension import CallbacksMP

from ..flf2v.causal import Prefix, PrefixStore, encode_causal
from ..flf2v.clip import Clip
from .vae_drive import Drive, DrivenEncoder, as_video, find_drive

CPU = torch.device("cpu")
KEEP_BYTES = 4 * 2**30  # the state at 1280 x 720 in bf16 takes 2.4 GB
KEEP_SHARE = 0.25  # of the free RAM
CALLBACK_KEY = "wan_flf2v_prefixes"
PREFIXES = PrefixStore()  # contexts begin with the id of their VAE model
_watched: weakref.WeakSet[torch.nn.Module] = weakref.WeakSet()


class NeedsPixels(Exception):
    """ComfyUI asked for a part of the pixels, as it does when it runs out of memory and encodes in tiles."""


def encode_clip(vae: Any, clip: Clip) -> torch.Tensor:
    """``vae.encode`` of the whole clip, bit for bit: ``[1, 16, T, H/8, W/8]``."""
    drive = find_drive(vae)
    if drive is not None:
        streamed = copy.copy(vae)
        streamed.first_stage_model = _StreamedModel(vae, clip, drive)
        streamed.process_input = _unchanged
        stand_in = torch.zeros((), dtype=vae.vae_dtype, device=vae.device).expand(clip.shape)
        try:
            latent: torch.Tensor = streamed.encode(stand_in)
            return latent
        except NeedsPixels:
            PREFIXES.forget()
    latent = vae.encode(clip.whole())
    return latent


class _StreamedModel:
    """What ``VAE.encode`` sees as its model: encodes the clip, whatever the stand-in holds."""

    def __init__(self, vae: Any, clip: Clip, drive: Drive) -> None:
        self._vae = vae
        self._clip = clip
        self._drive = drive
        self._context: Hashable = (
            id(vae.first_stage_model),
            vae.patcher.patches_uuid,
            clip.width,
            clip.height,
            vae.vae_dtype,
            vae.device,
        )

    def encode(self, stand_in: torch.Tensor) -> torch.Tensor:
        """The latent of the clip. Raises NeedsPixels when less than the whole clip is asked for."""
        length, height, width, channels = self._clip.shape
        if stand_in.shape != (1, channels, length, height, width):
            raise NeedsPixels
        bar = comfy.utils.ProgressBar(length)

        def progress(done: int, total: int) -> None:
            comfy.model_management.throw_exception_if_processing_interrupted()
            bar.update_absolute(done, total)

        encoder = DrivenEncoder(self._vae.first_stage_model, self._drive, self._prepare)
        return encoder.finish(encode_causal(encoder, self._clip, self._resume, self._keep, progress))

    def _prepare(self, pixels: torch.Tensor) -> torch.Tensor:
        prepared: torch.Tensor = self._vae.process_input(as_video(pixels))
        return prepared.to(self._vae.vae_dtype).to(self._vae.device)

    def _resume(self, digests: Sequence[bytes]) -> Prefix | None:
        found = PREFIXES.longest(self._context, digests)
        return None if found is None else _moved(found, self._vae.device)

    def _keep(self, digests: Sequence[bytes], prefix: Prefix) -> None:
        limit = _limit()
        if prefix.nbytes <= limit:
            _watch(self._vae)
            PREFIXES.keep(self._context, digests, _moved(prefix, CPU), limit)


def _unchanged(pixels: torch.Tensor) -> torch.Tensor:
    return pixels


def _limit() -> int:
    return min(KEEP_BYTES, int(KEEP_SHARE * comfy.model_management.get_free_memory(CPU)))


def _moved(prefix: Prefix, device: torch.device) -> Prefix:
    """The prefix on this device, its tensors holding no larger memory than their own."""

    def move(item: Any) -> Any:
        if not isinstance(item, torch.Tensor):
            return item
        item = item.to(device)
        return item.clone() if item.untyped_storage().nbytes() > item.nbytes else item

    return Prefix([move(item) for item in prefix.outputs], [move(item) for item in prefix.state])


def _watch(vae: Any) -> None:
    """Have the VAE's prefixes dropped with the VAE, and when ComfyUI unloads it while RAM is short."""
    model = vae.first_stage_model
    if model not in _watched:
        _watched.add(model)
        weakref.finalize(model, _forget_model, id(model)).atexit = False
        vae.patcher.add_callback_with_key(CallbacksMP.ON_DETACH, CALLBACK_KEY, _on_detach)


def _on_detach(patcher: Any, _unpatch_all: bool) -> None:
    # a patcher that dies with the process detaches too, when psutil is gone already
    if not sys.is_finalizing() and PREFIXES.nbytes > _limit():
        _forget_model(id(patcher.model))


def _forget_model(model_id: int) -> None:
    PREFIXES.forget(lambda context: context[0] == model_id)
