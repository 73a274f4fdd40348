"""What every training phase stands on: its checkpoints, its log and its optimizer."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from wan_flf2v.training.experts import GUESSED, with_guesses
from wan_flf2v.training.loop import Ema, Log, descend, load_checkpoint
from wan_flf2v.training.muon import Muon


def line(steps: int, minutes: float, folder: Path) -> tuple[torch.nn.Linear, Ema]:
    """A line trained towards 1, its log and checkpoint in the folder."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    optimizers = [torch.optim.AdamW(model.parameters(), lr=0.1)]
    ema = Ema(model, 0.9)
    descend(
        folder / "line.pt", model, optimizers, ema, Log(folder / "line.csv", ("step", "loss")),
        batch_of=lambda step: (torch.full((2, 3), 0.1 * step),), loss_of=lambda given: (model(given) - 1).square().mean(),
        measure=lambda: (), steps=steps, minutes=minutes, rate=0.1, warm=1,
    )  # fmt: skip
    return model, ema


@pytest.mark.parametrize(("steps", "minutes", "taken"), [(7, 60.0, 7), (7, 0.0, 0)])
def test_what_was_trained_last_is_in_the_checkpoint_and_in_the_log(
    tmp_path: Path, steps: int, minutes: float, taken: int
) -> None:
    model, ema = line(steps, minutes, tmp_path)
    kept, averaged = torch.nn.Linear(3, 1), Ema(torch.nn.Linear(3, 1), 0.9)
    assert load_checkpoint(tmp_path / "line.pt", kept, torch.optim.AdamW(kept.parameters()), averaged) == taken
    for mine, theirs in ((kept.state_dict(), model.state_dict()), (averaged.weights, ema.weights)):
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    with (tmp_path / "line.csv").open(newline="") as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == ([taken] if taken else [])


def test_the_average_follows_the_weights_faster_at_the_start() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    ema = Ema(model, 0.9)
    torch.nn.init.ones_(model.weight)
    ema.update()
    assert float(ema.weights["weight"]) == pytest.approx(10 / 11)
    with ema.applied(model):
        assert float(model.weight.detach()) == pytest.approx(10 / 11)
    assert float(model.weight.detach()) == 1


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (4, 2, 3, 3)])
def test_weights_of_one_shape_are_stepped_as_each_alone_would_be(shape: tuple[int, ...]) -> None:
    random = torch.Generator().manual_seed(1)
    start, grads = (torch.randn(2, 3, *shape, generator=random) for _ in range(2))
    together = [torch.nn.Parameter(one.clone()) for one in start[0]]
    alone = [torch.nn.Parameter(one.clone()) for one in start[0]]
    of_all, of_each = Muon(together, 0.1, weight_decay=0.1), [Muon([one], 0.1, weight_decay=0.1) for one in alone]
    for turn in grads:
        for weights in (together, alone):
            for weight, grad in zip(weights, turn, strict=True):
                weight.grad = grad.clone()
        of_all.step()
        for each in of_each:
            each.step()
    for one, other, before in zip(together, alone, start[0], strict=True):
        torch.testing.assert_close(one, other)
        assert not torch.allclose(one, before)


def test_a_step_has_the_size_that_the_rate_says() -> None:
    weight = torch.nn.Parameter(torch.zeros(16, 16))
    weight.grad = torch.randn(16, 16, generator=torch.Generator().manual_seed(2))
    Muon([weight], 0.5).step()
    # nearly orthogonal: singular values near 1, times 0.2 x root of the side and the rate
    values = torch.linalg.svdvals(weight.detach()) / (0.5 * 0.2 * 4)
    assert 0.6 < float(values.min()) <= float(values.max()) < 1.3
    assert float((weight.detach() * weight.grad).sum()) < 0  # downhill


def test_every_other_clip_is_its_guess_above_the_level_where_a_run_still_stands_on_it() -> None:
    clean, guesses = torch.zeros(4, 1, 1, 1, 1), torch.ones(2, 1, 1, 1, 1)
    above, below = torch.full((4,), GUESSED + 0.01), torch.full((4,), GUESSED)
    assert with_guesses(clean, guesses, above).flatten().tolist() == [1, 0, 1, 0]
    assert with_guesses(clean, guesses, below).flatten().tolist() == [0, 0, 0, 0]
    assert not clean.any()
