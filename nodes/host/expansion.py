"""What a composite node becomes: a graph of smaller nodes that ComfyUI runs, and caches, in its place."""

from __future__ import annotations

from comfy_execution.graph_utils import GraphBuilder

__all__ = ["GraphBuilder"]
