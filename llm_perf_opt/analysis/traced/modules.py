"""Stand-ins for modules that look into their values, or count what they multiply in a way that no counter sees.

A router says which experts multiply which tokens; an indexer, which keys a query sees. Without weights neither has
values, but how much is multiplied does not depend on them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from llm_perf_opt.analysis.static.entries import EntryAttention
from llm_perf_opt.analysis.static.state import CausalConvolution, Recurrence
from llm_perf_opt.analysis.traced.counter import Call, Counter

StandIn = Callable[..., Any]


def put_stand_ins(model: nn.Module, counter: Counter) -> None:
    """Let the stand-ins run in place of these modules' own methods from now on."""
    for module in model.modules():
        for name, stand_in in _stand_ins(module).items():
            setattr(module, name, partial(stand_in, counter, module))


def _stand_ins(module: nn.Module) -> dict[str, StandIn]:
    """Methods of a module -> what runs instead."""
    if _loops_over_experts(module):
        return {"forward": _experts}
    return _BY_CLASS.get(type(module).__name__, {})


def _note_experts(counter: Counter, weight: torch.Tensor, rows: int, experts: int | None = None) -> None:
    """A product of `rows` rows by matrices that are one parameter: side by side, or of `experts` below one another."""
    count, inputs = experts or int(weight.shape[0]), int(weight.shape[-1])
    outputs = weight.numel() // (count * inputs)
    name = counter.touch(weight)
    call = Call(counter.path, "experts", 2 * rows * inputs * outputs, name, rows, (inputs, outputs), count)
    counter.calls.append(call)


def _looped(module: nn.Module) -> tuple[int, int] | None:
    """How many experts each side of a module has that looks which of them are chosen, and multiplies by those one after
    the other; None for another. Those that transformers runs with its grouped products say `has_gate`."""
    own = dict(module.named_parameters(recurse=False))
    shapes = [tuple(own[name].shape) for name in ("gate_up_proj", "down_proj") if name in own]
    if hasattr(module, "has_gate") or [len(shape) for shape in shapes] != [3, 3]:
        return None
    takes = list(inspect.signature(type(module).forward).parameters)
    routed = takes[1:] == ["hidden_states", "top_k_index", "top_k_weights"]
    return (shapes[0][0], shapes[1][0]) if routed else None


def _loops_over_experts(module: nn.Module) -> bool:
    sides = _looped(module)
    return sides is not None and sides[0] == sides[1]


def decided_by_routing(model: nn.Module) -> str | None:
    """Why the router of a model decides how much is multiplied; None where it does not."""
    for module in model.modules():
        sides = _looped(module)
        if sides is not None and sides[0] != sides[1]:
            return (
                f"{abs(sides[0] - sides[1])} of the {max(sides)} experts of a {type(module).__name__} multiply "
                "nothing, and the router alone decides how many of a token's experts are of these"
            )
    return None


def _experts(counter: Counter, module: Any, hidden: torch.Tensor, index: torch.Tensor, _: torch.Tensor) -> Any:
    """Each token by the experts it is routed to, whichever these are."""
    for weight in (module.gate_up_proj, module.down_proj):
        _note_experts(counter, weight, index.numel())
    return torch.empty_like(hidden)


def _stacked_experts(counter: Counter, module: Any, hidden: torch.Tensor, index: torch.Tensor, _: torch.Tensor) -> Any:
    """The same where a parameter has the matrices of all experts one below the other."""
    for stacked in module.mlp.parameters():
        _note_experts(counter, stacked, index.numel(), module.num_experts)
    return torch.empty_like(hidden)


def _sorted_experts(counter: Counter, module: Any, rows: torch.Tensor, sizes: object) -> torch.Tensor:
    """Rows that are sorted by their experts."""
    _note_experts(counter, module.weight, rows.shape[0])
    return rows.new_empty(rows.shape[0], module.output_size)


def _sorting_router(counter: Counter, module: Any, hidden: torch.Tensor) -> tuple[Any, ...]:
    """Which rows go where: their number is that of the choices."""
    logits = module.layer(hidden)
    chosen = hidden.shape[0] * module.top_k
    places = torch.zeros(chosen, dtype=torch.long, device=hidden.device)
    return places, places, hidden.new_empty(chosen), None, logits


def _scored_blocks(
    counter: Counter, module: Any, hidden: torch.Tensor, _: Any, mask: torch.Tensor | None, past: Any
) -> torch.Tensor:
    """Each query by one key a complete block before it, one query after the other."""
    batch, queries, _ = hidden.shape
    heads, width = module.index_n_heads, module.index_head_dim
    keys = module.index_qk_proj(hidden)[..., heads * width :]
    in_sight = past.update_indexer(keys, module.layer_idx).shape[1] if past is not None else queries
    counter.touch(module.q_layernorm.weight)
    counter.touch(module.k_layernorm.weight)
    scored = EntryAttention("", heads, width, module.compress_ratio, masked=False)
    counter.calls.append(Call(counter.path, "state", 0, detail=scored))
    return torch.ones(batch, 1, queries, in_sight, dtype=torch.bool, device=hidden.device)


def _pooled_keys(counter: Counter, module: Any, packed_states: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """One key a complete pool of positions."""
    batch, positions, _ = packed_states.shape
    pools = positions // module.index_kpool
    counter.touch(module.index_kpool_compress_ape)
    indices = torch.zeros(batch, pools, module.index_kpool, dtype=torch.long, device=packed_states.device)
    keys = packed_states.new_empty(batch, pools, module.head_dim)
    return keys, indices, torch.ones(batch, pools, dtype=torch.bool, device=packed_states.device)


def _gated_recurrence(counter: Counter, module: Any, hidden_states: torch.Tensor, **rest: Any) -> tuple[Any, Any]:
    """A state that decays and takes the token in: one multiply-add an element."""
    width = hidden_states.shape[-1]
    counter.calls.append(Call(counter.path, "state", 0, detail=Recurrence("", width, 1, 3 * width, "float32")))
    return torch.empty_like(hidden_states), rest["recurrent_states"]


def _recurrent_block(
    counter: Counter, module: Any, hidden: torch.Tensor, position_ids: torch.Tensor, **_: Any
) -> tuple[torch.Tensor, None]:
    """The convolution of this block is written twice: over padded positions, and as multiply and sum."""
    gate, inner = module.linear_y(hidden), module.linear_x(hidden)
    for weight in module.conv_1d.parameters():
        counter.touch(weight)
    convolved = CausalConvolution("", module.lru_width, module.conv1d_width, module.conv_1d.bias is not None)
    counter.calls.append(Call(counter.path, "state", 0, detail=convolved))
    return module.linear_out(module.rg_lru(inner, position_ids) * gate), None


_BY_CLASS: dict[str, dict[str, StandIn]] = {
    "DbrxExperts": {"forward": _stacked_experts},
    "JetMoeParallelExperts": {"forward": _sorted_experts},
    "JetMoeTopKGating": {"forward": _sorting_router},
    "Qwen4ExpTextQSAIndexer": {"forward": _scored_blocks},
    "Glm5NextTextIndexer": {"get_pooled_states": _pooled_keys},
    "RecurrentGemmaRecurrentBlock": {"forward": _recurrent_block},
    "RecurrentGemmaRglru": {"_rnn_scan": _gated_recurrence},
}
