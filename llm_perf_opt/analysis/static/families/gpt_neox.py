"""GPT-NeoX (Pythia): fused query-key-value, plain MLP, layer norms, rotary positions."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import Sizes, attention, final_norm, head, norms, plain_mlp, stack
from llm_perf_opt.analysis.static.description import Block, Description, Family, Options
from llm_perf_opt.analysis.static.operators import Table
from llm_perf_opt.analysis.static.reader import Reader


def _describe(config: Reader, options: Options) -> Description:
    heads = config.size("num_attention_heads")
    size = Sizes(
        hidden=config.size("hidden_size"),
        layers=config.size("num_hidden_layers"),
        heads=heads,
        kv_heads=heads,
        head_dim=config.divides("hidden_size", "num_attention_heads"),
        inner=config.size("intermediate_size"),
    )
    bias, vocabulary = config.flag("attention_bias"), config.size("vocab_size")
    layer = (
        *norms(("input_layernorm", "post_attention_layernorm"), size.hidden, bias=True),
        *attention(size, qkv_bias=bias, out_bias=bias, fused="query_key_value", output="dense", module="attention"),
        *plain_mlp(size.hidden, size.inner, bias=True, up="dense_h_to_4h", down="dense_4h_to_h"),
    )
    blocks = (
        Block("embed_in", (Table("weight", vocabulary, size.hidden),)),
        *stack([("layer", layer)] * size.layers),
        final_norm(size.hidden, bias=True, name="final_layer_norm"),
        head(size.hidden, vocabulary, tied=config.flag("tie_word_embeddings"), name="embed_out"),
    )
    return Description(blocks)


FAMILIES = (
    Family(
        "gpt_neox",
        {
            "vocab_size": 50432,
            "hidden_size": 6144,
            "num_hidden_layers": 44,
            "num_attention_heads": 64,
            "intermediate_size": 24576,
            "tie_word_embeddings": False,
            "attention_bias": True,
        },
        _describe,
    ),
)
