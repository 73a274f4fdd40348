"""What was computed from pictures, kept by their contents: an edited prompt computes nothing again, in any cache mode."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

import torch

T = TypeVar("T")
KEPT = 8  # results of one model; a latent video of 81 frames at 1280 x 720 takes 20 MB


class Memo(Generic[T]):
    """The last results of each model, for as long as the model lives."""

    def __init__(self) -> None:
        self._kept: WeakKeyDictionary[Any, OrderedDict[Hashable, T]] = WeakKeyDictionary()

    def get(self, model: Any, key: Hashable, make: Callable[[], T]) -> T:
        """The result of this model for this key, made where it is not known."""
        kept = self._kept.setdefault(model, OrderedDict())
        if key not in kept:
            kept[key] = make()
        kept.move_to_end(key)
        while len(kept) > KEPT:
            kept.popitem(last=False)
        return kept[key]

    def __len__(self) -> int:
        return len(self._kept)

    def forget(self) -> None:
        """Drop everything."""
        self._kept.clear()


def digest(pictures: torch.Tensor | None) -> bytes | None:
    """A key for the contents of pictures."""
    if pictures is None:
        return None
    found = hashlib.blake2b(repr((pictures.shape, pictures.dtype)).encode())
    found.update(pictures.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return found.digest()
