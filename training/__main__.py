"""``python -m wan_flf2v.training``: trains the micro models and measures them, in one resumable command.

Every phase keeps its checkpoint and log in ``--work``; a phase that is done is not run again. The data set may
be made while the experts train, in a process of its own, with ``--only``: an expert takes in the clips that are there,
and looks for new ones as it goes. The low-noise expert begins as the high-noise one, so it comes behind it.

``--from FOLDER`` trains that folder's experts on, at half the rate; with ``--only codec`` its VAE.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from . import evaluate, experts, export, latents, vae
from .card import measure_clips
from .curves import draw_curves
from .drawn import HAND_DRAWN
from .host import use_comfyui
from .shipped import Models
from .textures import load_photos

FIRST_CLIP = 200_000
RATE = 2e-3  # of the experts; what begins as another is trained at half of it
ROOT = Path(__file__).resolve().parents[1]


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m wan_flf2v.training", description=__doc__)
    parser.add_argument("--comfyui", type=Path, default=ROOT / ".engine" / "comfyui-0.3.75", help="ComfyUI's folder")
    parser.add_argument("--work", type=Path, default=ROOT / ".engine" / "training", help="checkpoints and logs")
    parser.add_argument("--out", type=Path, default=ROOT / "models", help="where the weights go")
    parser.add_argument("--from", dest="source", type=Path, help="train the experts of this folder on, as models/ is")
    parser.add_argument("--photos", type=Path, help="a folder with scikit-image's sample photos (default: installed)")
    parser.add_argument("--dim", type=int, default=12, help="channels of the VAE")
    parser.add_argument("--layers", type=int, default=experts.LAYERS, help="layers of an expert")
    parser.add_argument("--clips", type=int, default=12_000, help="clips in the experts' data set")
    parser.add_argument("--batch", type=int, default=32, help="clips in a step of an expert; an eighth for the VAE")
    parser.add_argument("--crop", type=int, default=48, help="pixels across of what the VAE sees of a clip")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of this process")
    parser.add_argument("--workers", type=int, default=0, help="further processes that draw clips")
    parser.add_argument("--float32", action="store_true", help="no bfloat16 while the experts train")
    parser.add_argument("--only", choices=("codec", "clips", *export.EXPERTS), help="run one phase and stop")
    for name, minutes in PHASES.items():
        parser.add_argument(f"--{name}-minutes", type=float, default=minutes, help=f"longest time for {name}")
    return parser.parse_args()


PHASES = {"pyramid": 4.0, "vae": 47.0, "high": 40.0, "low": 40.0}


def main() -> None:
    """Run every phase that is not done, then measure."""
    arguments = parse()
    device = use_comfyui(arguments.comfyui)
    torch.set_num_threads(arguments.threads)
    folder = arguments.photos or photo_folder()
    photos = load_photos(folder)
    work = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    codec = _codec(arguments, photos, device)
    only = arguments.only
    if only in (None, "clips"):
        firsts = seeds_of(arguments.clips, latents.PIECE)
        latents.write_pieces(work / "latents", codec, photos, firsts, device, arguments.workers)
    for side in export.EXPERTS:
        if only in (None, side) and not (work / f"{side}.pt.done").exists():
            model, before = _begun(side, arguments)
            experts.train(
                work, model, latents.GrowingLatents(work / "latents", device), device, side=side, before=before,
                rate=RATE if before is None and arguments.source is None else RATE / 2,
                minutes=getattr(arguments, f"{side}_minutes"), batch=arguments.batch, half=not arguments.float32,
                held_out=evaluate.held_out_latents(codec, device),
            )  # fmt: skip
            (work / f"{side}.pt.done").touch()
    if only is None:
        finish(arguments, codec.cpu())


def seeds_of(clips: int, step: int) -> Iterator[int]:
    """Every ``step``-th seed of the data set's clips, half of either kind in turn."""
    for begin in range(0, clips // 2, step):
        for first in (FIRST_CLIP, HAND_DRAWN):
            yield first + begin


def finish(arguments: argparse.Namespace, codec: Any) -> None:
    """Write the weights, measure what was written, and draw the curves."""
    out = arguments.out
    export.save_half(codec, out / export.VAE)
    for side, name in export.EXPERTS.items():
        model = experts.new_expert(experts.DIM, arguments.layers, experts.FFN)
        export.save_half(export.load_average(model, arguments.work / f"{side}.pt"), out / name)
    measure_clips(Models(out, arguments.dim, arguments.layers), out)
    draw_curves(arguments.work, out / ("curves.png" if arguments.source is None else "last_round.png"))


def _begun(side: str, arguments: argparse.Namespace) -> tuple[Any, Any]:
    """What an expert begins as, and the one before it: the low-noise expert begins as the high-noise one."""
    model = experts.new_expert(experts.DIM, arguments.layers, experts.FFN)
    if side == "low":
        if not (arguments.work / "high.pt.done").exists():
            raise SystemExit("The low-noise expert begins as the high-noise one: train that first, with --only high.")
        export.load_average(model, arguments.work / "high.pt")
        return copy.deepcopy(model).train(), model
    if arguments.source is not None:
        export.load_half(model, arguments.source / export.EXPERTS[side])
    return model.train(), None


def _codec(arguments: argparse.Namespace, photos: dict[str, torch.Tensor], device: torch.device) -> Any:
    """The trained VAE with ComfyUI's latent statistics."""
    work, codec, source = arguments.work, vae.new_vae(arguments.dim), arguments.source
    folded = work / "folded.pt"
    if source is not None:
        export.load_half(codec, source / export.VAE).train()
    if not folded.exists() and (source is None or arguments.only == "codec"):
        phases = ("pyramid", "vae") if source is None else ("vae",)
        for phase in phases:
            if not (work / f"{phase}.pt.done").exists():
                vae.train(
                    work, codec, photos, device, minutes=getattr(arguments, f"{phase}_minutes"),
                    seeds=list(seeds_of(2 * (evaluate.FIRST_SEED - FIRST_CLIP), 1)), batch=arguments.batch // 8,
                    crop=arguments.crop, workers=arguments.workers, pyramid=phase == "pyramid",
                )  # fmt: skip
                (work / f"{phase}.pt.done").touch()
            codec = export.load_average(vae.new_vae(arguments.dim), work / f"{phase}.pt").train()
        vae.fold_latent_statistics(codec, photos)
        torch.save(codec.state_dict(), folded)
    if folded.exists():
        codec.load_state_dict(torch.load(folded, weights_only=True))
    return codec.to(device).eval()


def photo_folder() -> Path:
    """Where scikit-image keeps its sample photos."""
    found = find_spec("skimage")
    if found is None or found.origin is None:
        raise SystemExit("The sample photos are missing: pip install scikit-image, or give their folder with --photos.")
    return Path(found.origin).parent / "data"


if __name__ == "__main__":
    main()
