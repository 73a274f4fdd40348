"""The inputs that several nodes share, in the words of the node that shows them."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..flf2v.errors import FLF2VError
from ..flf2v.frames import MIN_LENGTH, check_length, check_middle, read_frame_numbers
from ..flf2v.sizes import CUSTOM, FITS, MAX_SIZE, MIN_SIZE, PRESETS, RESIZES, check_size
from ..flf2v.split import BY_BOUNDARY, SAME
from .host.grids import SAMPLERS, SCHEDULERS
from .host.types import Input

DEFAULTS = {"width": 832, "height": 480}
SEEDS = 2**64
NOT_CONNECTED = object()  # ComfyUI's validation gives None for what a link will bring
START_TOOLTIP = "The first frame, or several frames that the video starts with."
END_TOOLTIP = "The last frame, or several frames that the video ends with."


def pixels_input(name: str, tooltip: str) -> Input:
    return io.Int.Input(name, default=DEFAULTS[name], min=MIN_SIZE, max=MAX_SIZE, step=2, tooltip=tooltip)


def preset_inputs(width_note: str = "") -> list[Input]:
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


def size_inputs() -> list[Input]:
    """width, height and length, as every conditioning node shows them."""
    size = "Even; a size that is no multiple of 16 is rendered larger and cropped back by Wan FLF2V Save Video."
    return [
        pixels_input("width", f"Width of the video in pixels. {size}"),
        pixels_input("height", f"Height of the video in pixels. {size}"),
        io.Int.Input(
            "length",
            default=81,
            min=MIN_LENGTH,
            max=MAX_SIZE,
            step=4,
            tooltip="Number of frames, 4n + 1 (77, 81, 85 …). Wan is trained on 81 frames at 16 per second; "
            "longer clips tend to return to the first frame.",
        ),
    ]


def batch_size_input() -> Input:
    return io.Int.Input(
        "batch_size", default=1, min=1, max=4096, tooltip="How many videos to sample at once from different noise."
    )


def fit_input() -> Input:
    return io.Combo.Input(
        "fit",
        options=list(FITS),
        default="crop",
        tooltip="How a picture of another aspect is brought to the size: crop cuts the middle out, stretch distorts it, "
        "pad adds black bars. The same for both pictures.",
    )


def resize_input() -> Input:
    return io.Combo.Input(
        "resize",
        options=list(RESIZES),
        default="bilinear",
        optional=True,
        tooltip="How a picture is scaled: bilinear as ComfyUI's own node does it; lanczos, sharp, or area, softer, for "
        "pictures much larger than the video, whose fine patterns would shimmer.",
    )


def middle_inputs() -> list[Input]:
    """middle_images and middle_frames."""
    return [
        io.Image.Input(
            "middle_images",
            optional=True,
            tooltip="Pictures that the video goes through on its way, as one batch.",
        ),
        io.String.Input(
            "middle_frames",
            optional=True,
            default="",
            tooltip='The frame number of each of middle_images, counted from 0: "24, 48". Any number goes.',
        ),
    ]


def strength_input(name: str, stage: str = "") -> Input:
    return io.Float.Input(
        name,
        optional=True,
        default=1.0,
        min=0.0,
        max=1.0,
        step=0.05,
        tooltip=f"How firmly middle_images are held{stage}: the mask is 1 - strength there.",
    )


def check_widgets(width: Any, height: Any, length: Any, middle_frames: Any = None) -> bool | str:
    """What ComfyUI's validation asks before a prompt is queued: True, or the message. What is no number is linked."""
    try:
        if isinstance(width, int) and isinstance(height, int):
            check_size(width, height)
        if isinstance(length, int):
            check_length(length)
        numbers = read_frame_numbers(middle_frames) if isinstance(middle_frames, str) else ()
        if isinstance(length, int):
            check_middle(length, numbers)
    except FLF2VError as error:
        return str(error)
    return True


def expert_inputs() -> list[Input]:
    return [
        io.Model.Input("model_high", tooltip="The high-noise model, after Wan FLF2V Shift."),
        io.Model.Input("model_low", tooltip="The low-noise model, after the same Wan FLF2V Shift."),
    ]


def prompt_inputs() -> list[Input]:
    return [
        io.Conditioning.Input("positive", tooltip="The prompt with the frames."),
        io.Conditioning.Input("negative", tooltip="The negative prompt with the frames."),
        io.Latent.Input("latent_image", tooltip="The latent to sample."),
    ]


def low_prompt_inputs(of: str) -> list[Input]:
    """positive_low and negative_low, ``of`` the low-noise stage or model."""
    return [
        io.Conditioning.Input("positive_low", optional=True, tooltip=f"Another prompt for the low-noise {of}."),
        io.Conditioning.Input(
            "negative_low", optional=True, tooltip=f"Another negative prompt for the low-noise {of}."
        ),
    ]


def seed_input(tooltip: str) -> Input:
    return io.Int.Input("noise_seed", default=0, min=0, max=SEEDS - 1, control_after_generate=True, tooltip=tooltip)


def guidance_input(name: str, default: float, tooltip: str, *, optional: bool = False) -> Input:
    return io.Float.Input(name, default=default, min=0.0, max=100.0, step=0.1, tooltip=tooltip, optional=optional)


def latent_outputs(high_noise: str) -> list[Any]:
    return [
        io.Latent.Output("latent", display_name="latent", tooltip="The finished latent video."),
        io.Latent.Output("high_noise_latent", display_name="high_noise_latent", tooltip=high_noise),
    ]


def boundary_input() -> Input:
    return io.Float.Input(
        "boundary",
        default=0.9,
        min=0.0,
        max=1.0,
        step=0.005,
        tooltip="The sigma at which the low-noise model takes over: 0.9 for Wan 2.2 I2V, 0.875 for T2V. "
        "Steps at or above it are high-noise steps.",
    )


def steps_input() -> Input:
    return io.Int.Input("steps", default=20, min=1, max=10000, tooltip="Steps of both stages together.")


def split_inputs() -> list[Input]:
    """What decides over both stages: sampler_name, scheduler, boundary, and high_steps with -1 for the boundary."""
    return [
        io.Combo.Input("sampler_name", options=SAMPLERS, default="euler", tooltip="The sampler of both stages."),
        scheduler_input("The scheduler of both stages; simple is what Wan was released with."),
        boundary_input(),
        io.Int.Input(
            "high_steps",
            default=BY_BOUNDARY,
            min=-1,
            max=10000,
            tooltip="Number of high-noise steps; -1 takes the steps at or above the boundary.",
        ),
    ]


def own_inputs() -> list[Input]:
    """What the low-noise stage may have of its own, and what a model before both stages does; fields of Run."""
    return [
        io.Int.Input(
            "steps_low",
            optional=True,
            default=0,
            min=0,
            max=10000,
            tooltip="The low-noise stage's own steps, of a whole schedule: it takes those below the boundary, the "
            "high-noise stage those of steps that lie above it. 0 = same as steps.",
        ),
        io.Combo.Input(
            "sampler_low",
            optional=True,
            options=[SAME, *SAMPLERS],
            default=SAME,
            tooltip="The low-noise stage's own sampler; same = sampler_name.",
        ),
        io.Combo.Input(
            "scheduler_low",
            optional=True,
            options=[SAME, *SCHEDULERS],
            default=SAME,
            tooltip="The low-noise stage's own scheduler; same = scheduler.",
        ),
        io.Int.Input(
            "first_steps",
            optional=True,
            default=0,
            min=0,
            max=10000,
            tooltip="How many of the high-noise steps are model_first's; 0 = two stages.",
        ),
        io.Int.Input(
            "first_resolution",
            optional=True,
            default=20,
            min=1,
            max=10000,
            tooltip="model_first makes its part in the finer steps of a schedule of at least so many: first_steps 1 of 8 "
            "become 3 of 24.",
        ),
    ]


def scheduler_input(tooltip: str) -> Input:
    return io.Combo.Input("scheduler", options=SCHEDULERS, default="simple", tooltip=tooltip)


def denoise_input() -> Input:
    return io.Float.Input(
        "denoise",
        default=1.0,
        min=0.01,
        max=1.0,
        step=0.01,
        tooltip="1 starts from noise; less starts later on the schedule and keeps more of the latent.",
    )
