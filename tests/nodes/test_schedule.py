"""Shift, AutoShift and Schedule against the grids that ComfyUI's KSampler really runs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

Call = Callable[..., tuple[Any, ...]]

# Steps of the high-noise expert for 4 / 6 / 8 / 20 / 40 steps at shift 5, 8 and 12: the reference recipe's table for
# boundary 0.900, worked out there from the official rule t >= boundary.
TABLE = {
    "simple": ((2, 3, 3, 8, 15), (2, 3, 4, 10, 19), (3, 4, 5, 12, 23)),
    "sgm_uniform": ((2, 3, 3, 8, 15), (2, 3, 4, 10, 19), (3, 4, 5, 12, 24)),
    "normal": ((2, 2, 3, 7, 14), (2, 3, 4, 10, 19), (2, 3, 5, 11, 23)),
    "beta": ((2, 3, 4, 8, 16), (2, 3, 4, 10, 20), (3, 4, 5, 12, 23)),
    "ddim_uniform": ((1, 3, 2, 7, 14), (1, 3, 3, 9, 18), (2, 4, 4, 11, 22)),
    "karras": ((1, 1, 1, 1, 2), (1, 1, 1, 1, 2), (1, 1, 1, 1, 2)),
    "uni_pc + simple": ((2, 3, 4, 8, 15), (3, 4, 5, 10, 20), (3, 5, 6, 13, 24)),
}
STEPS, SHIFTS = (4, 6, 8, 20, 40), (5, 8, 12)
DEFAULTS: dict[str, Any] = {
    "steps": 20, "sampler_name": "euler", "scheduler": "simple", "boundary": 0.9, "high_steps": -1, "denoise": 1.0
}  # fmt: skip


@pytest.fixture(scope="module")
def shifted(call: Call, load_model: Any) -> Callable[[float], Any]:
    """The tiny high-noise model at a shift."""

    def make(shift: float) -> Any:
        return call("WanFLF2VShift", model_high=load_model("high_noise"), shift=shift)[0]

    return make


@pytest.mark.parametrize("row", TABLE)
@pytest.mark.parametrize(("column", "shift"), list(enumerate(SHIFTS)), ids=lambda value: str(value))
def test_split_counts_equal_the_official_rules_table(
    call: Call, shifted: Any, row: str, column: int, shift: int
) -> None:
    names = {"sampler_name": "uni_pc", "scheduler": "simple"} if "+" in row else {"scheduler": row}
    model = shifted(shift)
    found = [call("WanFLF2VSchedule", model_high=model, **{**DEFAULTS, "steps": steps, **names})[0] for steps in STEPS]
    assert tuple(found) == TABLE[row][column]


@pytest.mark.parametrize(
    ("shift", "sampler", "boundary", "expected"),
    [
        (16, "euler", 0.9, {4: 3, 8: 6, 20: 13, 40: 26, 50: 32}),
        (16, "uni_pc", 0.9, {4: 4, 8: 6, 20: 14, 40: 27}),
        (3, "euler", 0.9, {4: 1, 8: 2, 20: 5, 40: 10}),
        (1, "euler", 0.9, {4: 1, 8: 1, 20: 2, 40: 4}),
        (5, "euler", 0.875, {4: 2, 6: 3, 8: 4, 20: 9, 40: 17}),
        (8, "euler", 0.875, {4: 3, 6: 4, 8: 5, 20: 11, 40: 22}),
        (12, "euler", 0.875, {4: 3, 6: 4, 8: 6, 20: 13, 40: 26}),
    ],
)
def test_split_counts_at_other_shifts_and_boundaries(
    call: Call, shifted: Any, shift: int, sampler: str, boundary: float, expected: dict[int, int]
) -> None:
    model = shifted(shift)
    change = {"sampler_name": sampler, "boundary": boundary}
    assert {
        steps: call("WanFLF2VSchedule", model_high=model, **{**DEFAULTS, **change, "steps": steps})[0]
        for steps in expected
    } == expected


@given(
    st.floats(0.5, 30),
    st.integers(1, 40),
    st.floats(0.05, 1),
    st.sampled_from(["euler", "uni_pc", "dpm_2"]),
    st.sampled_from(["simple", "normal", "beta", "sgm_uniform", "ddim_uniform", "karras"]),
    st.floats(0.2, 1),
)
def test_the_schedule_is_the_grid_that_ksampler_runs(
    comfy: Any,
    call: Call,
    shifted: Any,
    shift: float,
    steps: int,
    boundary: float,
    sampler: str,
    scheduler: str,
    denoise: float,
) -> None:
    import comfy.samplers

    model = shifted(shift)
    grid = comfy.samplers.KSampler(model, steps, "cpu", sampler, scheduler, denoise).sigmas
    change = {"steps": steps, "boundary": boundary, "sampler_name": sampler, "scheduler": scheduler, "denoise": denoise}
    split, sigmas, high, low, plot, report, _ = call("WanFLF2VSchedule", model_high=model, **{**DEFAULTS, **change})
    assert torch.equal(sigmas, grid)
    assert split == sum(1 for sigma in grid.tolist()[:-1] if sigma > boundary + 1e-6)
    assert torch.equal(high, grid[: split + 1])
    assert torch.equal(low, grid[split:])
    assert plot.shape == (1, 480, 768, 3)
    assert f"{split} high + {len(grid) - 1 - split} low" in report


def test_shift_sets_both_models_and_changes_neither(call: Call, load_model: Any) -> None:
    high, low = load_model("high_noise"), load_model("low_noise")
    before = [copy.deepcopy((model.object_patches, model.patches, model.model_options)) for model in (high, low)]
    own = high.get_model_object("model_sampling").shift
    new_high, new_low = call("WanFLF2VShift", model_high=high, model_low=low, shift=3.5)
    for model in (new_high, new_low):
        assert model.get_model_object("model_sampling").shift == 3.5
    assert high.get_model_object("model_sampling").shift == own
    assert [(model.object_patches, model.patches, model.model_options) for model in (high, low)] == before


def test_shift_takes_one_model(call: Call, load_model: Any) -> None:
    only, none = call("WanFLF2VShift", model_high=load_model("flf2v"), shift=16)
    assert only.get_model_object("model_sampling").shift == 16
    assert none is None


def test_models_of_different_families_are_refused(call: Call, load_model: Any) -> None:
    with pytest.raises(ValueError, match=r"different families: high is WAN21 .*low is WAN21 .*CLIP vision"):
        call("WanFLF2VSchedule", model_high=load_model("high_noise"), model_low=load_model("flf2v"), **DEFAULTS)


def test_models_with_different_shifts_are_refused(call: Call, load_model: Any, shifted: Any) -> None:
    low = call("WanFLF2VShift", model_high=load_model("low_noise"), shift=5)[0]
    with pytest.raises(ValueError, match=r"different shifts.*scale the latent by 1\.5"):
        call("WanFLF2VSchedule", model_high=shifted(8), model_low=low, **DEFAULTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boundary": 0.0}, "boundary must be above 0 and at most 1"),
        ({"boundary": 1.5}, "boundary must be above 0 and at most 1"),
        ({"high_steps": 21}, r"high_steps must be at most steps \(20\)"),
        ({"denoise": 0.0}, "denoise must be above 0"),
    ],
)
def test_values_that_cannot_work_are_refused(call: Call, shifted: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call("WanFLF2VSchedule", model_high=shifted(8), **{**DEFAULTS, **change})


@pytest.mark.parametrize("scheduler", ["simple", "normal", "sgm_uniform", "beta"])
@pytest.mark.parametrize(("steps", "high"), [(4, 2), (6, 2), (8, 4), (20, 10), (40, 15), (20, 3)])
def test_auto_shift_gives_the_wanted_split_on_the_real_grid(
    call: Call, shifted: Any, scheduler: str, steps: int, high: int
) -> None:
    (shift,) = call("WanFLF2VAutoShift", steps=steps, high_steps=high, scheduler=scheduler, boundary=0.9)
    for nudge in (0.99, 1.0, 1.01):
        change = {"steps": steps, "scheduler": scheduler}
        assert call("WanFLF2VSchedule", model_high=shifted(shift * nudge), **{**DEFAULTS, **change})[0] == high


def test_auto_shift_aims_at_the_middle_of_the_interval(call: Call) -> None:
    # Reference recipe: 4 steps, half high -> 5.2; 20 steps, half high -> 8.14 (its geometric means).
    assert call("WanFLF2VAutoShift", steps=4, high_steps=2, scheduler="simple", boundary=0.9)[0] == pytest.approx(
        5.2, abs=0.01
    )
    assert call("WanFLF2VAutoShift", steps=20, high_steps=10, scheduler="simple", boundary=0.9)[0] == pytest.approx(
        8.14, abs=0.01
    )


@pytest.mark.parametrize("scheduler", ["karras", "exponential", "linear_quadratic", "kl_optimal"])
def test_auto_shift_refuses_schedulers_that_ignore_shift(call: Call, scheduler: str) -> None:
    with pytest.raises(ValueError, match=f"{scheduler} does not follow shift. Use simple"):
        call("WanFLF2VAutoShift", steps=4, high_steps=2, scheduler=scheduler, boundary=0.9)


def test_the_plot_shows_both_stages_in_their_colours(call: Call, shifted: Any) -> None:
    plot = call("WanFLF2VSchedule", model_high=shifted(8), **DEFAULTS)[4][0]
    for colour in ("#ff9f45", "#4aa8ff", "#9be37a"):
        rgb = torch.tensor([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        assert ((plot - rgb).abs().amax(-1) < 0.01).sum() > 100
