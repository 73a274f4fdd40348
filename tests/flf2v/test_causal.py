"""Encoding chunk by chunk gives what encoding from the first frame gives, whatever is reused on the way."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wan_flf2v.flf2v.causal import Prefix, PrefixStore, State, encode_causal
from wan_flf2v.flf2v.clip import Clip, chunk_spans
from wan_flf2v.flf2v.errors import FLF2VError


class Toy:
    """An encoder that remembers ``memory`` chunks and gives out one tensor per cycle of chunks, or at the end."""

    def __init__(self, memory: int, cycle: int) -> None:
        self.chunk = 4 // cycle
        self.cycle = cycle
        self.memory = memory
        self.steps = 0

    def new_state(self) -> State:
        return [None] * self.memory + [torch.zeros(0), 0]

    def step(self, pixels: torch.Tensor, state: State, final: bool) -> torch.Tensor | None:
        self.steps += 1
        seen = [item for item in state[: self.memory] if item is not None]
        value = (pixels.mean() + sum((i + 1) * item for i, item in enumerate(seen))).reshape(1)
        state[: self.memory] = [*state[1 : self.memory], pixels.mean()]
        waiting, count = torch.cat([state[-2], value]), state[-1]
        ready = count % self.cycle == 0 or final
        state[-2:] = [torch.zeros(0) if ready else waiting, (count % self.cycle) + 1]
        return waiting if ready else None


def encoded(toy: Toy, clip: Clip, store: PrefixStore | None = None) -> torch.Tensor:
    store = store or PrefixStore()
    outputs = encode_causal(
        toy,
        clip,
        lambda digests: store.longest("toy", digests),
        lambda digests, prefix: store.keep("toy", digests, prefix, 10**6),
        lambda done, total: None,
    )
    return torch.cat(outputs)


def from_the_first_frame(toy: Toy, clip: Clip) -> torch.Tensor:
    state = toy.new_state()
    spans = chunk_spans(clip.length, toy.chunk)
    outputs = [toy.step(clip.frames(*span), state, span is spans[-1]) for span in spans]
    return torch.cat([output for output in outputs if output is not None])


CLIPS = st.builds(
    lambda latents, start, end, seed: Clip(
        4 * latents + 1,
        2,
        2,
        torch.full((start, 2, 2, 3), float(seed)) if start else None,  # still frames repeat too
        torch.rand(end, 2, 2, 3, generator=torch.Generator().manual_seed(seed)) if end else None,
    ),
    st.integers(3, 30),
    st.integers(0, 9),
    st.integers(0, 4),
    st.integers(0, 2),
)


@pytest.mark.parametrize("cycle", [1, 4])
@given(clips=st.lists(CLIPS, min_size=1, max_size=4), memory=st.integers(1, 5))
def test_reuse_changes_nothing(cycle: int, clips: list[Clip], memory: int) -> None:
    store = PrefixStore()
    for clip in clips:
        expected = from_the_first_frame(Toy(memory, cycle), clip)
        assert torch.equal(encoded(Toy(memory, cycle), clip, store), expected)


@pytest.mark.parametrize("cycle", [1, 4])
def test_repeated_frames_past_the_encoders_memory_are_encoded_once(cycle: int) -> None:
    long, longer = Toy(3, cycle), Toy(3, cycle)
    encoded(long, Clip(401, 2, 2, torch.rand(1, 2, 2, 3)))
    encoded(longer, Clip(4001, 2, 2, torch.rand(1, 2, 2, 3)))
    assert longer.steps == long.steps < 30


def test_another_last_frame_takes_one_step_and_a_longer_clip_the_new_ones() -> None:
    store, start = PrefixStore(), torch.rand(1, 2, 2, 3)
    encoded(Toy(30, 1), Clip(41, 2, 2, start, torch.rand(1, 2, 2, 3)), store)
    changed, longer, other = Toy(30, 1), Toy(30, 1), Toy(30, 1)
    encoded(changed, Clip(41, 2, 2, start, torch.rand(1, 2, 2, 3)), store)
    encoded(longer, Clip(49, 2, 2, start, torch.rand(1, 2, 2, 3)), store)
    encoded(other, Clip(41, 2, 2, torch.rand(1, 2, 2, 3)), store)
    assert (changed.steps, longer.steps, other.steps) == (1, 3, 11)


def test_what_is_kept_stays_within_the_limit_and_the_oldest_goes_first() -> None:
    store = PrefixStore()

    def prefix(kilobytes: int) -> Prefix:
        return Prefix([torch.zeros(1)], [torch.zeros(kilobytes * 256), None, 1])

    for name in (b"a", b"b", b"c"):
        store.keep("toy", [name], prefix(400), 10**6)
        assert store.nbytes <= 10**6
    assert store.longest("toy", [b"a"]) is None
    assert store.longest("toy", [b"b", b"d"]) is not None
    store.keep("toy", [b"huge"], prefix(1000), 10**6)
    assert store.longest("toy", [b"huge"]) is None
    store.forget(lambda context: context == "other")
    assert store.nbytes
    store.forget()
    assert not store.nbytes


@given(CLIPS, st.data())
def test_any_part_of_a_clip_is_that_part_of_the_whole(clip: Clip, data: Any) -> None:
    first = data.draw(st.integers(0, clip.length - 1))
    last = data.draw(st.integers(first + 1, clip.length))
    assert torch.equal(clip.frames(first, last), clip.whole()[first:last])
    count_start = 0 if clip.start is None else clip.start.shape[0]
    assert clip.whole()[count_start : clip.first_end_frame].eq(0.5).all()
    assert clip.whole().shape == clip.shape


def test_digests_tell_frames_apart() -> None:
    start = torch.rand(2, 2, 2, 3)
    clip, other = Clip(9, 2, 2, start), Clip(13, 2, 2, start.flip(0))
    assert clip.digest(0, 1) != other.digest(0, 1)
    assert clip.digest(0, 1) == other.digest(1, 2)
    assert clip.digest(2, 6) == other.digest(5, 9) != clip.digest(2, 5)


def test_frames_that_overlap_are_refused() -> None:
    with pytest.raises(FLF2VError, match="3 start and 3 end frames do not fit into a length of 5 frames"):
        Clip(5, 16, 16, torch.zeros(3, 16, 16, 3), torch.zeros(3, 16, 16, 3))
