"""``wan-flf2v storyboard``: from a storyboard's JSON file and its pictures to one film."""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engine.client import ComfyClient
from ..flf2v.errors import FLF2VError
from ..flf2v.json_text import check_value
from ..flf2v.storyboard import VIDEOS, Storyboard, parse_storyboard
from ..workflows.bindings import API_FOLDER, model_files_of
from . import remote
from .errors import CliError
from .generate import check_out, run_cancellable, run_locally
from .job import run_graph, save_file
from .pictures import check_picture
from .storyboard_remote import make_film
from .texts import read_text
from .video import describe_video

WORKFLOW = API_FOLDER / "wan22_storyboard.json"
NODE, SAVE = "57", "73"


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "storyboard",
        help="make one film from several keyframes, with a prompt for each segment",
        description="Make one film from a storyboard: a JSON file with keyframes (paths relative to it) and segments, as "
        "the node Wan FLF2V Storyboard takes it. On a running ComfyUI an edited storyboard, or one that was interrupted, "
        "runs only what that ComfyUI has not kept. With --remote each segment is a job of its own, and what was "
        "submitted is collected.",
    )
    parser.add_argument("board", type=Path, metavar="BOARD.json", help="the storyboard")
    parser.add_argument("--out", type=Path, default=Path("film.mp4"), metavar="FILE", help="where to save the film")
    parser.add_argument("--comfyui-url", metavar="URL", help="a running ComfyUI, such as http://127.0.0.1:8188")
    parser.add_argument("--comfyui", metavar="PATH", help="the ComfyUI folder to start (else COMFYUI_PATH)")
    parser.add_argument("--models", type=Path, metavar="DIR", help="ComfyUI's models folder, with the real weights")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="INPUT=VALUE",
        help="an input of the storyboard's node, such as width=832 or steps=4, or with --remote a field of the model "
        "(repeat for more)",
    )
    remote.add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Check the storyboard and its pictures, run it and save the film. Raises CliError, EngineError or ProviderError."""
    remote.check_together(arguments)
    job = read_job(arguments.board, [] if arguments.remote else arguments.set)
    check_out(arguments.out)
    if arguments.remote:
        make_film(arguments, job.board, job.pictures)
    elif arguments.comfyui_url:
        run_cancellable(job.run(arguments.comfyui_url, arguments.out))
    else:
        run_locally(arguments, job)
    print(describe_video(arguments.out))


@dataclass(frozen=True)
class StoryboardJob:
    """A checked storyboard: its text as data, the graph, its picture files by the names in the text."""

    data: Mapping[str, Any]
    board: Storyboard
    graph: Mapping[str, Any]
    pictures: Mapping[str, Path]

    @property
    def steps(self) -> int:
        """The sampling steps of all segments."""
        each = int(self.graph[NODE]["inputs"]["steps"])
        return sum(int(dict(clip.settings).get("steps", each)) for clip in set(self.board.clips))

    def model_files(self) -> list[tuple[str, str]]:
        """The (folder, name) of each model file that it takes."""
        return model_files_of(self.graph)

    async def run(self, url: str, out: Path) -> None:
        """Make the film on the ComfyUI at ``url`` and save it."""
        async with ComfyClient(url) as client:
            await client.system_stats()
            names = {name: await client.upload_image(path) for name, path in self.pictures.items()}
            files = await run_graph(client, self.graph_with(names), SAVE, steps=self.steps)
            save_file(out, await client.fetch(files[0]))

    def graph_with(self, names: Mapping[str, str]) -> dict[str, Any]:
        """The graph to queue, with the pictures' names in ComfyUI's input folder."""
        data = copy.deepcopy(dict(self.data))
        for owner, field in [
            *((keyframe, "picture") for keyframe in data.get("keyframes", [])),
            *((data, name) for name in VIDEOS),
        ]:
            if field in owner:
                owner[field] = names[owner[field]]
        graph = copy.deepcopy(dict(self.graph))
        graph[NODE]["inputs"]["storyboard"] = json.dumps(data, ensure_ascii=False)
        return graph


def read_job(path: Path, settings: list[str]) -> StoryboardJob:
    """The storyboard of this file. Raises CliError with one sentence."""
    text = read_text(path)
    try:
        board = parse_storyboard(text)
    except FLF2VError as error:
        raise CliError(f"{path}: {error}") from None
    pictures = {}
    for number, (_, keyframe) in enumerate(board.keyframes, 1):
        name = keyframe.picture or ""
        pictures[name] = path.parent / name
        check_picture(pictures[name], f"keyframe {number}")
    for video in (board.video_before, board.video_after):
        if video is not None and video.name is not None:
            pictures[video.name] = path.parent / video.name
            if not pictures[video.name].is_file():
                raise CliError(f"{video.slot}: there is no file {pictures[video.name]}.")
    graph = json.loads(WORKFLOW.read_text(encoding="utf-8"))
    graph[NODE]["inputs"] |= _settings(settings, graph[NODE]["inputs"])
    return StoryboardJob(json.loads(text), board, graph, pictures)


def _settings(given: list[str], inputs: Mapping[str, Any]) -> dict[str, Any]:
    widgets = [name for name, value in inputs.items() if not isinstance(value, list) and name != "storyboard"]
    found: dict[str, Any] = {}
    for item in given:
        name, _, text = item.partition("=")
        if name not in widgets or not text:
            raise CliError(f"--set takes INPUT=VALUE with one of {', '.join(widgets)}; got {item!r}.")
        try:
            found[name] = text if isinstance(inputs[name], str) else json.loads(text)
            check_value(found[name], {"type": "string" if isinstance(inputs[name], str) else "number"}, name)
        except ValueError:
            raise CliError(f"--set {name} takes a number; got {text!r}.") from None
    return found
