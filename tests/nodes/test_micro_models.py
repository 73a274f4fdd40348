"""The shipped micro models really work: through ComfyUI's own loaders and sampler, on clips that training never saw.

20 steps, cfg 1, shift 8, euler / simple. The bounds keep a margin to the figures in models/metrics.json.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import pytest
import torch

from wan_flf2v.flf2v.report import psnr
from wan_flf2v.training.drawings import drawings, shares
from wan_flf2v.training.evaluate import VARIANTS as VARIANTS_OF_RUN
from wan_flf2v.training.evaluate import Score, Variant, cross_fade, score, unseen_clips
from wan_flf2v.training.export import VAE, load_half
from wan_flf2v.training.vae import new_vae, to_vae

MODELS = Path(__file__).parents[2] / "models"
CLIPS, STEPS, MEGABYTES = 8, 20, 16
VARIANTS = {variant.name: variant for variant in VARIANTS_OF_RUN}

pytestmark = pytest.mark.slow


class Micro:
    """The shipped files, loaded by ComfyUI, and one run of them."""

    def __init__(self, comfy: Any, call: Callable[..., tuple[Any, ...]]) -> None:
        self.comfy, self.call = comfy, call
        self.vae = comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(MODELS / "vae/wan_flf2v_micro_vae.safetensors")))
        loaded = [
            comfy.sd.load_diffusion_model(str(MODELS / f"diffusion_models/wan_flf2v_micro_{side}_noise.safetensors"))
            for side in ("high", "low")
        ]
        self.high, self.low = call("WanFLF2VShift", model_high=loaded[0], model_low=loaded[1], shift=8.0)
        self.clips = unseen_clips(CLIPS)
        self.frames = [clip.frames() for clip in self.clips]

    def given(self, frames: torch.Tensor, start: int = 1, end: bool = True, middle: int = 0) -> Any:
        """The conditioning of a clip's first frames, its last one and one between them."""
        pictures = {"start_image": frames[:start]}
        if end:
            pictures["end_image"] = frames[-1:]
        if middle:
            pictures |= {"middle_images": frames[middle : middle + 1], "middle_frames": str(middle)}
        return self.call(
            "WanFLF2VEncodeFrames", vae=self.vae, width=frames.shape[2], height=frames.shape[1],
            length=len(frames), fit="crop", **pictures,
        )[0]  # fmt: skip

    def encode(self, variant: Variant) -> tuple[torch.Tensor, torch.Tensor]:
        """The conditioning of every clip: latents and masks."""
        latent, mask = together([self.given(frames, end=variant.end_frame) for frames in self.frames])
        return latent, 1 - mask if variant.flip_mask else mask

    def run(self, variant: Variant) -> Score:
        """Make every clip and measure."""
        return score(variant.name, self.make(*self.encode(variant), variant.boundary), self.clips)

    def make(self, latent: torch.Tensor, mask: torch.Tensor, boundary: float = 0.9) -> torch.Tensor:
        """Sample all clips at once and decode them: [N, F, H, W, 3]."""
        import comfy.model_management
        import comfy.sample

        given = {"concat_latent_image": latent, "concat_mask": mask}
        conditioning = [[torch.zeros(1, 1, 4096), given]]
        grid = self.call(
            "WanFLF2VSchedule", model_high=self.high, model_low=self.low, steps=STEPS, sampler_name="euler",
            scheduler="simple", boundary=boundary if 0 < boundary < 1 else 0.9,
            high_steps=-1, denoise=1.0,
        )  # fmt: skip
        split = {0.0: STEPS, 2.0: 0}.get(boundary, grid[0])
        noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(7))
        samples = torch.zeros_like(latent)
        for model, begin, end in ((self.high, 0, split), (self.low, split, STEPS)):
            if begin == end:
                continue
            samples = comfy.sample.sample(
                model, noise if begin == 0 else torch.zeros_like(noise), STEPS, 1.0, "euler", "simple", conditioning,
                conditioning, samples, disable_noise=begin > 0, start_step=begin, last_step=end,
                force_full_denoise=end == STEPS, disable_pbar=True, seed=7,
            )  # fmt: skip
        return self.decode(samples)

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        """The frames of every latent: [N, F, H, W, 3]."""
        return torch.stack([self.vae.decode(one[None]).reshape(self.frames[0].shape) for one in latent])

    def round_trip(self) -> Score:
        """The best that any latent could give: the true clips after the VAE."""
        latent = torch.cat([self.vae.encode(frames) for frames in self.frames])
        return score("round trip", self.decode(latent), self.clips)


def together(encoded: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """The latents and masks of several clips as one batch."""
    return torch.cat([one.latent for one in encoded]), torch.cat([one.mask for one in encoded])


@pytest.fixture(scope="module")
def micro(comfy: Any, call: Callable[..., tuple[Any, ...]]) -> Micro:
    return Micro(comfy, call)


@pytest.fixture(scope="module")
def right(micro: Micro) -> Score:
    """The models used as they were trained."""
    return micro.run(VARIANTS["as trained"])


def test_files_are_small_and_detected_as_wan22_i2v_and_the_wan21_vae(micro: Micro) -> None:
    assert sum(path.stat().st_size for path in MODELS.rglob("*.safetensors")) <= MEGABYTES * 1e6
    for model in (micro.high, micro.low):
        assert type(model.model).__name__ == "WAN21"
        assert model.model.diffusion_model.patch_embedding.weight.shape[1] == 36
        assert model.model.diffusion_model.img_emb is None
    assert micro.vae.latent_channels == 16


def test_training_encodes_and_decodes_all_frames_at_once_as_comfyui_does_four_by_four(micro: Micro) -> None:
    ours, theirs = load_half(new_vae(12), MODELS / VAE), micro.vae.first_stage_model
    latent = ours.encode(to_vae(micro.frames[0])[None])
    torch.testing.assert_close(latent, theirs.encode(to_vae(micro.frames[0])[None]), rtol=0, atol=1e-4)
    torch.testing.assert_close(ours.decode(latent), theirs.decode(latent), rtol=0, atol=1e-4)


def test_both_ends_are_reached_as_far_as_the_vae_allows(micro: Micro, right: Score) -> None:
    best = micro.round_trip()
    for reached, ceiling in ((right.first, best.first), (right.last, best.last)):
        assert reached >= 20
        assert reached >= ceiling - 3


def test_shapes_move_along_their_path_and_a_cross_fade_does_not(micro: Micro, right: Score) -> None:
    faded = score("cross-fade", cross_fade(micro.clips), micro.clips)
    assert right.off < 0.06 < 0.15 < faded.off
    assert right.near >= 0.9
    assert faded.near <= 0.1


def test_flat_shapes_cut_by_the_edge_or_not_are_where_they_belong_in_the_middle(micro: Micro) -> None:
    clips = drawings(CLIPS)
    videos = micro.make(*together([micro.given(clip.frames()) for clip in clips]))
    found = shares("drawn", videos, clips).values
    assert median(found) > 0.75
    assert median(shares("cross-fade", cross_fade(clips), clips).values) < 0.1


@pytest.mark.parametrize("where", [{"middle": 8}, {"start": 5}])
def test_further_given_frames_are_reached_as_far_as_the_vae_allows(micro: Micro, where: dict[str, int]) -> None:
    true = micro.frames
    asked = range(where.get("start", 1)) if "start" in where else range(where["middle"], where["middle"] + 1)
    videos = micro.make(*together([micro.given(frames, **where) for frames in true]))
    best = micro.decode(torch.cat([micro.vae.encode(frames) for frames in true]))

    def level(made: torch.Tensor) -> float:
        return mean(psnr(video[at], real[at]) for video, real in zip(made, true, strict=True) for at in asked)

    assert level(videos) >= level(best) - 3


# How far each is below the right run at an end, in dB.
MARGINS = {
    "without the end frame": ("last", 6.0),
    "mask flipped": ("first", 10.0),
    "high-noise expert only": ("first", 5.0),
    "hand-over at sigma 0.4": ("last", 1.5),
}


@pytest.mark.parametrize("name", MARGINS)
def test_leaving_a_part_out_is_measurably_worse(micro: Micro, right: Score, name: str) -> None:
    other = micro.run(VARIANTS[name])
    part, margin = MARGINS[name]
    assert getattr(right, part) - getattr(other, part) > margin, (right, other)
