"""What a latent with leftover noise tells the stage that goes on with it: where it is, and from which seeds it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from ...flf2v.errors import FLF2VError
from ...flf2v.split import hand_over_factor
from .types import Latent

KEY = "wan_flf2v_hand_over"  # in a LATENT; ComfyUI's SaveLatent keeps the samples alone


@dataclass(frozen=True)
class HandedOver:
    """The sigma that the latent is at, each video's seed, and the finished videos as predicted so far ``[B, …]``."""

    sigma: float
    seeds: tuple[int, ...]
    predicted: torch.Tensor

    def check(self, sigma: float) -> None:
        """Raise FLF2VError unless the next stage begins where this latent is."""
        factor = hand_over_factor(self.sigma, sigma)
        if factor is not None:
            raise FLF2VError(
                f"the latent is at sigma {self.sigma:.4f}, but this low-noise stage begins at {sigma:.4f}, which would "
                f"scale the latent by {factor:.3g}. Use the steps, shift, scheduler, boundary and high_steps of the "
                "high-noise stage that made it."
            )


def hand_over(latents: Sequence[Latent], predicted: Sequence[Latent], sigma: float, seeds: Sequence[int]) -> Latent:
    """One latent of several drafts, each a video or a batch, that tells where it is."""
    each = [seed for seed, latent in zip(seeds, latents, strict=True) for _ in range(len(latent["samples"]))]
    told = HandedOver(sigma, tuple(each), torch.cat([latent["samples"] for latent in predicted]))
    samples = torch.cat([latent["samples"] for latent in latents])
    return {**latents[0], "samples": samples, KEY: told}


def handed_over(latent: Latent) -> tuple[Latent, HandedOver | None]:
    """The latent as ComfyUI's nodes have it, and what it tells."""
    told = latent.get(KEY)
    return {name: value for name, value in latent.items() if name != KEY}, told


def pick(latent: Latent, number: int) -> Latent:
    """The video ``number`` (from 0) of a batch, with what it tells. Raises FLF2VError where there are fewer."""
    count = len(latent["samples"])
    if not 0 <= number < count:
        raise FLF2VError(f"index must be between 1 and {count}, the number of drafts; got {number + 1}.")

    def one(value: Any) -> Any:
        at = number % len(value)  # masks and indices are as many as the videos of one seed
        return value[at : at + 1]

    told, each = latent.get(KEY), ("samples", "noise_mask", "batch_index")
    picked = {**latent, **{name: one(latent[name]) for name in each if latent.get(name) is not None}}
    if told is not None:
        picked[KEY] = replace(told, seeds=one(told.seeds), predicted=one(told.predicted))
    return picked
