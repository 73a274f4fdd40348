"""Picture sizes: RunComfy's presets, the render size behind any even size, and how a picture is fitted into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from .errors import FLF2VError

Fit = Literal["crop", "stretch", "pad"]
FITS: tuple[Fit, ...] = get_args(Fit)
Resize = Literal["bilinear", "area", "lanczos"]
RESIZES: tuple[Resize, ...] = get_args(Resize)
CUSTOM = "custom"
# RunComfy's ten strings, in RunComfy's order.
PRESETS = (
    "480x480 (1:1)",
    "720x720 (1:1)",
    "480x720 (2:3)",
    "720x480 (3:2)",
    "540x960 (9:16)",
    "576x1024 (9:16)",
    "720x1280 (9:16)",
    "960x540 (16:9)",
    "1024x576 (16:9)",
    "1280x720 (16:9)",
)
GRID = 16  # VAE stride 8 times the transformer's patch size 2
MIN_SIZE = 16
MAX_SIZE = 16384


@dataclass(frozen=True)
class Placement:
    """Where a picture's pixels go: its box ``(x, y, width, height)`` in the source, scaled into a box of the target."""

    source: tuple[int, int, int, int]
    target: tuple[int, int, int, int]


def preset_size(preset: str) -> tuple[int, int]:
    """The (width, height) of one of RunComfy's presets. Raises FLF2VError for any other text."""
    if preset not in PRESETS:
        raise FLF2VError(f"the resolution must be one of {', '.join(PRESETS)}; got {preset!r}.")
    width, height = preset.split(" ")[0].split("x")
    return int(width), int(height)


def check_picture_size(width: int, height: int) -> None:
    """Raise FLF2VError unless a picture of this size can be a frame: each side between 16 and 16384 pixels."""
    if not (MIN_SIZE <= width <= MAX_SIZE and MIN_SIZE <= height <= MAX_SIZE):
        raise FLF2VError(
            f"a picture must be between {MIN_SIZE} and {MAX_SIZE} pixels on each side; got {width} x {height}. "
            f"{'Give a larger one.' if min(width, height) < MIN_SIZE else 'Scale it down first.'}"
        )


def check_size(width: int, height: int) -> None:
    """Raise FLF2VError unless a video of this size can be made: even sides between 16 and 16384 pixels."""
    for name, value in (("width", width), ("height", height)):
        if not MIN_SIZE <= value <= MAX_SIZE:
            raise FLF2VError(f"{name} must be between {MIN_SIZE} and {MAX_SIZE} pixels; got {value}.")
        if value % 2:
            raise FLF2VError(
                f"{name} must be even, because yuv420p video stores one colour sample for 2 x 2 pixels; got {value}. "
                f"Use {value - 1} or {value + 1}."
            )


def render_size(width: int, height: int) -> tuple[int, int]:
    """The (width, height) that the model works at: each side rounded up to a multiple of 16."""
    return -(-width // GRID) * GRID, -(-height // GRID) * GRID


def place(source_width: int, source_height: int, width: int, height: int, fit: Fit) -> Placement:
    """How a picture is fitted into ``width`` x ``height``.

    ``crop`` cuts the middle out in the target's aspect, rounded as ComfyUI's ``common_upscale(…, "center")`` does;
    ``stretch`` uses all of it; ``pad`` keeps all of it in its own aspect, centred. Raises FLF2VError otherwise.
    """
    whole_source = (0, 0, source_width, source_height)
    whole_target = (0, 0, width, height)
    if fit == "stretch":
        return Placement(whole_source, whole_target)
    old_aspect, new_aspect = source_width / source_height, width / height
    if fit == "crop":
        x = y = 0
        if old_aspect > new_aspect:
            x = round((source_width - source_width * (new_aspect / old_aspect)) / 2)
        elif old_aspect < new_aspect:
            y = round((source_height - source_height * (old_aspect / new_aspect)) / 2)
        return Placement((x, y, source_width - 2 * x, source_height - 2 * y), whole_target)
    if fit == "pad":
        scale = min(width / source_width, height / source_height)
        inner_width, inner_height = max(1, round(source_width * scale)), max(1, round(source_height * scale))
        corner = ((width - inner_width) // 2, (height - inner_height) // 2)
        return Placement(whole_source, (*corner, inner_width, inner_height))
    raise FLF2VError(f"fit must be one of {', '.join(FITS)}; got {fit!r}.")
