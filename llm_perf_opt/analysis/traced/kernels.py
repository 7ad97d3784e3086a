"""Stand-ins for the recurrent kernels that transformers' models call: the state they keep, without the arithmetic.

transformers writes these kernels in plain torch: in chunks where a prompt is read (more products than the recurrence
has) and as multiply and sum where one token is decoded (products that no counter sees). The models call them by
name, so that what is recorded here is the recurrence itself, for every model that has one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from llm_perf_opt.analysis.static.state import CausalConvolution, Recurrence
from llm_perf_opt.analysis.traced.counter import Call, Counter

Kernel = Callable[..., Any]
Home = dict[str, Any]
"""The names of one Python module."""


def _kernels(counter: Counter) -> dict[str, Kernel]:
    def note(operator: Recurrence | CausalConvolution, *used: object) -> None:
        for value in used:
            counter.touch(value)
        counter.calls.append(Call(counter.path, "state", 0, detail=operator))

    def convolve(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        channels, kernel = (int(side) for side in weight.shape)
        note(CausalConvolution("", channels, kernel, bias is not None), weight, bias)
        return torch.empty_like(hidden)

    def convolution(hidden: torch.Tensor, weight: torch.Tensor, bias: Any = None, *_: Any, **named: Any) -> Any:
        return convolve(hidden, weight, bias)

    def convolution_step(
        hidden: torch.Tensor, state: Any, weight: torch.Tensor, bias: Any = None, *_: Any, **named: Any
    ) -> Any:
        return convolve(hidden, weight, bias)

    def scan2(
        hidden: torch.Tensor,
        dt: Any,
        A: Any,
        B: torch.Tensor,
        C: Any,
        *rest: Any,
        **named: Any,
    ) -> Any:
        batch, _, heads, width = hidden.shape
        state = hidden.new_empty(batch, heads, width, B.shape[-1], dtype=torch.float32)
        inner = heads * width
        note(
            Recurrence("", inner * B.shape[-1], 2, 2 * inner + 2 * B.shape[-2] * B.shape[-1] + heads),
            A, named.get("D"), named.get("dt_bias"),
        )  # fmt: skip
        out = torch.empty_like(hidden)
        return (out, state) if named.get("return_final_states") else out

    def scan2_step(
        state: torch.Tensor,
        hidden: torch.Tensor,
        dt: Any,
        A: Any,
        B: torch.Tensor,
        *rest: Any,
        **named: Any,
    ) -> Any:
        _, heads, width = hidden.shape
        inner = heads * width
        note(
            Recurrence("", inner * B.shape[-1], 2, 2 * inner + 2 * B.shape[-2] * B.shape[-1] + heads),
            A, *rest, named.get("dt_bias"),
        )  # fmt: skip
        return torch.empty_like(hidden)

    def scan1(
        hidden: torch.Tensor,
        dt: Any,
        A: torch.Tensor,
        *rest: Any,
        **named: Any,
    ) -> Any:
        batch, inner, _ = hidden.shape
        states = A.shape[-1]
        note(Recurrence("", inner * states, 2, 3 * inner + 2 * states), A, *rest, *named.values())
        out = torch.empty_like(hidden)
        state = hidden.new_empty(batch, inner, states, dtype=torch.float32)
        return (out, state) if named.get("return_last_state") else out

    def scan1_step(state: torch.Tensor, hidden: torch.Tensor, *rest: Any, **named: Any) -> Any:
        inner, states = state.shape[-2:]
        note(Recurrence("", inner * states, 2, 3 * inner + 2 * states), *rest, *named.values())
        return torch.empty_like(hidden)

    def delta(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *rest: Any, **named: Any) -> Any:
        batch, _, key_heads, key_width = key.shape
        heads, width = value.shape[-2:]
        note(
            Recurrence(
                "",
                heads * key_width * width,
                3,
                2 * key_heads * key_width + 2 * heads * width + 2 * heads,
                state_type="float32",
            ),
            *rest,
            *named.values(),
        )
        state = value.new_empty(batch, heads, key_width, width, dtype=torch.float32)
        return torch.empty_like(value), state

    return {
        "causal_conv1d_fn": convolution,
        "causal_conv1d_update": convolution_step,
        "mamba2_chunk_scan": scan2,
        "mamba2_selective_state_update": scan2_step,
        "mamba_selective_scan": scan1,
        "mamba_selective_state_update": scan1_step,
        "torch_chunk_gated_delta_rule": delta,
        "torch_recurrent_gated_delta_rule": delta,
        "chunk_kimi_delta_attention": delta,
        "recurrent_kimi_delta_attention": delta,
    }


def homes_of(model: nn.Module) -> list[Home]:
    """Where the model's own modules look kernels up."""
    return [vars(sys.modules[name]) for name in {type(module).__module__ for module in model.modules()}]


@contextmanager
def recorded(homes: Sequence[Home], counter: Counter) -> Iterator[None]:
    """Put the stand-ins where kernels are looked up, for as long as this lasts."""
    kernels = _kernels(counter)
    replaced: list[tuple[Home, str, Kernel]] = []
    for home in homes:
        for kernel in kernels.keys() & home.keys():
            replaced.append((home, kernel, home[kernel]))
            home[kernel] = kernels[kernel]
    try:
        yield
    finally:
        for home, kernel, own in replaced:
            home[kernel] = own
