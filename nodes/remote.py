"""The same video from a remote API: RunComfy's Model API, a RunComfy deployment, WaveSpeed, and jobs submitted before."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..flf2v.sizes import CUSTOM, PRESETS
from ..providers import Job, model
from ..providers.models import Model, Service
from ..workflows import available_bindings
from .host import remote as remote_host
from .inputs import preset_inputs
from .remote_inputs import (
    SAFE_SEED,
    cfg_input,
    common_inputs,
    negative_input,
    number_input,
    profile_input,
    prompt_input,
    remote_schema,
    runcomfy_inputs,
    seed_input,
    waiting_inputs,
)


async def _generate(
    node: type[io.ComfyNode],
    service: Service,
    of: Model,
    *,
    profile: str,
    wait: bool,
    max_wait_minutes: int,
    start_image: torch.Tensor | None = None,
    end_image: torch.Tensor | None = None,
    start_image_url: str = "",
    end_image_url: str = "",
    **inputs: Any,
) -> io.NodeOutput:
    """Run one job; the named keywords are the inputs that all three submitting nodes have, the rest are the model's."""

    def make_job() -> Job:
        first = remote_host.picture(start_image, start_image_url, "start")
        last = remote_host.picture(end_image, end_image_url, "end")
        return Job.build(of, of.from_local(inputs), first, last)

    return await remote_host.generate(service, profile, node.hidden.unique_id, make_job, wait, max_wait_minutes)


class WanFLF2VRunComfy(io.ComfyNode):
    """The video from RunComfy's Model API."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        of = model("runcomfy")
        return remote_schema(
            node_id="WanFLF2VRunComfy",
            display_name="Wan FLF2V RunComfy",
            description="Makes the video on RunComfy (Wan 2.2 first-last-frame). The job is remembered: after a crash, an "
            "interrupt or a restart the same inputs collect it, and nothing is paid twice.",
            search_aliases=["remote", "cloud", "api", "runcomfy"],
            inputs=[
                profile_input("runcomfy"),
                prompt_input(of),
                io.Combo.Input("preset", options=list(PRESETS), default="720x720 (1:1)", tooltip="Size of the video."),
                *runcomfy_inputs(of, "Number of frames: 81 or 141.", min=81, max=141, step=60),
                *common_inputs("RunComfy documents URLs alone for this API."),
            ],
        )

    @classmethod
    async def execute(cls, **inputs: Any) -> io.NodeOutput:
        return await _generate(cls, "runcomfy", model("runcomfy"), **inputs)


class WanFLF2VRunComfyDeployment(io.ComfyNode):
    """The video from a RunComfy serverless deployment of one of the shipped workflows."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        of = model("runcomfy-deployment", "any")
        return remote_schema(
            node_id="WanFLF2VRunComfyDeployment",
            display_name="Wan FLF2V RunComfy Deployment",
            description="Makes the video on your own RunComfy serverless deployment of one of this pack's workflows, or on "
            "your own gateway. The job is remembered: the same inputs collect it, and nothing is paid twice.",
            search_aliases=["remote", "cloud", "serverless", "runcomfy", "gateway"],
            inputs=[
                profile_input("runcomfy"),
                io.String.Input("deployment_id", default="", tooltip="The id on the deployment's page."),
                io.Combo.Input(
                    "workflow",
                    options=list(available_bindings()),
                    default="wan22_flf2v",
                    tooltip="The workflow of this pack that is deployed there.",
                ),
                prompt_input(of),
                negative_input(str(of.fields["7_text"].default)),
                *preset_inputs(),
                *runcomfy_inputs(of, "Number of frames: 4n+1."),
                *common_inputs(""),
            ],
        )

    @classmethod
    async def execute(
        cls, deployment_id: str, workflow: str, preset: str, width: int, height: int, **inputs: Any
    ) -> io.NodeOutput:
        size: dict[str, Any] = {"width": width, "height": height} if preset == CUSTOM else {"preset": preset}
        of = model("runcomfy-deployment", deployment_id.strip(), workflow)
        return await _generate(cls, "runcomfy-deployment", of, **size, **inputs)


class WanFLF2VWaveSpeed(io.ComfyNode):
    """The video from WaveSpeed."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        of = model("wavespeed")
        sizes = of.fields["size"]
        return remote_schema(
            node_id="WanFLF2VWaveSpeed",
            display_name="Wan FLF2V WaveSpeed",
            description="Makes the video on WaveSpeed (wan-flf2v, Wan 2.1). The job is remembered: after a crash, an "
            "interrupt or a restart the same inputs collect it, and nothing is paid twice.",
            search_aliases=["remote", "cloud", "api", "wavespeed"],
            inputs=[
                profile_input("wavespeed"),
                prompt_input(of),
                negative_input(""),
                number_input(of, "duration", "Length in seconds. WaveSpeed publishes prices for 5 and 10."),
                io.Combo.Input(
                    "size", options=list(sizes.enum or ()), default=sizes.default, tooltip="Width*height of the video."
                ),
                number_input(of, "steps", "Denoising steps."),
                io.Boolean.Input(
                    "enable_fast_mode", default=False, tooltip="Faster and half the price, at slightly lower quality."
                ),
                cfg_input(of),
                seed_input(of, default=0, max=SAFE_SEED),
                io.Boolean.Input(
                    "enable_safety_checker", default=True, tooltip="Let WaveSpeed check the result for unsafe contents."
                ),
                *common_inputs("Connected pictures are uploaded to WaveSpeed."),
            ],
        )

    @classmethod
    async def execute(cls, **inputs: Any) -> io.NodeOutput:
        return await _generate(cls, "wavespeed", model("wavespeed"), **inputs)


class WanFLF2VRemoteFetch(io.ComfyNode):
    """The video of a job that was submitted before, here or elsewhere."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return remote_schema(
            node_id="WanFLF2VRemoteFetch",
            display_name="Wan FLF2V Remote Fetch",
            description="Collects a remote job by its request id: one that this pack submitted with wait off, or any id "
            "from the provider's page. Submits nothing and costs nothing.",
            search_aliases=["collect", "resume", "request id", "prediction id"],
            inputs=[
                profile_input("runcomfy|wavespeed"),
                io.String.Input("request_id", default="", tooltip="The id of the job."),
                io.String.Input(
                    "deployment_id",
                    default="",
                    tooltip="For a job of a RunComfy deployment that this machine did not submit; else leave it empty.",
                ),
                *waiting_inputs(),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, wait: bool = True, **_: Any) -> float | str:
        return "waits for the end" if wait else float("nan")  # what is not finished yet is asked for again

    @classmethod
    async def execute(
        cls, profile: str, request_id: str, deployment_id: str, wait: bool, max_wait_minutes: int
    ) -> io.NodeOutput:
        service, name = remote_host.service_of_job(profile, request_id, deployment_id.strip())
        return await remote_host.collect(
            service, profile, cls.hidden.unique_id, request_id, name, wait, max_wait_minutes
        )
