"""How the Wan VAE's encoder is driven chunk by chunk: told by its interface and proved on a tiny copy, never by version.

Two interfaces are known: chunks of 1 + 4 + 4 ... frames, and 1 + 2 + 2 ... with a flag for the last chunk. What another
pack replaced, and what a later ComfyUI may change, fails the checks here, and ``vae.encode`` is used as it is.
"""

from __future__ import annotations

import copy
import functools
import inspect
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import comfy.ldm.wan.vae as wan
import comfy.sd
import torch

from ..flf2v.causal import Prefix, PrefixStore, State, encode_causal
from ..flf2v.clip import Clip
from ..flf2v.rest import Stretch

logger = logging.getLogger(__name__)
Layout = tuple[tuple[int, ...], int, tuple[bool, ...]]


@dataclass(frozen=True)
class Drive:
    """An encoder interface: frames per chunk, chunks per cycle (see ``CausalEncoder``), and forward's parameters."""

    chunk: int
    cycle: int
    parameters: tuple[str, ...]


DRIVES = (
    Drive(4, 1, ("x", "feat_cache", "feat_idx")),
    Drive(2, 4, ("x", "feat_cache", "feat_idx", "final")),
)


class DrivenEncoder:
    """The encoder of a Wan VAE model as a ``CausalEncoder``; ``prepare`` makes its input ``[1, 3, n, H, W]``."""

    def __init__(self, model: Any, drive: Drive, prepare: Any) -> None:
        self.chunk = drive.chunk
        self.cycle = drive.cycle
        self._model = model
        self._encoder, self._stretches = _with_rests(model.encoder)
        self._prepare = prepare
        self._takes_final = "final" in drive.parameters

    def new_state(self) -> State:
        """The state before the first frame: more slots than the encoder has layers with a memory."""
        return [None] * sum(1 for _ in self._model.encoder.modules())

    def step(self, pixels: torch.Tensor, state: State, final: bool) -> torch.Tensor | None:
        """Encode the next frames."""
        options = {"final": final} if self._takes_final else {}
        if final:
            state = _Unwritten(state)  # nothing reads it again; beside a kept state it would take memory twice
        with ExitStack() as stack:
            for stretch in self._stretches:
                stack.enter_context(stretch.watched())
            output: torch.Tensor | None = self._encoder(
                self._prepare(pixels), feat_cache=state, feat_idx=[0], **options
            )
        return output

    def finish(self, outputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """The latent of the encoder's outputs, as ``WanVAE.encode`` takes it from them."""
        mean: torch.Tensor = self._model.conv1(torch.cat(list(outputs), 2)).chunk(2, dim=1)[0]
        return mean


class _Unwritten(list[Any]):
    """A state that stays as it is, whatever the encoder writes to it; no entry is read after it was written."""

    def __setitem__(self, index: Any, value: Any) -> None:
        """Ignore it."""


def _with_rests(encoder: Any) -> tuple[Any, list[Stretch]]:
    """The encoder with the same weights, but layers that are left out while they are at rest; and those.

    Layers that change the frame rate end a stretch: some versions call what follows them less often.
    """
    runs: list[list[Any]] = [[encoder.conv1]]
    for layer in encoder.downsamples:
        if type(layer) is wan.ResidualBlock or (type(layer) is wan.Resample and layer.mode == "downsample2d"):
            runs[-1].append(layer)
        else:
            runs.append([])
    stretches: list[Stretch] = []
    for run in reversed(runs):
        memories = [part for layer in run for part in layer.modules() if _has_memory(part)]
        stretches.insert(0, Stretch(run, memories, stretches[:1]))
    standing_in = {
        id(layer): stand_in
        for run, stretch in zip(runs, stretches, strict=True)
        for layer, stand_in in zip(run, stretch.layers, strict=True)
    }
    twin = copy.copy(encoder)
    twin._modules = {
        **encoder._modules,
        "conv1": standing_in[id(encoder.conv1)],
        "downsamples": torch.nn.Sequential(*(standing_in.get(id(layer), layer) for layer in encoder.downsamples)),
    }
    return twin, stretches


def _has_memory(part: Any) -> bool:
    return type(part) is wan.CausalConv3d and part.kernel_size[0] > 1


def as_video(pixels: torch.Tensor) -> torch.Tensor:
    """``[F, H, W, 3]`` as ``[1, 3, F, H, W]``, laid out in memory as ``VAE.encode`` does."""
    return pixels.movedim(-1, 1).movedim(1, 0).unsqueeze(0)


def find_drive(vae: Any) -> Drive | None:
    """How to drive this VAE's encoder, or None when only ``vae.encode`` is known to work."""
    model = vae.first_stage_model
    if type(vae).encode is not comfy.sd.VAE.encode or "encode" in vars(vae):
        return None
    if type(model) is not wan.WanVAE or "encode" in vars(model):
        return None
    for part, kind in ((model.encoder, wan.Encoder3d), (model.conv1, wan.CausalConv3d)):
        if type(part) is not kind or "forward" in vars(part):
            return None
    kinds = (wan.Encoder3d, wan.ResidualBlock, wan.Resample, wan.CausalConv3d)
    code = (wan.WanVAE.encode, *(kind.forward for kind in kinds))  # proved again when another pack replaces one
    layout = tuple(model.dim_mult), model.num_res_blocks, tuple(model.temperal_downsample)
    return _proved(code, layout, vae.device)


@functools.lru_cache(maxsize=8)
def _proved(code: tuple[Any, ...], layout: Layout, device: torch.device) -> Drive | None:
    parameters = tuple(inspect.signature(wan.Encoder3d.forward).parameters)[1:]
    drive = next((drive for drive in DRIVES if drive.parameters == parameters), None)
    try:
        if drive is not None and _equals_encode(drive, layout, device):
            return drive
        reason = "it does not give what its own encode gives" if drive else f"its parameters are {parameters}"
    except Exception as error:  # noqa: BLE001 - whatever an unknown encoder raises, its own encode is used instead
        reason = f"{type(error).__name__}: {error}"
    logger.info(
        "This ComfyUI's Wan VAE encoder cannot be driven chunk by chunk (%s); frames are encoded whole.", reason
    )
    return None


def _equals_encode(drive: Drive, layout: Layout, device: torch.device) -> bool:
    """Whether a tiny encoder driven so gives what its own ``encode`` gives, also when it resumes, twice, after a prefix.

    On the VAE's device, as ComfyUI's attention there may know no other; bit for bit on the CPU, and elsewhere as close
    as kernels that are chosen anew for each call can be. A wrong chunk or state is off by as much as the result.
    """
    dim_mult, blocks, downsample = layout
    model = wan.WanVAE(8, 4, list(dim_mult), blocks, temperal_downsample=list(downsample))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / max(weight[0].numel(), 1) ** 0.5)
        model.to(device)
        encoder = DrivenEncoder(model, drive, lambda pixels: as_video(pixels).to(device))
        store = PrefixStore()
        start = torch.rand((2, 16, 16, 3), generator=generator)
        resumed = []

        def resume(digests: Sequence[bytes]) -> Prefix | None:
            resumed.append(store.longest(None, digests))
            return resumed[-1]

        for length in (13, 13, 57):
            clip = Clip(length, 16, 16, start, torch.rand((1, 16, 16, 3), generator=generator))
            outputs = encode_causal(
                encoder, clip, resume, lambda digests, prefix: store.keep(None, digests, prefix, 2**30), lambda *_: None
            )
            driven, expected = encoder.finish(outputs), model.encode(as_video(clip.whole()).to(device))
            tolerance = 0.0 if device.type == "cpu" else 0.01 * float(expected.abs().max())
            if driven.shape != expected.shape or not torch.allclose(driven, expected, rtol=0.0, atol=tolerance):
                return False
    return resumed[0] is None and None not in resumed[1:]
