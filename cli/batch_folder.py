"""A batch's folder: its videos, the journal of what is done, report.csv and a contact sheet."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
from PIL import Image, ImageDraw

from .errors import CliError

SHOWN = (0.0, 0.25, 0.5, 0.75, 1.0)  # of each video on the sheet
SIDE = 160
CAPTION = 16


@dataclass
class Result:
    """What became of a row."""

    row: int
    name: str
    state: str
    file: str = ""
    seconds: float | None = None
    prompt: str = ""
    error: str = ""


class BatchFolder:
    """The folder ``out``. A line of its journal that was cut when the batch was killed counts for nothing."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self._journal = out / "journal.jsonl"
        self._done: dict[str, str] = {}
        self._failed: dict[str, int] = {}
        self._together: dict[str, list[str]] = {}
        try:
            out.mkdir(parents=True, exist_ok=True)
            lines = self._journal.read_text(encoding="utf-8").splitlines() if self._journal.exists() else []
            self._file = self._journal.open("a", encoding="utf-8")
        except OSError as error:
            raise CliError(f"--out: {out} can't be used as a folder: {error.strerror}.") from None
        for line in lines:
            self._take(line)
        self._write("")  # ends a line that was cut

    def _take(self, line: str) -> None:
        try:
            found = json.loads(line)
        except ValueError:
            return
        if "together" in found:
            self._together |= dict.fromkeys(found["together"], found["together"])
        elif "file" in found:
            self._done[found["key"]] = found["file"]
        else:
            self._failed[found["key"]] = self._failed.get(found["key"], 0) + 1

    def _write(self, line: str) -> None:
        self._file.write(line + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def add(self, **line: Any) -> None:
        """Write down that ``key`` has made ``file`` or failed with ``error``, or which keys run ``together`` in one job."""
        text = json.dumps(line, ensure_ascii=False)
        self._write(text)
        self._take(text)

    def done(self, key: str) -> str | None:
        """The file of this job, where it is made and still there."""
        file = self._done.get(key)
        return file if file is not None and (self.out / file).is_file() else None

    def together(self, key: str) -> list[str]:
        """The keys that ran in one job with this one the last time."""
        return self._together.get(key, [])

    def attempt(self, key: str) -> int:
        """How often this job has failed, or its video has gone: the next attempt is another job."""
        return self._failed.get(key, 0) + (key in self._done and self.done(key) is None)

    def close(self, results: Sequence[Result]) -> None:
        """Write report.csv and contact.jpg."""
        self._file.close()
        with (self.out / "report.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, list(Result.__dataclass_fields__))
            table.writeheader()
            table.writerows(asdict(result) for result in results)
        made = [result for result in results if result.file]
        if made:
            contact_sheet([(self.out / result.file, f"{result.row} {result.name}") for result in made]).save(
                self.out / "contact.jpg", quality=88
            )


def contact_sheet(videos: Sequence[tuple[Path, str]]) -> Image.Image:
    """A row of frames, first to last, for each video, with a caption."""
    sheet = Image.new("RGB", (SIDE * len(SHOWN), (SIDE + CAPTION) * len(videos)), "#15171c")
    draw = ImageDraw.Draw(sheet)
    for row, (path, caption) in enumerate(videos):
        top = row * (SIDE + CAPTION)
        draw.text((4, top + 2), caption, fill="#ffffff")
        for column, frame in enumerate(frames_of(path)):
            frame.thumbnail((SIDE, SIDE))
            sheet.paste(frame, (column * SIDE + (SIDE - frame.width) // 2, top + CAPTION))
    return sheet


def frames_of(path: Path) -> list[Image.Image]:
    """The frames of a video at the places of ``SHOWN``."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        wanted = [round(place * (max(stream.frames, 1) - 1)) for place in SHOWN]
        found = {n: frame.to_image() for n, frame in enumerate(container.decode(stream)) if n in wanted}
    return [found[number].copy() for number in wanted if number in found]
