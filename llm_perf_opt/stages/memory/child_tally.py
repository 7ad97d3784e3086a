"""Counting the bytes of live tensors, two ways: as operators make storages and as they are freed, and all at once."""

from __future__ import annotations

import functools
import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from llm_perf_opt.analysis.traced.dispatch import TorchDispatchMode, tree_leaves
from llm_perf_opt.workload.torch_private import storage_address


@dataclass(frozen=True)
class Made:
    """One live storage, and what made it."""

    bytes: int
    shape: tuple[int, ...]
    dtype: str
    operator: str | None
    phase: str | None


@dataclass(frozen=True)
class Peak:
    """The most that was alive, and after which operator of the pass."""

    bytes: int = 0
    operators: int = 0
    operator: str | None = None
    phase: str | None = None


class StorageTally(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows every storage on one device from the operator that makes it until it is freed.

    Args:
        stop_at: after how many operators `look` is called, once, while all that is alive then still is.
    """

    def __init__(
        self, device: torch.device, *, stop_at: int | None = None, look: Callable[[StorageTally], None] | None = None
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.device = device
        self.live: dict[int, Made] = {}
        """By the storage's address in C++."""
        self.bytes = 0
        self.peak = Peak()
        self.by_phase: dict[str, int] = {}
        self.phase: str | None = None
        self._stop_at = stop_at
        self._look = look
        self._operators = 0
        self._refs: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        for tensor in live_tensors(device):
            self._add(tensor, None)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # Without autograd an operator that is made of others arrives whole: what it makes on its way counts too.
        with self:
            result = func.decompose(*args, **kwargs)
        if result is not NotImplemented:
            return result
        result = func(*args, **kwargs)
        name = func.name()
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._add(leaf, name)
        self._operators += 1
        if self.phase is not None:
            self.by_phase[self.phase] = max(self.by_phase.get(self.phase, 0), self.bytes)
        if self.bytes > self.peak.bytes:
            self.peak = Peak(self.bytes, self._operators, name, self.phase)
        if self._operators == self._stop_at and self._look is not None:
            self._look(self)
        return result

    def _add(self, tensor: torch.Tensor, operator: str | None) -> None:
        if tensor.device != self.device or not has_storage(tensor):
            return
        storage = tensor.untyped_storage()
        key = storage_address(storage)
        known = self.live.get(key)
        size = storage.nbytes()
        if known is not None:
            if known.bytes != size:  # resized in place
                self.bytes += size - known.bytes
                self.live[key] = Made(size, tuple(tensor.shape), str(tensor.dtype), operator, self.phase)
            return
        self.live[key] = Made(size, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), operator, self.phase)
        self.bytes += size
        self._refs[key] = weakref.ref(storage, functools.partial(self._freed, key))

    def _freed(self, key: int, _: object) -> None:
        self.bytes -= self.live.pop(key).bytes
        del self._refs[key]


def live_tensors(device: torch.device) -> Iterator[torch.Tensor]:
    """Every tensor on `device` that the interpreter knows of."""
    for found in gc.get_objects():
        if issubclass(type(found), torch.Tensor) and found.device == device and has_storage(found):
            yield found


def tallied_bytes(device: torch.device) -> int:
    """Bytes of all live storages on `device`, each counted once by its pointer."""
    storages = (tensor.untyped_storage() for tensor in live_tensors(device))
    return sum({storage_address(storage): storage.nbytes() for storage in storages}.values())


def has_storage(tensor: torch.Tensor) -> bool:
    """Whether it owns memory (sparse and wrapper tensors of other kinds do not)."""
    return tensor.layout == torch.strided and type(tensor) in (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)


def tensors_in(found: Any, depth: int = 6) -> Iterator[torch.Tensor]:
    """Tensors reachable from an object through attributes, lists, tuples and dictionaries."""
    if isinstance(found, torch.Tensor):
        yield found
    elif depth and isinstance(found, list | tuple | set):
        for item in found:
            yield from tensors_in(item, depth - 1)
    elif depth and isinstance(found, dict):
        for item in found.values():
            yield from tensors_in(item, depth - 1)
    elif depth and hasattr(found, "__dict__") and not isinstance(found, type | torch.nn.Module):
        yield from tensors_in(vars(found), depth - 1)
