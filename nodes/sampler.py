"""The two-stage sampler: expands into two of ComfyUI's own KSamplerAdvanced.

There is no sampling loop here: previews, progress, patches and interrupts are ComfyUI's, and an edit of the low-noise
stage alone does not run the high-noise stage again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ..flf2v.split import Run, guidance_warnings, is_distilled, warnings_for
from .continuous import add_continuous_run
from .host.continuous import check_sampler
from .host.expansion import GraphBuilder, composite_schema, is_link, model_files, past_shift
from .host.grids import Plan, plan_run
from .host.progress import warn_on_node
from .host.schema import part_schema
from .host.types import Link, Model
from .inputs import (
    SEEDS,
    denoise_input,
    expert_inputs,
    guidance_input,
    latent_outputs,
    low_prompt_inputs,
    prompt_inputs,
    seed_input,
    split_inputs,
    steps_input,
)

TO_THE_END = 10000
PLAN = io.Custom("WAN_FLF2V_PLAN")


class WanFLF2VTwoStageSampler(io.ComfyNode):
    """The latent video, sampled by the high-noise and then by the low-noise model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return composite_schema(
            node_id="WanFLF2VTwoStageSampler",
            display_name="Wan FLF2V Two-Stage Sampler",
            description="Samples with the high-noise model down to the boundary and with the low-noise model from there, "
            "by the official rule on the steps that are really run. Bit for bit what two KSampler (Advanced) with the "
            "same split give.",
            search_aliases=["KSampler Advanced", "moe sampler", "high low noise", "wan 2.2 sampler"],
            hidden=[io.Hidden.dynprompt],
            read_early=("keep_history",),
            inputs=[
                *expert_inputs(),
                *prompt_inputs(),
                seed_input("The seed of the noise. Samplers that draw noise use the next seed in the low-noise stage."),
                steps_input(),
                guidance_input(
                    "cfg",
                    4.0,
                    "Guidance of the high-noise stage (and of both while cfg_low is 0): 3.5 to 4 for Wan 2.2, "
                    "1 with a 4-step LoRA.",
                ),
                guidance_input("cfg_low", 0.0, "Guidance of the low-noise stage; 0 = same as cfg."),
                *split_inputs(),
                denoise_input(),
                *low_prompt_inputs("stage"),
                io.Boolean.Input(
                    "keep_history",
                    optional=True,
                    default=False,
                    tooltip="One continuous run: a multistep sampler (uni_pc, dpmpp_2m, res_multistep …) keeps what it "
                    "remembers of the high-noise steps, as in Wan's own code. Off: two KSampler (Advanced), where it "
                    "starts anew and an edit of the low-noise stage does not run the high-noise one again.",
                ),
            ],
            outputs=[
                *latent_outputs("The latent at the hand-over, with its leftover noise."),
                io.Int.Output("split_step", display_name="split_step", tooltip="Number of high-noise steps."),
            ],
        )

    @classmethod
    async def execute(
        cls,
        model_high: Link,
        model_low: Link,
        positive: Link,
        negative: Link,
        latent_image: Link,
        noise_seed: Any,
        cfg: Any,
        cfg_low: Any,
        positive_low: Link | None = None,
        negative_low: Link | None = None,
        keep_history: bool = False,
        **run: Any,
    ) -> io.NodeOutput:
        """``run`` is what Run has; each value may be a link."""
        if not any(map(is_link, run.values())):
            Run(**run).check()
        if keep_history and not is_link(run["sampler_name"]):
            check_sampler(run["sampler_name"])
        graph, prompt = GraphBuilder(), cls.hidden.dynprompt
        high, low = (past_shift(graph, prompt, model) for model in (model_high, model_low))
        prompts = {"positive": positive, "negative": negative}
        low_prompts = {"positive": positive_low or positive, "negative": negative_low or negative}
        guidance = {"noise_seed": noise_seed, "cfg": cfg, "cfg_low": cfg_low}
        sampled = add_stages(
            graph, high, low, prompts, low_prompts, latent_image, guidance, run, keep_history=keep_history
        )
        return io.NodeOutput(*sampled, expand=graph.finalize())


def add_stages(
    graph: GraphBuilder,
    high: Link,
    low: Link,
    prompts: Mapping[str, Link],
    low_prompts: Mapping[str, Link],
    latent_image: Link,
    guidance: Mapping[str, Any],
    run: Mapping[str, Any],
    *,
    names: tuple[str, str] = ("", ""),
    keep_history: bool = False,
    in_turn: Callable[[Link], Link] = lambda latent: latent,
) -> tuple[Link, Link, Link]:
    """Put both stages into the graph: links to the latent, the latent at the hand-over and the number of high steps.

    ``names`` end the ids of the high- and of the low-noise stage's nodes; ``in_turn`` is what the latent goes through
    between the stages.
    """
    name, low_name = names
    noise_seed, cfg, cfg_low = (guidance[key] for key in ("noise_seed", "cfg", "cfg_low"))
    plan = graph.node("WanFLF2VPlan", id=f"plan{name}", model_high=high, noise_seed=noise_seed, cfg=cfg, **run)
    planned, steps, start, switch, split, low_noise, low_seed = (plan.out(number) for number in range(7))
    handed = graph.node(
        "WanFLF2VHandOver", id=f"hand_over{low_name}", model_low=low, plan=planned, cfg=cfg, cfg_low=cfg_low
    )
    both = {"steps": steps, "sampler_name": run["sampler_name"], "scheduler": run["scheduler"]}
    of_high = {**prompts, "noise_seed": noise_seed, "cfg": cfg, **both}
    of_low = {**low_prompts, "cfg": handed.out(1)}
    if keep_history:
        of_high |= {"model": high, "start_at_step": start, "switch_at_step": switch, "latent_image": latent_image}
        return *add_continuous_run(graph, of_high, {"model": handed.out(0), **of_low}), split
    first = graph.node(
        "KSamplerAdvanced",
        id=f"high{name}",
        model=high,
        add_noise="enable",
        start_at_step=start,
        end_at_step=switch,
        return_with_leftover_noise="enable",
        **of_high,
        latent_image=latent_image,  # last: what the last input needs runs first, so the text encoder before the expert
    )
    second = graph.node(
        "KSamplerAdvanced",
        id=f"low{low_name}",
        model=handed.out(0),
        add_noise=low_noise,
        noise_seed=low_seed,
        start_at_step=switch,
        end_at_step=TO_THE_END,
        return_with_leftover_noise="disable",
        **of_low,
        **both,
        # last: so one expert is loaded at a time
        latent_image=in_turn(first.out(0)),
    )
    return second.out(0), first.out(0), split


class WanFLF2VPlan(io.ComfyNode):
    """How KSamplerAdvanced has to be asked for both stages, by the high-noise model's own grid."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return part_schema(
            node_id="WanFLF2VPlan",
            display_name="Wan FLF2V Plan",
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
            inputs=[
                expert_inputs()[0],
                seed_input("The seed of the noise."),
                guidance_input("cfg", 4.0, "Guidance of the high-noise stage."),
                steps_input(),
                *split_inputs(),
                denoise_input(),
            ],
            outputs=[
                PLAN.Output("out_plan"),
                io.Int.Output("total_steps"),
                io.Int.Output("start_at_step"),
                io.Int.Output("switch_at_step"),
                io.Int.Output("split_step"),
                io.Combo.Output("low_add_noise", options=["enable", "disable"]),
                io.Int.Output("low_noise_seed"),
            ],
        )

    @classmethod
    def execute(cls, model_high: Model, noise_seed: int, cfg: float, **run: Any) -> io.NodeOutput:
        plan = plan_run(model_high, Run(**run))
        distilled = is_distilled(plan.run.steps, cfg, model_files(cls.hidden, "model_high"))
        notes = warnings_for(plan.split, forced=plan.forced, cfg=cfg, distilled=distilled)
        warn_on_node(cls.hidden, notes)
        # Without a high-noise stage the noise is still to be added; with one, its seed would draw the same noise again.
        noise, seed = ("disable", (noise_seed + 1) % SEEDS) if plan.split.high else ("enable", noise_seed)
        grid, switch = plan.grid, plan.grid.start + plan.split.high  # switch: the low-noise stage's first step
        return io.NodeOutput(
            replace(plan, notes=tuple(notes)), grid.total_steps, grid.start, switch, plan.split.high, noise, seed
        )


class WanFLF2VHandOver(io.ComfyNode):
    """The low-noise model, checked against what the high-noise stage did, and its guidance."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return part_schema(
            node_id="WanFLF2VHandOver",
            display_name="Wan FLF2V Hand-Over",
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
            inputs=[
                expert_inputs()[1],
                PLAN.Input("plan"),
                guidance_input("cfg", 4.0, "Guidance of the high-noise stage."),
                guidance_input("cfg_low", 0.0, "Guidance of the low-noise stage; 0 = same as cfg."),
            ],
            outputs=[io.Model.Output("out_model"), io.Float.Output("out_cfg")],
        )

    @classmethod
    def execute(cls, model_low: Model, plan: Plan, cfg: float, cfg_low: float) -> io.NodeOutput:
        plan.check_low(model_low)
        cfg = cfg_low or cfg
        notes = guidance_warnings(cfg, is_distilled(plan.run.steps, cfg, model_files(cls.hidden, "model_low")))
        if set(notes) - set(plan.notes):
            warn_on_node(cls.hidden, [*plan.notes, *notes])
        return io.NodeOutput(model_low, cfg)
