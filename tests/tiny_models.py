"""Tiny model directories of real architectures: `config.json` and a tokenizer made on the spot, no weights.

Free of torch: a test builds the weights by loading the directory with `model.weights: random`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SPECIAL_TOKENS = ("<|bos|>", "<|eos|>", "<|pad|>", "<image>", "<|user|>", "<|assistant|>")
VOCABULARY = 256 + len(SPECIAL_TOKENS)
BOS, EOS, PAD, IMAGE = (256 + index for index in range(4))
CHAT_TEMPLATE = (
    "{% for message in messages %}<|user|>{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

_COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "pad_token_id": PAD,
    # Wide enough that logits differ by more than rounding.
    "initializer_range": 0.1,
}

TEXT: Mapping[str, dict[str, Any]] = {
    "llama": {**_COMMON, "model_type": "llama"},
    "qwen3": {**_COMMON, "model_type": "qwen3", "head_dim": 16},
    "qwen3_moe": {
        **_COMMON,
        "model_type": "qwen3_moe",
        "head_dim": 16,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
    },
    "gemma3": {
        **_COMMON,
        "model_type": "gemma3_text",
        "head_dim": 16,
        "query_pre_attn_scalar": 16,
        "sliding_window": 16,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "deepseek_v3": {
        **_COMMON,
        "model_type": "deepseek_v3",
        "num_key_value_heads": 4,
        "q_lora_rank": 32,
        "kv_lora_rank": 16,
        "qk_nope_head_dim": 16,
        "qk_rope_head_dim": 8,
        "v_head_dim": 16,
        "n_routed_experts": 8,
        "num_experts_per_tok": 2,
        "n_shared_experts": 1,
        "n_group": 2,
        "topk_group": 1,
        "moe_intermediate_size": 32,
        "first_k_dense_replace": 1,
    },
}


def write_text_model(directory: Path, name: str, *, chat_template: str | None = CHAT_TEMPLATE, **changes: Any) -> Path:
    """A directory for `model.path` with the architecture `name` of `TEXT`, some of its keys changed."""
    directory.mkdir(parents=True, exist_ok=True)
    config = {**TEXT[name], **changes}
    (directory / "config.json").write_text(json.dumps(config, indent=2))
    write_tokenizer(directory, chat_template=chat_template)
    return directory


def write_tokenizer(directory: Path, *, chat_template: str | None = CHAT_TEMPLATE, pad_token: bool = True) -> None:
    """A byte-level tokenizer without merges: one token a byte, and the special ones."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = {symbol: index for index, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    tokenizer.save(str(directory / "tokenizer.json"))
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|bos|>",
        "eos_token": "<|eos|>",
        "extra_special_tokens": {"image_token": "<image>"},
    }
    if pad_token:
        settings["pad_token"] = "<|pad|>"
    if chat_template is not None:
        settings["chat_template"] = chat_template
    (directory / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
