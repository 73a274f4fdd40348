"""The inputs that the samplers share, each with the words of the node that shows it."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

SEEDS = 2**64


def expert_inputs() -> list[Any]:
    """model_high and model_low."""
    return [
        io.Model.Input("model_high", tooltip="The high-noise model, after Wan FLF2V Shift."),
        io.Model.Input("model_low", tooltip="The low-noise model, after the same Wan FLF2V Shift."),
    ]


def prompt_inputs(**more: Any) -> list[Any]:
    """positive, negative and latent_image."""
    return [
        io.Conditioning.Input("positive", tooltip="The prompt with the frames.", **more),
        io.Conditioning.Input("negative", tooltip="The negative prompt with the frames.", **more),
        io.Latent.Input("latent_image", tooltip="The latent to sample.", **more),
    ]


def low_prompt_inputs(of: str, **more: Any) -> list[Any]:
    """positive_low and negative_low, ``of`` the low-noise stage or model."""
    return [
        io.Conditioning.Input("positive_low", optional=True, tooltip=f"Another prompt for the low-noise {of}.", **more),
        io.Conditioning.Input(
            "negative_low", optional=True, tooltip=f"Another negative prompt for the low-noise {of}.", **more
        ),
    ]


def seed_input(tooltip: str) -> Any:
    """noise_seed."""
    return io.Int.Input("noise_seed", default=0, min=0, max=SEEDS - 1, control_after_generate=True, tooltip=tooltip)


def guidance_input(name: str, default: float, tooltip: str) -> Any:
    """cfg or cfg_low."""
    return io.Float.Input(name, default=default, min=0.0, max=100.0, step=0.1, tooltip=tooltip)


def latent_outputs(high_noise: str) -> list[Any]:
    """latent and high_noise_latent; one tooltip."""
    return [
        io.Latent.Output("latent", display_name="latent", tooltip="The finished latent video."),
        io.Latent.Output("high_noise_latent", display_name="high_noise_latent", tooltip=high_noise),
    ]
