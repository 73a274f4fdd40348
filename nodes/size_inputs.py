"""Width, height and preset, as every node shows them; the tooltip is the node's own."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..flf2v.sizes import CUSTOM, MAX_SIZE, MIN_SIZE, PRESETS

DEFAULTS = {"width": 832, "height": 480}


def pixels_input(name: str, tooltip: str) -> Any:
    """width or height of the video."""
    return io.Int.Input(name, default=DEFAULTS[name], min=MIN_SIZE, max=MAX_SIZE, step=2, tooltip=tooltip)


def preset_inputs(width_note: str = "") -> list[Any]:
    """preset, with width and height for its choice custom."""
    return [
        io.Combo.Input(
            "preset",
            options=[CUSTOM, *PRESETS],
            default="720x720 (1:1)",
            tooltip="A common size, or custom to use width and height below.",
        ),
        pixels_input("width", f"Width in pixels for custom; even.{width_note}"),
        pixels_input("height", "Height in pixels for custom; even."),
    ]
