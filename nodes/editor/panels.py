"""What the editor shows before a run: the schedule and the frames, computed by the code that the run uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...flf2v.errors import FLF2VError
from ...flf2v.frames import check_length, latent_length
from ...flf2v.json_text import check_value
from ...flf2v.shift import MAX_SHIFT
from ...flf2v.sizes import FITS, check_picture_size, check_size, place, preset_size, render_size
from ...flf2v.split import BY_BOUNDARY, SAME, Run, check_hand_over, is_distilled, warnings_for
from ..host.grids import SAMPLERS, SCHEDULERS, find_shift, run_grid, shifted_model, split_run

MOST_STEPS = 10_000  # of the whole grid; more are run, but not drawn
ASPECT_TOLERANCE = 0.02


class Request:
    """The JSON body of a call, read field by field with a clear error for a wrong one."""

    def __init__(self, body: object) -> None:
        if not isinstance(body, Mapping):
            raise FLF2VError("the body must be a JSON object.")
        self.body = body

    def read(self, name: str, kind: str = "number", default: object = None, **limits: object) -> Any:
        """A field as a JSON schema of this type with these limits has it."""
        return check_value(self.body.get(name, default), {"type": kind, **limits}, name)

    def child(self, name: str) -> Request | None:
        """A nested object, or None where it is absent."""
        value = self.body.get(name)
        return None if value is None else Request(value)


def schedule_preview(body: object) -> dict[str, Any]:
    """The sigmas, the split and the warnings of a run with these values. Raises FLF2VError.

    ``shift`` is a number; ``auto`` (steps, high_steps, scheduler, boundary) asks for Wan FLF2V Auto Shift's instead.
    ``boundary`` is absent where one model makes all steps. ``files`` (the names of the models' files) and ``cfg`` are for
    the warnings alone.
    """
    asked = Request(body)
    steps, denoise = asked.read("steps", "integer"), asked.read("denoise", default=1.0)
    if steps < 1 or steps / max(denoise, 1e-6) > MOST_STEPS:
        raise FLF2VError(f"steps / denoise must be between 1 and {MOST_STEPS} for a plot; got {steps} / {denoise:g}.")
    scheduler = asked.read("scheduler", "string", enum=SCHEDULERS)
    sampler = asked.read("sampler_name", "string", enum=SAMPLERS)
    auto = asked.child("auto")
    if auto is None:
        shift = asked.read("shift", exclusiveMinimum=0, maximum=MAX_SHIFT)
    else:
        auto_steps, auto_high = auto.read("steps", "integer"), auto.read("high_steps", "integer")
        shift = find_shift(
            auto_steps, auto_high, auto.read("scheduler", "string", enum=SCHEDULERS), auto.read("boundary")
        )
    one_stage = asked.body.get("boundary") is None
    boundary = 1.0 if one_stage else asked.read("boundary")
    high_steps = asked.read("high_steps", "integer", BY_BOUNDARY)
    run = Run(steps, sampler, scheduler, boundary, high_steps, denoise, **own_settings(asked))
    grid = run_grid(shifted_model(shift), run)
    two, split = split_run(shifted_model(shift), run, grid)
    found: dict[str, Any] = {"shift": shift, "sigmas": list(split.sigmas), "steps": split.steps}
    if one_stage:
        return found | {"high": None, "low": None, "boundary": None, "words": f"{found['steps']} steps", "warnings": []}
    cfg = None if asked.body.get("cfg") is None else asked.read("cfg")
    distilled = is_distilled(steps, cfg, str(asked.body.get("files", "")))
    notes = warnings_for(two, forced=run.high_steps != BY_BOUNDARY, cfg=cfg, distilled=distilled)
    if asked.body.get("shift_low") is not None:
        low = run_grid(shifted_model(asked.read("shift_low")), run)
        try:
            check_hand_over(grid.sigmas, low.sigmas, min(two.high, len(grid.sigmas) - 2))
        except FLF2VError as error:
            notes.insert(0, _sentence(error))
    return found | {
        "first": split.first,
        "high": split.high,
        "low": split.low,
        "boundary": split.boundary,
        "words": split.describe(),
        "hand_over": split.sigmas[split.high],
        "warnings": notes,
    }


def own_settings(asked: Request) -> dict[str, Any]:
    """What the low-noise stage has of its own, and the steps of a model before both; what is absent is left out."""
    numbers = {"minimum": 0, "maximum": MOST_STEPS}
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "steps_low": ("integer", numbers),
        "sampler_low": ("string", {"enum": [SAME, *SAMPLERS]}),
        "scheduler_low": ("string", {"enum": [SAME, *SCHEDULERS]}),
        "first_steps": ("integer", numbers),
        "first_resolution": ("integer", {**numbers, "minimum": 1}),
    }
    return {name: asked.read(name, kind, **limits) for name, (kind, limits) in kinds.items() if name in asked.body}


def frames_preview(body: object) -> dict[str, Any]:
    """How the two pictures will be used at this size: placements, latent frames, seconds, warnings. Raises FLF2VError.

    ``preset`` is Wan FLF2V Resolution's, and wins over width and height; ``start`` and ``end`` are ``{width, height}``.
    """
    asked = Request(body)
    preset = asked.body.get("preset")
    if isinstance(preset, str) and preset != "custom":
        width, height = preset_size(preset)
    else:
        width, height = asked.read("width", "integer"), asked.read("height", "integer")
    length, rate = asked.read("length", "integer"), asked.read("frame_rate", default=16.0)
    fit = asked.read("fit", "string", enum=FITS)
    check_size(width, height)
    check_length(length)
    if not rate > 0:
        raise FLF2VError(f"frame_rate must be above 0; got {rate:g}.")
    pictures: dict[str, Any] = {}
    notes = []
    for side in ("start", "end"):
        size = asked.child(side)
        if size is None:
            continue
        source = size.read("width", "integer"), size.read("height", "integer")
        try:
            check_picture_size(*source)
        except FLF2VError as error:
            notes.append(f"{'First' if side == 'start' else 'Last'} frame: {error}")
            continue
        placed = place(*source, width, height, fit)
        pictures[side] = {"size": list(source), "source": list(placed.source), "target": list(placed.target)}
        lost = 1 - placed.source[2] * placed.source[3] / (source[0] * source[1])
        if lost > ASPECT_TOLERANCE:
            pictures[side]["lost"] = lost
    if len(pictures) == 2:
        (first, last) = (side["size"][0] / side["size"][1] for side in pictures.values())
        if abs(first / last - 1) > ASPECT_TOLERANCE:
            notes.append(
                f"The two pictures have different aspects ({_size(pictures['start'])} and {_size(pictures['end'])}), "
                "so the view will seem to jump. Crop them alike first."
            )
    return {
        "width": width,
        "height": height,
        "render": list(render_size(width, height)),
        "length": length,
        "latent_frames": latent_length(length),
        "seconds": length / rate,
        "frame_rate": rate,
        "pictures": pictures,
        "warnings": notes,
    }


def _size(picture: Mapping[str, Any]) -> str:
    return "x".join(str(side) for side in picture["size"])


def _sentence(error: FLF2VError) -> str:
    text = str(error)
    return text[:1].upper() + text[1:]
