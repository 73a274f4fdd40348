"""What the two-stage sampler expands to, beside ComfyUI's own samplers: how each stage has to be asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ..flf2v.split import SAME, Run, guidance_warnings, is_distilled, warnings_for
from .host.draft_previews import show_drafts
from .host.expansion import model_files
from .host.grids import HIGH, LOW, Plan, plan_run, sampler_of, sigmas_of
from .host.hand_over import hand_over, handed_over
from .host.progress import warn_on_node
from .host.schema import part_schema
from .host.types import Latent, Model
from .inputs import SEEDS, denoise_input, guidance_input, own_inputs, seed_input, split_inputs, steps_input

PLAN = io.Custom("WAN_FLF2V_PLAN")
MAX_DRAFTS = 16


class WanFLF2VPlan(io.ComfyNode):
    """How each stage has to be asked for, by the grid of the first model that samples."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return part_schema(
            node_id="WanFLF2VPlan",
            display_name="Wan FLF2V Plan",
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
            inputs=[
                io.Model.Input("model"),
                seed_input("The seed of the noise."),
                io.Int.Input("draft", default=0, min=0, max=MAX_DRAFTS, optional=True),
                guidance_input("cfg", 4.0, "Guidance of the first model that samples."),
                steps_input(),
                *split_inputs(),
                denoise_input(),
                *own_inputs(),
            ],
            outputs=[
                PLAN.Output("out_plan"),
                io.Int.Output("out_seed"),
                io.Sampler.Output("sampler"),
                io.Sigmas.Output("first_sigmas"),
                io.Sigmas.Output("high_sigmas"),
                io.Int.Output("split_step"),
                io.Int.Output("total_steps"),
                io.Int.Output("start_at_step"),
                io.Int.Output("switch_at_step"),
            ],
        )

    @classmethod
    def execute(cls, model: Model, noise_seed: int, cfg: float, draft: int = 0, **run: Any) -> io.NodeOutput:
        plan = plan_run(model, Run(**run))
        distilled = is_distilled(plan.run.steps, cfg, model_files(cls.hidden, "model"))
        notes = warnings_for(plan.two, forced=plan.forced, cfg=cfg, distilled=distilled)
        warn_on_node(cls.hidden, notes)
        seed = (noise_seed + draft) % SEEDS
        grid, two, sampler = plan.grid, plan.two, sampler_of(plan.run.sampler_name)
        stages = (sigmas_of(plan, stage) for stage in (0, HIGH))
        steps = (grid.total_steps, grid.start, grid.start + two.high)
        plan = replace(plan, notes=tuple(notes), noise_seed=seed)
        return io.NodeOutput(plan, seed, sampler, *stages, plan.split.high, *steps)


class WanFLF2VHandOver(io.ComfyNode):
    """The model of a later stage, checked against what was done before it, and how it has to be asked."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return part_schema(
            node_id="WanFLF2VHandOver",
            display_name="Wan FLF2V Hand-Over",
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
            inputs=[
                io.Model.Input("model"),
                PLAN.Input("plan"),
                io.Int.Input("stage", min=HIGH, max=LOW),
                guidance_input("cfg", 4.0, "Guidance of the high-noise stage."),
                guidance_input("cfg_own", 0.0, "Guidance of this stage; 0 = same as cfg."),
                io.String.Input("sampler_name"),
                io.String.Input("sampler_own", default=SAME),
                io.Latent.Input("latent", optional=True),
            ],
            outputs=[
                io.Model.Output("out_model"),
                PLAN.Output("out_plan"),
                io.Float.Output("out_cfg"),
                io.Boolean.Output("add_noise"),
                io.Int.Output("noise_seed"),
                io.Sampler.Output("sampler"),
                io.Sigmas.Output("sigmas"),
                io.Latent.Output("out_latent"),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Model,
        plan: Plan,
        stage: int,
        cfg: float,
        cfg_own: float,
        sampler_name: str,
        sampler_own: str,
        latent: Latent | None = None,
    ) -> io.NodeOutput:
        plan.check_model(stage, model)
        cfg = cfg_own or cfg
        steps = (plan.run.of_low if stage == LOW else plan.run).steps
        own = guidance_warnings(cfg, is_distilled(steps, cfg, model_files(cls.hidden, "model")))
        notes = [*plan.notes, *(note for note in own if note not in plan.notes)]
        seed, before = plan.noise_seed, plan.stages_before(stage)
        if latent is not None:
            latent, told = handed_over(latent)
            if told is None:
                notes.append(
                    f"This latent does not tell where it is, as ComfyUI's Load Latent gives it: it is taken to be at sigma "
                    f"{plan.split.sigmas[plan.split.high]:.4f}, made with the seed {seed}."
                )
            else:
                told.check(plan.split.sigmas[plan.split.high])
                seed = told.seeds[0]
        if len(notes) > len(plan.notes):
            warn_on_node(cls.hidden, notes)
        # With a stage before it no noise is to be added, and its seed would draw the same noise again.
        asked = (before == 0, (seed + before) % SEEDS)
        sampler = sampler_of(sampler_name if sampler_own == SAME else sampler_own)
        plan = replace(plan, notes=tuple(notes))
        return io.NodeOutput(model, plan, cfg, *asked, sampler, sigmas_of(plan, stage), latent)


class WanFLF2VHighNoiseLatent(io.ComfyNode):
    """The drafts as one latent that tells where it is and from which seeds."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        numbers = range(1, MAX_DRAFTS + 1)
        return part_schema(
            node_id="WanFLF2VHighNoiseLatent",
            display_name="Wan FLF2V High-Noise Latent",
            inputs=[
                *(PLAN.Input(f"plan_{number}", optional=True) for number in numbers),
                *(io.Latent.Input(f"latent_{number}", optional=True) for number in numbers),
                *(io.Latent.Input(f"predicted_{number}", optional=True) for number in numbers),
            ],
            outputs=[io.Latent.Output("latent")],
        )

    @classmethod
    def execute(cls, **given: Any) -> io.NodeOutput:
        plans, latents, predicted = (
            [given[f"{name}_{number}"] for number in range(1, MAX_DRAFTS + 1) if f"{name}_{number}" in given]
            for name in ("plan", "latent", "predicted")
        )
        split = plans[0].split
        drafts = hand_over(latents, predicted, split.sigmas[split.high], [plan.noise_seed for plan in plans])
        return io.NodeOutput(drafts, ui=show_drafts(drafts) if len(plans) > 1 else None)
