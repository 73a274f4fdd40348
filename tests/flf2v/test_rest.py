"""Layers at rest give what they would compute, and compute again as soon as anything they depend on changes."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from wan_flf2v.flf2v.rest import Stretch


def past_of(before: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(x[:, :, :1]).repeat(1, 1, 2, 1, 1) if before is None else before


class Block(torch.nn.Module):
    """A causal convolution whose memory of two frames is a slot of the state, as ComfyUI's Wan encoder has it."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = Memory()
        self.calls = 0

    def forward(self, x: torch.Tensor, slots: list[Any], index: list[int]) -> torch.Tensor:
        self.calls += 1
        before = slots[index[0]]
        output = self.memory(x, cache_list=slots, cache_idx=index[0])
        slots[index[0]] = torch.cat([past_of(before, x), x], 2)[:, :, -2:]
        index[0] += 1
        return output


class Memory(torch.nn.Module):
    kernel_size = (3, 1, 1)

    def forward(self, x: torch.Tensor, cache_list: list[Any], cache_idx: int) -> torch.Tensor:
        all_frames = torch.cat([past_of(cache_list[cache_idx], x), x], 2)
        return all_frames[:, :, 2:] + 0.5 * all_frames[:, :, 1:-1] - 0.25 * all_frames[:, :, :-2]


class Chain:
    """Two stretches of blocks, driven chunk by chunk."""

    def __init__(self, rests: bool) -> None:
        self.blocks = [Block() for _ in range(4)]
        second = Stretch(self.blocks[2:], [block.memory for block in self.blocks[2:]])
        first = Stretch(self.blocks[:2], [block.memory for block in self.blocks[:2]], [second])
        self.stretches = [first, second] if rests else []
        self.layers: list[torch.nn.Module] = [*first.layers, *second.layers] if rests else list(self.blocks)
        self.slots: list[Any] = [None] * 4

    def step(self, x: torch.Tensor) -> torch.Tensor:
        index = [0]
        with ExitStack() as stack:
            for stretch in self.stretches:
                stack.enter_context(stretch.watched())
            for layer in self.layers:
                x = layer(x, self.slots, index)
        assert index == [4]
        return x


@given(st.lists(st.integers(0, 2), min_size=1, max_size=24), st.sampled_from([1, 2, 4]))
def test_the_output_is_that_of_the_layers_whatever_repeats(chunks: list[int], frames: int) -> None:
    resting, plain = Chain(True), Chain(False)
    for value in [item for item in chunks for _ in range(1 + item * 3)]:
        x = torch.linspace(0, value, frames).reshape(1, 1, frames, 1, 1)
        assert torch.equal(resting.step(x), plain.step(x))
    assert all(torch.equal(a, b) for a, b in zip(resting.slots, plain.slots, strict=True))


def test_the_first_layers_rest_first_and_wake_with_another_input() -> None:
    chain, still = Chain(True), torch.ones(1, 1, 4, 1, 1)
    for _ in range(12):
        chain.step(still)
    first, _, _, last = (block.calls for block in chain.blocks)
    assert first < last < 12
    chain.step(still * 2)
    assert [chain.blocks[0].calls, chain.blocks[3].calls] == [first + 1, last + 1]
