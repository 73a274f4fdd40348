"""Encode a clip with ComfyUI's Wan VAE without building it.

``VAE.encode`` and the model's own ``encode`` run as they are: memory management, the order of the chunks and every value
are ComfyUI's. What they take for the pixels is an object that makes the frames of a slice when it is asked for them, and
the encoder's layers are left out while the grey frames between the pictures leave their output as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.ldm.wan.vae as wan
import comfy.sd
import torch

from ...flf2v.clip import Clip
from ...flf2v.skippable import SkippableBlock
from .progress import progress_bar
from .streaming import CannotStreamError, check_once, layout_of, same, tiny_vae, with_model, with_parts
from .types import Vae

KINDS = (wan.Encoder3d, wan.ResidualBlock, wan.Resample, wan.CausalConv3d)


def encode_clip(vae: Vae, clip: Clip) -> torch.Tensor:
    """``vae.encode`` of the whole clip, bit for bit: ``[1, 16, T, H/8, W/8]``."""
    if _is_comfyuis_own(vae):
        streamed = with_model(vae, _StreamedModel(vae, clip))
        streamed.process_input = lambda pixels: pixels  # each chunk is processed when it is made
        stand_in = torch.zeros((), dtype=vae.vae_dtype, device=vae.device).expand(clip.shape)
        try:
            latent: torch.Tensor = streamed.encode(stand_in)
            return latent
        except CannotStreamError:
            pass
    latent = vae.encode(clip.whole())
    return latent


@dataclass(eq=False)
class _StreamedModel:
    """What ``VAE.encode`` sees as its model: encodes the clip, whatever the stand-in of its shape holds."""

    vae: Vae
    clip: Clip

    def encode(self, stand_in: torch.Tensor) -> torch.Tensor:
        """The latent of the clip. Raises CannotStreamError when less than the whole clip is asked for."""
        length, height, width, channels = self.clip.shape
        if stand_in.shape != (1, channels, length, height, width):
            raise CannotStreamError
        model = self.vae.first_stage_model
        code = (wan.WanVAE.encode, *(kind.forward for kind in KINDS))  # checked again when another pack replaces one
        if not encodes_in_chunks(code, layout_of(model), self.vae.device):
            raise CannotStreamError
        show = progress_bar(length)
        latent = encode_in_chunks(model, self.clip, self._prepare, show)
        show(length)
        return latent

    def _prepare(self, pixels: torch.Tensor) -> torch.Tensor:
        prepared: torch.Tensor = self.vae.process_input(pixels)
        return prepared.to(self.vae.vae_dtype).to(self.vae.device)


def encode_in_chunks(
    model: Any, clip: Clip, prepare: Callable[[torch.Tensor], torch.Tensor], show: Callable[[int], None]
) -> torch.Tensor:
    """A Wan VAE model's ``encode`` of the clip; ``show`` is told the first frame of each chunk before it is encoded."""
    parts = skippable_parts(model.encoder)
    blocks = [part for part in parts if isinstance(part, SkippableBlock)]
    encoder = with_parts(model.encoder, downsamples=torch.nn.Sequential(*parts))
    latent: torch.Tensor = with_parts(model, encoder=encoder).encode(_Pixels(clip, blocks, prepare, show))
    return latent


@dataclass(eq=False)
class _Pixels:
    """What the model's ``encode`` takes for its input ``[1, 3, F, H, W]``: slices of frames, in order, made when asked."""

    clip: Clip
    blocks: Sequence[SkippableBlock]
    prepare: Callable[[torch.Tensor], torch.Tensor]
    show: Callable[[int], None]
    done: int = 0
    equal_frames: int = 0

    @property
    def shape(self) -> torch.Size:
        """Of the whole clip."""
        length, height, width, channels = self.clip.shape
        return torch.Size((1, channels, length, height, width))

    def __getitem__(self, key: tuple[slice, ...]) -> torch.Tensor:
        """The next frames."""
        first, last, _ = key[2].indices(self.clip.length)
        if first != self.done:
            raise CannotStreamError
        self.show(first)
        equal = first > 0 and self.clip.is_grey(first, last)  # before the clip's first frame there is no grey
        self.equal_frames = self.equal_frames + last - first if equal else 0
        for block in self.blocks:
            block.begin(self.equal_frames)
        self.done = last
        return self.prepare(as_video(self.clip.frames(first, last)))


def skippable_parts(encoder: Any) -> list[torch.nn.Module]:
    """The encoder's downsampling layers, in blocks that end where the resolution changes.

    A layer that halves the frame rate stands alone: some versions call what follows it less often.
    """
    parts: list[torch.nn.Module] = []
    row: list[torch.nn.Module] = []
    reach, stride = _reach(encoder.conv1), 1
    for layer in encoder.downsamples:
        if isinstance(layer, wan.Resample) and layer.mode == "downsample3d":
            parts += [SkippableBlock(row, reach, stride), layer]
            row = []
            reach += stride * _reach(layer)
            stride *= 2
            continue
        row.append(layer)
        reach += stride * _reach(layer)
        if isinstance(layer, wan.Resample):
            parts.append(SkippableBlock(row, reach, stride))
            row = []
    return [*parts, SkippableBlock(row, reach, stride)]


def _reach(layer: torch.nn.Module) -> int:
    """How many frames of its input before its own an output frame depends on."""
    return sum(part.kernel_size[0] - 1 for part in layer.modules() if isinstance(part, wan.CausalConv3d))


def as_video(pixels: torch.Tensor) -> torch.Tensor:
    """``[F, H, W, 3]`` as ``[1, 3, F, H, W]``, laid out in memory as ``VAE.encode`` does."""
    return pixels.movedim(-1, 1).movedim(1, 0).unsqueeze(0)


def _is_comfyuis_own(vae: Vae) -> bool:
    """Whether neither class nor object of this VAE's encoder was replaced."""
    model = vae.first_stage_model
    if type(vae).encode is not comfy.sd.VAE.encode or "encode" in vars(vae):
        return False
    if type(model) is not wan.WanVAE or "encode" in vars(model):
        return False
    parts = ((model.encoder, wan.Encoder3d), (model.conv1, wan.CausalConv3d))
    return all(type(part) is kind and "forward" not in vars(part) for part, kind in parts)


@check_once
def encodes_in_chunks(code: tuple[Any, ...], layout: tuple[Any, ...], device: torch.device) -> bool:
    """Whether a tiny encoder of this code and layout gives in chunks what it gives of the whole clip, blocks left out.

    On the VAE's device, as ComfyUI's attention there may know no other.
    """
    generator = torch.Generator().manual_seed(0)
    model = tiny_vae(layout, device, generator)
    start, end = (torch.rand((count, 16, 16, 3), generator=generator) for count in (2, 1))
    for clip in (Clip(97, 16, 16, start, end, {66: end[0]}), Clip(41, 16, 16, start)):
        expected = model.encode(as_video(clip.whole()).to(device))
        given = encode_in_chunks(model, clip, lambda pixels: pixels.to(device), lambda done: None)
        if not same(given, expected):
            return False
    return True
