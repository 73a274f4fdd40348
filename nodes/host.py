"""The adapter to ComfyUI: schemas across versions, raw links, and what the nodes must know of models and VAEs."""

from __future__ import annotations

import dataclasses
from typing import Any

import comfy.samplers
from comfy_api.latest import io

from ..flf2v.errors import FLF2VError

CATEGORY = "Wan FLF2V"
RAW_LINK = {"rawLink": True}
FRAMES = io.Custom("WAN_FLF2V_FRAMES")
_SCHEMA_FIELDS = {field.name for field in dataclasses.fields(io.Schema)}


def schema(**fields: Any) -> io.Schema:
    """A node schema, without the fields that this ComfyUI does not know (search_aliases before 0.11, for one)."""
    fields.setdefault("category", CATEGORY)
    return io.Schema(**{name: value for name, value in fields.items() if name in _SCHEMA_FIELDS})


def raw_links(hidden: Any) -> dict[str, Any]:
    """The inputs of the running node as the prompt holds them: links stay ``[node id, output]``."""
    inputs: dict[str, Any] = hidden.dynprompt.get_node(hidden.unique_id)["inputs"]
    return inputs


def check_vae(vae: Any) -> None:
    """Raise FLF2VError unless this is a Wan 2.1 VAE (16 channels, 8 x 8 x 4), which Wan 2.2 A14B also uses."""
    channels = getattr(vae, "latent_channels", None)
    if channels == 48:
        raise FLF2VError(
            "this VAE has 48 channels: it is the Wan 2.2 VAE of the 5B model, which takes no last frame. "
            "Load wan_2.1_vae.safetensors; the A14B models of Wan 2.2 use it too."
        )
    if channels != 16 or getattr(vae, "latent_dim", None) != 3:
        raise FLF2VError(
            f"this VAE has {channels} channels and is no video VAE of Wan. Load wan_2.1_vae.safetensors (16 channels)."
        )


@dataclasses.dataclass(frozen=True)
class Family:
    """What two experts must have in common to work on one latent."""

    name: str
    latent_channels: int
    input_channels: int
    image_embedding: bool

    def describe(self) -> str:
        """The family in a few words."""
        vision = ", CLIP vision" if self.image_embedding else ""
        return f"{self.name} ({self.input_channels} channels in, {self.latent_channels} latent channels{vision})"


def family_of(model: Any) -> Family:
    """The family of a model patcher. Raises FLF2VError for a model that is no Wan 2.1 / 2.2 A14B model."""
    inner = model.model
    net = inner.diffusion_model
    embedding = getattr(net, "patch_embedding", None)
    if inner.latent_format.latent_channels == 48:
        raise FLF2VError(
            "this is the Wan 2.2 5B model (48 latent channels), which takes no last frame. "
            "Load the Wan 2.2 I2V A14B experts or the Wan 2.1 FLF2V model."
        )
    if embedding is None or inner.latent_format.latent_channels != 16:
        raise FLF2VError(
            f"this model ({type(inner).__name__}) is no Wan video model. "
            "Load the Wan 2.2 I2V A14B experts or the Wan 2.1 FLF2V model."
        )
    return Family(
        type(inner).__name__,
        inner.latent_format.latent_channels,
        int(embedding.weight.shape[1]),
        getattr(net, "img_emb", None) is not None,
    )


def check_families(model_high: Any, model_low: Any) -> None:
    """Raise FLF2VError unless both experts are Wan models of one family."""
    if model_high is None or model_low is None:
        raise FLF2VError("both model_high and model_low must be connected; with one model use ComfyUI's KSampler.")
    high, low = family_of(model_high), family_of(model_low)
    if high != low:
        raise FLF2VError(
            f"the two models are of different families: high is {high.describe()}, low is {low.describe()}. "
            "Load the high- and the low-noise file of the same model."
        )


@dataclasses.dataclass(frozen=True)
class Grid:
    """The sigmas of a run and how KSamplerAdvanced has to be asked for it.

    ``sigmas`` are the ones that are run; ``total_steps`` and ``start`` are KSamplerAdvanced's steps and start_at_step.
    """

    sigmas: tuple[float, ...]
    total_steps: int
    start: int


def run_grid(model: Any, steps: int, sampler_name: str, scheduler: str, denoise: float) -> Grid:
    """The grid that ComfyUI's KSampler runs for this model: after discard-penultimate and denoise."""
    if not 0 < denoise <= 1:
        raise FLF2VError(f"denoise must be above 0 and at most 1; got {denoise:g}.")
    run = comfy.samplers.KSampler(model, steps, "cpu", sampler_name, scheduler, denoise).sigmas
    total_steps = steps if denoise > 0.9999 else int(steps / denoise)  # as KSampler.set_steps
    full = comfy.samplers.KSampler(model, total_steps, "cpu", sampler_name, scheduler).sigmas
    return Grid(tuple(run.tolist()), total_steps, len(full) - len(run))
