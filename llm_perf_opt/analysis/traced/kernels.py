"""Stand-ins for the recurrent kernels that transformers' models call: the state they keep, without the arithmetic.

transformers writes these kernels in plain torch: in chunks where a prompt is read (more products than the recurrence
has) and as multiply and sum where one token is decoded (products that no counter sees). The models call them by
name, so that what is recorded here is the recurrence itself, for every model that has one.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from llm_perf_opt.analysis.static.state import CausalConvolution, Recurrence
from llm_perf_opt.analysis.traced.counter import Call, Counter

Kernel = Callable[..., Any]
Home = dict[str, Any]
"""The names of one Python module."""


class _StandIns:
    """What is put in the place of each kernel; the arguments are those of transformers' own."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter

    def _note(self, operator: Recurrence | CausalConvolution, *used: object) -> None:
        for value in used:
            self._counter.touch(value)
        self._counter.calls.append(Call(self._counter.path, "state", 0, detail=operator))

    def _convolve(self, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        channels, kernel = (int(side) for side in weight.shape)
        self._note(CausalConvolution("", channels, kernel, bias is not None), weight, bias)
        return torch.empty_like(hidden)

    def convolution(self, hidden: torch.Tensor, weight: torch.Tensor, bias: Any = None, *_: Any, **named: Any) -> Any:
        return self._convolve(hidden, weight, bias)

    def convolution_step(
        self, hidden: torch.Tensor, state: Any, weight: torch.Tensor, bias: Any = None, *_: Any, **named: Any
    ) -> Any:
        return self._convolve(hidden, weight, bias)

    def scan2(
        self, hidden: torch.Tensor, dt: Any, A: Any, B: torch.Tensor, C: Any, *rest: Any, **named: Any
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        batch, _, heads, width = hidden.shape
        state = hidden.new_empty(batch, heads, width, B.shape[-1], dtype=torch.float32)
        self._note(_mamba2(heads, width, B), A, named.get("D"), named.get("dt_bias"))
        out = torch.empty_like(hidden)
        return (out, state) if named.get("return_final_states") else out

    def scan2_step(
        self, state: torch.Tensor, hidden: torch.Tensor, dt: Any, A: Any, B: torch.Tensor, *rest: Any, **named: Any
    ) -> torch.Tensor:
        _, heads, width = hidden.shape
        self._note(_mamba2(heads, width, B), A, *rest, named.get("dt_bias"))
        return torch.empty_like(hidden)

    def scan1(
        self, hidden: torch.Tensor, dt: Any, A: torch.Tensor, *rest: Any, **named: Any
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        batch, inner, _ = hidden.shape
        states = A.shape[-1]
        self._note(_mamba(inner, states), A, *rest, *named.values())
        out = torch.empty_like(hidden)
        state = hidden.new_empty(batch, inner, states, dtype=torch.float32)
        return (out, state) if named.get("return_last_state") else out

    def scan1_step(self, state: torch.Tensor, hidden: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        inner, states = state.shape[-2:]
        self._note(_mamba(inner, states), *rest, *named.values())
        return torch.empty_like(hidden)

    def delta(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *rest: Any, **named: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        batch, _, key_heads, key_width = key.shape
        heads, width = value.shape[-2:]
        moved = 2 * key_heads * key_width + 2 * heads * width + 2 * heads
        operator = Recurrence("", heads * key_width * width, 3, moved, state_type="float32")
        self._note(operator, *rest, *named.values())
        state = value.new_empty(batch, heads, key_width, width, dtype=torch.float32)
        return torch.empty_like(value), state


def _mamba(inner: int, states: int) -> Recurrence:
    return Recurrence("", inner * states, 2, 3 * inner + 2 * states)


def _mamba2(heads: int, width: int, B: torch.Tensor) -> Recurrence:
    groups, states = B.shape[-2:]
    return Recurrence("", heads * width * states, 2, 2 * heads * width + 2 * groups * states + heads)


_PLACES: Mapping[str, Kernel] = {
    "causal_conv1d_fn": _StandIns.convolution,
    "causal_conv1d_update": _StandIns.convolution_step,
    "mamba2_chunk_scan": _StandIns.scan2,
    "mamba2_selective_state_update": _StandIns.scan2_step,
    "mamba_selective_scan": _StandIns.scan1,
    "mamba_selective_state_update": _StandIns.scan1_step,
    "torch_chunk_gated_delta_rule": _StandIns.delta,
    "torch_recurrent_gated_delta_rule": _StandIns.delta,
    "chunk_kimi_delta_attention": _StandIns.delta,
    "recurrent_kimi_delta_attention": _StandIns.delta,
}
"""The name of a kernel, by which models call it, and what stands for it."""


def homes_of(model: nn.Module) -> list[Home]:
    """Where the model's own modules look kernels up."""
    return [vars(sys.modules[name]) for name in {type(module).__module__ for module in model.modules()}]


@contextmanager
def recorded(homes: Sequence[Home], counter: Counter) -> Iterator[None]:
    """Put the stand-ins where kernels are looked up, for as long as this lasts."""
    stand_ins = _StandIns(counter)
    replaced: list[tuple[Home, str, Kernel]] = []
    for home in homes:
        for kernel in _PLACES.keys() & home.keys():
            replaced.append((home, kernel, home[kernel]))
            home[kernel] = functools.partial(_PLACES[kernel], stand_ins)
    try:
        yield
    finally:
        for home, kernel, own in replaced:
            home[kernel] = own
