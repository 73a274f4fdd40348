"""``wan-flf2v batch``: many pairs of pictures, each to a video; a killed batch goes on where it was."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from . import remote
from .batch_folder import BatchFolder
from .batch_local import LocalBatch
from .batch_remote import RemoteBatch
from .errors import CliError
from .generate import add_job_arguments
from .pairs import read_pairs


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "batch",
        help="make videos of many pairs of pictures",
        description="Make a video of each pair: of a .csv or .jsonl file with the columns first, last, prompt, negative, "
        "name and fields of the workflow, or of a folder of pictures (a1/b1, a2/b2 …, else each with the next one). Run "
        "again after an interruption, it makes what is missing. A pair that fails does not stop the others.",
    )
    parser.add_argument("pairs", type=Path, metavar="PAIRS", help="a .csv or .jsonl file, or a folder of pictures")
    add_job_arguments(parser)
    parser.set_defaults(out=Path("batch"))  # a folder
    parser.add_argument("--comfyui-url", metavar="URL", help="a running ComfyUI, such as http://127.0.0.1:8188")
    parser.add_argument(
        "--free", action="store_true", help="accept all that the nodes accept, beyond RunComfy's ranges"
    )
    remote.add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Make the videos of all pairs. Raises CliError when some failed, after all others are made."""
    remote.check_together(arguments)
    pairs = read_pairs(arguments.pairs)
    folder = BatchFolder(arguments.out)
    batch = RemoteBatch(arguments, folder, pairs) if arguments.remote else LocalBatch(arguments, folder, pairs)
    try:
        batch.run()
    finally:
        folder.close(batch.results)
    failed = [result for result in batch.results if result.error]
    made = len(pairs) - len(failed)
    beside = "report.csv and contact.jpg" if made else "report.csv"
    print(f"{made} of {len(pairs)} videos are in {arguments.out}, with {beside}")
    if failed:
        raise CliError(
            f"{len(failed)} of {len(pairs)} pairs failed; see {arguments.out / 'report.csv'}. {failed[0].error}"
        )
