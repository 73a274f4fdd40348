"""The continuous run equals one run of ComfyUI's own sampler whose model changes on the way."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch

STEPS, SWITCH, CFG = 7, 3, 2.5
MULTISTEP = [
    "uni_pc",
    "uni_pc_bh2",
    "dpmpp_2m",
    "res_multistep",
    "ipndm",
    "ipndm_v",
    "deis",
    "lms",
    "gradient_estimation",
]
Call = Callable[..., tuple[Any, ...]]


@pytest.fixture
def experts(load_model: Callable[[str], Any]) -> tuple[Any, Any]:
    """The two tiny experts with the same shift."""
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    high, low = (ModelSamplingSD3().patch(load_model(part), 8.0)[0] for part in ("high_noise", "low_noise"))
    return high, low


@pytest.fixture
def prompt(conditioning: list[Any]) -> tuple[list[Any], list[Any]]:
    """Positive and negative conditioning with frames."""
    frames = {"concat_latent_image": torch.rand(1, 16, 3, 4, 6), "concat_mask": torch.ones(1, 4, 3, 4, 6)}
    other = [[torch.ones_like(conditioning[0][0]), frames]]
    return [[conditioning[0][0], frames]], other


def one_run(model: Any, prompt: tuple[Any, Any], sampler: str, start: Any = None, **more: Any) -> torch.Tensor:
    """ComfyUI's KSampler over all steps."""
    import nodes

    with torch.inference_mode():
        (latent,) = nodes.common_ksampler(model, 5, STEPS, CFG, sampler, "simple", *prompt, start or empty(), **more)
    result: torch.Tensor = latent["samples"]
    return result


def empty() -> dict[str, torch.Tensor]:
    return {"samples": torch.zeros(1, 16, 3, 4, 6)}


def continuous(call: Call, high: Any, low: Any, prompt: tuple[Any, Any], sampler: str, **more: Any) -> tuple[Any, ...]:
    inputs = {
        "noise_seed": 5, "steps": STEPS, "start_at_step": 0, "switch_at_step": SWITCH, "cfg": CFG, "cfg_low": CFG,
        "sampler_name": sampler, "scheduler": "simple", "latent_image": empty(), **more,
    }  # fmt: skip
    with torch.inference_mode():
        return call(
            "WanFLF2VContinuousSampler",
            model_high=high,
            model_low=low,
            positive=prompt[0],
            negative=prompt[1],
            **inputs,
        )


def switching(high: Any, low: Any, sampler: str) -> Any:
    """The high-noise model, with calls from the switch on answered by the low-noise model below ComfyUI's guidance."""
    import comfy.model_management
    import comfy.samplers

    comfy.model_management.load_models_gpu([low])
    switch = float(comfy.samplers.KSampler(high, STEPS, "cpu", sampler, "simple").sigmas[SWITCH])

    def answer(apply_model: Any, call: dict[str, Any]) -> Any:
        model = low.model.apply_model if float(call["timestep"][0]) <= switch else apply_model
        return model(call["input"], call["timestep"], **call["c"])

    model = high.clone()
    model.set_model_unet_function_wrapper(answer)
    return model


@pytest.mark.parametrize("sampler", MULTISTEP)
def test_one_model_on_both_sides_is_one_ksampler_run_bit_for_bit(
    call: Call, experts: tuple[Any, Any], prompt: tuple[Any, Any], sampler: str
) -> None:
    high, _ = experts
    (latent, _) = continuous(call, high, high, prompt, sampler)
    assert torch.equal(latent["samples"], one_run(high, prompt, sampler))


def test_a_mask_and_the_noise_of_a_number_are_kept_through_both_parts(
    call: Call, experts: tuple[Any, Any], prompt: tuple[Any, Any]
) -> None:
    mask = torch.zeros(1, 1, 4, 6)
    mask[..., :3] = 1
    for more in ({"noise_mask": mask}, {"batch_index": [3]}):
        start = {"samples": torch.full((1, 16, 3, 4, 6), 0.1), **more}
        (latent, _) = continuous(call, experts[0], experts[0], prompt, "dpmpp_2m", latent_image=start)
        assert torch.equal(latent["samples"], one_run(experts[0], prompt, "dpmpp_2m", start))


def test_a_run_that_nobody_goes_on_with_leaves_no_thread(experts: tuple[Any, Any], prompt: tuple[Any, Any]) -> None:
    from wan_flf2v.nodes.host.continuous import sample_high

    def waiting() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name == "sampler"]

    before = waiting()
    steps = {"steps": STEPS, "start_at_step": 0, "switch_at_step": SWITCH}
    paused = sample_high(experts[0], *prompt, CFG, empty(), 5, sampler_name="dpmpp_2m", scheduler="simple", **steps)
    assert len(waiting()) == len(before) + 1
    del paused
    gc.collect()
    assert waiting() == before


@pytest.mark.parametrize("switch", [0, STEPS])
@pytest.mark.parametrize("sampler", ["uni_pc", "dpmpp_2m"])
def test_with_all_steps_on_one_side_it_is_one_ksampler_run_too(
    call: Call, experts: tuple[Any, Any], prompt: tuple[Any, Any], sampler: str, switch: int
) -> None:
    latent, _ = continuous(call, *experts, prompt, sampler, switch_at_step=switch)
    assert torch.equal(latent["samples"], one_run(experts[0 if switch else 1], prompt, sampler))


@pytest.mark.parametrize("sampler", MULTISTEP)
def test_two_experts_are_one_run_whose_model_changes(
    call: Call, experts: tuple[Any, Any], prompt: tuple[Any, Any], sampler: str
) -> None:
    latent, _ = continuous(call, *experts, prompt, sampler)
    expected = one_run(switching(*experts, sampler), prompt, sampler)
    assert torch.allclose(latent["samples"], expected, atol=1e-5 * float(expected.abs().max()))
    assert not torch.allclose(expected, one_run(experts[0], prompt, sampler), atol=1e-2)


def test_without_it_the_history_is_lost_at_the_hand_over(
    call: Call, experts: tuple[Any, Any], prompt: tuple[Any, Any]
) -> None:
    high, _ = experts
    first = one_run(high, prompt, "dpmpp_2m", last_step=SWITCH)
    import nodes

    with torch.inference_mode():
        (second,) = nodes.common_ksampler(
            high, 6, STEPS, CFG, "dpmpp_2m", "simple", *prompt, {"samples": first},
            start_step=SWITCH, disable_noise=True, force_full_denoise=True,
        )  # fmt: skip
    latent, _ = continuous(call, high, high, prompt, "dpmpp_2m")
    assert (second["samples"] - latent["samples"]).abs().max() > 1e-3 * latent["samples"].abs().max()


def test_the_latent_at_the_hand_over_is_the_first_stages(
    call: Call, experts: tuple[Any, Any], prompt: tuple[Any, Any]
) -> None:
    _, handed_over = continuous(call, *experts, prompt, "dpmpp_2m")
    assert torch.equal(handed_over["samples"], one_run(experts[0], prompt, "dpmpp_2m", last_step=SWITCH))


def test_progress_counts_the_whole_run(
    comfy: ModuleType, call: Call, experts: tuple[Any, Any], prompt: tuple[Any, Any]
) -> None:
    import comfy.utils

    seen: list[tuple[int, int]] = []
    comfy.utils.set_progress_bar_global_hook(lambda value, total, *_, **__: seen.append((value, total)))
    try:
        continuous(call, *experts, prompt, "dpmpp_2m")
    finally:
        comfy.utils.set_progress_bar_global_hook(None)
    assert seen[-1] == (STEPS, STEPS)
    assert seen == sorted(set(seen)), "it never starts again at the hand-over"
    assert {total for _, total in seen} == {STEPS}


@pytest.mark.parametrize("at_call", [1, SWITCH * 2 + 1], ids=["high-noise part", "low-noise part"])
def test_an_interrupt_ends_the_run_and_its_thread(
    comfy: ModuleType, call: Call, experts: tuple[Any, Any], prompt: tuple[Any, Any], at_call: int
) -> None:
    import comfy.model_management as management

    calls = []

    def interrupt(apply_model: Any, arguments: dict[str, Any]) -> Any:
        calls.append(1)
        if len(calls) == at_call:
            management.interrupt_current_processing()
        return apply_model(arguments["input"], arguments["timestep"], **arguments["c"])

    models = [model.clone() for model in experts]
    for model in models:
        model.set_model_unet_function_wrapper(interrupt)
    before = threading.active_count()
    with pytest.raises(management.InterruptProcessingException):
        continuous(call, *models, prompt, "uni_pc")
    assert threading.active_count() == before
    assert len(calls) <= at_call + 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sampler": "euler"}, "keep_history works with samplers that remember earlier steps: uni_pc.*got euler"),
        ({"switch_at_step": STEPS + 1}, "must lie between"),
        ({"start_at_step": 2, "switch_at_step": 1}, "got 2 and 1"),
    ],
)
def test_what_cannot_be_continuous_is_refused(
    call: Call, experts: tuple[Any, Any], prompt: tuple[Any, Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        continuous(call, *experts, prompt, **{"sampler": "dpmpp_2m", **change})
