"""Which models and VAEs go together: what the nodes must know of them."""

from __future__ import annotations

import dataclasses

import torch

from ...flf2v.errors import FLF2VError
from ...flf2v.frames import is_finite
from .types import Latent, Model, Vae

# Hunyuan Video's and Cosmos', of 16 channels, too
OTHER_VAES = {"AutoencodingEngine", "CausalContinuousVideoTokenizer"}


def check_vae(vae: Vae) -> None:
    """Raise FLF2VError unless this is a Wan 2.1 VAE (16 channels, 8 x 8 x 4), which Wan 2.2 A14B also uses."""
    channels = getattr(vae, "latent_channels", None)
    if channels == 48:
        raise FLF2VError(
            "this VAE has 48 channels: it is the Wan 2.2 VAE of the 5B model, which takes no last frame. "
            "Load wan_2.1_vae.safetensors; the A14B models of Wan 2.2 use it too."
        )
    bases = {base.__name__ for base in type(getattr(vae, "first_stage_model", None)).__mro__}
    if channels != 16 or getattr(vae, "latent_dim", None) != 3 or bases & OTHER_VAES:
        raise FLF2VError(
            f"this VAE has {channels} channels and is no video VAE of Wan. Load wan_2.1_vae.safetensors (16 channels)."
        )


def check_latent(latent: Latent) -> torch.Tensor:
    """The samples of a finished latent. Raises FLF2VError unless they are a Wan video or more, in finite numbers."""
    samples: torch.Tensor = latent["samples"]
    if samples.ndim != 5 or samples.shape[1] != 16 or not len(samples):
        raise FLF2VError(
            f"the latent has the shape {list(samples.shape)} and is no Wan video, which has [1 or more, 16, length, height, "
            "width]. Connect the latent of Wan FLF2V Two-Stage Sampler."
        )
    if not is_finite(samples):
        raise FLF2VError(
            "the latent holds values that are no numbers (NaN), so its frames would be black. Sample without "
            "--use-sage-attention and --fast, or with other weights."
        )
    return samples


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


def family_of(model: Model) -> Family:
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


def check_same_family(high: Family, low: Family) -> None:
    """Raise FLF2VError unless both experts are of one family."""
    if high != low:
        raise FLF2VError(
            f"the two models are of different families: high is {high.describe()}, low is {low.describe()}. "
            "Load the high- and the low-noise file of the same model."
        )
