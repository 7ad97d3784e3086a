"""BLOOM: fused query-key-value, ALiBi, plain MLP of four times the width, a norm behind the embedding."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import Sizes, attention, final_norm, head, norms, plain_mlp, stack
from llm_perf_opt.analysis.static.description import Block, Description, Family, Options
from llm_perf_opt.analysis.static.operators import Table
from llm_perf_opt.analysis.static.reader import Reader


def _describe(config: Reader, options: Options) -> Description:
    hidden, heads = config.size("hidden_size"), config.size("n_head")
    size = Sizes(
        hidden=hidden,
        layers=config.size("n_layer"),
        heads=heads,
        kv_heads=heads,
        head_dim=config.divides("hidden_size", "n_head"),
        inner=4 * hidden,
    )
    vocabulary = config.size("vocab_size")
    layer = (
        *norms(("input_layernorm", "post_attention_layernorm"), hidden, bias=True),
        *attention(
            size, qkv_bias=True, out_bias=True, fused="query_key_value", output="dense", module="self_attention"
        ),
        *plain_mlp(hidden, size.inner, bias=True, up="dense_h_to_4h", down="dense_4h_to_h"),
    )
    blocks = (
        Block("word_embeddings", (Table("weight", vocabulary, hidden),)),
        Block("word_embeddings_layernorm", norms(("weight",), hidden, bias=True)),
        *stack([("layer", layer)] * size.layers, name="h"),
        final_norm(hidden, bias=True, name="ln_f"),
        head(hidden, vocabulary, tied=config.flag("tie_word_embeddings")),
    )
    return Description(blocks)


FAMILIES = (
    Family(
        "bloom",
        {"vocab_size": 250880, "hidden_size": 64, "n_layer": 2, "n_head": 8, "tie_word_embeddings": True},
        _describe,
        aliases={"num_hidden_layers": "n_layer", "num_attention_heads": "n_head", "n_embed": "hidden_size"},
    ),
)
