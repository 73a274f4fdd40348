"""A custom node pack without nodes: lets ComfyUI's CLIPLoader read the tiny text encoder of the demo and the tests.

The sizes of umt5-xxl stand in a JSON file beside ComfyUI's code, not in the weights. A text encoder file that carries
the entry below brings its own sizes; every other file is loaded as before. Loaded only where the tiny weights are.
"""

from __future__ import annotations

import json
from typing import Any

CONFIG_KEY = "wan_flf2v_text_config"
NODE_CLASS_MAPPINGS: dict[str, type] = {}


def read_text_config(state_dict: dict[str, Any]) -> dict[str, Any] | None:
    """The sizes stored with a tiny text encoder, taken out of its state dict; None for any other file."""
    stored = state_dict.pop(CONFIG_KEY, None)
    return None if stored is None else json.loads(bytes(stored.tolist()))


def install() -> None:
    """Teach ``comfy.sd.load_text_encoder_state_dicts`` to pass a file's own sizes on."""
    import comfy.sd

    load = comfy.sd.load_text_encoder_state_dicts

    def load_with_own_sizes(state_dicts: Any = (), *args: Any, **kwargs: Any) -> Any:
        configs = [config for state_dict in state_dicts if (config := read_text_config(state_dict))]
        if configs:
            options = dict(kwargs.get("model_options") or {})
            options["umt5xxl_model_config"] = configs[0]
            kwargs["model_options"] = options
        return load(state_dicts, *args, **kwargs)

    comfy.sd.load_text_encoder_state_dicts = load_with_own_sizes


try:
    import comfy.sd  # noqa: F401
except ImportError:
    pass  # imported for CONFIG_KEY by the code that writes the weights
else:
    install()
