"""A custom node pack without nodes: lets ComfyUI's core loaders read the tiny text and picture encoders.

The sizes of umt5-xxl and of CLIP vision stand in JSON files beside ComfyUI's code, not in the weights. A file that
carries the entry below brings its own sizes; every other file is loaded as before. Loaded only beside tiny weights.
"""

from __future__ import annotations

import json
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

CONFIG_KEY = "wan_flf2v_config"
# ComfyUI tells umt5-xxl by the shape of this entry. No block of this number exists in the tiny encoder, so it goes unused.
TOLD_BY, TOLD_SHAPE = "encoder.block.23.layer.1.DenseReluDense.wi_1.weight", (10240, 4096)
NODE_CLASS_MAPPINGS: dict[str, type] = {}


def take_config(state_dict: dict[str, Any]) -> dict[str, Any] | None:
    """The sizes stored with a tiny model, taken out of its state dict; None for any other file."""
    stored = state_dict.pop(CONFIG_KEY, None)
    return None if stored is None else json.loads(bytes(stored.tolist()))


def install() -> None:
    """Teach the two loaders to pass a file's own sizes on."""
    import comfy.clip_vision
    import comfy.sd
    import torch

    load_text = comfy.sd.load_text_encoder_state_dicts
    load_vision = comfy.clip_vision.load_clipvision_from_sd

    def load_text_with_own_sizes(state_dicts: Any = (), *args: Any, **kwargs: Any) -> Any:
        for state_dict in state_dicts:
            config = take_config(state_dict)
            if config is not None:
                state_dict[TOLD_BY] = torch.zeros(1, 1).expand(TOLD_SHAPE)
                kwargs["model_options"] = {**(kwargs.get("model_options") or {}), "umt5xxl_model_config": config}
        return load_text(state_dicts, *args, **kwargs)

    def load_vision_with_own_sizes(sd: Any, *args: Any, **kwargs: Any) -> Any:
        config = take_config(sd)
        if config is None:
            return load_vision(sd, *args, **kwargs)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "config.json"
            path.write_text(json.dumps(config))
            model = comfy.clip_vision.ClipVisionModel(str(path))
        model.load_sd(sd)
        return model

    comfy.sd.load_text_encoder_state_dicts = load_text_with_own_sizes
    comfy.clip_vision.load_clipvision_from_sd = load_vision_with_own_sizes


if find_spec("comfy") is not None:  # the code that writes the weights imports this module for CONFIG_KEY alone
    install()
