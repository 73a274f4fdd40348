"""One call of a sampler served by one model after the other is the same call served by both at once."""

from __future__ import annotations

import contextvars
import threading
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wan_flf2v.flf2v.pausable import ModelCall, PausableSampler


def multistep(
    model: Any, x: torch.Tensor, sigmas: torch.Tensor, callback: Any = None, gain: float = 1.0
) -> torch.Tensor:
    """A sampler whose every step depends on all the model said before."""
    history = torch.zeros_like(x)
    for i in range(len(sigmas) - 1):
        denoised = model(x, sigmas[i] * x.new_ones(1), extra="ignored")
        history = history / 2 + denoised
        x = x + gain * history * (sigmas[i + 1] - sigmas[i])
        callback({"i": i, "denoised": denoised, "x": x})
    return x


def high(call: ModelCall) -> torch.Tensor:
    return call.x * 3 - call.sigma


def low(call: ModelCall) -> torch.Tensor:
    return call.x.sin() + call.sigma


@given(st.integers(2, 9), st.data())
def test_the_history_goes_on_over_the_change_of_model(steps: int, data: Any) -> None:
    switch = data.draw(st.integers(0, steps))
    sigmas, x = torch.linspace(1, 0, steps + 1, dtype=torch.float64), torch.rand(3, dtype=torch.float64)
    boundary = float(sigmas[switch])

    def switching(x: torch.Tensor, sigma: torch.Tensor, **_: Any) -> torch.Tensor:
        return (low if float(sigma) <= boundary else high)(ModelCall(x, sigma))

    expected = multistep(switching, x, sigmas, lambda values: None, gain=0.7)
    sampler, seen = PausableSampler(multistep), []
    sampler.start(x, sigmas, gain=0.7)
    reached = sampler.serve(high, lambda values: seen.append(values["i"]), lambda call: float(call.sigma) <= boundary)
    if switch < steps:
        assert isinstance(reached, ModelCall)
        assert seen == list(range(switch))
        reached = sampler.serve(low, lambda values: seen.append(values["i"]))
    assert isinstance(reached, torch.Tensor)
    assert torch.equal(reached, expected)
    assert seen == list(range(steps))


@pytest.mark.parametrize("where", ["model", "callback", "sampler"])
def test_an_error_is_raised_where_it_is_served_and_stopping_leaves_no_thread(where: str) -> None:
    def fail(_: Any) -> Any:
        raise InterruptedError(where)

    def broken(model: Any, x: Any, sigmas: Any, callback: Any) -> torch.Tensor:
        return multistep(model, x, sigmas, fail)

    before = threading.active_count()
    sampler = PausableSampler(broken if where == "sampler" else multistep)
    sampler.start(torch.rand(1), torch.linspace(1, 0, 3))
    with pytest.raises(InterruptedError, match=where):
        sampler.serve(fail if where == "model" else high, fail if where == "callback" else lambda values: None)
    sampler.stop()
    assert threading.active_count() == before


def test_the_sampler_sees_the_attributes_of_the_model_that_serves() -> None:
    class Model:
        noise_scale = 3.0

    def reading(model: Any, x: torch.Tensor, sigmas: torch.Tensor, callback: Any) -> torch.Tensor:
        first = model.noise_scale
        model(x, sigmas[:1])
        return x * first + model.noise_scale

    sampler, x = PausableSampler(reading), torch.ones(2)
    sampler.start(x, torch.ones(1), model=Model())
    assert isinstance(sampler.serve(high, lambda values: None, lambda call: True), ModelCall)
    assert sampler.served_by is None, "a paused sampler keeps no model in memory"
    sampler.served_by, Model.noise_scale = Model(), 5.0
    assert torch.equal(sampler.serve(high, lambda values: None), x * 3 + 5)  # type: ignore[arg-type]


@pytest.mark.parametrize("inference", [True, False])
def test_the_sampler_computes_as_who_starts_it_would(inference: bool) -> None:
    seen: list[tuple[bool, bool, str]] = []
    of_run = contextvars.ContextVar("of_run", default="")

    def looking(model: Any, x: torch.Tensor, sigmas: torch.Tensor, callback: Any) -> torch.Tensor:
        seen.append((torch.is_inference_mode_enabled(), torch.is_grad_enabled(), of_run.get()))
        return x

    of_run.set("this one")
    sampler = PausableSampler(looking)
    with torch.inference_mode(inference):
        sampler.start(torch.ones(1), torch.ones(1))
        sampler.serve(high, lambda values: None)
    assert seen == [(inference, False, "this one")]


def test_a_sampler_that_is_given_up_ends() -> None:
    before = threading.active_count()
    sampler = PausableSampler(multistep)
    sampler.start(torch.rand(1), torch.linspace(1, 0, 3))
    sampler.serve(high, lambda values: None, lambda call: True)
    threads = [thread for thread in threading.enumerate() if thread.name == "sampler"]
    assert [thread.daemon for thread in threads] == [True], "a process that ends does not wait for it"
    sampler.stop()
    sampler.stop()
    assert threading.active_count() == before
