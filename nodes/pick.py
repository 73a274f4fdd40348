"""One of several drafts, picked by looking at them."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .host.draft_previews import show_drafts
from .host.expansion import stop_here
from .host.hand_over import handed_over, pick
from .host.schema import schema
from .host.types import Latent
from .inputs import SEEDS


class WanFLF2VPick(io.ComfyNode):
    """The picked one of several drafts."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="WanFLF2VPick",
            display_name="Wan FLF2V Pick",
            description="Shows the drafts of a two-stage sampler with high only, each as a small moving picture, and gives "
            "the picked one for low only. With index 0 it only shows them and nothing behind it runs: look, click one, run "
            "again.",
            search_aliases=["draft", "choose", "select latent", "preview latents", "latent from batch"],
            is_output_node=True,
            inputs=[
                io.Latent.Input(
                    "drafts", tooltip="The drafts: the latent of a sampler with high only and several drafts."
                ),
                io.Int.Input(
                    "index",
                    default=0,
                    min=0,
                    max=4096,
                    tooltip="Which draft goes on, from 1; 0 = none yet, only show them. A click on a picture sets it.",
                ),
            ],
            outputs=[
                io.Latent.Output("latent", display_name="latent", tooltip="The picked draft, with its leftover noise."),
                io.Int.Output(
                    "seed", display_name="seed", tooltip="Its seed, to make it again; 0 where it is not told."
                ),
            ],
        )

    @classmethod
    def execute(cls, drafts: Latent, index: int) -> io.NodeOutput:
        shown: dict[str, Any] = {"drafts": show_drafts(drafts)["images"]}  # not "images": the strip is the panel's
        if index == 0:
            return io.NodeOutput(stop_here(), stop_here(), ui=shown)
        picked = pick(drafts, index - 1)
        told = handed_over(picked)[1]
        return io.NodeOutput(picked, told.seeds[0] % SEEDS if told else 0, ui=shown)
