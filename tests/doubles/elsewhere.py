"""A second device for machines that have none: its tensors meet no others, and it knows no float64, as MPS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

DEVICE = torch.device("xla:0")


class _Elsewhere(torch.Tensor):
    """A tensor on the second device."""


def elsewhere(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor on the second device."""
    return tensor.as_subclass(_Elsewhere)  # type: ignore[no-any-return, no-untyped-call]


class _TwoDevices(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [item for item in tree_leaves((args, kwargs)) if isinstance(item, torch.Tensor)]
        foreign = [item for item in given if isinstance(item, _Elsewhere)]
        if func == torch.Tensor.device.__get__ and foreign:  # type: ignore[attr-defined]
            return DEVICE
        target = kwargs.get("device", next((item for item in args if isinstance(item, torch.device)), None))
        if func == torch.Tensor.cpu or (func == torch.Tensor.to and target == torch.device("cpu")):
            return args[0].as_subclass(torch.Tensor)
        if func == torch.Tensor.numpy and foreign:
            raise TypeError("can't convert a tensor of the second device to numpy; use Tensor.cpu()")
        if target == DEVICE:
            args = tuple(item for item in args if not isinstance(item, torch.device))
            rest = {name: value for name, value in kwargs.items() if name != "device"}
            result = func(*args, **rest) if func != torch.Tensor.to or args[1:] or rest else args[0]
            return elsewhere(result)
        mixed = foreign and any(type(item) is torch.Tensor and item.ndim for item in given)
        if mixed and func not in (torch.Tensor.copy_, torch.Tensor.__setitem__):
            raise RuntimeError("Expected all tensors to be on the same device")
        result = func(*args, **kwargs)
        if isinstance(result, _Elsewhere) and result.dtype == torch.float64:
            raise TypeError("the second device has no float64")
        return result


@contextmanager
def two_devices() -> Iterator[None]:
    """Make ``elsewhere``'s tensors a device of their own while this is open."""
    with _TwoDevices():
        yield
