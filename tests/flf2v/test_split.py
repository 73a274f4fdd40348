"""The official rule for the switch of experts, and its refusals and warnings."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_flf2v.flf2v.errors import FLF2VError
from wan_flf2v.flf2v.split import Run, check_hand_over, is_distilled, split_steps, warnings_for
from wan_flf2v.tests.flf2v.grids import shift_sigma


def grid(steps: int, shift: float) -> list[float]:
    """The simple scheduler's sigmas."""
    return [shift_sigma(1 - k / steps, shift) for k in range(steps)] + [0.0]


@given(st.integers(1, 80), st.floats(0.1, 50), st.floats(0.001, 1))
def test_high_steps_lie_at_or_above_the_boundary_and_low_steps_below(steps: int, shift: float, boundary: float) -> None:
    split = split_steps(grid(steps, shift), boundary)
    assert split.high + split.low == steps
    assert all(sigma > boundary for sigma in split.sigmas[: split.high])
    assert all(sigma < boundary + 1e-5 for sigma in split.sigmas[split.high : -1])


def test_a_sigma_on_the_boundary_is_a_low_noise_step() -> None:
    # shift 16, 50 steps: step 32 is at 16 x 0.36 / 6.4 = 0.9 exactly; the reference recipe's table has 32 high steps.
    assert split_steps(grid(50, 16), 0.9).high == 32


@pytest.mark.parametrize("boundary", [0, -0.1, 1.0001, 50, 900])
def test_a_boundary_outside_0_to_1_is_refused(boundary: float) -> None:
    with pytest.raises(FLF2VError, match=r"boundary must be above 0 and at most 1 .* got"):
        split_steps(grid(4, 5), boundary)


def test_more_high_steps_than_steps_are_refused() -> None:
    with pytest.raises(FLF2VError, match=r"high_steps must be between 0 and 4.*got 5"):
        split_steps(grid(4, 5), 0.9, 5)


def test_a_set_number_of_high_steps_is_taken() -> None:
    assert split_steps(grid(4, 5), 0.9, 3).high == 3


def test_equal_grids_pass_the_hand_over() -> None:
    check_hand_over(grid(20, 8), grid(20, 8), 10)


def test_different_shifts_are_refused_with_the_factor_on_the_latent() -> None:
    # 8 -> 5 at the half split scales the latent by 1.50 (reference recipe, section 2.1).
    with pytest.raises(FLF2VError, match=r"different shifts.*by 1\.5\. Send both models through one Wan FLF2V Shift"):
        check_hand_over(grid(20, 8), grid(20, 5), 10)


@pytest.mark.parametrize(
    ("difference", "passes"), [(0.00009, True), (-0.00009, True), (0.00011, False), (-0.00011, False)]
)
def test_grids_may_differ_at_the_hand_over_by_rounding_alone(difference: float, passes: bool) -> None:
    high, low = [1.0, 0.5, 0.0], [1.0, 0.5 + difference, 0.0]
    if passes:
        check_hand_over(high, low, 1)
    else:
        with pytest.raises(FLF2VError, match="different shifts"):
            check_hand_over(high, low, 1)


def test_only_the_hand_over_itself_must_agree() -> None:
    check_hand_over([1.0, 0.5, 0.2, 0.0], [0.9, 0.5, 0.3, 0.0], 1)


def test_a_hand_over_before_any_noise_is_gone_scales_without_bound() -> None:
    with pytest.raises(FLF2VError, match="would scale the latent by inf"):
        check_hand_over([1.0, 0.5, 0.0], [0.9, 0.5, 0.0], 0)


def test_different_numbers_of_steps_are_refused_with_both() -> None:
    with pytest.raises(FLF2VError, match=r"run 4 and 5 steps. Send both through one Wan FLF2V Shift"):
        check_hand_over(grid(4, 5), grid(5, 5), 2)


def test_no_step_to_run_is_refused() -> None:
    with pytest.raises(FLF2VError, match="nothing to sample"):
        split_steps([0.3], 0.9)
    assert split_steps([0.3, 0.0], 0.9).low == 1


@pytest.mark.parametrize("high", [0, 4])
def test_all_or_no_high_steps_may_be_set(high: int) -> None:
    split = split_steps(grid(4, 5), 0.9, high)
    assert (split.high, split.low, split.describe()) == (high, 4 - high, f"{high} high + {4 - high} low")


def warned(steps: int, shift: float, high: int = -1, **options: object) -> str:
    split = split_steps(grid(steps, shift), 0.9, high)
    return " ".join(warnings_for(split, forced=high != -1, **options))  # type: ignore[arg-type]


def test_a_good_split_gives_no_warning() -> None:
    assert warned(20, 8) == ""
    assert warned(4, 5, cfg=1.0, distilled=True) == ""


def test_stages_without_steps_are_warned_about() -> None:
    assert "high-noise model takes no step" in warned(4, 5, 0)
    assert "low-noise model takes no step" in warned(4, 5, 4)


def test_high_steps_off_the_boundary_are_warned_about() -> None:
    assert "high_steps is set to 3, but 2 steps" in warned(4, 5, 3)


def test_guidance_with_a_distilled_lora_is_warned_about() -> None:
    assert "distilled for cfg 1" in warned(4, 5, cfg=3.5, distilled=True)


def test_an_uneven_split_with_a_distilled_lora_is_warned_about() -> None:
    assert "Use shift 5 with 4 steps" in warned(4, 50, distilled=True)


@pytest.mark.parametrize(
    ("steps", "high", "warned_about"),
    [(8, 6, True), (9, 8, False), (8, 5, False), (8, 3, False), (4, 3, False), (6, 1, True), (20, 2, False)],
)
def test_half_high_steps_are_asked_of_short_distilled_runs_alone(steps: int, high: int, warned_about: bool) -> None:
    assert ("trained for half high-noise steps" in warned(steps, 5, high, distilled=True)) is warned_about
    assert "LoRA" not in warned(steps, 5, high, cfg=3.5)


@pytest.mark.parametrize(("cfg", "warned_about"), [(None, False), (1.0, False), (1.01, True), (1.5, True)])
def test_any_guidance_above_1_is_too_much_for_a_distilled_lora(cfg: float | None, warned_about: bool) -> None:
    assert ("distilled for cfg 1" in warned(4, 5, cfg=cfg, distilled=True)) is warned_about


def test_a_split_that_was_not_set_by_hand_is_not_compared_with_the_boundary() -> None:
    assert not any("high_steps is set" in text for text in warnings_for(split_steps(grid(4, 5), 0.9, 3), forced=False))


@pytest.mark.parametrize(
    ("steps", "cfg", "files", "distilled"),
    [
        (4, 3.5, "wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors", True),
        (8, 2.0, "Wan22-Lightning-HIGH.safetensors", True),
        (4, 1.0, "", True),
        (8, 3.5, "my_character_v2.safetensors", False),
        (8, 3.5, "anime-style-lora.safetensors", False),
        (20, 3.5, "wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors", False),
        (20, 1.0, "", False),
        (4, None, "wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors", False),
    ],
)
def test_a_distilled_model_is_told_by_its_name_or_by_few_steps_at_cfg_1(
    steps: int, cfg: float | None, files: str, distilled: bool
) -> None:
    assert is_distilled(steps, cfg, files) is distilled


@pytest.mark.parametrize("name", ["high_steps", "first_steps"])
def test_more_steps_of_one_kind_than_steps_are_refused_before_a_model_is_there(name: str) -> None:
    replace(Run(4, "euler", "simple"), **{name: 4}).check()
    with pytest.raises(FLF2VError, match=rf"{name} must be at most steps \(4\).*got 5"):
        replace(Run(4, "euler", "simple"), **{name: 5}).check()
