"""The two-stage sampler: expands into ComfyUI's own sampler for each stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io

from ..flf2v.errors import FLF2VError
from ..flf2v.split import SAME, Run
from .host.continuous import check_sampler
from .host.expansion import GraphBuilder, check_order, composite_schema, is_link, past_shift
from .host.types import Link
from .inputs import (
    denoise_input,
    expert_inputs,
    guidance_input,
    latent_outputs,
    low_prompt_inputs,
    own_inputs,
    prompt_inputs,
    seed_input,
    split_inputs,
    steps_input,
)
from .stage_parts import MAX_DRAFTS
from .stages import StageNodes

BOTH, HIGH_ONLY, LOW_ONLY = STAGES = ("both", "high only", "low only")
OWN = {"steps_low": 0, "sampler_low": SAME, "scheduler_low": SAME, "first_steps": 0}  # and what they are when not used


class WanFLF2VTwoStageSampler(io.ComfyNode):
    """The latent video, sampled by the high-noise and then by the low-noise model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return composite_schema(
            node_id="WanFLF2VTwoStageSampler",
            display_name="Wan FLF2V Two-Stage Sampler",
            description="Samples with the high-noise model down to the boundary and with the low-noise model from there, "
            "by the official rule on the steps that are really run. Bit for bit what two KSampler (Advanced) with the "
            "same split give. Also one stage alone, three stages, or drafts of several seeds.",
            search_aliases=["KSampler Advanced", "moe sampler", "high low noise", "wan 2.2 sampler"],
            hidden=[io.Hidden.dynprompt],
            read_early=("keep_history", "stages", "drafts"),
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
                io.Combo.Input(
                    "stages",
                    optional=True,
                    options=list(STAGES),
                    default=BOTH,
                    tooltip="high only ends at the hand-over, and gives a latent with leftover noise that low only goes on "
                    "with, in the same workflow or from a saved latent in another session: bit for bit what both gives. "
                    "Only the expert that samples is loaded.",
                ),
                *own_inputs(),
                io.Model.Input(
                    "model_first",
                    optional=True,
                    tooltip="A third model that makes the first_steps: the high-noise model without its 4-step LoRA, with "
                    "the same shift.",
                ),
                guidance_input("cfg_first", 3.5, "Guidance of model_first.", optional=True),
                io.Int.Input(
                    "drafts",
                    optional=True,
                    default=1,
                    min=1,
                    max=MAX_DRAFTS,
                    tooltip="With high only: so many videos from noise_seed and the seeds after it, for Wan FLF2V Pick.",
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
        stages: str = BOTH,
        model_first: Link | None = None,
        cfg_first: Any = 3.5,
        drafts: int = 1,
        **run: Any,
    ) -> io.NodeOutput:
        """``run`` is what Run has; each value may be a link."""
        if not any(map(is_link, run.values())):
            Run(**run).check()
        check_together(run, stages, keep_history, model_first, drafts)
        if keep_history and not is_link(run["sampler_name"]):
            check_sampler(run["sampler_name"])
        graph, prompt = GraphBuilder(), cls.hidden.dynprompt
        check_order(prompt, model_high, model_low)
        takes_first = run.get("first_steps") and stages != LOW_ONLY
        first = past_shift(graph, prompt, model_first) if model_first is not None and takes_first else None
        high, low = (
            model if stages == unused else past_shift(graph, prompt, model)
            for model, unused in ((model_high, LOW_ONLY), (model_low, HIGH_ONLY))
        )
        prompts = {"positive": positive, "negative": negative}
        low_prompts = {"positive": positive_low or positive, "negative": negative_low or negative}
        guidance = {"noise_seed": noise_seed, "cfg": cfg, "cfg_low": cfg_low, "cfg_first": cfg_first}
        nodes = StageNodes(graph, high, low, prompts, low_prompts, guidance, run, first)
        if keep_history:
            sampled = nodes.continuous(latent_image)
        elif stages == LOW_ONLY:
            latent, split_step = nodes.finish(latent_image)
            sampled = latent, latent_image, split_step
        elif stages == HIGH_ONLY:
            latent, split_step = nodes.drafts(latent_image, drafts)
            sampled = latent, latent, split_step
        else:
            made = nodes.high_noise(latent_image)
            sampled = nodes.low_noise(made.plan, made.latent), made.latent, made.split_step
        return io.NodeOutput(*sampled, expand=graph.finalize())


def check_together(
    run: Mapping[str, Any], stages: str, keep_history: bool, model_first: Link | None, drafts: int
) -> None:
    """Raise FLF2VError for settings that contradict each other."""
    own = [name for name, unused in OWN.items() if run.get(name, unused) != unused]
    if keep_history and (own or stages != BOTH):
        raise FLF2VError(
            f"keep_history is one run of one sampler over one schedule; it goes with stages {BOTH} and without "
            f"{', '.join(OWN)}. Turn keep_history off, or {', '.join(own) or 'stages'} back."
        )
    if drafts > 1 and stages != HIGH_ONLY:
        raise FLF2VError(
            f"drafts need stages {HIGH_ONLY}, Wan FLF2V Pick and a second sampler with {LOW_ONLY}; got {drafts} drafts "
            f"with {stages}. Set drafts to 1, or stages to {HIGH_ONLY}."
        )
    if run.get("first_steps") and model_first is None:
        raise FLF2VError(
            "first_steps are made by model_first, which is not connected. Connect the high-noise model without its LoRA, "
            "or set first_steps to 0."
        )
