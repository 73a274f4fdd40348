"""A sampler function that can be paused, so that one model after the other answers it.

A multistep sampler keeps its history in local variables of one function call, so to change the model below it without
losing them the function runs in a thread of its own, which does the sampler's arithmetic alone. Each of its calls to the
model is handed over and answered by whoever serves: first one sampling run, later another. Exactly one side runs at a
time.
"""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class ModelCall:
    """The sampler asks for the denoised video of ``x`` at ``sigma``."""

    x: torch.Tensor
    sigma: torch.Tensor


@dataclass(frozen=True)
class StepDone:
    """The sampler's callback, with what k-diffusion puts into it."""

    values: dict[str, Any]


class _Stop(BaseException):
    """Ends the sampler where it waits, when nobody will serve it any more."""


class _Model:
    """What the sampler takes for its model: calls are handed over, attributes are those of the model that serves now."""

    def __init__(self, paused: PausableSampler) -> None:
        self._paused = paused

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor, **_: Any) -> Any:
        return self._paused.ask(ModelCall(x, sigma))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._paused.served_by, name)


class PausableSampler:
    """A running ``sampler(model, x, sigmas, callback=…)``, whose calls are served by ``serve``, one run at a time."""

    def __init__(self, sampler: Callable[..., torch.Tensor]) -> None:
        self._sampler = sampler
        self._asked: queue.Queue[ModelCall | StepDone | Future[torch.Tensor]] = queue.Queue()
        self._answered: queue.Queue[torch.Tensor | _Stop | None] = queue.Queue()
        self._waiting: ModelCall | None = None
        self._thread: threading.Thread | None = None
        self.served_by: Any = None

    @property
    def started(self) -> bool:
        """Whether ``start`` was called."""
        return self._thread is not None

    def start(self, x: torch.Tensor, sigmas: torch.Tensor, *, model: Any = None, **options: Any) -> None:
        """Begin; ``serve`` answers what it asks. The sampler finds the attributes of ``model`` on its own model."""
        self.served_by = model
        context, inference = contextvars.copy_context(), torch.is_inference_mode_enabled()
        device = getattr(torch, x.device.type) if x.device.type in ("cuda", "xpu") else None
        index = None if device is None else device.current_device()

        def run() -> None:
            ended: Future[torch.Tensor] = Future()
            try:
                if device is not None:
                    device.set_device(index)
                with torch.inference_mode(inference), torch.no_grad():
                    ended.set_result(self._sampler(_Model(self), x, sigmas, callback=self._tell, **options))
            except BaseException as error:  # noqa: BLE001 - raised again where the calls are served
                ended.set_exception(error)
            self._asked.put(ended)

        self._thread = threading.Thread(target=context.run, args=(run,), name="sampler", daemon=True)
        self._thread.start()

    def _tell(self, values: dict[str, Any]) -> None:
        self.ask(StepDone(values))

    def ask(self, question: ModelCall | StepDone) -> torch.Tensor | None:
        """The answer of whoever serves; called in the sampler's thread."""
        self._asked.put(question)
        answer = self._answered.get()
        if isinstance(answer, _Stop):
            raise answer
        return answer

    def serve(
        self,
        model: Callable[[ModelCall], torch.Tensor],
        callback: Callable[[dict[str, Any]], None],
        until: Callable[[ModelCall], bool] = lambda call: False,
    ) -> ModelCall | torch.Tensor:
        """Answer the sampler's calls; returns its result, or the first call for which ``until`` holds, unanswered.

        The next ``serve`` begins with that call. After what ``model`` or ``callback`` raises only ``stop`` may follow.
        """
        while True:
            question = self._waiting or self._asked.get()
            self._waiting = None
            if isinstance(question, Future):
                return question.result()
            if isinstance(question, ModelCall) and until(question):
                self._waiting = question
                self.served_by = None  # a model that waits for nothing is not kept
                return question
            answer = None
            if isinstance(question, ModelCall):
                answer = model(question)
            else:
                callback(question.values)
            self._answered.put(answer)

    def stop(self) -> None:
        """End the sampler where it waits for an answer. Does nothing when it has ended."""
        if self._thread is not None and self._thread.is_alive():
            self._answered.put(_Stop())
            self._thread.join()
