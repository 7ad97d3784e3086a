"""Gemma 3n: several residual streams (AltUp), an embedding per layer, and layers that reuse earlier keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from llm_perf_opt.analysis.static.attention import Attention
from llm_perf_opt.analysis.static.decoder import (
    alternating,
    attention,
    embedding,
    final_norm,
    gated_mlp,
    head,
    layer_windows,
    norms,
    sizes,
    stack,
    window_kind,
)
from llm_perf_opt.analysis.static.description import Block, Description, Family, Options
from llm_perf_opt.analysis.static.families.gemma import FOUR_NORMS, GEMMA_COMMON
from llm_perf_opt.analysis.static.operators import Linear, Operator, Product, Table, Vector
from llm_perf_opt.analysis.static.reader import Reader
from llm_perf_opt.analysis.static.rows import Rows
from llm_perf_opt.analysis.static.vision import sub_reader


def reusing_layers(config: Reader, kinds: Sequence[object]) -> tuple[bool, ...]:
    """Which layers compute no keys and values: the last `num_kv_shared_layers`, which reuse those of their kind."""
    shared = config.size("num_kv_shared_layers", least=0)
    own = len(kinds) - shared
    if own < 0 or (shared and set(kinds[:own]) != set(kinds)):
        raise config.error(
            "num_kv_shared_layers", f"is {shared}: no earlier layer of the same kind", "give the model's own value"
        )
    return tuple(layer >= own for layer in range(len(kinds)))


def without_own_cache(operators: tuple[Operator, ...]) -> tuple[Operator, ...]:
    """The same attention on keys and values that another layer has made."""
    made = ("k_proj", "v_proj", "k_norm")
    return tuple(
        replace(operator, owns_cache=False) if isinstance(operator, Attention) else operator
        for operator in operators
        if not operator.name.endswith(made)
    )


def per_layer_inputs(config: Reader, hidden: int, layers: int) -> tuple[tuple[Block, ...], tuple[Operator, ...]]:
    """The second embedding, which feeds every layer, and what each layer does with its share."""
    width, rows = config.size("hidden_size_per_layer_input", least=0), config.size("vocab_size_per_layer_input")
    if not width:
        return (), ()
    table = Block("embed_tokens_per_layer", (Table("weight", rows, layers * width),))
    projection = Block(
        "per_layer_model_projection",
        (Linear("projection", hidden, layers * width), Vector("per_layer_projection_norm", width)),
    )
    return (table, projection), (
        Linear("per_layer_input_gate", hidden, width),
        Linear("per_layer_projection", width, hidden),
        Vector("post_per_layer_input_norm", hidden),
    )


def _altup(hidden: int, streams: int) -> tuple[Operator, ...]:
    return (
        Vector("altup.correct_output_scale,router_norm", 2 * hidden),
        Linear("altup.modality_router", hidden, streams),
        Linear("altup.prediction_coefs", streams, streams * streams),
        Product("altup.predict", 1, hidden, streams, streams, rows=Rows.TOKENS),
        # The router runs again on what the layer has made of the active stream.
        Product("altup.modality_router[correct]", 1, 1, streams, hidden, rows=Rows.TOKENS),
        Linear("altup.correction_coefs", streams, streams),
    )


def _inner(config: Reader, layers: int) -> tuple[int, ...]:
    if not isinstance(config.get("intermediate_size"), list | tuple):
        return (config.size("intermediate_size"),) * layers
    listed = config.sizes("intermediate_size", least=1)
    if len(listed) != layers:
        raise config.error("intermediate_size", f"has {len(listed)} entries for {layers} layers", "give one a layer")
    return listed


def gemma3n_blocks(config: Reader, *, tied: bool | None = None) -> tuple[Block, ...]:
    """The text decoder."""
    inner = _inner(config, config.size("num_hidden_layers"))
    one = Reader({**config.values, "intermediate_size": inner[0]}, config.defaults, where=config.where)
    size, bias = sizes(one, divides=True), config.flag("attention_bias")
    streams, rank, vocabulary = config.size("altup_num_inputs"), config.size("laurel_rank"), config.size("vocab_size")
    windows = layer_windows(
        config, size.layers, config.optional_size("sliding_window"), default=alternating(size.layers, 5)
    )
    config.size("hidden_size_per_layer_input")
    inputs, each = per_layer_inputs(config, size.hidden, size.layers)
    head_norm = (Vector("self_attn.q_norm", size.head_dim), Vector("self_attn.k_norm", size.head_dim))
    around = (
        *norms(FOUR_NORMS, size.hidden),
        *_altup(size.hidden, streams),
        Linear("laurel.linear_left", size.hidden, rank),
        Linear("laurel.linear_right", rank, size.hidden),
        Vector("laurel.post_laurel_norm", size.hidden),
        *each,
    )
    layers = []
    for own, width, reuses in zip(windows, inner, reusing_layers(config, windows), strict=True):
        mixer = attention(size, window=own, qkv_bias=bias, out_bias=bias, extra=head_norm)
        layers.append(
            (
                window_kind(own) + (",shared" if reuses else ""),
                (without_own_cache(mixer) if reuses else mixer) + gated_mlp(size.hidden, width) + around,
            )
        )
    shared_head = config.flag("tie_word_embeddings") if tied is None else tied
    streams_in_out = [
        Linear(f"{name}.{stream}", size.hidden, size.hidden)
        for name in ("altup_projections", "altup_unembed_projections")
        for stream in range(streams - 1)
    ]
    return (
        embedding(vocabulary, size.hidden),
        *inputs,
        Block("altup", tuple(streams_in_out)),
        *stack(layers),
        final_norm(size.hidden),
        head(size.hidden, vocabulary, tied=shared_head),
    )


def _text(config: Reader, options: Options) -> Description:
    return Description(gemma3n_blocks(config))


def _with_towers(config: Reader, options: Options) -> Description:
    text = sub_reader(config, "text_config", _TEXT)
    reason = "the vision tower is timm's MobileNet and the audio tower is not described: the decoder alone is counted"
    return Description(
        gemma3n_blocks(text, tied=config.flag("tie_word_embeddings")), vision_reason=reason, uncounted=reason
    )


_TEXT = {
    **GEMMA_COMMON,
    "vocab_size": 262400,
    "hidden_size": 2048,
    "intermediate_size": 16384,
    "num_hidden_layers": 35,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "sliding_window": 512,
    "layer_types": None,
    "vocab_size_per_layer_input": 262144,
    "hidden_size_per_layer_input": 256,
    "altup_num_inputs": 4,
    "num_kv_shared_layers": 15,
    "laurel_rank": 64,
}

FAMILIES = (
    Family("gemma3n_text", _TEXT, _text),
    Family("gemma3n", {"text_config": None, "tie_word_embeddings": True}, _with_towers),
)
