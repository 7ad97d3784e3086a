"""GPT-2: learned positions, layer norms and biases everywhere, tied head, plain MLP."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import attention, final_norm, head, norms, plain_mlp, stack
from llm_perf_opt.analysis.static.description import Block, Description, Family, Options
from llm_perf_opt.analysis.static.operators import Table
from llm_perf_opt.analysis.static.reader import Reader


def _describe(config: Reader, options: Options) -> Description:
    hidden, layers, heads = config.size("n_embd"), config.size("n_layer"), config.size("n_head")
    head_dim = config.divides("n_embd", "n_head")
    inner = config.optional_size("n_inner") or 4 * hidden
    layer = (
        *norms(("ln_1", "ln_2"), hidden, bias=True),
        *attention(
            hidden, heads, heads, head_dim, qkv_bias=True, out_bias=True, fused="c_attn", output="c_proj", module="attn"
        ),
        *plain_mlp(hidden, inner, bias=True, up="c_fc", down="c_proj"),
    )
    vocabulary = config.size("vocab_size")
    blocks = (
        Block("wte", (Table("weight", vocabulary, hidden),)),
        Block("wpe", (Table("weight", config.size("n_positions"), hidden),)),
        *stack([("layer", layer)] * layers, name="h"),
        final_norm(hidden, bias=True, name="ln_f"),
        head(hidden, vocabulary, tied=config.flag("tie_word_embeddings")),
    )
    return Description(blocks)


FAMILIES = (
    Family(
        "gpt2",
        {
            "vocab_size": 50257,
            "n_positions": 1024,
            "n_embd": 768,
            "n_layer": 12,
            "n_head": 12,
            "n_inner": None,
            "tie_word_embeddings": True,
        },
        _describe,
        aliases={
            "hidden_size": "n_embd",
            "max_position_embeddings": "n_positions",
            "num_attention_heads": "n_head",
            "num_hidden_layers": "n_layer",
        },
    ),
)
