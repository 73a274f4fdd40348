"""Shift, its inverse and the automatic shift."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_flf2v.flf2v.errors import FLF2VError
from wan_flf2v.flf2v.shift import auto_shift, shift_at, shift_interval
from wan_flf2v.flf2v.split import split_steps, steps_at_or_above
from wan_flf2v.tests.flf2v.grids import shift_sigma

shifts = st.floats(0.05, 100)
times = st.floats(0, 1)


def simple(steps: int) -> list[float]:
    """The unshifted grid of the simple scheduler, one time per step."""
    return [1 - k / steps for k in range(steps)]


# The intervals of the reference recipe, computed there from b (1 - x) / (x (1 - b)).
@pytest.mark.parametrize(
    ("steps", "high", "boundary", "low_end", "high_end"),
    [
        (4, 2, 0.9, 3, 9),
        (4, 3, 0.9, 9, 27),
        (6, 2, 0.9, 1.8, 4.5),
        (8, 4, 0.9, 5.4, 9),
        (20, 10, 0.9, 7.36, 9),
        (40, 20, 0.9, 8.14, 9),
        (4, 2, 0.875, 2.33, 7),
        (20, 10, 0.875, 5.73, 7),
    ],
)
def test_shift_intervals_are_those_of_the_closed_form(
    steps: int, high: int, boundary: float, low_end: float, high_end: float
) -> None:
    assert shift_interval(simple(steps), high, boundary) == pytest.approx((low_end, high_end), abs=0.006)


@given(st.integers(2, 60), st.data(), st.floats(0.5, 0.98))
def test_auto_shift_gives_exactly_the_wanted_high_steps(steps: int, data: st.DataObject, boundary: float) -> None:
    high = data.draw(st.integers(1, steps - 1))
    try:
        shift = auto_shift(simple(steps), high, boundary)
    except FLF2VError as error:
        assert "no shift up to 100" in str(error)
        assert shift_interval(simple(steps), high, boundary)[0] >= 100
        return
    sigmas = [shift_sigma(time, shift) for time in simple(steps)] + [0.0]
    assert split_steps(sigmas, boundary).high == high


def test_auto_shift_keeps_away_from_the_float_tie_at_the_ends() -> None:
    low, high = shift_interval(simple(4), 2, 0.9)
    shift = auto_shift(simple(4), 2, 0.9)
    assert shift == pytest.approx(math.sqrt(low * high), abs=0.01)
    for nudge in (0.9, 1.1):
        sigmas = [shift_sigma(time, shift * nudge) for time in simple(4)] + [0.0]
        assert steps_at_or_above(sigmas, 0.9) == 2


@pytest.mark.parametrize("high", [0, 4, 5, -1])
def test_auto_shift_refuses_a_split_without_two_stages(high: int) -> None:
    with pytest.raises(FLF2VError, match=rf"high_steps must be between 1 and 3 for 4 steps; got {high}"):
        auto_shift(simple(4), high, 0.9)


@pytest.mark.parametrize(
    ("steps", "high", "boundary", "shift"),
    [
        (4, 2, 0.9, 5.2),  # the mean of 3 and 9
        (4, 1, 0.9, 1.73),  # from 0 to 3: of 1 and 3, as a shift below 1 is for nobody
        (20, 1, 0.5, 0.04),  # from 0 to 0.053: of half the upper end and that end
    ],
)
def test_auto_shift_is_the_geometric_mean_to_two_decimals(steps: int, high: int, boundary: float, shift: float) -> None:
    assert auto_shift(simple(steps), high, boundary) == shift


@pytest.mark.parametrize(("steps", "high", "end"), [(1000, 500, "upper"), (998, 500, "lower")])
def test_auto_shift_is_not_rounded_onto_an_end_of_the_interval(steps: int, high: int, end: str) -> None:
    low, above = shift_interval(simple(steps), high, 0.5)
    assert (above if end == "upper" else low) == 1.0  # what two decimals would give
    assert low < auto_shift(simple(steps), high, 0.5) < above


def test_an_automatic_shift_needs_a_boundary_below_1() -> None:
    with pytest.raises(FLF2VError, match="boundary must be below 1 for an automatic shift; got 1"):
        auto_shift(simple(4), 2, 1)


def test_an_interval_that_starts_at_the_largest_shift_is_refused() -> None:
    times = [1.0, 1 / 101, 0.001]
    assert shift_at(times[1], 0.5) == 100
    with pytest.raises(FLF2VError, match="no shift up to 100 gives 2 of 3 steps"):
        auto_shift(times, 2, 0.5)


def test_no_shift_lifts_the_end_of_the_grid_onto_the_boundary() -> None:
    assert shift_interval([1.0, 0.5, 0.0], 2, 0.9) == (pytest.approx(9), math.inf)
