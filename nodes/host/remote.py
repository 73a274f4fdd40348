"""What the remote nodes need of ComfyUI: the folder for keys and jobs, pictures as files, progress text, interrupts."""

from __future__ import annotations

import asyncio
import io as bytes_io
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import comfy.model_management
import folder_paths
import torch
from comfy.cli_args import args
from comfy_api.latest import InputImpl, io
from comfy_execution.graph_utils import ExecutionBlocker
from PIL import Image

from ...flf2v.frames import check_pictures
from ...providers import (
    Interrupted,
    Job,
    Journal,
    Outcome,
    Picture,
    ProfileStore,
    RemoteClient,
    run_interruptible,
    state_folders,
)
from ...providers.errors import BadInput, ConfigError
from ...providers.models import Model, Service
from ...providers.models import model as find_model
from ...providers.profiles import Profile
from ...providers.retry import Policy
from .progress import reporter
from .video_files import to_pixels

AT_A_TIME = 8
"""Jobs of one profile that a prompt waits for at the same time; a provider's own queue takes the rest in turn."""

_slots: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Semaphore]] = WeakKeyDictionary()


def store() -> ProfileStore:
    """The profiles that this ComfyUI can use, in its user folder that is not served over HTTP."""
    return ProfileStore(state_folders(Path(folder_paths.get_system_user_directory("wan_flf2v"))))


def picture(image: torch.Tensor | None, url: str | None, name: str) -> Picture:
    """One frame as a PNG file or as the URL it was given by. Raises BadInput unless exactly one of the two is given."""
    url = (url or "").strip()
    if (image is None) == (not url):
        given = "both were given" if url else "none was given"
        raise BadInput(f"Connect {name}_image or fill in {name}_image_url, one of the two; {given}.")
    if image is None:
        return Picture(url=url)
    check_pictures(image)
    if image.shape[0] != 1:
        raise BadInput(f"{name}_image must be one picture; got a batch of {image.shape[0]}. Pick one of them.")
    buffer = bytes_io.BytesIO()
    Image.fromarray(to_pixels(image[0, :, :, :3], 8)).save(buffer, "PNG", compress_level=4)
    return Picture(data=buffer.getvalue())


async def generate(
    node_id: str | None,
    model: Model,
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
    """Make a video, or collect it where it is already made or running; ``inputs`` are the model's own."""
    chosen = _profile(profile)

    def make_job() -> Job:
        first, last = picture(start_image, start_image_url, "start"), picture(end_image, end_image_url, "end")
        return Job.build(model, model.from_local(inputs), first, last)

    job = await asyncio.to_thread(make_job)  # encoding large pictures would hold the other nodes up
    slot = _slot(profile)
    return await _run(
        model.service, chosen, node_id, max_wait_minutes, lambda client: client.generate(job, wait=wait), slot
    )


async def collect(
    node_id: str | None, *, profile: str, request_id: str, deployment_id: str, wait: bool, max_wait_minutes: int
) -> io.NodeOutput:
    """Fetch the video of a job that is already submitted."""
    chosen, request_id = _profile(profile), request_id.strip()
    service, name = _service_of_job(chosen, request_id, deployment_id.strip())
    return await _run(
        service, chosen, node_id, max_wait_minutes, lambda client: client.collect(request_id, name, wait=wait)
    )


def _service_of_job(profile: Profile, request_id: str, deployment_id: str) -> tuple[Service, str]:
    """Which service and model a job belongs to: as given, as the journal knows it, else the profile's own."""
    if deployment_id:
        if profile.provider != "runcomfy":
            raise BadInput(
                f"deployment_id is for RunComfy; the profile {profile.name!r} is {profile.provider}'s. Leave it empty."
            )
        return "runcomfy-deployment", find_model("runcomfy-deployment", deployment_id).id
    with Journal(store().folders[0]) as journal:
        row = journal.find(request_id)
    if row is None:
        return profile.provider, ""
    if row.profile != profile.name:
        raise BadInput(
            f"The job {request_id} belongs to profile {row.profile!r}; choose it in place of {profile.name!r}."
        )
    return row.service, row.model


def _profile(name: str) -> Profile:
    if getattr(args, "disable_api_nodes", False):
        raise ConfigError("This ComfyUI runs with --disable-api-nodes, so remote nodes send nothing. Start it without.")
    return store().load(name)


async def _run(
    service: Service,
    profile: Profile,
    node_id: str | None,
    minutes: int,
    work: Callable[[RemoteClient], Awaitable[Outcome]],
    slot: asyncio.Semaphore | None = None,
) -> io.NodeOutput:
    async def job() -> Outcome:
        policy, report = Policy(deadline_s=60 * minutes), reporter(node_id)
        with Journal(store().folders[0]) as journal:
            async with RemoteClient(profile, service, journal, policy=policy, report=report, slot=slot) as client:
                return await work(client)

    try:
        outcome = await run_interruptible(job(), comfy.model_management.processing_interrupted)
    except Interrupted:
        # Raised by hand: asking ComfyUI to raise it would clear the flag, and other waiting nodes would not stop.
        raise comfy.model_management.InterruptProcessingException() from None
    video = ExecutionBlocker(None) if outcome.video is None else InputImpl.VideoFromFile(str(outcome.video))
    return io.NodeOutput(video, outcome.request_id, outcome.info())


def _slot(profile: str) -> asyncio.Semaphore:
    """The profile's places in this prompt; ComfyUI runs every prompt in an event loop of its own."""
    of_loop = _slots.setdefault(asyncio.get_running_loop(), {})
    return of_loop.setdefault(profile, asyncio.Semaphore(AT_A_TIME))


def copy_to_output(video: Path) -> dict[str, str]:
    """Copy a finished video into ComfyUI's output folder; returns the copy as the editor names files."""
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
        "video/wan_flf2v_remote", folder_paths.get_output_directory()
    )
    target = Path(folder) / f"{name}_{counter:05}_{video.suffix}"
    shutil.copyfile(video, target)
    return {"filename": target.name, "subfolder": subfolder, "type": "output"}
