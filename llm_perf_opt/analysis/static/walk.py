"""From described blocks and passes to figures: one loop that every phase, sweep and sum goes through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llm_perf_opt.analysis.static.attention import Attention, CrossAttention
from llm_perf_opt.analysis.static.description import Block
from llm_perf_opt.analysis.static.entries import EntryAttention
from llm_perf_opt.analysis.static.operators import Experts, Operator
from llm_perf_opt.analysis.static.passes import Pass
from llm_perf_opt.analysis.static.precision import Precision
from llm_perf_opt.analysis.static.source_attention import SourceAttention
from llm_perf_opt.analysis.static.state import CausalConvolution, Recurrence

Keeping = Attention | CrossAttention | EntryAttention | SourceAttention
"""Operators that keep something in the cache."""


@dataclass(frozen=True, slots=True)
class Row:
    """One operator over all layers of its block and all passes of a phase. Bytes unless named otherwise."""

    name: str
    kind: str
    compute: str
    """Type that its products run in."""
    repeat: int
    parameters: int
    flops: int
    weight_least: float
    weight_expected: float
    weight_most: float
    kv: float
    activation: float
    state: float = 0.0
    implemented: int = 0
    """FLOPs that transformers' own code runs, where it multiplies more than the model asks; else those of `flops`."""


def _label(block: Block, operator: Operator) -> str:
    return f"{block.name}.{operator.name}"


def row(block: Block, operator: Operator, passes: Sequence[Pass], precision: Precision) -> Row:
    """Figures of one operator."""
    repeat = block.repeat
    least = expected = most = state = 0.0
    count = activations = cached = implemented = 0
    for step in passes:
        flops = operator.flops(step)
        count += flops
        implemented += operator.implemented_flops(step) if isinstance(operator, Experts) else flops
        read = (0, 0, 0) if block.borrowed else operator.weights_read(step)
        least, expected, most = least + read[0], expected + read[1], most + read[2]
        activations += operator.activations(step)
        if isinstance(operator, Keeping):
            cached += operator.cache_read(step) + operator.cache_written(step)
        elif isinstance(operator, Recurrence | CausalConvolution):
            moved = operator.state_read(step) + operator.state_written(step)
            state += moved * precision.state_element_bytes(operator.state_type)
    scale = precision.weight_bytes(block, operator) * repeat
    return Row(
        name=_label(block, operator),
        kind=operator.kind,
        compute=precision.compute_dtype(block, operator),
        repeat=repeat,
        parameters=0 if block.borrowed else operator.parameters() * repeat,
        flops=count * repeat,
        weight_least=least * scale,
        weight_expected=expected * scale,
        weight_most=most * scale,
        kv=cached * repeat * precision.kv_element_bytes(),
        activation=activations * repeat * precision.activation_element_bytes(),
        state=state * repeat,
        implemented=implemented * repeat,
    )


def owned(blocks: Iterable[Block]) -> list[Block]:
    """The blocks without those that run another one's weights again."""
    return [block for block in blocks if not block.borrowed]


def rows(blocks: Iterable[Block], passes: Sequence[Pass], precision: Precision) -> list[Row]:
    """Figures of every operator, in the model's order."""
    return [row(block, operator, passes, precision) for block in blocks for operator in block.operators]


def parameters(blocks: Iterable[Block]) -> tuple[int, int]:
    """All parameters, and those one token goes through."""
    total = active = 0
    for block in owned(blocks):
        for operator in block.operators:
            total += operator.parameters() * block.repeat
            active += operator.active_parameters() * block.repeat
    return total, active


def stored_bytes(blocks: Iterable[Block], precision: Precision) -> int:
    """Bytes of all weights as stored."""
    total = 0.0
    for block in owned(blocks):
        for operator in block.operators:
            total += operator.parameters() * block.repeat * precision.weight_bytes(block, operator)
    return round(total)


def cache_bytes(blocks: Iterable[Block], tokens: int, precision: Precision, source: int = 0) -> int:
    """Cache of one sequence after `tokens` tokens, and `source` positions of its encoder."""
    held = 0
    for block in blocks:
        for operator in block.operators:
            if isinstance(operator, Keeping):
                grown = source if isinstance(operator, SourceAttention) else tokens
                held += operator.cache_held(grown) * block.repeat
    return round(held * precision.kv_element_bytes())


def bytes_per_token(blocks: Iterable[Block], precision: Precision) -> int:
    """Cache that each token adds to one sequence, of entries for several tokens its share."""
    held = 0.0
    for block in blocks:
        for operator in block.operators:
            if isinstance(operator, EntryAttention):
                held += operator.cache_elements / operator.stride * block.repeat
            elif isinstance(operator, Attention):
                held += operator.cache_held(1) * block.repeat
    return round(held * precision.kv_element_bytes())


def state_bytes(blocks: Iterable[Block], precision: Precision, kind: type[Recurrence | CausalConvolution]) -> int:
    """State of one kind that one sequence keeps."""
    held = 0.0
    for block in blocks:
        for operator in block.operators:
            if isinstance(operator, kind):
                each = precision.state_element_bytes(operator.state_type)
                held += operator.state_elements() * block.repeat * each
    return round(held)


def flops(blocks: Iterable[Block], step: Pass) -> int:
    """FLOPs that transformers' own code runs in one pass."""
    total = 0
    for block in blocks:
        for operator in block.operators:
            one = operator.implemented_flops(step) if isinstance(operator, Experts) else operator.flops(step)
            total += one * block.repeat
    return total


def add(first: Row, second: Row) -> Row:
    """The same operator in two phases."""
    return Row(
        name=first.name,
        kind=first.kind,
        compute=first.compute,
        repeat=first.repeat,
        parameters=first.parameters,
        flops=first.flops + second.flops,
        weight_least=first.weight_least + second.weight_least,
        weight_expected=first.weight_expected + second.weight_expected,
        weight_most=first.weight_most + second.weight_most,
        kv=first.kv + second.kv,
        activation=first.activation + second.activation,
        state=first.state + second.state,
        implemented=first.implemented + second.implemented,
    )


def remembered_traffic(blocks: Iterable[Block], step: Pass, precision: Precision) -> float:
    """Bytes of cache and state read and written in one pass."""
    moved = 0.0
    for block in blocks:
        for operator in block.operators:
            if isinstance(operator, Keeping):
                elements = operator.cache_read(step) + operator.cache_written(step)
                moved += elements * block.repeat * precision.kv_element_bytes()
            elif isinstance(operator, Recurrence | CausalConvolution):
                elements = operator.state_read(step) + operator.state_written(step)
                moved += elements * block.repeat * precision.state_element_bytes(operator.state_type)
    return moved


def widest(blocks: Iterable[Block]) -> int:
    """Elements per token that the operator with the widest input and output keeps at once, logits left aside."""
    once = Pass(1, 1, 0, 0)
    return max((operator.activations(once) for block in blocks for operator in block.operators), default=0)
