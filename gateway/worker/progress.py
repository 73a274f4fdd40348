"""From ComfyUI's progress messages to one growing number and a stage that a person understands."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...engine.stages import DOING, part_of

_SAMPLING = dict.fromkeys(("WanFLF2VTwoStageSampler", "KSampler"), "Sampling")
_WORDS = {**DOING, **_SAMPLING, "WanFLF2VStoryboard": "Making the segments"}
# Their shares of the time; every other node has a hundredth.
_SHARES = {"UNETLoader": 0.02, "WanFLF2VConditioning": 0.08, "WanFLF2VSaveVideo": 0.13, "WanFLF2VStoryboard": 0.91}
_SHARES |= dict.fromkeys(_SAMPLING, 0.7)
# A storyboard makes each of its segments in these steps: by the beginnings of their nodes' names.
_STEPS: Mapping[str, tuple[str, float]] = {
    "frames": ("encoding", 0.1),
    "high": ("high-noise stage", 0.4),
    "low": ("low-noise stage", 0.35),
    "clip": ("decoding", 0.15),
}
DECODING = DOING["WanFLF2VSaveVideo"]


@dataclass
class PromptProgress:
    """Follows one prompt. ``value`` never falls; a composite node's children (``57.0.0.3``) count for their parent."""

    prompt_id: str
    graph: Mapping[str, Any]
    segments: int = 1
    stage: str = "Starting"
    value: float = 0.0
    spent: dict[str, float] = field(default_factory=dict)  # seconds in each stage, as far as messages tell
    _since: float = field(default_factory=time.monotonic)
    _parts: dict[str, dict[str, float]] = field(default_factory=dict)

    def message(self, kind: str, data: Mapping[str, Any]) -> None:
        """Take in one websocket message; those of other prompts are ignored."""
        if data.get("prompt_id") not in (None, self.prompt_id):
            return
        if kind == "progress_state":
            for node, state in (data.get("nodes") or {}).items():
                self._note(str(node), state, state.get("state") == "finished")
        elif kind in ("progress", "executing") and data.get("node"):
            self._note(str(data["node"]), data)
        elif kind == "execution_cached":
            for node in data.get("nodes") or ():
                self._note(str(node), {}, True)

    def _note(self, node: str, said: Mapping[str, Any], done: bool = False) -> None:
        top = node.split(".")[0]
        parts = self._parts.setdefault(top, {})
        share = 1.0 if done else float(said.get("value") or 0) / float(said.get("max") or 1)
        parts[node] = max(parts.get(node, 0.0), min(1.0, share))
        now = time.monotonic()
        self.spent[self.stage] = self.spent.get(self.stage, 0.0) + now - self._since
        self._since = now
        if not done:
            self.stage = self._segment(top, node) or self._stage(top)[0]
        self.value = max(self.value, self._total())

    def _segment(self, top: str, node: str) -> str:
        """Which segment of a storyboard a node makes, and what of it, in words; empty for any other node."""
        step = part_of(node)
        if step not in _STEPS or self.graph.get(top, {}).get("class_type") != "WanFLF2VStoryboard":
            return ""
        number = sum(1 for part in self._parts[top] if part_of(part) == step)
        return f"Segment {min(number, self.segments)} of {self.segments}: {_STEPS[step][0]}"

    def _stage(self, top: str) -> tuple[str, float]:
        kind = str(self.graph.get(top, {}).get("class_type", ""))
        return _WORDS.get(kind, "Working"), _SHARES.get(kind, 0.01)

    def _total(self) -> float:
        whole = sum(self._stage(node)[1] for node in self.graph) or 1.0
        done = 0.0
        for top, parts in self._parts.items():
            if top not in self.graph:
                continue
            children = {node: share for node, share in parts.items() if node != top}
            if self.graph[top].get("class_type") == "WanFLF2VStoryboard":
                each = (_STEPS.get(part_of(node), ("", 0.0))[1] * share for node, share in children.items())
                share = sum(each) / self.segments
            else:
                share = parts.get(top, 0.0) if not children else sum(children.values()) / max(2, len(children))
            done += self._stage(top)[1] * (1.0 if parts.get(top) == 1.0 else share)
        return min(0.99, done / whole)
