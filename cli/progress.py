"""A job's progress on the terminal: a bar with step, stage and time left, or plain lines where there is no terminal."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

from ..engine.stages import DOING, part_of

STAGES = {"first": "First model", "high": "High noise", "low": "Low noise"}
# Of a node that a storyboard expands to, the beginning of the last part of its id.
PARTS = {
    "text": "Encoding the prompts",
    "frames": "Encoding the frames",
    "clip": "Decoding and saving the segments",
    "film": "Joining the film",
}
SAMPLERS = ("WanFLF2VTwoStageSampler", "WanFLF2VStoryboard", "KSampler", "KSamplerAdvanced")
_FORMAT = "{desc:<26} |{bar:24}| {n_fmt}/{total_fmt} steps [{elapsed}{postfix}]"


class JobProgress:
    """Turns ComfyUI's websocket messages about one graph into progress on standard error. A context manager."""

    def __init__(self, graph: Mapping[str, Any], steps: int) -> None:
        self._graph = graph
        self._steps = steps
        self._before = 0  # steps of the stages before this one
        self._stage: tuple[str, int] = ("", 0)  # the node that samples and its steps
        self._told: list[str] = []
        self._took: list[float] = []  # seconds between steps, without what comes before a stage's first one
        self._last_step: tuple[str, float] = ("", 0.0)
        self._bar: Any = None
        self._start = time.monotonic()

    def __enter__(self) -> JobProgress:
        if sys.stderr.isatty():
            self._bar = tqdm(total=self._steps, bar_format=_FORMAT, file=sys.stderr, dynamic_ncols=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def phase(self, text: str, left: str = "") -> None:
        """Show what is going on now, and how long sampling will still take."""
        if self._bar is not None:
            self._bar.set_postfix_str(left, refresh=False)
            self._bar.set_description_str(text)
        elif text not in self._told:  # nodes that run in parts come back to a phase
            self._told.append(text)
            print(
                f"[{time.monotonic() - self._start:6.1f} s] {text}{left and f', {left}'}", file=sys.stderr, flush=True
            )

    def tick(self) -> None:
        """Let the clock on the bar run on."""
        if self._bar is not None:
            self._bar.refresh()

    def message(self, kind: str, data: Mapping[str, Any]) -> None:
        """Take in one websocket message that belongs to this job."""
        node = str(data.get("display_node") or data.get("display_node_id") or data.get("node") or "")
        kind_of_node = self._graph.get(node.split(".")[0], {}).get("class_type", "")
        if kind == "executing" and kind_of_node in DOING:
            self.phase(DOING[kind_of_node])
        elif kind == "executing" and kind_of_node == "WanFLF2VStoryboard" and part_of(data["node"]) in PARTS:
            self.phase(PARTS[part_of(data["node"])])
        elif kind == "progress" and self._samples(str(data["node"])):
            self._step(str(data["node"]), int(data["value"]), int(data["max"]))

    def _samples(self, node: str) -> bool:
        """Whether it is a sampler, or what one expands to."""
        return self._graph.get(node.split(".")[0], {}).get("class_type") in SAMPLERS and part_of(node) not in PARTS

    def _step(self, node: str, value: int, stage_steps: int) -> None:
        stage = part_of(node)
        if self._stage[0] != node:  # the one before has ended, also where its last message was lost
            self._before += 0 if stage == "part" else self._stage[1]  # a continuous run's parts count its whole steps
            self._stage = node, stage_steps
        # Drafts, a first model's finer steps and a low-noise stage's own are more than the job's steps say.
        self._steps = max(self._steps, self._before + stage_steps)
        done = self._before + value
        if self._bar is not None:
            self._bar.n, self._bar.total = done, self._steps
        self.phase(f"{STAGES.get(stage, 'Sampling')}, step {value} of {stage_steps}", self._left(node, done))

    def _left(self, node: str, done: int) -> str:
        """How long the steps that are left will take, by the steps so far; "" before two of them are known."""
        before, now = self._last_step, time.monotonic()
        self._last_step = node, now
        if before[0] == node:
            self._took.append(now - before[1])
        if not self._took or done >= self._steps:
            return ""
        seconds = round(statistics.median(self._took) * (self._steps - done))
        return f"{seconds // 60}:{seconds % 60:02} of sampling left"
