"""The loader of both experts as a pair."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..flf2v.errors import FLF2VError
from .host.expansion import LOADER_INPUTS, GraphBuilder, composite_schema
from .host.experts import BY_NAME, LORAS, MODELS, NONE, OUTPUTS, WEIGHT_DTYPES, add_expert, files, pair


class WanFLF2VLoadExperts(io.ComfyNode):
    """Both experts of one pair, each with its LoRA."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        models, loras = files(MODELS), files(LORAS)
        return composite_schema(
            node_id="WanFLF2VLoadExperts",
            display_name="Wan FLF2V Load Experts",
            description="Loads the high- and the low-noise model as a pair, and both LoRAs of a pair: the low-noise file is "
            "found by its name. In the pack's samplers each is loaded only when its stage needs it. The same file twice "
            "or a swapped pair is refused.",
            search_aliases=["load diffusion model", "unet loader", "moe loader", "lora pair", "wan 2.2 models"],
            inputs=[
                io.Combo.Input("high_file", options=models, tooltip="The high-noise model's file."),
                io.Combo.Input(
                    "low_file",
                    options=[BY_NAME, *models],
                    default=BY_NAME,
                    tooltip="The low-noise model's file; by name = the one whose name differs in high and low alone.",
                ),
                io.Combo.Input(
                    "weight_dtype", options=WEIGHT_DTYPES, default="default", tooltip="What the weights are kept as."
                ),
                io.Combo.Input(
                    "lora_high", options=[NONE, *loras], default=NONE, tooltip="A LoRA for the high-noise model."
                ),
                io.Combo.Input(
                    "lora_low",
                    options=[BY_NAME, NONE, *loras],
                    default=BY_NAME,
                    tooltip="A LoRA for the low-noise model; by name = the other half of lora_high.",
                ),
                io.Float.Input(
                    "lora_strength",
                    default=1.0,
                    min=-100.0,
                    max=100.0,
                    step=0.01,
                    tooltip="The strength of both LoRAs.",
                ),
            ],
            outputs=[
                io.Model.Output("model_high", display_name="model_high", tooltip="The high-noise model with its LoRA."),
                io.Model.Output("model_low", display_name="model_low", tooltip="The low-noise model with its LoRA."),
                io.Model.Output(
                    "model_first",
                    display_name="model_first",
                    tooltip="The high-noise model without LoRA, for a first stage.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls, high_file: Any = None, low_file: Any = None, lora_high: Any = None, lora_low: Any = None
    ) -> bool | str:
        given = {"high_file": high_file, "low_file": low_file, "lora_high": lora_high, "lora_low": lora_low}
        if all(isinstance(name, str) for name in given.values()):  # a linked name comes later
            try:
                pair(given)
            except (FLF2VError, FileNotFoundError) as error:
                return str(error)
        return True

    @classmethod
    async def execute(cls, **given: Any) -> io.NodeOutput:
        graph = GraphBuilder()
        links = [add_expert(graph, "expert", {**LOADER_INPUTS, **given}, output) for output in range(len(OUTPUTS))]
        return io.NodeOutput(*links, expand=graph.finalize())
