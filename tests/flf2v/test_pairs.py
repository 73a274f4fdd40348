"""The high- and the low-noise file of a pair, by their names."""

import pytest

from wan_flf2v.flf2v.errors import FLF2VError
from wan_flf2v.flf2v.pairs import check_sides, partner, side_of

# Names as their publishers gave them.
PAIRS = [
    ("wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors", "wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors"),
    ("Wan2_2-I2V-A14B-HIGH_fp8_e4m3fn_scaled_KJ.safetensors", "Wan2_2-I2V-A14B-LOW_fp8_e4m3fn_scaled_KJ.safetensors"),
    ("Wan2.2-I2V-A14B-HighNoise-Q4_K_M.gguf", "Wan2.2-I2V-A14B-LowNoise-Q4_K_M.gguf"),
    ("Wan2.2-Lightning/high_noise_model.safetensors", "Wan2.2-Lightning/low_noise_model.safetensors"),
    ("high/wan22_slow_motion.safetensors", "low/wan22_slow_motion.safetensors"),
    ("style_wan22_HN.safetensors", "style_wan22_LN.safetensors"),
    ("wan22I2VHighNoise-flow.safetensors", "wan22I2VLowNoise-flow.safetensors"),
]


@pytest.mark.parametrize(("high", "low"), PAIRS)
def test_a_pair_is_told_by_names_that_differ_in_high_and_low(high: str, low: str) -> None:
    names = ["other_low_noise.safetensors", low, high]
    assert partner(high, names) == low
    assert partner(low, names) == high
    assert (side_of(high), side_of(low)) == ("high", "low")
    check_sides("model", high, low)
    with pytest.raises(FLF2VError, match=r"the model files are swapped: .* Choose them the other way round"):
        check_sides("model", low, high)


@pytest.mark.parametrize(
    "name",
    ["wan2.1_flf2v.safetensors", "slow_flow.safetensors", "highres_fix.safetensors", "FLOWER.safetensors", "none"],
)
def test_words_that_only_contain_high_or_low_say_nothing(name: str) -> None:
    assert side_of(name) is None
    assert partner(name, [name, "shigh_fhigh.safetensors"]) is None


def test_a_name_that_says_both_is_no_sides() -> None:
    assert side_of("high_noise/wan22_low_noise.safetensors") is None


def test_a_file_without_its_other_half_has_no_partner() -> None:
    assert partner("a_high_noise.safetensors", ["a_high_noise.safetensors", "b_low_noise.safetensors"]) is None


def test_one_file_for_both_sides_and_names_that_say_nothing_pass() -> None:
    check_sides("LoRA", "lightx2v.safetensors", "lightx2v.safetensors")
    check_sides("LoRA", "a_low.safetensors", "a_low.safetensors")
