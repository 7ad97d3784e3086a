"""Layers that keep a state of a fixed size instead of keys and values: state spaces and linear attention."""

from __future__ import annotations

from collections.abc import Sequence

from llm_perf_opt.analysis.static.operators import Linear, Operator, Vector
from llm_perf_opt.analysis.static.reader import Reader
from llm_perf_opt.analysis.static.state import CausalConvolution, Recurrence

LAYER_TYPES = ("linear_attention", "full_attention")
_EARLIER_NAMES = {"mamba": "linear_attention", "attention": "full_attention"}


def mamba2(
    module: str,
    hidden: int,
    *,
    heads: int,
    head_dim: int,
    groups: int,
    state: int,
    kernel: int,
    bias: bool = False,
    out_bias: bool | None = None,
    conv_bias: bool = True,
    norm: bool = True,
) -> tuple[Operator, ...]:
    """Mamba 2's mixer: one projection in, a convolution over inputs and both state projections, the scan.

    Args:
        out_bias: that of the output projection where it has a switch of its own.
    """
    inner = heads * head_dim
    convolved = inner + 2 * groups * state
    return (
        Linear(f"{module}.in_proj", hidden, inner + convolved + heads, bias),
        CausalConvolution(f"{module}.conv1d", convolved, kernel, conv_bias),
        Vector(f"{module}.A_log,D,dt_bias", 3 * heads),
        Recurrence(f"{module}.scan", inner * state, 2, 2 * inner + 2 * groups * state + heads),
        *((Vector(f"{module}.norm", inner),) if norm else ()),
        Linear(f"{module}.out_proj", inner, hidden, bias if out_bias is None else out_bias),
    )


def gated_delta(
    module: str,
    hidden: int,
    *,
    key_heads: int,
    key_dim: int,
    value_heads: int,
    value_dim: int,
    kernel: int,
    projections: Sequence[tuple[str, int]],
) -> tuple[Operator, ...]:
    """The gated delta rule: a matrix of key x value width a value head, corrected by every token.

    Args:
        projections: name and outputs of each projection of the hidden state.
    """
    keys, values = key_heads * key_dim, value_heads * value_dim
    return (
        *(Linear(f"{module}.{name}", hidden, outputs) for name, outputs in projections),
        CausalConvolution(f"{module}.conv1d", 2 * keys + values, kernel),
        Vector(f"{module}.A_log,dt_bias", 2 * value_heads),
        Recurrence(
            f"{module}.delta_rule",
            value_heads * key_dim * value_dim,
            3,
            2 * keys + 2 * values + 2 * value_heads,
            state_type="float32",
        ),
        Vector(f"{module}.norm", value_dim),
        Linear(f"{module}.out_proj", values, hidden),
    )


def layer_kinds(
    config: Reader, key: str, layers: int, *, default: Sequence[str], allowed: Sequence[str] = LAYER_TYPES
) -> tuple[str, ...]:
    """The kind of each layer, earlier names of the kinds replaced; `default` where the file names none."""
    kinds = config.per_layer(key, layers, (*allowed, *(old for old, new in _EARLIER_NAMES.items() if new in allowed)))
    return tuple(_EARLIER_NAMES.get(kind, kind) for kind in (default if kinds is None else kinds))
