"""GPT-2 and GPT-BigCode: learned positions, layer norms and biases everywhere, tied head, plain MLP."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import Sizes, attention, final_norm, head, norms, plain_mlp, stack
from llm_perf_opt.analysis.static.description import Block, Description, Family, Options
from llm_perf_opt.analysis.static.operators import Table
from llm_perf_opt.analysis.static.reader import Reader


def _describe(config: Reader, options: Options) -> Description:
    hidden, heads = config.size("n_embd"), config.size("n_head")
    # GPT-BigCode's heads may share one key-value head.
    shared = "multi_query" in config.defaults and config.flag("multi_query")
    size = Sizes(
        hidden=hidden,
        layers=config.size("n_layer"),
        heads=heads,
        kv_heads=1 if shared else heads,
        head_dim=config.divides("n_embd", "n_head"),
        inner=config.optional_size("n_inner") or 4 * hidden,
    )
    layer = (
        *norms(("ln_1", "ln_2"), hidden, bias=True),
        *attention(size, qkv_bias=True, out_bias=True, fused="c_attn", output="c_proj", module="attn"),
        *plain_mlp(hidden, size.inner, bias=True, up="c_fc", down="c_proj"),
    )
    vocabulary = config.size("vocab_size")
    blocks = (
        Block("wte", (Table("weight", vocabulary, hidden),)),
        Block("wpe", (Table("weight", config.size("n_positions"), hidden),)),
        *stack([("layer", layer)] * size.layers, name="h"),
        final_norm(hidden, bias=True, name="ln_f"),
        head(hidden, vocabulary, tied=config.flag("tie_word_embeddings")),
    )
    return Description(blocks, positions=config.size("n_positions"))


_DEFAULTS = {
    "vocab_size": 50257,
    "n_positions": 1024,
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_inner": None,
    "tie_word_embeddings": True,
}
_ALIASES = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}

FAMILIES = (
    Family("gpt2", _DEFAULTS, _describe, aliases=_ALIASES),
    Family("gpt_bigcode", {**_DEFAULTS, "multi_query": True}, _describe, aliases=_ALIASES),
)
