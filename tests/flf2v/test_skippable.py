"""A block that is left out gives what it would compute, and computes again as soon as something else goes in."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from wan_flf2v.flf2v.skippable import SkippableBlock

CHUNK = 4


class Causal(torch.nn.Module):
    """A causal convolution over three frames; the last two are kept in a slot of the memory."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: torch.Tensor, memory: list[Any], index: list[int]) -> torch.Tensor:
        self.calls += 1
        before = memory[index[0]]
        seen = torch.cat([torch.zeros_like(x[:, :, :1]).repeat(1, 1, 2, 1, 1) if before is None else before, x], 2)
        memory[index[0]] = seen[:, :, -2:]
        index[0] += 1
        return torch.tanh(seen[:, :, 2:] + 0.5 * seen[:, :, 1:-1] - 0.25 * seen[:, :, :-2])


class HalvedRate(torch.nn.Module):
    """Every second frame."""

    def forward(self, x: torch.Tensor, memory: list[Any], index: list[int]) -> torch.Tensor:
        return x[:, :, 1::2]


class Chain:
    """Two blocks of two layers, the second at half the frame rate; driven chunk by chunk."""

    def __init__(self, skipping: bool) -> None:
        self.convolutions = [Causal() for _ in range(4)]
        first, second = self.convolutions[:2], self.convolutions[2:]
        self.blocks = [SkippableBlock(first, 4, 1), SkippableBlock(second, 4 + 8, 2)] if skipping else []
        plain = [*first, HalvedRate(), *second]
        self.layers = [self.blocks[0], HalvedRate(), self.blocks[1]] if skipping else plain
        self.memory: list[Any] = [None] * 4

    def step(self, x: torch.Tensor, equal_frames: int) -> torch.Tensor:
        for block in self.blocks:
            block.begin(equal_frames)
        index = [0]
        for layer in self.layers:
            x = layer(x, self.memory, index)
        assert index == [4]
        return x


@given(st.lists(st.lists(st.sampled_from([CHUNK, CHUNK, CHUNK, 2]), max_size=12), min_size=1, max_size=4))
def test_the_output_is_that_of_the_layers_however_many_equal_chunks_come(runs: list[list[int]]) -> None:
    skipping, plain = Chain(True), Chain(False)
    generator = torch.Generator().manual_seed(len(runs))
    for sizes in runs:
        other = torch.rand(1, 1, CHUNK, 1, 1, generator=generator)
        still = (torch.full((1, 1, size, 1, 1), 0.5) for size in sizes)
        chunks = [(other, 0), *zip(still, accumulate(sizes), strict=True)]
        for x, equal_frames in chunks:
            assert torch.equal(skipping.step(x, equal_frames), plain.step(x, 0))
            assert all(torch.equal(a, b) for a, b in zip(skipping.memory, plain.memory, strict=True))


def test_each_block_is_computed_until_equal_frames_fill_its_receptive_field() -> None:
    chain, still = Chain(True), torch.ones(1, 1, CHUNK, 1, 1)
    for count in range(12):
        chain.step(still, CHUNK * (count + 1))
    assert [layer.calls for layer in chain.convolutions] == [2, 2, 4, 4]  # 4 + 4 and 12 + 4 frames
    block = SkippableBlock([Causal()], 12, 4)
    for count in range(12):
        block.begin(CHUNK * (count + 1))
        block(still[:, :, :2], [None], [0])
    assert block.layers[0].calls == 5, "12 frames before it and 4 for each of its two"
    chain.step(still * 2, 0)
    assert [layer.calls for layer in chain.convolutions] == [3, 3, 5, 5]


def test_nothing_is_kept_from_one_run_to_the_next() -> None:
    chain, still = Chain(True), torch.ones(1, 1, CHUNK, 1, 1)
    for count in range(12):
        chain.step(still, CHUNK * (count + 1))
    assert all(block._kept is not None for block in chain.blocks)
    for block in chain.blocks:
        block.begin(0)
    assert all(block._kept is None for block in chain.blocks), "gone before the next chunk needs the memory"
