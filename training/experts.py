"""The two micro experts: Wan 2.2's 36-channel video transformer, flow matching on either side of the boundary.

The noise levels are those that a run at shift 8 visits: sigma = 8 x / (1 + 7 x) with x uniform in 0..1, and the
boundary 0.9 lies at x = 9/17. Each expert sees the levels of its own side only. The low-noise expert begins as the
high-noise one, whose guesses stand for half of the clips that it sees: in a run it has to mend those.
The text branch is zero: the prompt has no effect on these models.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .loop import Ema, Log, descend
from .muon import Muon

SHIFT, BOUNDARY = 8.0, 0.9
DIM, LAYERS, FFN = 128, 8, 512
SEED, MOST_STEPS = 2_000_006, 100_000
GUESSED = 0.6  # below, a run has mended the first guess already
SIDES = {"high": (9 / 17, 1.0), "low": (0.0, 9 / 17)}  # in unshifted noise level


def new_expert(dim: int, layers: int, ffn: int) -> Any:
    """An untrained WanModel that predicts zero, its text branch switched off."""
    import comfy.ldm.wan.model as wan
    import comfy.ops

    model = wan.WanModel(
        model_type="t2v",
        dim=dim,
        ffn_dim=ffn,
        num_heads=dim // 128,
        num_layers=layers,
        in_dim=36,
        out_dim=16,
        operations=comfy.ops.disable_weight_init,
    )
    for name, value in model.named_parameters():
        if value.ndim >= 2 and "modulation" not in name:
            torch.nn.init.xavier_uniform_(value.flatten(1) if value.ndim > 2 else value)
        elif name.endswith("weight"):
            torch.nn.init.ones_(value)
        else:
            torch.nn.init.zeros_(value)
    torch.nn.init.zeros_(model.head.head.weight)
    torch.nn.init.zeros_(model.time_projection[1].weight)
    model.text_embedding.requires_grad_(False)
    for block in model.blocks:
        block.modulation.data[:, 2], block.modulation.data[:, 5] = 0.5, 0.5  # the gates of the two branches
        torch.nn.init.zeros_(block.cross_attn.o.weight)
        block.cross_attn.requires_grad_(False)
        block.norm3.requires_grad_(False)
    return model


def without_text(model: Any) -> None:
    """Skip the zero text branch in this process; the saved weights keep it."""
    for block in model.blocks:
        block.cross_attn.forward = lambda x, *args, **kwargs: 0.0
        block.norm3.forward = lambda x: x
    model.text_embedding.forward = lambda context: context


@dataclass
class Latents:
    """Normalised latents of clips and of their conditioning, each [N, 16, T, h, w], and the masks [N, 4, T, 1, 1]."""

    clips: torch.Tensor
    conditions: torch.Tensor
    masks: torch.Tensor

    def batch(self, index: torch.Tensor, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """(clean latents, the 20 conditioning channels) of these clips."""
        parts = (self.clips, self.conditions, self.masks)
        clean, condition, mask = (part[index].to(device, torch.float32) for part in parts)
        return clean, with_mask(condition, mask)


def with_mask(condition: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The 20 conditioning channels."""
    return torch.cat([mask.expand(-1, -1, -1, *condition.shape[3:]), condition], 1)


def shifted(level: torch.Tensor) -> torch.Tensor:
    """Sigma at an unshifted noise level in 0..1."""
    return SHIFT * level / (1 + (SHIFT - 1) * level)


def velocity(model: Any, noisy: torch.Tensor, condition: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """The model's prediction of noise minus clean latent."""
    context = noisy.new_zeros(len(noisy), 1, model.dim)
    predicted: torch.Tensor = model(torch.cat([noisy, condition], 1), sigma * 1000, context)
    return predicted


def make_optimizers(model: Any, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices, AdamW for everything else."""
    matrices = [v for n, v in model.blocks.named_parameters() if v.requires_grad and v.ndim == 2]
    inside = {id(v) for v in matrices}
    rest = [v for v in model.parameters() if v.requires_grad and id(v) not in inside]
    return [
        Muon(matrices, lr=rate, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def train(
    out: Path,
    model: Any,
    data: Any,
    device: torch.device,
    *,
    side: str,
    minutes: float,
    batch: int = 32,
    rate: float,
    held_out: Latents,
    before: Any = None,
    half: bool = True,
) -> None:
    """Train an expert on one side for ``minutes``; resumes from, and writes, ``out/{side}.pt``.

    The loss is the squared error of the predicted clean latents, whatever the noise. ``half``: matrix products in
    bfloat16, twice as fast where the processor has it; weights stay float32. ``before``: the high-noise expert, whose
    guesses from noise alone stand for every other clip that noise above GUESSED is mixed into; the goal is the true clip.
    """
    for one in (model, before):
        if one is not None:
            without_text(one.to(device))
            for block in one.blocks if device.type == "cuda" else ():
                block.compile(dynamic=False)
    optimizers, ema = make_optimizers(model, rate), Ema(model, 0.999)
    log = Log(out / f"{side}.csv", ("step", "loss", "held_out_100", "held_out_95", "held_out_80", "held_out_50"))
    low, high = SIDES[side]

    def batch_of(step: int) -> tuple[torch.Tensor, ...]:
        random = torch.Generator(device).manual_seed(SEED + step)
        if step % 50 == 0:
            data.refresh()
        index = torch.randint(len(data), (batch,), generator=random, device=device)
        clean, condition = data.batch(index, device)
        noise = torch.randn(clean.shape, generator=random, device=device)
        part = torch.rand(batch, generator=random, device=device) + torch.arange(batch, device=device)
        sigma = shifted((low + (high - low) * part / batch).clamp(min=0.02))
        return noise, condition, sigma, clean

    def loss_of(noise: torch.Tensor, condition: torch.Tensor, sigma: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
        mix, shown = sigma[:, None, None, None, None], clean
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            if before is not None:
                with torch.no_grad():
                    guess = noise[::2] - velocity(before, noise[::2], condition[::2], torch.ones_like(sigma[::2]))
                shown = with_guesses(clean, guess.float(), sigma)
            noisy = mix * noise + (1 - mix) * shown
            predicted = velocity(model, noisy, condition, sigma)
        return (noisy - mix * predicted.float() - clean).square().mean()

    def measure() -> list[float]:
        with torch.compiler.set_stance("force_eager"):  # another batch would be compiled anew
            return held_out_errors(model, held_out, device)

    descend(
        out / f"{side}.pt", model, optimizers, ema, log, batch_of=batch_of, loss_of=loss_of, measure=measure,
        steps=MOST_STEPS, minutes=minutes, rate=rate, warm=100, end_rate=0.02,
    )  # fmt: skip


def with_guesses(clean: torch.Tensor, guesses: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Clips of which every other one, where its sigma is above GUESSED, is its guess."""
    shown = clean.clone()
    shown[::2] = torch.where(sigma[::2, None, None, None, None] > GUESSED, guesses, clean[::2])
    return shown


@torch.no_grad()
def held_out_errors(model: Any, data: Latents, device: torch.device) -> list[float]:
    """Mean squared error of the predicted clean latents between the ends, at four noise levels."""
    clean, condition = data.batch(torch.arange(len(data.clips)), device)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)).to(device)
    errors = []
    for level in (1.0, 0.95, 0.8, 0.5):
        noisy = level * noise + (1 - level) * clean
        sigma = torch.full((len(clean),), level, device=device)
        predicted = noisy - level * velocity(model, noisy, condition, sigma)
        errors.append(float((predicted - clean)[:, :, 1:-1].square().mean()))
    return errors
