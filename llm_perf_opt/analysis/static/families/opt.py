"""OPT: learned positions (offset by two), plain MLP, layer norms, optionally a narrower embedding."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import Sizes, attention, head, norms, plain_mlp, stack
from llm_perf_opt.analysis.static.description import Block, Description, Family, Options
from llm_perf_opt.analysis.static.operators import Linear, Operator, Table
from llm_perf_opt.analysis.static.reader import Reader


def _describe(config: Reader, options: Options) -> Description:
    heads = config.size("num_attention_heads")
    size = Sizes(
        hidden=config.size("hidden_size"),
        layers=config.size("num_hidden_layers"),
        heads=heads,
        kv_heads=heads,
        head_dim=config.divides("hidden_size", "num_attention_heads"),
        inner=config.size("ffn_dim"),
    )
    hidden, bias = size.hidden, config.flag("enable_bias")
    norm_width = hidden if config.flag("layer_norm_elementwise_affine") else 0
    layer = (
        *norms(("self_attn_layer_norm", "final_layer_norm"), norm_width, bias=True),
        *attention(size, qkv_bias=bias, out_bias=bias, output="out_proj"),
        *plain_mlp(hidden, size.inner, bias=bias, up="fc1", down="fc2", module=""),
    )
    vocabulary, width = config.size("vocab_size"), config.optional_size("word_embed_proj_dim") or hidden
    project_in: tuple[Operator, ...] = () if width == hidden else (Linear("project_in", width, hidden),)
    project_out: tuple[Operator, ...] = () if width == hidden else (Linear("project_out", hidden, width),)
    normed = config.flag("do_layer_norm_before") and not config.flag("_remove_final_layer_norm")
    blocks = (
        Block("embed_tokens", (Table("weight", vocabulary, width), *project_in)),
        Block("embed_positions", (Table("weight", config.size("max_position_embeddings") + 2, hidden),)),
        *stack([("layer", layer)] * size.layers),
        Block("decoder", (*norms(("final_layer_norm",), norm_width if normed else 0, bias=True), *project_out)),
        head(width, vocabulary, tied=config.flag("tie_word_embeddings")),
    )
    return Description(blocks, positions=config.size("max_position_embeddings"))


FAMILIES = (
    Family(
        "opt",
        {
            "vocab_size": 50272,
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "ffn_dim": 3072,
            "max_position_embeddings": 2048,
            "do_layer_norm_before": True,
            "_remove_final_layer_norm": False,
            "word_embed_proj_dim": None,
            "num_attention_heads": 12,
            "enable_bias": True,
            "layer_norm_elementwise_affine": True,
            "tie_word_embeddings": True,
        },
        _describe,
    ),
)
