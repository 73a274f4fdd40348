"""The rows of a batch: each is checked on its own, what is made already is not made again, a fault stops no other row."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from ..engine.errors import EngineError, Unreachable
from ..providers import ProviderError
from ..workflows import FieldError
from .batch_folder import BatchFolder, Result
from .errors import CliError
from .pairs import Pair

J = TypeVar("J")
ROW_ERRORS = (CliError, FieldError, ProviderError, EngineError)


@dataclass(frozen=True)
class Row(Generic[J]):
    """A row that can be made: its result, its job, and a key of all that decides its video."""

    result: Result
    job: J
    key: str

    @property
    def missing(self) -> bool:
        """Whether its video is not there yet."""
        return not self.result.file


class Batch(Generic[J]):
    """The rows of a batch: each is checked on its own, what is made already is not made again."""

    def __init__(self, arguments: argparse.Namespace, folder: BatchFolder, pairs: Sequence[Pair]) -> None:
        self.arguments, self.folder = arguments, folder
        self.results = [Result(pair.number, pair.name, "to do", prompt=pair.prompt or "") for pair in pairs]
        self.jobs: list[Row[J]] = []
        for pair, result in zip(pairs, self.results, strict=True):
            try:
                job, key = self.check(pair, self._row(pair))
            except ROW_ERRORS as error:
                self.fail(result, error)
                continue
            self.jobs.append(Row(result, job, key))
            file = folder.done(key)
            if file is not None:
                result.state, result.file = "done", file
        print(f"{len(pairs)} pairs: {sum(row.missing for row in self.jobs)} to make", file=sys.stderr, flush=True)

    def check(self, pair: Pair, row: argparse.Namespace) -> tuple[J, str]:
        """The checked job of a row and a key of all that decides its video."""
        raise NotImplementedError

    def run(self) -> None:
        """Make all that is to do."""
        raise NotImplementedError

    def _row(self, pair: Pair) -> argparse.Namespace:
        """The arguments that ``generate`` would have for this pair."""
        if "broken" in pair.fields:
            raise CliError(str(pair.fields["broken"]))
        names = self.names()
        columns = [
            f"{names.get(name, name)}={value if isinstance(value, str) else json.dumps(value)}"
            for name, value in pair.fields.items()
        ]
        given = {name: getattr(pair, name) for name in ("first", "last", "prompt", "negative") if getattr(pair, name)}
        return argparse.Namespace(**{**vars(self.arguments), **given, "set": [*self.arguments.set, *columns]})

    def names(self) -> Mapping[str, str]:
        """What a column may be called, beside the fields' own names."""
        raise NotImplementedError

    async def make(self, row: Row[J], work: Callable[[Path], Awaitable[None]]) -> None:
        """Make one video; a fault of its own is written down."""
        began, result, key = time.monotonic(), row.result, row.key
        file = f"{result.row:03d}_{result.name}.mp4"
        print(f"{result.row} of {len(self.results)}: {result.name}", file=sys.stderr, flush=True)
        try:
            await work(self.folder.out / file)
        except Unreachable:
            raise  # no other row can do better
        except ROW_ERRORS as error:
            self.folder.add(key=key, error=str(error))
            self.fail(result, error)
            return
        result.state, result.file, result.seconds = "done", file, round(time.monotonic() - began, 2)
        self.folder.add(key=key, file=file)

    def fail(self, result: Result, error: Exception) -> None:
        """Note a row's fault and tell it."""
        result.state, result.error = "failed", str(error)
        print(f"{result.row} of {len(self.results)}: {result.name}: {error}", file=sys.stderr, flush=True)
