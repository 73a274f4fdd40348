"""``wan-flf2v report``: the figures of a video file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..flf2v.errors import FLF2VError
from .errors import CliError
from .pictures import check_picture

if TYPE_CHECKING:
    import torch
    from PIL import Image


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "report",
        help="measure a video: ends reached, drift, flash, frozen or cross-faded middle, loop seam",
        description="Measure a finished first-to-last-frame video. No model and no ComfyUI is needed.",
    )
    parser.add_argument("video", type=Path, help="the video file")
    parser.add_argument("--first", type=Path, help="the picture that it should start with")
    parser.add_argument("--last", type=Path, help="the picture that it should end with")
    parser.add_argument("--fit", choices=("crop", "stretch", "pad"), default="crop", help="how pictures were fitted")
    parser.add_argument(
        "--resize", choices=("bilinear", "area", "lanczos"), default="bilinear", help="how pictures were scaled"
    )
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="save the plot over the frames")
    parser.add_argument("--filmstrip", type=Path, metavar="PNG", help="save nine frames side by side")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print the figures. Raises CliError."""
    from ..flf2v.report import measure
    from ..flf2v.report_picture import draw_filmstrip, draw_report

    frames = read_video(arguments.video)
    try:
        first = _picture(arguments.first, "--first", frames, arguments)
        last = _picture(arguments.last, "--last", frames, arguments)
        report = measure(frames, first, last)
    except FLF2VError as error:
        raise CliError(str(error)) from None
    _save(arguments.plot, draw_report(report))
    _save(arguments.filmstrip, draw_filmstrip(frames))
    print(json.dumps(report.to_dict(), indent=1) if arguments.json else report.text())


def _save(path: Path | None, picture: Image.Image) -> None:
    if path is None:
        return
    try:
        picture.save(path)
    except (OSError, ValueError) as error:
        raise CliError(f"{path} cannot be written: {error}") from None


def read_video(path: Path) -> torch.Tensor:
    """All frames of a video file: [F, H, W, 3] in [0, 1]. Raises CliError."""
    import av
    import numpy as np
    import torch

    if not path.is_file():
        raise CliError(f"there is no video file {path}.")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise CliError(f"{path} has no video stream.")
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    except av.FFmpegError as error:
        raise CliError(f"{path} is no video that can be read: {error}") from None
    if not frames:
        raise CliError(f"{path} holds no frame.")
    return torch.from_numpy(np.stack(frames)).float() / 255


def _picture(
    path: Path | None, option: str, frames: torch.Tensor, arguments: argparse.Namespace
) -> torch.Tensor | None:
    if path is None:
        return None
    from PIL import Image

    from ..flf2v.drawing import picture_tensor
    from ..flf2v.frames import fit_to_video

    check_picture(path, option)
    with Image.open(path) as image:
        pixels = picture_tensor(image.convert("RGB"))
    return fit_to_video(pixels, frames, arguments.fit, arguments.resize)
