"""Falcon: fused query-key-value with one, several or all key-value heads, attention beside a plain MLP."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import Sizes, attention, final_norm, head, norms, plain_mlp, stack
from llm_perf_opt.analysis.static.description import Block, Description, Family, Options
from llm_perf_opt.analysis.static.operators import Table
from llm_perf_opt.analysis.static.reader import Reader


def _kv_heads(config: Reader, heads: int) -> int:
    if not config.flag("new_decoder_architecture"):
        return 1 if config.flag("multi_query") else heads
    kv_heads = config.optional_size("num_kv_heads") or heads
    if heads % kv_heads:
        raise config.error("num_kv_heads", f"is {kv_heads}, which does not divide {heads} heads", "correct one of them")
    return kv_heads


def _norm_names(config: Reader) -> tuple[str, ...]:
    if not config.flag("parallel_attn"):
        return ("input_layernorm", "post_attention_layernorm")
    count = config.optional_size("num_ln_in_parallel_attn")
    if count == 2 or (count is None and config.flag("new_decoder_architecture")):
        return ("ln_attn", "ln_mlp")
    return ("input_layernorm",)


def _describe(config: Reader, options: Options) -> Description:
    hidden, heads = config.size("hidden_size"), config.size("num_attention_heads")
    size = Sizes(
        hidden=hidden,
        layers=config.size("num_hidden_layers"),
        heads=heads,
        kv_heads=_kv_heads(config, heads),
        head_dim=config.divides("hidden_size", "num_attention_heads"),
        inner=config.optional_size("ffn_hidden_size") or 4 * hidden,
    )
    bias, vocabulary = config.flag("bias"), config.size("vocab_size")
    layer = (
        *norms(_norm_names(config), hidden, bias=True),
        *attention(
            size, qkv_bias=bias, out_bias=bias, fused="query_key_value", output="dense", module="self_attention"
        ),
        *plain_mlp(hidden, size.inner, bias=bias, up="dense_h_to_4h", down="dense_4h_to_h"),
    )
    blocks = (
        Block("word_embeddings", (Table("weight", vocabulary, hidden),)),
        *stack([("layer", layer)] * size.layers, name="h"),
        final_norm(hidden, bias=True, name="ln_f"),
        head(hidden, vocabulary, tied=config.flag("tie_word_embeddings")),
    )
    return Description(blocks)


FAMILIES = (
    Family(
        "falcon",
        {
            "vocab_size": 65024,
            "hidden_size": 4544,
            "num_hidden_layers": 32,
            "num_attention_heads": 71,
            "num_ln_in_parallel_attn": None,
            "num_kv_heads": None,
            "new_decoder_architecture": False,
            "multi_query": True,
            "parallel_attn": True,
            "bias": False,
            "ffn_hidden_size": None,
            "tie_word_embeddings": True,
        },
        _describe,
        aliases={"n_embed": "hidden_size"},
    ),
)
