"""The micro VAE: Wan 2.1's layout (8 x 8 x 4 compression, 16 latent channels) with few channels.

Trained as an autoencoder with a fixed latent noise and a small pull towards zero, on clips and on the clips that the
conditioning encodes (first frame, grey, last frame), since the last frame has to survive in a latent whose other
frames are grey. At export the latents get the per-channel mean and deviation that ComfyUI assumes for Wan 2.1, by an
affine map folded into the two 1 x 1 convolutions around the latent.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from .clips import FRAMES, make_clip
from .drawn import any_clip
from .loop import Ema, Log, descend
from .muon import Muon

GREY = 0.0  # in the VAE's -1..1
LATENT_NOISE = 0.15
FOLD_CLIPS = 48


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
    for module in vae.modules():
        if isinstance(module, torch.nn.Conv3d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last_3d)
        elif isinstance(module, torch.nn.Conv2d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
    return vae


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


class CropSource:
    """An endless, seeded stream of small crops of clips, a part of them with a grey middle.

    Every fourth batch has all of a clip's frames; the others have part of them, for more clips at the same cost.
    """

    def __init__(self, photos: dict[str, torch.Tensor], crop: int, batch: int) -> None:
        self.photos, self.crop, self.batch = photos, crop, batch

    def __call__(self, step: int) -> torch.Tensor:
        """The batch of this step: [batch, 3, frames, crop, crop] in -1..1."""
        random = torch.Generator().manual_seed(step)
        frames, batch = (FRAMES, self.batch) if step % 4 == 0 else (FRAMES // 2 + 1, 2 * self.batch)
        times = torch.linspace(0, 1, FRAMES)
        out: list[torch.Tensor] = []
        while len(out) < batch:
            seed = int(torch.randint(10_000_000, 2_000_000_000, (), generator=random))
            clip = make_clip(seed, self.photos)
            begin = int(torch.randint(FRAMES - frames + 1, (), generator=random))
            video = to_vae(clip.at(times[begin : begin + frames]))
            top, left = (int(torch.randint(clip.size - self.crop + 1, (), generator=random)) for _ in range(2))
            part = video[..., top : top + self.crop, left : left + self.crop]
            out.append(grey_middle(part) if float(torch.rand((), generator=random)) < 0.3 else part)
        return torch.stack(out).contiguous(memory_format=torch.channels_last_3d)


def train(
    out: Path,
    photos: dict[str, torch.Tensor],
    device: torch.device,
    *,
    dim: int,
    minutes: float,
    steps: int = 100_000,
    batch: int = 2,
    crop: int = 48,
    rate: float = 5e-3,
    seed: int = 1,
    pyramid: bool = False,
) -> None:
    """Train until ``steps`` or ``minutes``; resumes from, and writes, ``out/vae.pt``.

    ``pyramid`` is the first phase, without the residual branches; it writes ``out/pyramid.pt``, where the second begins.
    """
    import comfy.ldm.wan.vae as wan

    torch.manual_seed(seed)
    vae = new_vae(dim)
    name = "pyramid" if pyramid else "vae"
    if pyramid:
        _pyramid_only(vae, wan)
    elif (out / "pyramid.pt").exists():
        vae.load_state_dict(torch.load(out / "pyramid.pt", map_location="cpu", weights_only=True)["ema"])
    vae.to(device)
    optimizers, ema = _optimizers(vae, rate), Ema(vae, 0.995)
    source, log = CropSource(photos, crop, batch), Log(out / f"{name}.csv", ("step", "loss", "psnr", "end_psnr"))
    held = [to_vae(make_clip(seed, photos).frames())[None].to(device) for seed in range(900, 904)]

    def loss_of(video: torch.Tensor) -> Any:
        latent = vae.encode(video)
        result = vae.decode(latent + LATENT_NOISE * torch.randn_like(latent))
        return picture_loss(result, video) + 2e-4 * latent.square().mean()

    def measure() -> tuple[float, float]:
        whole = [psnr(vae.decode(vae.encode(clip)), clip) for clip in held]
        grey = [grey_middle(clip) for clip in held]
        ends = [psnr(vae.decode(vae.encode(clip))[:, :, -1], clip[:, :, -1]) for clip in grey]
        return sum(whole) / len(whole), sum(ends) / len(ends)

    descend(
        out / f"{name}.pt", vae, optimizers, ema, log,
        batch_of=lambda step: (source(step).to(device),), loss_of=loss_of, measure=measure,
        steps=steps, minutes=minutes, rate=rate,
    )  # fmt: skip


def _optimizers(module: Any, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the kernels, AdamW for everything else."""
    kernels = [value for value in module.parameters() if value.ndim >= 4 and min(value.flatten(1).shape) > 4]
    inside = {id(value) for value in kernels}
    rest = [value for value in module.parameters() if id(value) not in inside]
    return [Muon(kernels, lr=rate), torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.0)]


def train_decoder(
    out: Path,
    vae: Any,
    photos: dict[str, torch.Tensor],
    device: torch.device,
    *,
    minutes: float,
    seeds: Sequence[int],
    batch: int,
    workers: int,
    rate: float = 2e-3,
    seed: int = 3,
) -> None:
    """Train only the decoder, on the clips with these seeds: the encoder, and with it the data set, stays as it is."""
    import comfy.latent_formats

    torch.manual_seed(seed)
    wan = comfy.latent_formats.Wan21()
    vae.encoder.requires_grad_(False)
    vae.conv1.requires_grad_(False)
    vae.conv2.requires_grad_(False)
    optimizers, ema = _optimizers(vae.decoder, rate), Ema(vae, 0.995)
    log = Log(out / "decoder.csv", ("step", "loss", "psnr"))
    held = torch.stack([to_vae(make_clip(seed, photos).frames()) for seed in range(900, 904)]).to(device)
    with torch.no_grad():
        held_latents = vae.encode(held)

    drawn = iter(DataLoader(Drawings(seeds, photos), batch_size=batch, num_workers=workers, shuffle=True))

    @torch.no_grad()
    def batch_of(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        video = next(drawn).to(device)
        clean = wan.process_in(vae.encode(video))
        return wan.process_out(clean + LATENT_NOISE / 2 * torch.randn_like(clean)), video

    def loss_of(latent: torch.Tensor, video: torch.Tensor) -> Any:
        return picture_loss(vae.decode(latent), video)

    descend(
        out / "decoder.pt", vae, optimizers, ema, log,
        batch_of=batch_of, loss_of=loss_of, measure=lambda: (psnr(vae.decode(held_latents), held),),
        steps=len(drawn), minutes=minutes, rate=rate, alike=True,
    )  # fmt: skip


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
