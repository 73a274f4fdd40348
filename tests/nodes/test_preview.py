"""What the editor's panels are told equals what the nodes do."""

from __future__ import annotations

from typing import Any

import pytest

from wan_flf2v.flf2v.errors import FLF2VError


@pytest.fixture(scope="module")
def preview(pack: dict[str, Any]) -> Any:
    from wan_flf2v.nodes.editor import panels as preview

    return preview


@pytest.mark.parametrize("sampler", ["euler", "uni_pc"])
@pytest.mark.parametrize("scheduler", ["simple", "beta", "karras"])
@pytest.mark.parametrize("denoise", [1.0, 0.6])
def test_the_plot_has_the_numbers_of_the_schedule_node(
    preview: Any, call: Any, load_model: Any, sampler: str, scheduler: str, denoise: float
) -> None:
    values = {"steps": 7, "sampler_name": sampler, "scheduler": scheduler, "boundary": 0.9, "high_steps": -1}
    high, low = call("WanFLF2VShift", model_high=load_model("high"), model_low=load_model("low"), shift=5.0)
    split, sigmas, *_ = call("WanFLF2VSchedule", model_high=high, model_low=low, denoise=denoise, **values)
    shown = preview.schedule_preview({**values, "denoise": denoise, "shift": 5.0})
    assert (shown["high"], shown["sigmas"]) == (split, sigmas.tolist())


def test_an_automatic_shift_is_the_node_s(preview: Any, call: Any) -> None:
    auto = {"steps": 4, "high_steps": 2, "scheduler": "simple", "boundary": 0.9}
    (shift,) = call("WanFLF2VAutoShift", **auto)
    base = {"steps": 4, "sampler_name": "euler", "scheduler": "simple", "boundary": 0.9}
    shown = preview.schedule_preview({**base, "auto": auto})
    assert (shown["shift"], shown["high"]) == (shift, 2)


def test_bad_choices_are_warned_of(preview: Any) -> None:
    base = {"steps": 4, "sampler_name": "euler", "scheduler": "simple", "boundary": 0.9, "shift": 5.0}
    assert preview.schedule_preview(base)["warnings"] == []
    for change, words in [
        ({"high_steps": 0}, "takes no step"),
        ({"high_steps": 4}, "takes no step"),
        ({"high_steps": 3}, "Set high_steps to -1"),
        ({"files": "wan_4steps_lora.safetensors", "cfg": 4.0}, "Set cfg to 1"),
        ({"shift_low": 8.0}, "different shifts"),
    ]:
        assert words in " ".join(preview.schedule_preview({**base, **change})["warnings"])


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 0},
        {"steps": 10**9},
        {"steps": "4"},
        {"steps": True},
        {"steps": float("nan")},
        {"scheduler": "none"},
        {"shift": 0},
        {"shift": 1e9},
        {"boundary": 2},
        {"denoise": 0},
        {"high_steps": 99},
    ],
)
def test_values_that_cannot_work_are_refused_in_words(preview: Any, change: dict[str, Any]) -> None:
    base = {"steps": 4, "sampler_name": "euler", "scheduler": "simple", "boundary": 0.9, "shift": 5.0}
    with pytest.raises(FLF2VError, match=r"must be|least|between"):
        preview.schedule_preview({**base, **change})


def test_one_step_and_ten_thousand_are_drawn_and_no_more(preview: Any) -> None:
    base = {"sampler_name": "euler", "scheduler": "simple", "shift": 5.0}
    for steps in (1, 10_000):
        assert preview.schedule_preview({**base, "steps": steps})["steps"] == steps
    for steps, denoise in ((10_001, 1.0), (10_000, 0.99)):
        with pytest.raises(FLF2VError, match="must be between 1 and 10000 for a plot"):
            preview.schedule_preview({**base, "steps": steps, "denoise": denoise})


def test_frames_are_placed_as_the_conditioning_places_them(preview: Any) -> None:
    from wan_flf2v.flf2v.sizes import place

    body = {"preset": "540x960 (9:16)", "length": 81, "fit": "crop", "start": {"width": 480, "height": 480}}
    shown = preview.frames_preview(body)
    placed = place(480, 480, 540, 960, "crop")
    assert shown["pictures"]["start"]["source"] == list(placed.source)
    assert (shown["render"], shown["latent_frames"], shown["seconds"]) == ([544, 960], 21, 81 / 16)
    for start, end, words in (((480, 480), (640, 480), ["different aspects"]), ((480, 480), (960, 960), []),
                              ((480, 640), (640, 480), ["different aspects"])):  # fmt: skip
        sizes = {
            side: dict(zip(("width", "height"), size, strict=True)) for side, size in (("start", start), ("end", end))
        }
        warnings = preview.frames_preview({**body, **sizes})["warnings"]
        assert [word in warning for word, warning in zip(words, warnings, strict=True)] == [True] * len(words)
