"""The encoder protocol of later ComfyUI versions, put onto the Wan VAE's classes of the one that the tests run on.

One frame, then two at a time; a layer that halves the frame rate waits for its pair and hands on nothing meanwhile,
except in the call that is said to be the final one.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put it on; nothing to do where ComfyUI has it itself."""
    import comfy.ldm.wan.vae as wan

    if "final" in inspect.signature(wan.Encoder3d.forward).parameters:
        return
    own_resample, own_residual = wan.Resample.forward, wan.ResidualBlock.forward

    def resample(self: Any, x: Any, feat_cache: Any = None, feat_idx: Any = None, final: bool = False) -> Any:
        if self.mode != "downsample3d" or feat_cache is None:
            return own_resample(self, x, feat_cache, feat_idx)
        slot, waiting = feat_idx[0], feat_idx[0] + 1
        is_first = feat_cache[slot] is None
        x = own_resample(self, x, feat_cache, feat_idx)
        feat_idx[0] = waiting + 1
        if is_first:
            return x
        if feat_cache[waiting] is not None:
            x, feat_cache[waiting] = torch.cat([feat_cache[waiting], x], 2), None
        if x.shape[2] == 1 and not final:
            feat_cache[waiting] = x
            return None
        return x

    def residual(self: Any, x: Any, feat_cache: Any = None, feat_idx: Any = None, final: bool = False) -> Any:
        return own_residual(self, x, feat_cache, feat_idx)

    def causal(layer: Any, x: torch.Tensor, memory: list[Any], index: list[int]) -> torch.Tensor:
        before = memory[index[0]]
        memory[index[0]] = (x if before is None else torch.cat([before, x], 2))[:, :, -2:]
        index[0] += 1
        output: torch.Tensor = layer(x, before)
        return output

    def encoder(self: Any, x: Any, feat_cache: Any, feat_idx: Any, final: bool = False) -> Any:
        x = causal(self.conv1, x, feat_cache, feat_idx)
        for layer in self.downsamples:
            x = layer(x, feat_cache, feat_idx, final=final)
            if x is None:
                return None
        for layer in self.middle:
            x = layer(x, feat_cache, feat_idx) if isinstance(layer, wan.ResidualBlock) else layer(x)
        for layer in self.head:
            x = causal(layer, x, feat_cache, feat_idx) if isinstance(layer, wan.CausalConv3d) else layer(x)
        return x

    def encode(self: Any, x: Any) -> Any:
        memory: list[Any] = [None] * 99
        spans = [(0, 1), *((first, first + 2) for first in range(1, x.shape[2], 2))]
        outputs = [
            self.encoder(x[:, :, first:last, :, :], feat_cache=memory, feat_idx=[0], final=last == x.shape[2])
            for first, last in spans
        ]
        return self.conv1(torch.cat([output for output in outputs if output is not None], 2)).chunk(2, dim=1)[0]

    monkeypatch.setattr(wan.Resample, "forward", resample)
    monkeypatch.setattr(wan.ResidualBlock, "forward", residual)
    monkeypatch.setattr(wan.Encoder3d, "forward", encoder)
    monkeypatch.setattr(wan.WanVAE, "encode", encode)
