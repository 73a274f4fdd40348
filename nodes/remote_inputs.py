"""The inputs and outputs that the remote nodes share, with each model's own defaults and ranges."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..providers.models import Model
from ..providers.profiles import PROVIDERS
from .host import remote as remote_host
from .host.schema import CATEGORY, schema

REMOTE = f"{CATEGORY}/Remote"
SAFE_SEED = 2147483647
"""The largest seed that every published version of WaveSpeed's page accepts, so that a drawn one is never refused."""
_KEYS = "Keys are stored with: wan-flf2v login {0}, or in the environment. They are never part of a workflow."


def remote_schema(**fields: Any) -> io.Schema:
    """A remote node's schema: all of them have the same category, outputs and hidden inputs."""
    return schema(category=REMOTE, hidden=[io.Hidden.unique_id], outputs=outputs(), **fields)


def profile_input(provider: str) -> Any:
    """The account to use; ``provider`` may be both, as "runcomfy|wavespeed"."""
    names = remote_host.store().names(provider if provider in PROVIDERS else None)
    return io.Combo.Input(
        "profile", options=names, default=names[0], tooltip="The account to use. " + _KEYS.format(provider)
    )


def number_input(of: Model, name: str, tooltip: str, **more: Any) -> Any:
    """A number input with the model's default and range."""
    field = of.fields[of.names[name]]
    limits = field.accepts if of.free else {**field.accepts, **field.limits}
    number = io.Int if field.type == "integer" else io.Float
    options: dict[str, Any] = {"default": field.default, "min": limits["minimum"], "max": limits["maximum"]}
    options["step"] = limits.get("step", 1) if field.type == "integer" else 0.01
    return number.Input(name, **{**options, **more}, tooltip=tooltip)


def cfg_input(of: Model) -> Any:
    """cfg."""
    return number_input(of, "cfg", "Guidance scale: how strongly the video follows the prompt.")


def runcomfy_inputs(of: Model, length: str, **length_range: int) -> list[Any]:
    """What the two RunComfy nodes ask of a video, from length to shift; ``length`` is that input's tooltip."""
    return [
        number_input(of, "length", length, **length_range),
        number_input(of, "frame_rate", "Frames per second; Wan makes 16."),
        seed_input(of),
        number_input(of, "steps", "Denoising steps of both experts together."),
        cfg_input(of),
        number_input(of, "shift", "Shift of the sampling schedule: higher gives more motion."),
    ]


def prompt_input(of: Model) -> Any:
    """The prompt."""
    default = str(of.fields[of.names["prompt"]].default)
    return io.String.Input(
        "prompt", multiline=True, dynamic_prompts=True, default=default, tooltip="What happens between the two frames."
    )


def negative_input(default: str) -> Any:
    """The negative prompt."""
    return io.String.Input(
        "negative_prompt", multiline=True, default=default, tooltip="What the video should not show."
    )


def seed_input(of: Model, **more: Any) -> Any:
    """The seed, which is what asks for another video."""
    tooltip = "Identical inputs give the finished job again, without a new charge; another seed asks for a new video."
    return number_input(of, "noise_seed", tooltip, control_after_generate=True, **more)


def waiting_inputs() -> list[Any]:
    """Whether and how long to wait."""
    return [
        io.Boolean.Input(
            "wait",
            default=True,
            tooltip="Off: submit only and hand the request id on. Wan FLF2V Remote Fetch, or this node with wait on, "
            "collects the video later, also after a restart.",
        ),
        io.Int.Input(
            "max_wait_minutes",
            default=60,
            min=1,
            max=1440,
            tooltip="How long to wait. The job goes on after that, and running again collects it.",
        ),
    ]


def common_inputs(pictures: str) -> list[Any]:
    """What every node that submits ends with: how long to wait, and the frames (see ``frames_inputs``)."""
    return [*waiting_inputs(), *frames_inputs(pictures)]


def frames_inputs(urls: str) -> list[Any]:
    """The two frames, each as a picture or as a URL. ``urls`` says how the provider takes pictures."""
    inputs: list[Any] = [
        io.Image.Input("start_image", optional=True, tooltip="The first frame."),
        io.Image.Input("end_image", optional=True, tooltip="The last frame."),
    ]
    for which, name in (("first", "start"), ("last", "end")):
        tooltip = f"A public https address of the {which} frame, in place of {name}_image. {urls}"
        inputs.append(io.String.Input(f"{name}_image_url", optional=True, default="", tooltip=tooltip))
    return inputs


def outputs() -> list[Any]:
    """The outputs of every remote node."""
    return [
        io.Video.Output("video", display_name="video", tooltip="The finished video; nothing while wait is off."),
        io.String.Output("out_request_id", display_name="request_id", tooltip="The provider's id of the job."),
        io.String.Output("info", display_name="info", tooltip="All that the provider said about the job, as JSON."),
    ]
