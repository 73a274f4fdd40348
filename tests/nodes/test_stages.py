"""The stages of a run against ComfyUI's own samplers, in this process: own settings, three stages, one alone, drafts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

Values = Callable[[dict[str, Any], Any], tuple[Any, ...]]
RUN: dict[str, Any] = {
    "steps": 6,
    "sampler_name": "euler",
    "scheduler": "simple",
    "boundary": 0.9,
    "high_steps": -1,
    "denoise": 1.0,
}
GUIDANCE: dict[str, Any] = {"noise_seed": 5, "cfg": 2.5, "cfg_low": 1.5, "cfg_first": 3.5}


def shifted(model: Any, shift: float) -> Any:
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    return ModelSamplingSD3().patch(model, shift)[0]


@pytest.fixture
def experts(load_model: Callable[[str], Any]) -> tuple[Any, Any]:
    """The two tiny experts with the same shift."""
    return shifted(load_model("high_noise"), 8.0), shifted(load_model("low_noise"), 8.0)


@pytest.fixture
def prompts(conditioning: list[Any]) -> dict[str, Any]:
    """Positive and negative conditioning with frames."""
    frames = {"concat_latent_image": torch.rand(1, 16, 3, 4, 6), "concat_mask": torch.ones(1, 4, 3, 4, 6)}
    tokens = conditioning[0][0]
    return {"positive": [[tokens, frames]], "negative": [[torch.ones_like(tokens), frames]]}


def empty() -> dict[str, torch.Tensor]:
    return {"samples": torch.zeros(1, 16, 3, 4, 6)}


class Stages:
    """The stages' nodes with these models and prompts, run by ComfyUI's and the pack's own code."""

    def __init__(self, values: Values, experts: tuple[Any, Any], prompts: dict[str, Any]) -> None:
        self._values, self._experts, self._prompts = values, experts, prompts

    def __call__(self, build: Callable[[Any], Any], *, first: Any = None, seed: int = 5, **run: Any) -> Any:
        """The values at the links that ``build`` gives of the nodes."""
        from wan_flf2v.nodes.host.expansion import GraphBuilder
        from wan_flf2v.nodes.stages import StageNodes

        graph, guidance = GraphBuilder(), {**GUIDANCE, "noise_seed": seed}
        links = build(StageNodes(graph, *self._experts, self._prompts, self._prompts, guidance, {**RUN, **run}, first))
        return self._values(graph.finalize(), links)

    def both(self, **more: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """The finished latent and the one at the hand-over."""

        def build(nodes: Any) -> Any:
            high = nodes.high_noise(empty())
            return nodes.low_noise(high.plan, high.latent), high.latent

        latent, handed = self(build, **more)
        return latent["samples"], handed["samples"]

    def high(self, drafts: int = 1, **more: Any) -> Any:
        """What high only gives."""
        return self(lambda nodes: nodes.drafts(empty(), drafts), **more)[0]

    def low(self, latent: Any, **more: Any) -> torch.Tensor:
        """What low only makes of it."""

        samples: torch.Tensor = self(lambda nodes: nodes.finish(latent), **more)[0]["samples"]
        return samples


@pytest.fixture
def stages(values: Values, experts: tuple[Any, Any], prompts: dict[str, Any]) -> Stages:
    return Stages(values, experts, prompts)


def core(
    model: Any, prompts: dict[str, Any], cfg: float, latent: Any, steps: int, begin: int, end: int, **more: Any
) -> Any:
    """ComfyUI's KSamplerAdvanced, with noise where it begins at 0, to the end without leftover noise."""
    from nodes import KSamplerAdvanced

    asked = {"add_noise": "disable" if begin else "enable", "noise_seed": 5 + bool(begin), "sampler_name": "euler"}
    asked |= {"return_with_leftover_noise": "disable" if end >= steps else "enable", **more}
    return KSamplerAdvanced().sample(
        model=model, steps=steps, cfg=cfg, scheduler="simple", latent_image=latent, start_at_step=begin,
        end_at_step=end, **prompts, **asked,
    )[0]  # fmt: skip


SAME_AS_TODAY: list[dict[str, Any]] = [
    {},
    {"steps_low": 6},
    {"steps_low": 6, "scheduler_low": "simple"},
    {"first_steps": 0, "first_resolution": 3},
]


@pytest.mark.parametrize("sampler", ["euler", "uni_pc", "euler_ancestral"])
@pytest.mark.parametrize("own", SAME_AS_TODAY, ids=str)
def test_equal_settings_on_both_stages_are_two_of_cores_samplers_bit_for_bit(
    stages: Stages, experts: tuple[Any, Any], prompts: dict[str, Any], sampler: str, own: dict[str, Any]
) -> None:
    own = {**own, "sampler_low": sampler} if own else own
    ours, handed = stages.both(sampler_name=sampler, **own)
    split = 4 if sampler == "uni_pc" else 3
    first = core(experts[0], prompts, 2.5, empty(), 6, 0, split, sampler_name=sampler)
    assert torch.equal(handed, first["samples"])
    assert torch.equal(ours, core(experts[1], prompts, 1.5, first, 6, split, 10000, sampler_name=sampler)["samples"])


def test_a_model_before_both_makes_no_difference_without_steps(stages: Stages, experts: tuple[Any, Any]) -> None:
    three, two = stages.both(first=experts[0], first_steps=0), stages.both()
    assert torch.equal(three[0], two[0])
    assert torch.equal(three[1], two[1])


def test_three_stages_are_triple_ksamplers_three_samplers_bit_for_bit(
    stages: Stages, experts: tuple[Any, Any], prompts: dict[str, Any], load_model: Any
) -> None:
    # lightning_start 2 of 8 at a threshold of 20: base 5 of 20, then 2 to 4 and 4 to 8 (boundary 0.9 at shift 8)
    before = shifted(load_model("low_noise"), 8.0)
    ours, handed = stages.both(first=before, steps=8, first_steps=2)
    base = core(before, prompts, 3.5, empty(), 20, 0, 5)
    second = core(experts[0], prompts, 2.5, base, 8, 2, 4)
    assert torch.equal(handed, second["samples"])
    assert torch.equal(ours, core(experts[1], prompts, 1.5, second, 8, 4, 10000)["samples"])


@pytest.mark.parametrize("sampler", ["euler", "euler_ancestral"])
@pytest.mark.parametrize("own", [{}, {"steps_low": 9, "scheduler_low": "beta", "sampler_low": "dpmpp_2m"}], ids=str)
def test_high_only_and_then_low_only_is_both_bit_for_bit(stages: Stages, sampler: str, own: dict[str, Any]) -> None:
    both, handed = stages.both(sampler_name=sampler, **own)
    high = stages.high(sampler_name=sampler, **own)
    assert torch.equal(high["samples"], handed)
    assert torch.equal(stages.low(high, sampler_name=sampler, seed=99, **own), both), (
        "it goes on from the latent's seed"
    )
    from_disk = {"samples": high["samples"].clone()}
    assert torch.equal(stages.low(from_disk, sampler_name=sampler, **own), both)


def test_low_only_without_high_noise_steps_makes_the_whole_video(stages: Stages) -> None:
    assert torch.equal(stages.low(empty(), high_steps=0), stages.both(high_steps=0)[0])


def test_low_only_refuses_a_latent_that_is_elsewhere_and_names_the_factor(stages: Stages) -> None:
    with pytest.raises(
        ValueError, match=r"latent is at sigma 0\.8889, but this .* at 0\.\d+, which would scale the latent by"
    ):
        stages.low(stages.high(), steps=7)


@pytest.mark.parametrize("sampler", ["euler", "euler_ancestral"])
def test_a_draft_and_its_finish_are_the_direct_run_with_that_drafts_seed(stages: Stages, sampler: str) -> None:
    from wan_flf2v.nodes.host.hand_over import pick

    drafts = stages.high(3, sampler_name=sampler)
    assert drafts["samples"].shape[0] == 3
    for number in range(3):
        finished = stages.low(pick(drafts, number), sampler_name=sampler)
        assert torch.equal(finished, stages.both(sampler_name=sampler, seed=5 + number)[0])
    with pytest.raises(ValueError, match="index must be between 1 and 3, the number of drafts; got 4"):
        pick(drafts, 3)


def test_a_picked_draft_has_the_noise_and_the_mask_of_its_own_number(comfy: Any) -> None:
    import comfy.sample

    from wan_flf2v.nodes.host.hand_over import pick

    masks = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 1, 4, 4)
    batch = {"samples": torch.zeros(3, 16, 2, 4, 4), "batch_index": [7, 2, 5], "noise_mask": masks}
    noise = comfy.sample.prepare_noise(batch["samples"], 1, batch["batch_index"])
    for number in range(3):
        one = pick(batch, number)
        assert torch.equal(
            comfy.sample.prepare_noise(one["samples"], 1, one["batch_index"]), noise[number : number + 1]
        )
        assert torch.equal(one["noise_mask"], masks[number : number + 1])
    shared = pick({**batch, "noise_mask": masks[:1]}, 2)
    assert torch.equal(shared["noise_mask"], masks[:1])


def test_of_two_videos_with_three_drafts_each_the_picked_one_has_its_own_mask_seed_and_preview(comfy: Any) -> None:
    from wan_flf2v.nodes.host.hand_over import hand_over, handed_over, pick

    two = {"noise_mask": torch.arange(2.0).view(2, 1, 1, 1), "batch_index": [4, 7]}
    latents = [{**two, "samples": pair.view(2, 1, 1, 1, 1)} for pair in torch.arange(6.0).split(2)]
    six = hand_over(latents, [{"samples": each["samples"] + 100} for each in latents], 0.9, [10, 11, 12])
    for number in range(6):
        picked, told = handed_over(pick(six, number))
        assert (picked["samples"].item(), picked["noise_mask"].item()) == (number, number % 2)
        assert picked["batch_index"] == [(4, 7)[number % 2]]
        assert told is not None
        assert (told.seeds, told.predicted.item()) == ((10 + number // 2,), 100 + number)


def test_four_drafts_and_one_finish_take_fifty_steps_not_eighty(
    values: Values, experts: tuple[Any, Any], prompts: dict[str, Any]
) -> None:
    from wan_flf2v.nodes.host.hand_over import pick

    steps = 0

    def count(apply_model: Any, given: dict[str, Any]) -> Any:
        nonlocal steps
        steps += 1
        return apply_model(given["input"], given["timestep"], **given["c"])

    counted = tuple(model.clone() for model in experts)
    for model in counted:
        model.set_model_unet_function_wrapper(count)
    prompts = {**prompts, "negative": prompts["positive"]}
    stages = Stages(values, (counted[0], counted[1]), prompts)
    guided = {"steps": 20}

    def calls_of_a_step() -> int:
        nonlocal steps
        steps = 0
        stages.high(high_steps=1, **guided)
        return steps

    each = calls_of_a_step()
    steps = 0
    drafts = stages.high(4, **guided)
    assert steps == 40 * each
    stages.low(pick(drafts, 2), **guided)
    assert steps == 50 * each


def test_models_of_other_shifts_are_refused_at_each_hand_over(
    values: Values, experts: tuple[Any, Any], prompts: dict[str, Any], load_model: Any
) -> None:
    other = shifted(load_model("high_noise"), 5.0)
    for high, low, first in ((*experts, other), (experts[0], other, None)):
        with pytest.raises(ValueError, match=r"different shifts.*scale the latent by"):
            Stages(values, (high, low), prompts).both(first=first, first_steps=1 if first else 0)


@given(st.data())
def test_joined_grids_strictly_fall_for_all_samplers_and_schedulers_that_follow_shift(
    comfy: Any, data: st.DataObject
) -> None:
    from wan_flf2v.flf2v.split import Run
    from wan_flf2v.nodes.host.grids import SAMPLERS, SCHEDULERS, UNSHIFTABLE, run_grid, shifted_model, split_run

    def draw(strategy: Any) -> Any:
        return data.draw(strategy)

    schedulers = st.sampled_from([name for name in SCHEDULERS if name not in UNSHIFTABLE])
    samplers, steps, model = st.sampled_from(SAMPLERS), st.integers(1, 60), shifted_model(draw(st.floats(0.5, 30)))
    asked = (draw(steps), draw(samplers), draw(schedulers), draw(st.floats(0.05, 1)), -1, draw(st.floats(0.2, 1)))
    own = {"steps_low": draw(steps), "sampler_low": draw(samplers), "scheduler_low": draw(schedulers)}
    two = split_run(model, Run(*asked, **own), run_grid(model, Run(*asked)))[0]
    first = draw(st.integers(0, min(two.high, asked[0])))
    run = Run(*asked, **own, first_steps=first, first_resolution=draw(st.integers(1, 60)))
    _, split = split_run(model, run, run_grid(model, run))
    assert all(before > after for before, after in zip(split.sigmas, split.sigmas[1:], strict=False)), split
    assert split.sigmas[-1] == 0
    assert split.sigmas[split.high :] == two.sigmas[two.high :]
    assert bool(split.first) == bool(first)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep_history": True, "steps_low": 4}, "keep_history is one run .* or steps_low back"),
        ({"keep_history": True, "sampler_low": "lcm", "scheduler_low": "beta"}, "or sampler_low, scheduler_low back"),
        ({"keep_history": True, "first_steps": 2, "model_first": ["1", 0]}, "or first_steps back"),
        ({"keep_history": True, "stages": "high only"}, "keep_history is one run .* or stages back"),
        ({"drafts": 2}, "drafts need stages high only, Wan FLF2V Pick .* got 2 drafts with both"),
        ({"first_steps": 1}, "first_steps are made by model_first, which is not connected"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(comfy: Any, changes: dict[str, Any], message: str) -> None:
    from wan_flf2v.nodes.sampler import check_together

    given = {"stages": "both", "keep_history": False, "model_first": None, "drafts": 1}
    shared = {name: changes.get(name, value) for name, value in given.items()}
    with pytest.raises(ValueError, match=message):
        check_together({name: value for name, value in changes.items() if name not in given}, **shared)
