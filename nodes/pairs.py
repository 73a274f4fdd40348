"""Several jobs of one workflow as one: stage after stage over all of them, so that each model is loaded once."""

from __future__ import annotations

import json
from typing import Any

from comfy_api.latest import io

from ..flf2v.storyboard import Clip, Keyframe
from .host.expansion import GraphBuilder, composite_schema, past_shifts
from .host.schema import PART
from .host.types import Link
from .inputs import expert_inputs, fit_input, guidance_input, size_inputs, split_inputs, steps_input
from .storyboard_clips import ClipNodes


class WanFLF2VPairs(io.ComfyNode):
    """A video of each pair, saved as ``save_1``, ``save_2`` …

    ``pairs`` is a JSON list of objects with first, last (files of the input folder), length, prompt, negative and seed;
    ``save`` a JSON object of Wan FLF2V Save Video's inputs.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        return composite_schema(
            node_id="WanFLF2VPairs",
            display_name="Wan FLF2V Pairs",
            **PART,
            is_output_node=True,
            hidden=[io.Hidden.dynprompt],
            inputs=[
                *expert_inputs(),
                io.Clip.Input("clip"),
                io.Vae.Input("vae"),
                io.String.Input("pairs"),
                io.String.Input("save"),
                *size_inputs()[:2],
                fit_input(),
                steps_input(),
                guidance_input("cfg", 4.0, "Guidance of the high-noise stage."),
                guidance_input("cfg_low", 0.0, "Guidance of the low-noise stage; 0 = same as cfg."),
                *split_inputs(),
            ],
            outputs=[io.Int.Output("count")],  # ComfyUI expands no node without an output
        )

    @classmethod
    async def execute(
        cls, model_high: Link, model_low: Link, pairs: str, save: str, width: Any, height: Any, **given: Any
    ) -> io.NodeOutput:
        graph = GraphBuilder()
        high, low = past_shifts(graph, cls.hidden.dynprompt, model_high, model_low)
        size = {"width": width, "height": height}
        clips = ClipNodes(graph, high, low, {}, {**given, **size}, images=False)
        saved, jobs = json.loads(save), json.loads(pairs)
        for number, pair in enumerate(jobs, 1):
            start, end = (Keyframe(pair.pop(side)) for side in ("first", "last"))
            latent = clips.latent(Clip(start, end, **pair))
            prefix = f"{saved['filename_prefix']}_{number}"
            asked = {**saved, **size, "filename_prefix": prefix, "vae": given["vae"]}
            graph.node("WanFLF2VSaveVideo", id=f"save_{number}", latent=latent, **asked)
        return io.NodeOutput(len(jobs), expand=graph.finalize())
