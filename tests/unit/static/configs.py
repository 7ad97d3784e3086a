"""Published sizes of real models, written down without their weights."""

from __future__ import annotations

from typing import Any

Config = dict[str, Any]

# https://huggingface.co/meta-llama/Llama-3.1-8B/blob/main/config.json
LLAMA_31_8B: Config = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "torch_dtype": "bfloat16",
}

# The text part of https://huggingface.co/deepseek-ai/DeepSeek-OCR/blob/main/config.json
_OCR_TEXT: Config = {
    "hidden_size": 1280,
    "intermediate_size": 6848,
    "num_hidden_layers": 12,
    "num_attention_heads": 10,
    "num_key_value_heads": 10,
    "vocab_size": 129280,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "num_experts_per_tok": 6,
    "moe_intermediate_size": 896,
}
DEEPSEEK_OCR2: Config = {
    "model_type": "deepseek_ocr2",
    "text_config": {**_OCR_TEXT, "mlp_layer_types": ["dense"] + ["sparse"] * 11},
}
