"""Drawing the weights of a whole architecture at the speed of memory, on the device and in the type they are for.

A CPU draws about 60 million normal numbers a second and thread: seconds to minutes for a real model. What initialises
it draws from one pool instead, going on where the tensor before stopped, so that every model is reproducible by its
seed on one type of device. The pool's size is prime: no two rows of a matrix begin at the same place in it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from llm_perf_opt.analysis.traced.dispatch import TorchDispatchMode
from llm_perf_opt.workload.joining import local_part, shard_like

POOL = 1_048_573
"""Numbers drawn; a prime."""

_EMPTY_LIKE = torch.ops.aten.empty_like.default
_NORMAL, _UNIFORM = torch.ops.aten.normal_.default, torch.ops.aten.uniform_.default


class _FromPool(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """`normal_` and `uniform_` in place, as `torch.nn.init` and transformers call them, from the pool."""

    def __init__(self, seed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seed = seed
        self._pools: dict[tuple[Any, ...], torch.Tensor] = {}
        self._next = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is _EMPTY_LIKE:
            # Some classes leave to their constructor what they do not draw, and that ran without memory.
            return func(*args, **(kwargs or {})).zero_()
        target = args[0] if func in (_NORMAL, _UNIFORM) else None
        plain = isinstance(target, torch.Tensor) and target.is_contiguous() and target.is_floating_point()
        if target is None or not plain or target.device.type == "meta" or (kwargs or {}).get("generator") is not None:
            return func(*args, **(kwargs or {}))
        local = local_part(target)
        pool = self._pool(func, local, args[1:])
        if local is target:
            self._fill(target.view(-1), pool)
        else:
            # A shard is cut from the whole tensor, drawn as one process draws it, so that every rank goes on in the
            # pool at the same place and holds its part of the same model.
            whole = local.new_empty(target.shape)
            self._fill(whole.view(-1), pool)
            local.copy_(shard_like(whole, target))
        return target

    def _pool(self, func: Any, target: torch.Tensor, limits: tuple[float, ...]) -> torch.Tensor:
        key = (func, target.dtype, target.device, limits)
        if key not in self._pools:
            generator = torch.Generator(target.device).manual_seed(self._seed)
            pool = torch.empty(POOL, dtype=torch.float32, device=target.device)
            func(pool, *limits, generator=generator)
            self._pools[key] = pool.to(target.dtype)
        return self._pools[key]

    def _fill(self, flat: torch.Tensor, pool: torch.Tensor) -> None:
        done = 0
        while done < len(flat):
            taken = min(len(flat) - done, POOL - self._next)
            flat[done : done + taken].copy_(pool[self._next : self._next + taken])
            done += taken
            self._next = (self._next + taken) % POOL


@contextlib.contextmanager
def drawing(seed: int) -> Iterator[None]:
    """Around the initialising of a model's weights."""
    torch.manual_seed(seed)
    with _FromPool(seed):
        yield
