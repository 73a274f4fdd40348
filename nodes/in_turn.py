"""The order of a large expansion: stage after stage over all its clips, although no clip waits for another by a link.

ComfyUI keeps a result by its node's inputs and all that they come from, so a link from one clip to another would make an
edit of the one run the other again. Here a stage's input passes through Wan FLF2V In Turn, whose result depends on that
input alone, and which, only when it has to be made, expands to a node that waits for the stage's barrier. The barrier
waits for the stage before, of those clips only that have come to it in this run; all others are kept results.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from comfy_api.latest import io

from .host.expansion import GraphBuilder, composite_schema
from .host.schema import PART, part_schema
from .host.types import Link

MAX_DONE = 36


class InTurn:
    """Puts the barriers of a graph's stages into it."""

    def __init__(self, graph: GraphBuilder) -> None:
        self._graph = graph
        self._waiting: dict[str, list[str]] = {}

    def after(
        self, stage: str, done: Iterable[Link], link: Link, name: str, *, given: Any = None, late: bool = False
    ) -> Link:
        """The link, to be used in ``stage``: after ``done`` of this clip and of all clips that come to the stage.

        ``given`` are the other inputs of what uses it, so that it takes its turn when those change. ``late`` holds back
        what makes the link, too.
        """
        barrier = self._graph.node("WanFLF2VBarrier", id=f"barrier_{stage}")
        turn = self._graph.node(
            "WanFLF2VInTurn", id=f"turn_{stage}_{name}", value=link, barrier=barrier.id, given=repr(given), late=late
        )
        waiting = self._waiting.setdefault(stage, [])
        for each in done:
            waiting.append(turn.id)
            barrier.set_input(f"done_{len(waiting)}", each)
        barrier.set_input("waiting", " ".join(waiting))
        found: Link = turn.out(0)
        return found


class WanFLF2VInTurn(io.ComfyNode):
    """Its input, when all clips that come to this stage have the one before it behind them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return composite_schema(
            node_id="WanFLF2VInTurn",
            display_name="Wan FLF2V In Turn",
            **PART,
            inputs=[
                io.AnyType.Input("value"),
                io.String.Input("barrier"),
                io.String.Input("given", default=""),
                io.Boolean.Input("late", default=False),
            ],
            outputs=[io.AnyType.Output("out")],
        )

    @classmethod
    async def execute(cls, value: Link, barrier: str, given: str, late: bool) -> io.NodeOutput:
        graph = GraphBuilder()
        held = {"late": value} if late else {"value": value}
        passed = graph.node("WanFLF2VBarrier", id="passed", after=[barrier, 0], **held)
        return io.NodeOutput(passed.out(0), expand=graph.finalize())


class WanFLF2VBarrier(io.ComfyNode):
    """Its input, after all that it waits for."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return part_schema(
            node_id="WanFLF2VBarrier",
            display_name="Wan FLF2V Barrier",
            hidden=[io.Hidden.dynprompt],
            inputs=[
                io.AnyType.Input("value", optional=True),
                io.AnyType.Input("late", optional=True, lazy=True),
                io.AnyType.Input("after", optional=True),
                io.String.Input("waiting", optional=True, default=""),
                *(io.AnyType.Input(f"done_{number}", optional=True, lazy=True) for number in range(1, MAX_DONE + 1)),
            ],
            outputs=[io.AnyType.Output("out")],
        )

    @classmethod
    def check_lazy_status(cls, waiting: str = "", **given: Any) -> list[str]:
        """What was held back, and what is done of each clip whose Wan FLF2V In Turn has expanded."""
        came = [cls.hidden.dynprompt.has_node(f"{turn}.0.0.passed") for turn in waiting.split()]
        done = [f"done_{number}" for number, there in enumerate(came, 1) if there]
        return [*done, "late"] if "late" in given else done

    @classmethod
    async def execute(cls, value: Any = None, late: Any = None, **_: Any) -> io.NodeOutput:
        # A coroutine, as ComfyUI takes those first: it asks for all before anything has run, so nothing runs twice.
        return io.NodeOutput(value if late is None else late)
