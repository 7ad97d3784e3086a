"""Passes in which sizes and places have values and pixels have none.

An image path reads how many patches an image has, and where each of them is, from tensors of whole numbers. These stay
on the CPU, whatever device is asked for, and go to the meta device where they meet pixels or weights.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from llm_perf_opt.analysis.traced.dispatch import TorchDispatchMode, all_taken, tree_leaves, tree_map

_META = torch.device("meta")


class KnownValues(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps whole numbers known under `with KnownValues():`.

    A mask that is made of pixels takes all: it tells images from padding, and one prompt has none.
    """

    def __enter__(self) -> Any:
        self._others = ExitStack()
        self._others.enter_context(all_taken())
        self._others.enter_context(_Written())
        return super().__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)  # type: ignore[no-untyped-call]
        self._others.close()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        tensors = [leaf for leaf in tree_leaves((args, named)) if isinstance(leaf, torch.Tensor)]
        if func is torch.ops.aten._local_scalar_dense.default and tensors[0].is_meta and tensors[0].dtype == torch.bool:
            return True
        if func is torch.ops.aten.ne.Scalar and tensors[0].is_meta and not tensors[0].is_floating_point():
            # Which images are no padding: those whose zeros are not as many as they have pixels.
            return torch.ones(tensors[0].shape, dtype=torch.bool)
        unknown = any(tensor.is_meta for tensor in tensors)
        if unknown and any(not tensor.is_meta for tensor in tensors):
            if "index" in func.name():
                args = tree_map(_places, args)
            args, named = tree_map(_unknown, (args, named))
        elif not unknown and named.get("device") == _META and _whole(tensors, named):
            named["device"] = torch.device("cpu")
        return func(*args, **named)


class _Written(TorchFunctionMode):
    """Tensors of numbers that are written down: these never come through a dispatcher."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and named.get("device") == _META:
            made = func(*args, **named | {"device": torch.device("cpu")})
            return made.to(_META) if made.is_floating_point() else made
        return func(*args, **named)


def _whole(tensors: list[torch.Tensor], named: dict[str, Any]) -> bool:
    """Whether a result on the meta device is made of known whole numbers, or of numbers that are written down."""
    if tensors:
        return not any(tensor.is_floating_point() for tensor in tensors)
    dtype = named.get("dtype")
    return isinstance(dtype, torch.dtype) and not dtype.is_floating_point


def _places(value: Any) -> Any:
    """A known mask as the places where it holds, one tensor for one dimension."""
    known = isinstance(value, torch.Tensor) and not value.is_meta and value.dtype == torch.bool and value.dim() == 1
    return value.nonzero().squeeze(1) if known else value


def _unknown(value: Any) -> Any:
    return value.to(_META) if isinstance(value, torch.Tensor) and not value.is_meta else value
