"""The stages of a run as nodes: ComfyUI's own SamplerCustom for each, asked as the plan says.

There is no sampling loop here: previews, progress, patches and interrupts are ComfyUI's, and an edit of the low-noise
stage alone does not run the high-noise stage again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..flf2v.split import SAME
from .continuous import add_continuous_run
from .host.expansion import GraphBuilder, is_link
from .host.grids import HIGH, LOW, same_grid
from .host.types import Link


@dataclass(frozen=True)
class HighNoise:
    """Links to what comes out of the high-noise part: the plan, the number of high-noise steps, the latent, and the
    finished video as predicted by its last step.
    """

    plan: Link
    split_step: Link
    latent: Link
    predicted: Link


@dataclass(frozen=True)
class StageNodes:
    """Puts the stages of a run into the graph.

    ``guidance`` are noise_seed, cfg, cfg_low and cfg_first, ``run`` is what Run has; ``first`` is the model before both.
    """

    graph: GraphBuilder
    high: Link
    low: Link
    prompts: Mapping[str, Link]
    low_prompts: Mapping[str, Link]
    guidance: Mapping[str, Any]
    run: Mapping[str, Any]
    first: Link | None = None

    def plan(self, model: Link, name: str = "", draft: int = 0) -> Any:
        """The node that plans the run of this model's grid."""
        own = self.run.get("sampler_low", SAME)
        sampler = self.run["sampler_name"] if own == SAME else own
        # An edit of the low-noise stage's sampler alone leaves the plan as it is.
        grid = {} if is_link(sampler) else {"sampler_low": same_grid(sampler)}
        seed, cfg = self.guidance["noise_seed"], self.guidance["cfg_first" if self.first else "cfg"]
        given = {"noise_seed": seed, "draft": draft, "cfg": cfg, **self.run, **grid}
        return self.graph.node("WanFLF2VPlan", id=f"plan{name}", model=model, **given)

    def high_noise(self, latent_image: Link, name: str = "", draft: int = 0) -> HighNoise:
        """The high-noise part, with the stage before it where there is one. ``name`` ends its nodes' ids."""
        plan = self.plan(self.first or self.high, name, draft)
        planned, seed, sampler, first_sigmas, high_sigmas, split_step = (plan.out(number) for number in range(6))
        asked = {"model": self.high, "cfg": self.guidance["cfg"], "sampler": sampler, "sigmas": high_sigmas}
        asked |= {"add_noise": True, "noise_seed": seed}
        if self.first is not None:
            before = {**asked, "model": self.first, "cfg": self.guidance["cfg_first"], "sigmas": first_sigmas}
            latent_image = self._sampler(f"first{name}", before, self.prompts, latent_image).out(0)
            planned, asked = self._handed(f"hand_over_high{name}", HIGH, planned)
        sampled = self._sampler(f"high{name}", asked, self.prompts, latent_image)
        return HighNoise(planned, split_step, sampled.out(0), sampled.out(1))

    def drafts(self, latent_image: Link, count: int) -> tuple[Link, Link]:
        """The high-noise part of so many seeds as one latent that tells where it is, and the number of high steps."""
        made = [self.high_noise(latent_image, f"_{draft + 1}" if draft else "", draft) for draft in range(count)]
        # The first one last: what the last input needs runs first.
        drafts = {
            f"{name}_{number}": getattr(each, name)
            for number, each in reversed(list(enumerate(made, 1)))
            for name in ("plan", "predicted", "latent")
        }
        latent = self.graph.node("WanFLF2VHighNoiseLatent", id="drafts", **drafts).out(0)
        return latent, made[0].split_step

    def low_noise(self, plan: Link, latent: Link, name: str = "") -> Link:
        """The finished latent. ``name`` ends its nodes' ids."""
        _, asked = self._handed(f"hand_over{name}", LOW, plan)
        found: Link = self._sampler(f"low{name}", asked, self.low_prompts, latent).out(0)
        return found

    def finish(self, latent: Link) -> tuple[Link, Link]:
        """The finished latent of one that was left at the hand-over and may tell so, and the number of high steps."""
        # The expert is loaded when the latent is there, and not at all where none of the drafts is picked.
        low = self.graph.node("WanFLF2VBarrier", id="late_model", after=latent, late=self.low).out(0)
        nodes = replace(self, low=low, first=None)
        plan = nodes.plan(low)
        _, asked = nodes._handed("hand_over", LOW, plan.out(0), latent)
        return nodes._sampler("low", asked, self.low_prompts).out(0), plan.out(5)

    def continuous(self, latent_image: Link) -> tuple[Link, Link, Link]:
        """Both stages as one run: links to the finished latent, the one at the hand-over, the number of high steps."""
        plan = self.plan(self.high)
        shared = {name: self.run[name] for name in ("sampler_name", "scheduler")}
        asked = {name: self.guidance[name] for name in ("noise_seed", "cfg")} | {"model": self.high}
        steps = dict(zip(("steps", "start_at_step", "switch_at_step"), map(plan.out, range(6, 9)), strict=True))
        _, low = self._handed("hand_over", LOW, plan.out(0))
        of_low = {"model": low["model"], "cfg": low["cfg"], **self.low_prompts}
        of_high = {**asked, **shared, **steps, **self.prompts, "latent_image": latent_image}
        return *add_continuous_run(self.graph, of_high, of_low), plan.out(5)

    def _handed(self, name: str, stage: int, plan: Link, latent: Link | None = None) -> tuple[Link, dict[str, Link]]:
        low = stage == LOW
        given = {"model": self.low if low else self.high, "plan": plan, "stage": stage}
        given |= {"cfg": self.guidance["cfg"], "cfg_own": self.guidance["cfg_low"] if low else 0.0}
        given |= {"sampler_name": self.run["sampler_name"]}
        given |= {"sampler_own": self.run.get("sampler_low", SAME) if low else SAME}
        if latent is not None:
            given["latent"] = latent
        handed = self.graph.node("WanFLF2VHandOver", id=name, **given)
        model, planned, *asked = (handed.out(number) for number in range(7))
        names = ("cfg", "add_noise", "noise_seed", "sampler", "sigmas")
        found = {"model": model, **dict(zip(names, asked, strict=True))}
        if latent is not None:
            found["latent_image"] = handed.out(7)
        return planned, found

    def _sampler(
        self, name: str, asked: Mapping[str, Any], prompts: Mapping[str, Link], latent: Link | None = None
    ) -> Any:
        # What the last input needs runs first: what makes the latent, so the text encoder before the expert and one expert
        # at a time; with a latent from outside the prompts.
        if latent is None:
            return self.graph.node("SamplerCustom", id=name, **asked, **prompts)
        return self.graph.node("SamplerCustom", id=name, **prompts, **asked, latent_image=latent)
