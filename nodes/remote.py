"""The same video from a remote API: RunComfy's Model API, a RunComfy deployment, WaveSpeed, and jobs submitted before."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..flf2v.sizes import CUSTOM, PRESETS
from ..providers import model
from ..providers.models import Model
from ..providers.profiles import PROVIDERS
from ..workflows import first_last_workflows
from .host.remote import collect, generate, store
from .host.schema import CATEGORY, schema
from .host.types import Input
from .inputs import preset_inputs

SAFE_SEED = 2147483647
"""The largest seed that every published version of WaveSpeed's page accepts, so that a drawn one is never refused."""


class WanFLF2VRunComfy(io.ComfyNode):
    """The video from RunComfy's Model API."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        of = model("runcomfy")
        return _remote_schema(
            node_id="WanFLF2VRunComfy",
            display_name="Wan FLF2V RunComfy",
            description="Makes the video on RunComfy (Wan 2.2 first-last-frame). The job is remembered: after a crash, an "
            "interrupt or a restart the same inputs collect it, and nothing is paid twice.",
            search_aliases=["remote", "cloud", "api", "runcomfy"],
            inputs=[
                _profile_input("runcomfy"),
                _prompt_input(of),
                io.Combo.Input("preset", options=list(PRESETS), default="720x720 (1:1)", tooltip="Size of the video."),
                *_runcomfy_inputs(of, "Number of frames: 81 or 141.", min=81, max=141, step=60),
                *_last_inputs("RunComfy documents URLs alone for this API."),
            ],
        )

    @classmethod
    async def execute(cls, **inputs: Any) -> io.NodeOutput:
        return await generate(cls.hidden.unique_id, model("runcomfy"), **inputs)


class WanFLF2VRunComfyDeployment(io.ComfyNode):
    """The video from a RunComfy serverless deployment of one of the shipped workflows."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        of = model("runcomfy-deployment", "any")
        return _remote_schema(
            node_id="WanFLF2VRunComfyDeployment",
            display_name="Wan FLF2V RunComfy Deployment",
            description="Makes the video on your own RunComfy serverless deployment of one of this pack's workflows, or on "
            "your own gateway. The job is remembered: the same inputs collect it, and nothing is paid twice.",
            search_aliases=["remote", "cloud", "serverless", "runcomfy", "gateway"],
            inputs=[
                _profile_input("runcomfy"),
                io.String.Input("deployment_id", default="", tooltip="The id on the deployment's page."),
                io.Combo.Input(
                    "workflow",
                    options=list(first_last_workflows()),
                    default="wan22_flf2v",
                    tooltip="The workflow of this pack that is deployed there.",
                ),
                _prompt_input(of),
                _negative_input(str(of.fields["7_text"].default)),
                *preset_inputs(),
                *_runcomfy_inputs(of, "Number of frames: 4n+1."),
                *_last_inputs(""),
            ],
        )

    @classmethod
    async def execute(
        cls, deployment_id: str, workflow: str, preset: str, width: int, height: int, **inputs: Any
    ) -> io.NodeOutput:
        size: dict[str, Any] = {"width": width, "height": height} if preset == CUSTOM else {"preset": preset}
        of = model("runcomfy-deployment", deployment_id.strip(), workflow)
        return await generate(cls.hidden.unique_id, of, **size, **inputs)


class WanFLF2VWaveSpeed(io.ComfyNode):
    """The video from WaveSpeed."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        of = model("wavespeed")
        sizes = of.fields["size"]
        return _remote_schema(
            node_id="WanFLF2VWaveSpeed",
            display_name="Wan FLF2V WaveSpeed",
            description="Makes the video on WaveSpeed (wan-flf2v, Wan 2.1). The job is remembered: after a crash, an "
            "interrupt or a restart the same inputs collect it, and nothing is paid twice.",
            search_aliases=["remote", "cloud", "api", "wavespeed"],
            inputs=[
                _profile_input("wavespeed"),
                _prompt_input(of),
                _negative_input(""),
                _number_input(of, "duration", "Length in seconds. WaveSpeed publishes prices for 5 and 10."),
                io.Combo.Input(
                    "size", options=list(sizes.enum or ()), default=sizes.default, tooltip="Width*height of the video."
                ),
                _number_input(of, "steps", "Denoising steps."),
                io.Boolean.Input(
                    "enable_fast_mode", default=False, tooltip="Faster and half the price, at slightly lower quality."
                ),
                _cfg_input(of),
                _seed_input(of, default=0, max=SAFE_SEED),
                io.Boolean.Input(
                    "enable_safety_checker", default=True, tooltip="Let WaveSpeed check the result for unsafe contents."
                ),
                *_last_inputs("Connected pictures are uploaded to WaveSpeed."),
            ],
        )

    @classmethod
    async def execute(cls, **inputs: Any) -> io.NodeOutput:
        return await generate(cls.hidden.unique_id, model("wavespeed"), **inputs)


class WanFLF2VRemoteFetch(io.ComfyNode):
    """The video of a job that was submitted before, here or elsewhere."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return _remote_schema(
            node_id="WanFLF2VRemoteFetch",
            display_name="Wan FLF2V Remote Fetch",
            description="Collects a remote job by its request id: one that this pack submitted with wait off, or any id "
            "from the provider's page. Submits nothing and costs nothing.",
            search_aliases=["collect", "resume", "request id", "prediction id"],
            inputs=[
                _profile_input("runcomfy|wavespeed"),
                io.String.Input("request_id", default="", tooltip="The id of the job."),
                io.String.Input(
                    "deployment_id",
                    default="",
                    tooltip="For a job of a RunComfy deployment that this machine did not submit; else leave it empty.",
                ),
                *_waiting_inputs(),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, wait: bool = True, **_: Any) -> float | str:
        return "waits for the end" if wait else float("nan")  # what is not finished yet is asked for again

    @classmethod
    async def execute(cls, **inputs: Any) -> io.NodeOutput:
        return await collect(cls.hidden.unique_id, **inputs)


def _remote_schema(**fields: Any) -> io.Schema:
    """A remote node's schema: all of them have the same category, outputs and hidden inputs."""
    outputs = [
        io.Video.Output("video", display_name="video", tooltip="The finished video; nothing while wait is off."),
        io.String.Output("out_request_id", display_name="request_id", tooltip="The provider's id of the job."),
        io.String.Output("info", display_name="info", tooltip="All that the provider said about the job, as JSON."),
    ]
    return schema(category=f"{CATEGORY}/Remote", hidden=[io.Hidden.unique_id], outputs=outputs, **fields)


def _profile_input(provider: str) -> Input:
    """The account to use; ``provider`` may be both, as "runcomfy|wavespeed"."""
    names = store().names(provider if provider in PROVIDERS else None)
    tooltip = f"The account to use. Keys are stored with: wan-flf2v login {provider}, or in the environment. "
    tooltip += "They are never part of a workflow."
    return io.Combo.Input("profile", options=names, default=names[0], tooltip=tooltip)


def _number_input(of: Model, name: str, tooltip: str, **more: Any) -> Input:
    """A number input with the model's default and range."""
    field = of.fields[of.names[name]]
    limits = field.accepts if of.free else {**field.accepts, **field.limits}
    number = io.Int if field.type == "integer" else io.Float
    options: dict[str, Any] = {"default": field.default, "min": limits["minimum"], "max": limits["maximum"]}
    options["step"] = limits.get("step", 1) if field.type == "integer" else 0.01
    return number.Input(name, **{**options, **more}, tooltip=tooltip)


def _cfg_input(of: Model) -> Input:
    return _number_input(of, "cfg", "Guidance scale: how strongly the video follows the prompt.")


def _seed_input(of: Model, **more: Any) -> Input:
    tooltip = "Identical inputs give the finished job again, without a new charge; another seed asks for a new video."
    return _number_input(of, "noise_seed", tooltip, control_after_generate=True, **more)


def _runcomfy_inputs(of: Model, length: str, **length_range: int) -> list[Input]:
    """What the two RunComfy nodes ask of a video, from length to shift; ``length`` is that input's tooltip."""
    return [
        _number_input(of, "length", length, **length_range),
        _number_input(of, "frame_rate", "Frames per second; Wan makes 16."),
        _seed_input(of),
        _number_input(of, "steps", "Denoising steps of both experts together."),
        _cfg_input(of),
        _number_input(of, "shift", "Shift of the sampling schedule: higher gives more motion."),
    ]


def _prompt_input(of: Model) -> Input:
    default = str(of.fields[of.names["prompt"]].default)
    return io.String.Input(
        "prompt", multiline=True, dynamic_prompts=True, default=default, tooltip="What happens between the two frames."
    )


def _negative_input(default: str) -> Input:
    return io.String.Input(
        "negative_prompt", multiline=True, default=default, tooltip="What the video should not show."
    )


def _waiting_inputs() -> list[Input]:
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


def _last_inputs(urls: str) -> list[Input]:
    """What every node that submits ends with: how long to wait, and the frames, ``urls`` how the provider takes those."""
    inputs = [
        *_waiting_inputs(),
        io.Image.Input("start_image", optional=True, tooltip="The first frame."),
        io.Image.Input("end_image", optional=True, tooltip="The last frame."),
    ]
    for which, name in (("first", "start"), ("last", "end")):
        tooltip = f"A public https address of the {which} frame, in place of {name}_image. {urls}"
        inputs.append(io.String.Input(f"{name}_image_url", optional=True, default="", tooltip=tooltip))
    return inputs
