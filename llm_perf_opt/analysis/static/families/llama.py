"""Llama and types that differ from it only in defaults or in a plain MLP."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import (
    BEFORE,
    DENSE,
    attention,
    causal_lm,
    gated_mlp,
    layer_windows,
    norms,
    plain_mlp,
    sizes,
    window_kind,
)
from llm_perf_opt.analysis.static.description import Description, Family, Options
from llm_perf_opt.analysis.static.operators import Operator
from llm_perf_opt.analysis.static.reader import Reader

BIASES = {"attention_bias": False, "mlp_bias": False}


def _describe(config: Reader, mlp: tuple[Operator, ...], *, divides: bool = False) -> Description:
    size = sizes(config, divides=divides)
    bias = config.flag("attention_bias")
    layer = norms(BEFORE, size.hidden) + attention(size, qkv_bias=bias, out_bias=bias) + mlp
    return Description(causal_lm(config, [("layer", layer)] * size.layers))


def _gated(config: Reader) -> tuple[Operator, ...]:
    return gated_mlp(config.size("hidden_size"), config.size("intermediate_size"), bias=config.flag("mlp_bias"))


def _llama(config: Reader, options: Options) -> Description:
    return _describe(config, _gated(config), divides=True)


def _helium(config: Reader, options: Options) -> Description:
    # Helium's output projection never has a bias, and attention_bias concerns the others alone.
    size = sizes(config)
    layer = norms(BEFORE, size.hidden) + attention(size, qkv_bias=config.flag("attention_bias")) + _gated(config)
    return Description(causal_lm(config, [("layer", layer)] * size.layers))


def _granite(config: Reader, options: Options) -> Description:
    return _describe(config, _gated(config))


def _arcee(config: Reader, options: Options) -> Description:
    hidden, inner = config.size("hidden_size"), config.size("intermediate_size")
    return _describe(config, plain_mlp(hidden, inner, bias=config.flag("mlp_bias")), divides=True)


def _smollm3(config: Reader, options: Options) -> Description:
    size = sizes(config)
    bias = config.flag("attention_bias")
    window = config.optional_size("sliding_window") if config.flag("use_sliding_window") else None
    # A window applies where there are no rotary positions: every `no_rope_layer_interval`-th layer.
    rotary = config.sizes("no_rope_layers")
    if not rotary:
        every = config.size("no_rope_layer_interval")
        rotary = tuple(int((layer + 1) % every != 0) for layer in range(size.layers))
    derived = ["sliding_attention" if window and not rope else "full_attention" for rope in rotary]
    layers = [
        (
            window_kind(own),
            norms(BEFORE, size.hidden) + attention(size, window=own, qkv_bias=bias, out_bias=bias) + _gated(config),
        )
        for own in layer_windows(config, size.layers, window, default=derived)
    ]
    return Description(causal_lm(config, layers))


def _seed_oss(config: Reader, options: Options) -> Description:
    size = sizes(config)
    mixed = attention(size, qkv_bias=config.flag("attention_bias"), out_bias=config.flag("attention_out_bias"))
    layer = norms(BEFORE, size.hidden) + mixed + _gated(config)
    return Description(causal_lm(config, [("layer", layer)] * size.layers))


def _ernie(config: Reader, options: Options) -> Description:
    size, bias = sizes(config), config.flag("use_bias")
    layer = (
        norms(BEFORE, size.hidden)
        + attention(size, qkv_bias=bias, out_bias=bias)
        + gated_mlp(size.hidden, size.inner, bias=bias)
    )
    return Description(causal_lm(config, [("layer", layer)] * size.layers))


FAMILIES = (
    Family("llama", {**DENSE, **BIASES}, _llama),
    Family("granite", {**DENSE, **BIASES}, _granite),
    Family(
        "helium",
        {
            **DENSE,
            **BIASES,
            "vocab_size": 48000,
            "hidden_size": 2560,
            "intermediate_size": 7040,
            "num_hidden_layers": 24,
            "num_attention_heads": 20,
            "num_key_value_heads": 20,
            "head_dim": 128,
        },
        _helium,
    ),
    Family("arcee", {**DENSE, **BIASES, "hidden_size": 2560, "intermediate_size": 18432}, _arcee),
    Family(
        "smollm3",
        {
            **DENSE,
            **BIASES,
            "vocab_size": 128256,
            "hidden_size": 2048,
            "num_hidden_layers": 36,
            "num_attention_heads": 16,
            "num_key_value_heads": 4,
            "tie_word_embeddings": True,
            "use_sliding_window": False,
            "sliding_window": None,
            "no_rope_layers": None,
            "no_rope_layer_interval": 4,
            "layer_types": None,
        },
        _smollm3,
    ),
    Family(
        "seed_oss",
        {
            **DENSE,
            "vocab_size": 155136,
            "intermediate_size": 27648,
            "num_hidden_layers": 64,
            "num_attention_heads": 80,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "attention_bias": True,
            "attention_out_bias": False,
            "mlp_bias": False,
        },
        _seed_oss,
    ),
    Family(
        "ernie4_5",
        {
            **DENSE,
            "vocab_size": 103424,
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "num_hidden_layers": 18,
            "num_attention_heads": 16,
            "num_key_value_heads": 2,
            "head_dim": 128,
            "tie_word_embeddings": True,
            "use_bias": False,
        },
        _ernie,
    ),
)
