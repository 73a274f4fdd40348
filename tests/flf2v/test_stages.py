"""The grids of several stages joined into one, on the simple scheduler's sigmas."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wan_flf2v.flf2v.errors import FLF2VError
from wan_flf2v.flf2v.split import BY_BOUNDARY, Run, Split, split_steps
from wan_flf2v.flf2v.stages import finer_steps, join_grids, with_first
from wan_flf2v.tests.flf2v.grids import shift_sigma


def grid(steps: int, shift: float) -> tuple[float, ...]:
    """The simple scheduler's sigmas."""
    return (*(shift_sigma(1 - k / steps, shift) for k in range(steps)), 0.0)


def falls(split: Split) -> bool:
    return all(before > after for before, after in zip(split.sigmas, split.sigmas[1:], strict=False))


STEPS, SHIFT = st.integers(1, 60), st.floats(0.5, 30)


@given(STEPS, STEPS, SHIFT, SHIFT, st.floats(0.05, 1))
def test_each_stage_runs_the_steps_of_its_own_grid_on_its_side_of_the_boundary(
    high_steps: int, low_steps: int, shift: float, shift_low: float, boundary: float
) -> None:
    high, low = grid(high_steps, shift), grid(low_steps, shift_low)
    split = join_grids(high, low, boundary)
    assert falls(split)
    assert split.sigmas[: split.high] == split_steps(high, boundary).sigmas[: split.high]
    assert split.low == split_steps(low, boundary).low
    assert split.sigmas[split.high :] == low[split_steps(low, boundary).high :]


@given(STEPS, SHIFT, st.floats(0.05, 1), st.data())
def test_one_grid_for_both_stages_is_split_as_it_is(
    steps: int, shift: float, boundary: float, data: st.DataObject
) -> None:
    high_steps = data.draw(st.integers(BY_BOUNDARY, steps))
    same = grid(steps, shift)
    assert join_grids(same, list(same), boundary, high_steps) == split_steps(same, boundary, high_steps)
    barely_other = (*same[:-2], same[-2] * (1 - 1e-12), 0.0)
    joined = join_grids(same, barely_other, boundary, high_steps)
    assert joined.high == split_steps(same, boundary, high_steps).high
    assert len(joined.sigmas) == len(same)


@given(STEPS, STEPS, SHIFT, st.data())
def test_high_steps_set_by_hand_leave_the_low_stage_what_lies_from_their_end_on(
    steps: int, low_steps: int, shift: float, data: st.DataObject
) -> None:
    high_steps = data.draw(st.integers(0, steps))
    high, low = grid(steps, shift), grid(low_steps, shift)
    split = join_grids(high, low, 0.9, high_steps)
    assert falls(split)
    assert split.high == high_steps
    assert all(sigma <= high[high_steps] + 1e-6 for sigma in split.sigmas[high_steps:])


def test_a_high_stage_of_20_steps_and_a_4_step_low_stage() -> None:
    split = join_grids(grid(20, 5), grid(4, 5), 0.9)
    assert split.describe() == "8 high + 2 low"
    assert split.sigmas[8:] == pytest.approx((0.8333, 0.625, 0), abs=1e-4)  # what the LoRA is trained on


# TripleKSampler's unit tests and the examples of its documentation (November 2025): for a threshold, lightning_start and
# lightning_steps its base_steps and total_base_steps.
TRIPLE = {
    (20, 1, 8): (3, 24),
    (15, 1, 6): (3, 18),
    (20, 1, 10): (2, 20),
    (50, 1, 16): (4, 64),
    (20, 4, 10): (8, 20),
    (20, 2, 8): (5, 20),
    (20, 3, 8): (9, 24),
    (20, 1, 4): (5, 20),
    (20, 2, 4): (10, 20),
    (20, 1, 6): (4, 24),
    (20, 2, 6): (7, 21),
    (100, 7, 11): (70, 110),
}


@pytest.mark.parametrize("case", TRIPLE, ids=str)
def test_the_first_models_steps_are_triple_ksamplers(case: tuple[int, int, int]) -> None:
    threshold, start, steps = case
    assert finer_steps(start, steps, threshold) == TRIPLE[case]


@given(st.integers(2, 60), st.integers(1, 100), st.data())
def test_the_finer_steps_span_the_same_and_are_the_fewest_that_do(
    steps: int, resolution: int, data: st.DataObject
) -> None:
    first = data.draw(st.integers(1, steps))
    taken, total = finer_steps(first, steps, resolution)
    assert taken * steps == total * first
    assert total >= resolution
    fewer = [other for other in range(resolution, total) if other * first % steps == 0]
    assert fewer == []


@given(st.integers(2, 40), SHIFT, st.integers(1, 60), st.data())
def test_a_model_before_both_stages_ends_exactly_where_they_go_on(
    steps: int, shift: float, resolution: int, data: st.DataObject
) -> None:
    two = split_steps(grid(steps, shift), 0.9)
    assume(two.high)
    first = data.draw(st.integers(1, two.high))
    taken, total = finer_steps(first, steps, resolution)
    three = with_first(two, first, grid(total, shift), taken)
    assert falls(three)
    assert (three.first, three.high, three.low) == (taken, taken + two.high - first, two.low)
    assert three.sigmas[three.first :] == two.sigmas[first:]


def test_a_finer_step_at_the_very_sigma_where_the_split_goes_on_is_left_out() -> None:
    two = split_steps((1.0, 0.95, 0.9, 0.5, 0.0), 0.9)
    three = with_first(two, 1, (1.0, 0.97, 0.95), 3)
    assert (three.sigmas, three.first) == ((1.0, 0.97, 0.95, 0.9, 0.5, 0.0), 2)


def test_without_first_steps_there_are_two_stages() -> None:
    two = split_steps(grid(8, 5), 0.9)
    assert with_first(two, 0, (), 0) == two


def test_more_first_steps_than_high_noise_steps_are_refused() -> None:
    with pytest.raises(
        FLF2VError, match=r"first_steps must be between 0 and the number of high-noise steps, here 3; got 4"
    ):
        with_first(split_steps(grid(8, 5), 0.9), 4, grid(24, 5), 12)


def test_the_low_stages_own_settings_are_the_high_stages_where_none_are_given() -> None:
    run = Run(20, "euler", "simple")
    assert run.of_low == run
    assert Run(20, "euler", "simple", high_steps=9, first_steps=2, denoise=0.5).of_low == Run(
        20, "euler", "simple", denoise=0.5
    )
    own = Run(20, "euler", "simple", steps_low=4, sampler_low="lcm", scheduler_low="beta").of_low
    assert (own.steps, own.sampler_name, own.scheduler) == (4, "lcm", "beta")
