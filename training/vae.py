"""The micro VAE: Wan 2.1's layout (8 x 8 x 4 compression, 16 latent channels) with few channels.

Trained as an autoencoder with a fixed latent noise and a small pull towards zero, on clips and on the clips that the
conditioning encodes (first frame, grey, last frame), since the last frame has to survive in a latent whose other
frames are grey. At export the latents get the per-channel mean and deviation that ComfyUI assumes for Wan 2.1, by an
affine map folded into the two 1 x 1 convolutions around the latent.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from .clips import FRAMES, make_clip
from .drawn import HAND_DRAWN, any_clip
from .loop import Ema, Log, descend
from .muon import Muon

GREY = 0.0  # in the VAE's -1..1
LATENT_NOISE = 0.1  # of a latent of deviation 1
FOLD_CLIPS = 48
HELD = (900, HAND_DRAWN + 600_000)  # clips of either kind that it is measured on


def new_vae(dim: int) -> Any:
    """An untrained WanVAE: residual branches start at zero, so that it starts as a plain convolutional pyramid."""
    import comfy.ldm.wan.vae as wan

    vae = wan.WanVAE(dim=dim, z_dim=16, temperal_downsample=[False, True, True])
    for module in vae.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Conv3d)):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
    for module in vae.modules():
        if isinstance(module, wan.ResidualBlock):
            torch.nn.init.zeros_(module.residual[6].weight)
        elif isinstance(module, wan.AttentionBlock):
            torch.nn.init.zeros_(module.proj.weight)
    # A channel that is nearly constant keeps the two final norms from hiding how bright a place is.
    vae.encoder.downsamples[8].resample[1].bias.data[0] = 4
    vae.decoder.upsamples[11].resample[1].bias.data[0] = 4
    vae.encode, vae.decode = partial(_encode, vae), partial(_decode, vae)
    return vae


def _encode(vae: Any, video: torch.Tensor) -> torch.Tensor:
    """As WanVAE's own, which takes four frames at a time: all behind the first at once, in half the time on a GPU."""
    kept: list[Any] = [None] * len(list(vae.decoder.modules()))  # what each convolution remembers of earlier frames
    parts = [vae.encoder(part, feat_cache=kept, feat_idx=[0]) for part in (video[:, :, :1], video[:, :, 1:])]
    latent: torch.Tensor = vae.conv1(torch.cat(parts, 2)).chunk(2, 1)[0]
    return latent


def _decode(vae: Any, latent: torch.Tensor) -> torch.Tensor:
    """As WanVAE's own, all latent frames behind the first at once."""
    kept: list[Any] = [None] * len(list(vae.decoder.modules()))
    latent = vae.conv2(latent)
    parts = [vae.decoder(part, feat_cache=kept, feat_idx=[0]) for part in (latent[:, :, :1], latent[:, :, 1:])]
    return torch.cat([torch.cat(part, 2) if isinstance(part, list) else part for part in parts], 2)  # newer: a list


def _pyramid_only(vae: Any, wan: Any) -> None:
    """Skip the residual branches, which start at zero: the pyramid alone learns ten times faster."""
    for module in vae.modules():
        if isinstance(module, wan.ResidualBlock):
            module.forward = lambda x, *args, block=module, **kwargs: block.shortcut(x)
        elif isinstance(module, wan.AttentionBlock):
            module.forward = lambda x: x


def to_vae(frames: torch.Tensor) -> torch.Tensor:
    """Frames [..., T, H, W, 3] in 0..1 as the VAE's input [..., 3, T, H, W] in -1..1."""
    return frames.movedim(-1, -4) * 2 - 1


def grey_middle(video: torch.Tensor) -> torch.Tensor:
    """What first-and-last-frame conditioning encodes: everything between the two ends grey, in -1..1."""
    out = torch.full_like(video, GREY)
    out[..., 0, :, :], out[..., -1, :, :] = video[..., 0, :, :], video[..., -1, :, :]
    return out


def psnr(a: torch.Tensor, b: torch.Tensor, peak: float = 2.0) -> float:
    """Peak signal-to-noise ratio in dB."""
    return float(10 * torch.log10(peak**2 / (a - b).square().mean()))


# Orthonormal: brightness, red against blue, green against magenta.
OPPONENT = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
OPPONENT = OPPONENT / OPPONENT.norm(dim=1, keepdim=True)
HUE_WEIGHT = 2.0


@lru_cache
def colour_weights(device: torch.device) -> torch.Tensor:
    """Brightness and the two colour differences, weighted, of red, green and blue: [3, 3]."""
    return (OPPONENT * torch.tensor([[1.0], [HUE_WEIGHT], [HUE_WEIGHT]], device="cpu")).to(device)


def picture_loss(result: torch.Tensor, video: torch.Tensor) -> torch.Tensor:
    """Absolute plus squared error, the two colour differences counted more.

    Colours differ less than brightness does, and a small VAE that counts all alike gives one of them up.
    """
    error = torch.einsum("oc,bcthw->bothw", colour_weights(video.device), result - video)
    return error.abs().mean() + 2 * error.square().mean()


class Drawings(Dataset[torch.Tensor]):
    """The clips with these seeds as the VAE's input, each [3, F, H, W]."""

    def __init__(self, seeds: Sequence[int], photos: dict[str, torch.Tensor]) -> None:
        self.seeds, self.photos = seeds, photos

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, index: int) -> torch.Tensor:
        return to_vae(any_clip(self.seeds[index], self.photos).frames())


def train(
    out: Path,
    vae: Any,
    photos: dict[str, torch.Tensor],
    device: torch.device,
    *,
    minutes: float,
    seeds: Sequence[int],
    batch: int,
    crop: int,
    workers: int = 0,
    rate: float = 3e-3,
    pyramid: bool = False,
) -> None:
    """Train until ``minutes`` or the clips with these seeds are over; resumes from, and writes, ``out/vae.pt``.

    ``crop``: the side of what it sees of a clip. ``pyramid`` is the first phase, without the residual branches, in
    ``out/pyramid.pt``.
    """
    import comfy.latent_formats
    import comfy.ldm.wan.vae as modules

    torch.manual_seed(1)
    name, wan = "pyramid" if pyramid else "vae", comfy.latent_formats.Wan21()
    wan.latents_mean, wan.latents_std = wan.latents_mean.to(device), wan.latents_std.to(device)
    if pyramid:
        _pyramid_only(vae, modules)
    vae.to(device)
    optimizers, ema = _optimizers(vae, rate), Ema(vae, 0.995)
    log = Log(out / f"{name}.csv", ("step", "loss", "psnr", "end_psnr"))
    held = torch.stack([to_vae(any_clip(first + n, photos).frames()) for first in HELD for n in range(2)]).to(device)
    drawn = iter(DataLoader(Drawings(seeds, photos), batch_size=batch, num_workers=workers))

    def batch_of(step: int) -> tuple[torch.Tensor, ...]:
        random = torch.Generator().manual_seed(step)
        video = next(drawn)
        top, left = (int(torch.randint(side - crop + 1, (), generator=random)) for side in video.shape[-2:])
        video = video[..., top : top + crop, left : left + crop].contiguous()
        few = torch.rand(batch, generator=random) < 0.3
        video[few] = grey_middle(video[few])
        noise = torch.randn(batch, 16, 1 + FRAMES // 4, crop // 8, crop // 8, generator=random)
        return video.to(device), noise.to(device)

    def loss_of(video: torch.Tensor, noise: torch.Tensor) -> Any:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            latent = wan.process_in(vae.encode(video).float())
            result = vae.decode(wan.process_out(latent + LATENT_NOISE * noise)).float()
        return picture_loss(result, video) + 2e-4 * latent.square().mean()

    def measure() -> tuple[float, float]:
        grey = grey_middle(held)
        whole, ends = vae.decode(vae.encode(held)), vae.decode(vae.encode(grey))
        return psnr(whole, held), psnr(ends[:, :, -1], grey[:, :, -1])

    descend(
        out / f"{name}.pt", vae, optimizers, ema, log,
        batch_of=batch_of, loss_of=loss_of, measure=measure,
        steps=len(drawn), minutes=minutes, rate=rate,
    )  # fmt: skip


def _optimizers(module: Any, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the kernels, AdamW for everything else."""
    kernels = [value for value in module.parameters() if value.ndim >= 4 and min(value.flatten(1).shape) > 4]
    inside = {id(value) for value in kernels}
    rest = [value for value in module.parameters() if id(value) not in inside]
    return [Muon(kernels, lr=rate), torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.0)]


@torch.no_grad()
def fold_latent_statistics(vae: Any, photos: dict[str, torch.Tensor]) -> None:
    """Rescale the latents, in place and without changing any picture, to the statistics ComfyUI normalises by."""
    import comfy.latent_formats

    wan = comfy.latent_formats.Wan21()
    latents = [vae.encode(to_vae(make_clip(seed, photos).frames())[None]) for seed in range(1000, 1000 + FOLD_CLIPS)]
    seen = torch.cat(latents).movedim(1, 0).flatten(1)
    mean, std = seen.mean(1), seen.std(1)
    gain = wan.latents_std.flatten() / std
    shift = wan.latents_mean.flatten() - mean * gain
    channels = len(gain)
    vae.conv1.weight[:channels] *= gain[:, None, None, None, None]
    vae.conv1.bias[:channels] = vae.conv1.bias[:channels] * gain + shift
    vae.conv2.bias -= (vae.conv2.weight[:, :, 0, 0, 0] * (shift / gain)).sum(1)
    vae.conv2.weight /= gain[None, :, None, None, None]
