"""DeepSeek V3.2 and GLM-5: latent attention on the keys that an indexer selects for each query.

The indexer scores every key before a query with a few narrow heads; attention then runs on the best `index_topk`.
GLM-5's layers may reuse the selection of an earlier one.
"""

from __future__ import annotations

from llm_perf_opt.analysis.static.attention import Attention
from llm_perf_opt.analysis.static.description import Description, Family, Options
from llm_perf_opt.analysis.static.families.deepseek import (
    ALIASES,
    DEEPSEEK_V3,
    form_notes,
    latent_attention,
    latent_blocks,
)
from llm_perf_opt.analysis.static.operators import Linear, Operator, Vector
from llm_perf_opt.analysis.static.reader import Reader

_LETTERS = {"F": "full", "S": "shared"}


def _indexer(config: Reader) -> tuple[Operator, ...]:
    hidden, rank = config.size("hidden_size"), config.size("q_lora_rank")
    heads, width = config.size("index_n_heads"), config.size("index_head_dim")
    module = "self_attn.indexer"
    return (
        Linear(f"{module}.wq_b", rank, heads * width),
        Linear(f"{module}.wk", hidden, width),
        Vector(f"{module}.k_norm", 2 * width),
        Linear(f"{module}.weights_proj", hidden, heads),
        # One key for all heads, and a weighted sum of the heads' scores.
        Attention(f"{module}.scores", heads, width, 1, width),
    )


def _indexer_kinds(config: Reader, layers: int) -> tuple[str, ...]:
    """Whether each layer selects keys itself or reuses the last selection."""
    if "indexer_types" not in config.defaults:
        return ("full",) * layers
    listed = config.per_layer("indexer_types", layers, tuple(_LETTERS.values()))
    if listed is not None:
        return listed
    pattern = config.get("index_topk_pattern")
    if pattern is not None:
        letters = config.text("index_topk_pattern")
        if len(letters) != layers or set(letters) - set(_LETTERS):
            raise config.error("index_topk_pattern", f"is {letters!r}", f"write F or S for each of {layers} layers")
        return tuple(_LETTERS[letter] for letter in letters)
    every = config.optional_size("index_topk_freq") or 1
    first = 2 if config.get("index_skip_topk_offset") is None else config.size("index_skip_topk_offset", least=0)
    return tuple("shared" if max(layer - first + 1, 0) % every else "full" for layer in range(layers))


def _describe(config: Reader, options: Options) -> Description:
    selected, indexer = config.size("index_topk"), _indexer(config)
    own = latent_attention(config, options.mla_form, selected=selected, extra=indexer)
    reusing = latent_attention(config, options.mla_form, selected=selected)
    kinds = _indexer_kinds(config, config.size("num_hidden_layers"))
    mixers = [("", own) if kind == "full" else (",shared", reusing) for kind in kinds]
    note = f"attention counts the {selected:,} keys at most that the indexer selects; the indexer scores every key"
    return Description(latent_blocks(config, mixers), notes=(*form_notes(options.mla_form), note))


_SPARSE = {
    **DEEPSEEK_V3,
    "mlp_layer_types": None,
    "index_topk": 2048,
    "index_head_dim": 128,
    "index_n_heads": 64,
}

FAMILIES = (
    Family("deepseek_v32", _SPARSE, _describe, aliases=ALIASES),
    Family(
        "glm_moe_dsa",
        {
            **_SPARSE,
            "vocab_size": 154880,
            "hidden_size": 6144,
            "intermediate_size": 12288,
            "num_hidden_layers": 78,
            "num_attention_heads": 64,
            "num_key_value_heads": 64,
            "q_lora_rank": 2048,
            "v_head_dim": 256,
            "qk_nope_head_dim": 192,
            "index_n_heads": 32,
            "indexer_types": None,
            "index_topk_pattern": None,
            "index_topk_freq": None,
            "index_skip_topk_offset": None,
        },
        _describe,
        aliases=ALIASES,
    ),
)
