"""DeepSeek V2 and V3, and Kimi K2: latent attention, dense layers first, then routed experts beside shared ones.

Transformers caches the latent and expands it to keys and values of all heads at every step. `mla_form`
names the two other ways: caching the expanded keys and values, and the absorbed form of decoding, where
the expansion is folded into query and output so that attention runs on the latent itself
(https://arxiv.org/abs/2405.04434, section 2.1).
"""

from __future__ import annotations

from collections.abc import Sequence

from llm_perf_opt.analysis.static.attention import Attention
from llm_perf_opt.analysis.static.decoder import (
    BEFORE,
    DENSE,
    causal_lm,
    gated_mlp,
    head_counts,
    norms,
    shared_and_routed,
)
from llm_perf_opt.analysis.static.description import Block, Description, Family, Options
from llm_perf_opt.analysis.static.operators import Linear, Operator, Vector
from llm_perf_opt.analysis.static.reader import Reader
from llm_perf_opt.analysis.static.rows import Rows

_FORMS = {
    "reexpanded": "latent attention re-expands the latents of the whole context at every step, as transformers does",
    "cached": "latent attention caches the expanded keys and values of every head",
    "absorbed": "latent attention decodes on the cached latents with absorbed projections; prefill expands them",
}


def latent_attention(
    config: Reader, form: str, *, selected: int | None = None, extra: Sequence[Operator] = ()
) -> tuple[Operator, ...]:
    """Projections, expansion and attention of one layer in the named form.

    Args:
        selected: keys each query attends at most, where an indexer chooses them.
        extra: the operators of that indexer.
    """
    hidden, heads = config.size("hidden_size"), head_counts(config)[0]
    nope, rope, value = (config.size(f"{part}_head_dim") for part in ("qk_nope", "qk_rope", "v"))
    rank, query_rank = config.size("kv_lora_rank"), config.optional_size("q_lora_rank")
    bias = config.flag("attention_bias")
    if query_rank is None:
        query: tuple[Operator, ...] = (Linear("self_attn.q_proj", hidden, heads * (nope + rope)),)
    else:
        query = (
            Linear("self_attn.q_a_proj", hidden, query_rank, bias),
            Vector("self_attn.q_a_layernorm", query_rank),
            Linear("self_attn.q_b_proj", query_rank, heads * (nope + rope)),
        )
    rows = {"reexpanded": Rows.KEYS, "cached": Rows.TOKENS, "absorbed": Rows.KEYS_IN_PREFILL}[form]
    cached = heads * (nope + rope + value) if form == "cached" else rank + rope
    decode = (rank + rope, rank) if form == "absorbed" else None
    return (
        *query,
        Linear("self_attn.kv_a_proj_with_mqa", hidden, rank + rope, bias),
        Vector("self_attn.kv_a_layernorm", rank),
        Linear("self_attn.kv_b_proj", rank, heads * (nope + value), rows=rows),
        *extra,
        Attention("self_attn.attention", heads, nope + rope, value, cached, selected=selected, decode_dims=decode),
        Linear("self_attn.o_proj", heads * value, hidden, bias),
    )


def dense_layers(config: Reader, layers: int) -> tuple[bool, ...]:
    """Which layers have a dense MLP: as listed, else the first `first_k_dense_replace`."""
    first = min(config.size("first_k_dense_replace", least=0), layers)
    listed = None
    if "mlp_layer_types" in config.defaults:
        listed = config.per_layer("mlp_layer_types", layers, ("dense", "sparse"))
    return tuple(kind == "dense" for kind in listed) if listed else tuple(layer < first for layer in range(layers))


def latent_blocks(
    config: Reader, mixers: Sequence[tuple[str, tuple[Operator, ...]]], *, tied: bool | None = None
) -> tuple[Block, ...]:
    """The decoder whose layers have these attentions (kind, operators), and dense or mixed MLPs behind them."""
    hidden, dense = config.size("hidden_size"), dense_layers(config, len(mixers))
    mlp_bias = "mlp_bias" in config.defaults and config.flag("mlp_bias")
    single = gated_mlp(hidden, config.size("intermediate_size"), bias=mlp_bias)
    mixture = () if all(dense) else shared_and_routed(config, hidden, bias=mlp_bias)
    stacked = [
        (f"{'dense' if plain else 'moe'}{kind}", norms(BEFORE, hidden) + mixer + (single if plain else mixture))
        for (kind, mixer), plain in zip(mixers, dense, strict=True)
    ]
    return causal_lm(config, stacked, tied=tied)


def form_notes(form: str) -> tuple[str, ...]:
    """What is assumed of latent attention."""
    return (_FORMS[form], "multi-token-prediction layers are not part of the model transformers runs")


def deepseek_blocks(config: Reader, form: str, *, tied: bool | None = None) -> tuple[Block, ...]:
    """DeepSeek's decoder, alone or inside a vision model."""
    mixer = latent_attention(config, form)
    return latent_blocks(config, [("", mixer)] * config.size("num_hidden_layers"), tied=tied)


def _describe(config: Reader, options: Options) -> Description:
    return Description(deepseek_blocks(config, options.mla_form), notes=form_notes(options.mla_form))


LATENT = {
    **{key: value for key, value in DENSE.items() if key != "head_dim"},
    "attention_bias": False,
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
}

DEEPSEEK_V3 = {
    **LATENT,
    "vocab_size": 129280,
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "moe_intermediate_size": 2048,
    "n_shared_experts": 1,
    "n_routed_experts": 256,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 3,
}
ALIASES = {"num_local_experts": "n_routed_experts"}

FAMILIES = (
    Family(
        "deepseek_v2",
        {
            **LATENT,
            "vocab_size": 102400,
            "mlp_bias": False,
            "first_k_dense_replace": 0,
            "n_routed_experts": 64,
            "n_shared_experts": 2,
            "num_experts_per_tok": None,
            "moe_intermediate_size": 1407,
        },
        _describe,
        aliases={"num_experts": "n_routed_experts"},
    ),
    Family("deepseek_v3", DEEPSEEK_V3, _describe, aliases=ALIASES),
    # Moonshot's own name for the same code: its repository's modeling_deepseek.py.
    Family("kimi_k2", DEEPSEEK_V3, _describe, aliases=ALIASES, remote=True),
)
