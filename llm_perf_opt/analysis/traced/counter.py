"""Counting FLOPs of a module's calls: torch's formulas, those it lacks, and which module each call was in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import flop_registry, register_flop_formula

from llm_perf_opt.analysis.static.passes import Pass
from llm_perf_opt.analysis.traced.dispatch import TorchDispatchMode

_KINDS = {
    "mm": "linear",
    "addmm": "linear",
    "_grouped_mm": "grouped_linear",
    "grouped_mm_fallback": "grouped_linear",
    "convolution": "convolution",
    "_convolution": "convolution",
    "bmm": "product",
    "baddbmm": "product",
}


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
class Call:
    """A counted call, inside the module of this path. `causal` is what a causal, windowed kernel computes."""

    path: str
    kind: str
    flops: int
    causal: int
    experts: tuple[int, int] | None = None
    """Of grouped products: experts held, and tokens x top_k rows."""


@dataclass
class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the counted calls under `with counter:` and the modules they were made in."""

    names: dict[int, str]
    calls: list[Call] = field(default_factory=list)
    entered: set[str] = field(default_factory=set)
    _stack: list[str] = field(default_factory=lambda: [""])

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __hash__(self) -> int:
        return id(self)

    def add(self, kind: str, flops: int, causal: int | None = None, experts: tuple[int, int] | None = None) -> None:
        """Record a call in the module that is running."""
        self.calls.append(Call(self._stack[-1], kind, flops, flops if causal is None else causal, experts))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        result = func(*args, **named)
        packet = func._overloadpacket
        formula = flop_registry.get(packet)
        if formula is not None:
            name = packet.__name__
            kind = _KINDS.get(name, "attention" if "attention" in name else name)
            experts = None
            if kind == "grouped_linear":
                experts = (int(args[1].shape[0]), int(args[0].shape[-2]))
            self.add(kind, int(formula(*args, **named, out_val=result)), experts=experts)
        return result

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Follow which module runs, by its path in the model."""

        def enter(module: nn.Module, inputs: object) -> None:
            path = self.names.get(id(module), self._stack[-1])
            self.entered.add(path)
            self._stack.append(path)

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
        keys, out = key.shape[2], value.shape[-1]
        per_pair = 2 * heads * (width + out)
        wanted = named.get("is_causal")
        causal = bool(getattr(module, "is_causal", False) if wanted is None else wanted)
        pairs = batch * queries * keys
        # Some models leave the window to their mask, but keep it on the module.
        own = getattr(module, "sliding_window", None)
        window = named.get("sliding_window", own)
        seen = Pass(batch, queries, keys - queries, 0).pairs(window or None) if causal else pairs
        if self.counter is not None:
            self.counter.add("attention", per_pair * pairs, per_pair * min(seen, pairs))
        return query.new_empty(batch, queries, heads, out), None
