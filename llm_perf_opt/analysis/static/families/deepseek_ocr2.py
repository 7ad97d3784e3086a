"""DeepSeek-OCR-2: a decoder of multi-head attention and mixture of experts with shared ones."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import (
    DENSE_DEFAULTS,
    attention,
    causal_lm,
    gated_mlp,
    head_counts,
    norms,
    routed_experts,
)
from llm_perf_opt.analysis.static.description import Block, Description, Family, Options
from llm_perf_opt.analysis.static.operators import Operator
from llm_perf_opt.analysis.static.reader import Reader

TEXT_DEFAULTS: dict[str, object] = {
    **{key: value for key, value in DENSE_DEFAULTS.items() if key not in ("head_dim", "tie_word_embeddings")},
    "vocab_size": 102400,
    "attention_bias": False,
    "mlp_bias": False,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "num_experts_per_tok": None,
    "moe_intermediate_size": 1407,
    "mlp_layer_types": None,
}


def decoder_blocks(config: Reader, *, tied: bool) -> tuple[Block, ...]:
    """The text decoder, from embedding to head."""
    hidden, layers = config.size("hidden_size"), config.size("num_hidden_layers")
    heads, kv_heads = head_counts(config)
    head_dim = config.divides("hidden_size", "num_attention_heads")
    bias, mlp_bias = config.flag("attention_bias"), config.flag("mlp_bias")
    kinds = config.per_layer("mlp_layer_types", layers, ("dense", "sparse"))
    if kinds is None:
        raise config.error("mlp_layer_types", "is missing", "give 'dense' or 'sparse' for each layer")
    mixed = attention(hidden, heads, kv_heads, head_dim, qkv_bias=bias, out_bias=bias)
    shared = norms(("input_layernorm", "post_attention_layernorm"), hidden) + mixed

    def layer(kind: str) -> tuple[Operator, ...]:
        if kind == "dense":
            return shared + gated_mlp(hidden, config.size("intermediate_size"), bias=mlp_bias)
        inner = config.size("moe_intermediate_size")
        return (
            *shared,
            *routed_experts(config, hidden, inner, count="n_routed_experts", top_k="num_experts_per_tok"),
            *gated_mlp(hidden, inner * config.size("n_shared_experts"), bias=mlp_bias, module="mlp.shared_experts"),
        )

    return causal_lm(config, [(kind, layer(kind)) for kind in kinds], hidden=hidden, tied=tied)


def _describe(config: Reader, options: Options) -> Description:
    text = Reader(
        config.mapping("text_config"),
        TEXT_DEFAULTS,
        where=config.where,
        prefix=f"{config.prefix}text_config.",
        aliases={"num_experts": "n_routed_experts"},
    )
    text.check_spelling()
    blocks = decoder_blocks(text, tied=config.flag("tie_word_embeddings"))
    return Description(blocks, vision_reason="the vision path of deepseek_ocr2 is not covered")


FAMILIES = (
    Family("deepseek_ocr2", {"text_config": None, "vision_config": None, "tie_word_embeddings": False}, _describe),
)
