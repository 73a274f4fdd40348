"""``python -m wan_flf2v.training.card``: every table of ``models/README.md``, measured on what training never saw.

About 40 minutes on one free core; ``--only`` makes one table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch

from . import evaluate, storyboards
from .cures import measure_cures
from .drawings import measure_drawings
from .host import use_comfyui
from .shipped import Models

ROOT = Path(__file__).resolve().parents[1]


def measure_clips(models: Models, out: Path | None = None) -> None:
    """Print how the models, used rightly and wrongly, compare on textured clips; ``out`` keeps it as metrics.json."""
    scores = evaluate.measure_all(models.vae, models.high, models.low)
    print(evaluate.HEADER, *(score.row() for score in scores), sep="\n")
    best = next(score for score in scores if score.name == evaluate.VARIANTS[0].name)
    for score in scores:
        ahead, error = best.ahead_of(score)
        print(f"{best.name} is {ahead:+.2f} dB (standard error {error:.2f}) from: {score.name}")
    if out is not None:
        (out / "metrics.json").write_text(evaluate.as_json(scores))


TABLES: dict[str, Callable[[Models], None]] = {
    "clips": measure_clips,
    "drawings": measure_drawings,
    "starts": storyboards.measure_starts,
    "middle": storyboards.measure_middle,
    "joints": storyboards.measure_joints,
    "loops": storyboards.measure_loops,
    "keyframes": storyboards.measure_keyframes,
    "cures": measure_cures,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m wan_flf2v.training.card", description=__doc__)
    parser.add_argument("--comfyui", type=Path, default=ROOT / ".engine" / "comfyui-0.3.75", help="ComfyUI's folder")
    parser.add_argument("--models", type=Path, default=ROOT / "models", help="the folder with the weights")
    parser.add_argument("--only", choices=tuple(TABLES), help="one table alone")
    parser.add_argument("--metrics", action="store_true", help="keep the table of clips as metrics.json in the folder")
    arguments = parser.parse_args()
    use_comfyui(arguments.comfyui)
    torch.set_num_threads(1)
    models = Models(arguments.models)
    for name, measure in TABLES.items():
        if arguments.only in (None, name):
            if name == "clips" and arguments.metrics:
                measure_clips(models, arguments.models)
            else:
                measure(models)
            print()


if __name__ == "__main__":
    main()
