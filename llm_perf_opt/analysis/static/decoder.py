"""Blocks that decoder families share: grouped-query attention, MLPs, mixture of experts, embedding, head."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llm_perf_opt.analysis.static.attention import Attention
from llm_perf_opt.analysis.static.description import Block
from llm_perf_opt.analysis.static.operators import Experts, Linear, Operator, Table, Vector
from llm_perf_opt.analysis.static.reader import Reader
from llm_perf_opt.analysis.static.rows import Rows


def head_counts(
    config: Reader, heads_key: str = "num_attention_heads", kv_key: str = "num_key_value_heads"
) -> tuple[int, int]:
    """Query heads and key-value heads; null key-value heads are as many as query heads."""
    heads = config.size(heads_key)
    kv_heads = config.optional_size(kv_key) or heads
    if heads % kv_heads:
        raise config.error(
            heads_key,
            f"is {heads}, which {config.name(kv_key)} = {kv_heads} does not divide",
            "each key-value head serves a whole number of query heads: correct one of the two",
        )
    return heads, kv_heads


def head_size(
    config: Reader, key: str = "head_dim", *, hidden: str = "hidden_size", heads: str = "num_attention_heads"
) -> int:
    """`head_dim` where the file or the type gives one, else the hidden size divided by the heads."""
    given = config.optional_size(key)
    if given is not None:
        return given
    if not config.given(hidden) and not config.given(heads):
        # The defaults of some types do not divide; transformers rounds down.
        return config.size(hidden) // config.size(heads)
    return config.divides(hidden, heads)


@dataclass(frozen=True, slots=True)
class Sizes:
    """The numbers that nearly every decoder has."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    inner: int
    """Of the dense MLP; 0 for a type that has none."""


def sizes(config: Reader, *, divides: bool = False) -> Sizes:
    """Read the usual keys; a type that declares no `head_dim` always divides the hidden size by the heads.

    Args:
        divides: transformers wants that to leave no remainder even where `head_dim` is given.
    """
    heads, kv_heads = head_counts(config)
    own = "head_dim" in config.defaults
    if divides or not own:
        config.divides("hidden_size", "num_attention_heads")
    return Sizes(
        hidden=config.size("hidden_size"),
        layers=config.size("num_hidden_layers"),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_size(config) if own else config.divides("hidden_size", "num_attention_heads"),
        inner=config.size("intermediate_size") if "intermediate_size" in config.defaults else 0,
    )


def attention(
    size: Sizes,
    *,
    window: int | None = None,
    qkv_bias: bool = False,
    out_bias: bool = False,
    fused: str | None = None,
    output: str = "o_proj",
    module: str = "self_attn",
    gated: bool = False,
    chunked: bool = False,
    extra: Sequence[Operator] = (),
) -> tuple[Operator, ...]:
    """Projections and attention of one layer.

    Args:
        fused: the name of a single query-key-value projection.
        gated: the query projection yields a gate of the same width too.
        chunked: the window cuts the positions into chunks instead of sliding.
    """
    query, key_value = size.heads * size.head_dim, size.kv_heads * size.head_dim
    if fused:
        projections: tuple[Operator, ...] = (Linear(f"{module}.{fused}", size.hidden, query + 2 * key_value, qkv_bias),)
    else:
        projections = (
            Linear(f"{module}.q_proj", size.hidden, 2 * query if gated else query, qkv_bias),
            Linear(f"{module}.k_proj", size.hidden, key_value, qkv_bias),
            Linear(f"{module}.v_proj", size.hidden, key_value, qkv_bias),
        )
    scores = Attention(f"{module}.attention", size.heads, size.head_dim, size.head_dim, 2 * key_value, window, chunked)
    return (*projections, *extra, scores, Linear(f"{module}.{output}", query, size.hidden, out_bias))


def last_positions(operators: Sequence[Operator]) -> tuple[Operator, ...]:
    """The same layer run for the positions whose logits are wanted alone."""
    done: list[Operator] = []
    for operator in operators:
        if isinstance(operator, Linear | Experts) and operator.rows is Rows.TOKENS:
            done.append(replace(operator, rows=Rows.LOGITS))
        elif isinstance(operator, Attention):
            done.append(replace(operator, last_only=True))
        else:
            done.append(operator)
    return tuple(done)


def head_norms(size: Sizes, *, per_head: bool = True) -> tuple[Operator, ...]:
    """RMS norms of query and key: one head wide and shared by all heads, or as wide as all heads."""
    query, key = (1, 1) if per_head else (size.heads, size.kv_heads)
    return (
        Vector("self_attn.q_norm", query * size.head_dim),
        Vector("self_attn.k_norm", key * size.head_dim),
    )


def gated_mlp(
    hidden: int, inner: int, *, bias: bool = False, module: str = "mlp", rows: Rows | int = Rows.TOKENS
) -> tuple[Operator, ...]:
    """gate, up and down projections."""
    return (
        Linear(f"{module}.gate_proj", hidden, inner, bias, rows),
        Linear(f"{module}.up_proj", hidden, inner, bias, rows),
        Linear(f"{module}.down_proj", inner, hidden, bias, rows),
    )


def fused_mlp(hidden: int, inner: int, *, module: str = "mlp") -> tuple[Operator, ...]:
    """Gate and up in one projection, then down."""
    return Linear(f"{module}.gate_up_proj", hidden, 2 * inner), Linear(f"{module}.down_proj", inner, hidden)


def plain_mlp(
    hidden: int, inner: int, *, bias: bool, up: str = "up_proj", down: str = "down_proj", module: str = "mlp"
) -> tuple[Operator, ...]:
    """Two projections with an activation between."""
    prefix = f"{module}." if module else ""
    return Linear(f"{prefix}{up}", hidden, inner, bias), Linear(f"{prefix}{down}", inner, hidden, bias)


def checked_top_k(config: Reader, count: str, top_k: str) -> tuple[int, int]:
    """How many experts there are and how many a token visits."""
    total, chosen = config.size(count), config.size(top_k)
    if chosen > total:
        raise config.error(
            top_k,
            f"is {chosen}, above {config.name(count)} = {total}",
            "a token cannot visit more experts than there are: correct one of the two",
        )
    return total, chosen


def routed_experts(
    config: Reader,
    hidden: int,
    inner: int,
    *,
    count: str,
    top_k: str,
    router: str = "mlp.gate",
    router_bias: bool = False,
    experts: str = "mlp.experts",
    bias: bool = False,
) -> tuple[Operator, ...]:
    """Router and gated experts; `count` and `top_k` are the keys of their numbers."""
    total, chosen = checked_top_k(config, count, top_k)
    return (
        Linear(router, hidden, total, router_bias, quantizable=False),
        Experts(experts, total, chosen, ((hidden, 2 * inner), (inner, hidden)), bias),
    )


def shared_and_routed(config: Reader, hidden: int, *, bias: bool = False) -> tuple[Operator, ...]:
    """DeepSeek's mixture: routed experts, and shared ones run as one wider gated MLP."""
    inner = config.size("moe_intermediate_size")
    return (
        *routed_experts(config, hidden, inner, count="n_routed_experts", top_k="num_experts_per_tok"),
        *gated_mlp(hidden, inner * config.size("n_shared_experts"), bias=bias, module="mlp.shared_experts"),
    )


def norms(names: Iterable[str], width: int, *, bias: bool = False) -> tuple[Operator, ...]:
    """Layer norms (with bias) or RMS norms of one width."""
    return tuple(Vector(name, width * (2 if bias else 1)) for name in names)


def embedding(vocabulary: int, width: int, name: str = "embed_tokens") -> Block:
    """The token embedding."""
    return Block(name, (Table("weight", vocabulary, width),))


def head(width: int, vocabulary: int, *, tied: bool, bias: bool = False, name: str = "lm_head") -> Block:
    """The output head; a tied one reads the embedding's weight."""
    return Block(name, (Linear("logits", width, vocabulary, bias, Rows.LOGITS, shared=tied, quantizable=False),))


def final_norm(width: int, *, bias: bool = False, name: str = "norm") -> Block:
    """The norm before the head."""
    return Block(name, norms(("weight",), width, bias=bias))


def stack(layers: Sequence[tuple[str, tuple[Operator, ...]]], name: str = "layers") -> tuple[Block, ...]:
    """Layers in order, as (kind, operators); equal ones become one block with their count.

    The kind names the block where layers differ: `layers[sliding]`.
    """
    places: dict[tuple[str, tuple[Operator, ...]], list[int]] = {}
    for index, layer in enumerate(layers):
        places.setdefault(layer, []).append(index)
    kinds = [kind for kind, _ in places]
    blocks = []
    for position, ((kind, operators), indices) in enumerate(places.items()):
        label = kind if kinds.count(kind) == 1 else f"{kind}#{position}"
        block_name = name if len(places) == 1 else f"{name}[{label}]"
        blocks.append(Block(block_name, operators, len(indices), tuple(indices)))
    return tuple(blocks)


def layer_windows(
    config: Reader, layers: int, window: int | None, *, default: Sequence[str] | None = None
) -> tuple[int | None, ...]:
    """The attention window of each layer, from `layer_types`; None sees everything.

    Args:
        window: the window of `sliding_attention` layers.
        default: the layer types this model type derives where the file gives none; None is full attention.
    """
    kinds = config.per_layer("layer_types", layers, ("full_attention", "sliding_attention"))
    if kinds is None:
        kinds = tuple(default) if default is not None else ("full_attention",) * layers
    if "sliding_attention" in kinds and window is None:
        raise config.error("layer_types", "names sliding layers without a window", "give sliding_window, in tokens")
    return tuple(window if kind == "sliding_attention" else None for kind in kinds)


def window_kind(window: int | None) -> str:
    """How a layer with this window is called in block names."""
    return "full" if window is None else "sliding"


def causal_lm(
    config: Reader,
    layers: Sequence[tuple[str, tuple[Operator, ...]]],
    *,
    norm_bias: bool = False,
    norm_size: int = 1,
    head_bias: bool = False,
    tied: bool | None = None,
) -> tuple[Block, ...]:
    """Embedding, layers, final norm and head under their usual names.

    Args:
        norm_size: 0 for a final norm without weights.
        tied: whether the head shares the embedding's weight; None reads `tie_word_embeddings`.
    """
    vocabulary, hidden = config.size("vocab_size"), config.size("hidden_size")
    shared = config.flag("tie_word_embeddings") if tied is None else tied
    return (
        embedding(vocabulary, hidden),
        *stack(layers),
        final_norm(hidden * norm_size, bias=norm_bias),
        head(hidden, vocabulary, tied=shared, bias=head_bias),
    )


DENSE: Mapping[str, Any] = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": None,
    "head_dim": None,
    "tie_word_embeddings": False,
}
"""What most dense decoders read, with Llama's values; a family overrides what differs in its type."""

BEFORE = ("input_layernorm", "post_attention_layernorm")
"""The usual two norms of a layer."""


def alternating(layers: int, every: int) -> list[str]:
    """Sliding layers with a full one after each `every` - 1 of them."""
    return ["full_attention" if (layer + 1) % every == 0 else "sliding_attention" for layer in range(layers)]
