"""A job's progress on the terminal: a bar with step, stage and time left, or plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

STAGES = {"high": "High noise", "low": "Low noise"}
PHASES = {
    "CLIPLoader": "Loading the text encoder",
    "UNETLoader": "Loading the models",
    "VAELoader": "Loading the VAE",
    "CLIPTextEncode": "Encoding the prompt",
    "WanFLF2VConditioning": "Encoding the frames",
    "WanFirstLastFrameToVideo": "Encoding the frames",
    "VAEDecode": "Decoding the video",
    "WanFLF2VSaveVideo": "Saving the video",
    "SaveVideo": "Saving the video",
}
SAMPLERS = ("WanFLF2VTwoStageSampler", "KSampler", "KSamplerAdvanced")
_FORMAT = "{desc:<26} |{bar:24}| {n_fmt}/{total_fmt} steps [{elapsed}<{remaining}{postfix}]"


class JobProgress:
    """Turns ComfyUI's websocket messages about one graph into progress on standard error. A context manager."""

    def __init__(self, graph: Mapping[str, Any], steps: int) -> None:
        self._graph = graph
        self._steps = steps
        self._high_steps = 0
        self._phase = ""
        self._bar: Any = None
        self._start = time.monotonic()

    def __enter__(self) -> JobProgress:
        if sys.stderr.isatty():
            self._bar = tqdm(total=self._steps, bar_format=_FORMAT, file=sys.stderr, dynamic_ncols=True)
        self.phase("Queued")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def phase(self, text: str) -> None:
        """Show what is going on now."""
        if text == self._phase:
            return
        self._phase = text
        if self._bar is not None:
            self._bar.set_description_str(text)
        else:
            print(f"[{time.monotonic() - self._start:6.1f} s] {text}", file=sys.stderr, flush=True)

    def tick(self) -> None:
        """Let the clock on the bar run on."""
        if self._bar is not None:
            self._bar.refresh()

    def message(self, kind: str, data: Mapping[str, Any]) -> None:
        """Take in one websocket message that belongs to this job."""
        node = str(data.get("display_node") or data.get("display_node_id") or data.get("node") or "")
        kind_of_node = self._graph.get(node.split(".")[0], {}).get("class_type", "")
        if kind == "executing" and kind_of_node in PHASES:
            self.phase(PHASES[kind_of_node])
        elif kind == "progress" and self._graph.get(str(data["node"]).split(".")[0], {}).get("class_type") in SAMPLERS:
            self._step(str(data["node"]), int(data["value"]), int(data["max"]))

    def _step(self, node: str, value: int, stage_steps: int) -> None:
        stage = node.rpartition(".")[2]
        if stage == "high":
            self._high_steps = stage_steps
        done = value + (self._high_steps if stage == "low" else 0)
        name = STAGES.get(stage, "Sampling")
        if self._bar is None:
            self.phase(f"{name}, step {value} of {stage_steps}")
            return
        self._bar.set_description_str(f"{name}, step {value} of {stage_steps}")
        self._bar.n = min(done, self._steps)
        self._bar.refresh()
