"""``wan-flf2v finish``: the video of a latent that was sampled but not saved, without sampling again."""

from __future__ import annotations

import argparse
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engine.client import ComfyClient
from ..workflows.bindings import model_files_of
from .errors import CliError
from .generate import run_cancellable, run_locally
from .job import run_graph, save_file
from .remote import check_together
from .video import describe_video

FINISH = "wan_flf2v_finish"  # what the save node writes into the file
LATENT = "unfinished_latent"  # the id of the node that loads it


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "finish",
        help="make the video of an unfinished latent",
        description="Make the video of an …_unfinished_….latent file, which a crash, a cancel or too little memory has left "
        "in ComfyUI's output folder. Nothing is sampled again; the file is removed when the video is there.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the .latent file")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to save the video (else beside the latent)")
    parser.add_argument("--comfyui", metavar="PATH", help="the ComfyUI folder to start (else COMFYUI_PATH)")
    parser.add_argument("--models", type=Path, metavar="DIR", help="ComfyUI's models folder, with the VAE")
    parser.add_argument("--comfyui-url", metavar="URL", help="a running ComfyUI, such as http://127.0.0.1:8188")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Make the video and remove the latent. Raises CliError or EngineError."""
    check_together(arguments)
    job = Unfinished.read(arguments.file)
    if arguments.out is None:
        name = arguments.file.name.partition("_unfinished_")[0]
        arguments.out = arguments.file.with_name(f"{name}_finished.{job.save_inputs['format']}")
    if arguments.comfyui_url:
        run_cancellable(job.run(arguments.comfyui_url, arguments.out))
    else:
        run_locally(arguments, job)
    arguments.file.unlink(missing_ok=True)  # that ComfyUI has removed it, when it lies in its output folder
    for path in job.saved:
        print(describe_video(path))


@dataclass
class Unfinished:
    """An unfinished latent: the graph that saves it, its save node, and what the job's files carry."""

    file: Path
    graph: dict[str, Any]
    node: str
    metadata: dict[str, Any]
    saved: list[Path]

    @classmethod
    def read(cls, file: Path) -> Unfinished:
        """Read a file. Raises CliError for one that is none of this pack's."""
        try:
            with file.open("rb") as opened:
                (size,) = struct.unpack("<Q", opened.read(8))  # safetensors: the header's size, then JSON
                texts: Mapping[str, str] = json.loads(opened.read(min(size, file.stat().st_size)))["__metadata__"]
            found = {key: json.loads(text) for key, text in texts.items()}
            finish = found.pop(FINISH)
            graph, node = finish["graph"], finish["node"]
        except OSError as error:
            raise CliError(f"{file} cannot be read: {error.strerror}.") from None
        except (ValueError, KeyError, TypeError, struct.error):
            raise CliError(f"{file} is no unfinished latent of Wan FLF2V Save Video.") from None
        return cls(file, graph, node, found, [])

    @property
    def save_inputs(self) -> Mapping[str, Any]:
        """The widgets of the save node."""
        inputs: Mapping[str, Any] = self.graph[self.node]["inputs"]
        return inputs

    def model_files(self) -> list[tuple[str, str]]:
        """The VAE's."""
        return model_files_of(self.graph)

    async def run(self, url: str, out: Path) -> None:
        """Load the latent on the ComfyUI at ``url`` and save its videos; several get numbers."""
        async with ComfyClient(url) as client:
            await client.system_stats()
            name = await client.upload_bytes(self.file.read_bytes(), self.file.name)
            graph = {
                **self.graph,
                LATENT: {"class_type": "LoadLatent", "inputs": {"latent": name}, "_meta": {"title": "Load latent"}},
            }
            graph[self.node] = {**graph[self.node], "inputs": {**self.save_inputs, "latent": [LATENT, 0]}}
            files = await run_graph(client, graph, self.node, steps=0, metadata=self.metadata)
            for number, file in enumerate(files, 1):
                path = out if len(files) == 1 else out.with_stem(f"{out.stem}_{number:05}")
                save_file(path, await client.fetch(file))
                self.saved.append(path)
