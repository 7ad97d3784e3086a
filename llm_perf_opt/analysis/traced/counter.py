"""Recording what a model's forward pass multiplies and which weights it touches, by module."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import flop_registry, register_flop_formula

from llm_perf_opt.analysis.traced.dispatch import TorchDispatchMode


def _grouped(first: list[int], second: list[int], *rest: object, out_shape: object = None, **named: object) -> int:
    """Rows x inputs by groups x inputs x outputs: each row is multiplied by one group's matrix."""
    return int(2 * first[-2] * first[-1] * second[-1])


def _vector(matrix: list[int], vector: list[int], *rest: object, out_shape: object = None, **named: object) -> int:
    return 2 * matrix[-2] * matrix[-1]


def _dot(first: list[int], second: list[int], *rest: object, out_shape: object = None, **named: object) -> int:
    return 2 * first[0]


def add_missing_formulas() -> None:
    """Register formulas for matrix products that `torch.utils.flop_counter` does not know."""
    missing: list[tuple[object, Callable[..., int]]] = [
        (torch.ops.aten._grouped_mm, _grouped),
        (torch.ops.aten.mv, _vector),
        (torch.ops.aten.dot, _dot),
        (torch.ops.aten.vdot, _dot),
    ]
    fallback = getattr(torch.ops.transformers, "grouped_mm_fallback", None)
    if fallback is not None:
        missing.append((fallback, _grouped))
    for target, formula in missing:
        if target not in flop_registry:
            register_flop_formula(target)(formula)


@dataclass(frozen=True, slots=True)
class Scores:
    """A call of transformers' attention interface, of one sequence."""

    heads: int
    qk_dim: int
    v_dim: int
    queries: int
    keys: int
    causal: bool
    window: int | None
    layer: int | None
    """Of the cache; None for attention that keeps none."""


@dataclass(frozen=True, slots=True)
class Call:
    """One counted call inside the module of this path.

    `kind` is matrix, experts, attention, state, gather or other (a convolution, a solver).
    """

    path: str
    kind: str
    flops: int
    weight: str | None = None
    """Parameter that is one side of the product, by its name in the model."""
    rows: int = 0
    """Rows multiplied with that weight, or gathered from it."""
    sizes: tuple[int, int] = (0, 0)
    """Inputs and outputs of that weight."""
    detail: object = None
    """Scores of attention, the operator of a state, the number of experts."""


_MATRICES = {"mm": (0, 1), "addmm": (1, 2), "bmm": (0, 1), "baddbmm": (1, 2), "mv": (0, 1)}
_EXPERTS = {"_grouped_mm", "grouped_mm_fallback"}


@dataclass
class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records calls and parameters touched under `with counter:`.

    Args:
        modules: path of every module, by its id.
        parameters: name of every parameter, by its id.
    """

    modules: dict[int, str]
    parameters: dict[int, str]
    calls: list[Call] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)
    _stack: list[str] = field(default_factory=lambda: [""])

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __hash__(self) -> int:
        return id(self)

    @property
    def path(self) -> str:
        """The module that is running."""
        return self._stack[-1]

    def clear(self) -> None:
        """Begin a new pass."""
        self.calls.clear()
        self.touched.clear()

    def touch(self, value: object) -> str | None:
        """Note that a parameter, or a view of one, is used; its name."""
        if not isinstance(value, torch.Tensor):
            return None
        name = self.parameters.get(id(value))
        if name is None and value._base is not None:
            name = self.parameters.get(id(value._base))
        if name is not None:
            self.touched.add(name)
        return name

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        # A view of a parameter is no use of it: the call that takes the view is.
        if not func.is_view:
            for value in args:
                self.touch(value)
                if isinstance(value, list | tuple):
                    for item in value:
                        self.touch(item)
        result = func(*args, **named)
        packet = func._overloadpacket
        name = packet.__name__
        if name == "embedding":
            self._gather(args[0], args[1])
        formula = flop_registry.get(packet)
        if formula is not None:
            self._count(name, args, int(formula(*args, **named, out_val=result)))
        return result

    def _gather(self, table: torch.Tensor, indices: torch.Tensor) -> None:
        name = self.touch(table)
        if name is not None:
            self.calls.append(Call(self.path, "gather", 0, name, indices.numel(), (table.shape[0], table.shape[1])))

    def _count(self, name: str, args: tuple[Any, ...], flops: int) -> None:
        if name in _EXPERTS:
            count, inputs, outputs = args[1].shape
            rows = args[0].shape[-2]
            self.calls.append(
                Call(self.path, "experts", flops, self.touch(args[1]), rows, (inputs, outputs), int(count))
            )
            return
        places = _MATRICES.get(name)
        if places is None:
            weights = [self.touch(value) for value in args[:2]]
            weight = weights[1] if len(weights) > 1 else None
            sizes = (0, 0)
            if weight is not None:
                sizes = (math.prod(args[1].shape[1:]), int(args[1].shape[0]))
            self.calls.append(Call(self.path, "other", flops, weight, 0, sizes))
            return
        first, second = (args[place] for place in places)
        weight = self.touch(second)
        inputs, outputs = int(first.shape[-1]), int(second.shape[-1]) if second.dim() > 1 else 1
        count = int(second.shape[0]) if second.dim() == 3 else 1
        if weight is None:
            # The weight may come first: outputs x inputs by inputs x rows.
            weight = self.touch(first)
            if weight is not None:
                outputs = int(first.shape[-2])
        rows = flops // (2 * inputs * outputs)
        detail = count if weight is not None and count > 1 else None
        self.calls.append(Call(self.path, "matrix", flops, weight, rows, (inputs, outputs), detail))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Follow which module runs, by its path in the model."""

        def enter(module: nn.Module, inputs: object) -> None:
            self._stack.append(self.modules.get(id(module), self._stack[-1]))

        def leave(module: nn.Module, inputs: object, output: object) -> None:
            self._stack.pop()

        hooks = (
            nn.modules.module.register_module_forward_pre_hook(enter),
            nn.modules.module.register_module_forward_hook(leave, always_call=True),
        )
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            self._stack[:] = [""]


class AttentionRecorder:
    """Stands in for an attention kernel: records the sizes and returns an empty result of the right shape."""

    NAME = "llmperf_trace"

    def __init__(self) -> None:
        self.counter: Counter | None = None

    def __call__(
        self,
        module: nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        *unused: object,
        **named: Any,
    ) -> tuple[torch.Tensor, None]:
        batch, heads, queries, width = query.shape
        keys, out = int(key.shape[2]), int(value.shape[-1])
        wanted = named.get("is_causal")
        causal = bool(getattr(module, "is_causal", False) if wanted is None else wanted)
        # Some models leave the window to their mask, but keep it on the module.
        window = named.get("sliding_window", getattr(module, "sliding_window", None)) or None
        layer = getattr(module, "layer_idx", None)
        if self.counter is not None:
            for used in named.values():
                self.counter.touch(used)
            scores = Scores(heads, width, out, queries, keys, causal, window, layer)
            flops = 2 * batch * heads * queries * keys * (width + out)
            self.counter.calls.append(Call(self.counter.path, "attention", flops, detail=scores, rows=batch))
        return query.new_empty(batch, queries, heads, out), None
