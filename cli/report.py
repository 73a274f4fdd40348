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
        help="measure a video: ends reached, drift, flash, pace, dissolve, flicker, joints, loop seam",
        description="Measure a finished first-to-last-frame video. No model and no ComfyUI is needed.",
    )
    parser.add_argument("video", type=Path, help="the video file")
    parser.add_argument("--first", type=Path, help="the picture that it should start with")
    parser.add_argument("--last", type=Path, help="the picture that it should end with")
    parser.add_argument("--fit", choices=("crop", "stretch", "pad"), default="crop", help="how pictures were fitted")
    parser.add_argument(
        "--resize", choices=("bilinear", "area", "lanczos"), default="bilinear", help="how pictures were scaled"
    )
    parser.add_argument(
        "--joints", default="", metavar="NUMBERS", help='frames at which two clips meet, counted from 0: "80, 160"'
    )
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="save the plot over the frames")
    parser.add_argument("--filmstrip", type=Path, metavar="PNG", help="save nine frames side by side")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print the figures. Raises CliError."""
    from ..flf2v.frames import read_frame_numbers
    from ..flf2v.report import measure
    from ..flf2v.report_picture import draw_filmstrip, draw_report
    from ..flf2v.video_frames import VideoFrames

    if not arguments.video.is_file():
        raise CliError(f"there is no video file {arguments.video}.")
    frames = VideoFrames(str(arguments.video))
    try:
        size = frames.size()
        first = _picture(arguments.first, "--first", size, arguments)
        last = _picture(arguments.last, "--last", size, arguments)
        joints = read_frame_numbers(arguments.joints, "--joints")
        report = measure(frames, first, last, joints=joints)
    except FLF2VError as error:
        raise CliError(str(error)) from None
    _save(arguments.plot, draw_report(report))
    if arguments.filmstrip is not None:
        _save(arguments.filmstrip, draw_filmstrip(frames, report.frames, joints=joints))
    print(json.dumps(report.to_dict(), indent=1) if arguments.json else report.text())


def _save(path: Path | None, picture: Image.Image) -> None:
    if path is None:
        return
    try:
        picture.save(path)
    except (OSError, ValueError) as error:
        raise CliError(f"{path} cannot be written: {error}") from None


def _picture(
    path: Path | None, option: str, size: tuple[int, int], arguments: argparse.Namespace
) -> torch.Tensor | None:
    if path is None:
        return None
    from PIL import Image

    from ..flf2v.drawing import picture_tensor
    from ..flf2v.frames import fit_to_video

    check_picture(path, option)
    with Image.open(path) as image:
        pixels = picture_tensor(image.convert("RGB"))
    return fit_to_video(pixels, size, arguments.fit, arguments.resize)
