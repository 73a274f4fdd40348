"""Makes ComfyUI's own model classes importable in a training process, on the CPU or on a GPU."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import torch


def use_comfyui(folder: Path) -> torch.device:
    """Put the ComfyUI in ``folder`` on the import path; the device that training should use."""
    launch = runpy.run_path(str(Path(__file__).parents[1] / "engine" / "launch.py"))
    launch["declare_missing_torchvision_operators"]()
    sys.path.insert(0, str(folder.resolve()))
    import comfy.cli_args

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    comfy.cli_args.args.cpu = device.type == "cpu"
    return device
