"""Tiny model directories of real architectures: `config.json` and a tokenizer made on the spot, no weights.

Free of torch: a test builds the weights by loading the directory with `model.weights: random`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

SPECIAL_TOKENS = ("<|bos|>", "<|eos|>", "<|pad|>", "<image>", "<|user|>", "<|assistant|>", "<boi>", "<eoi>", "<video>")
VOCABULARY = 256 + len(SPECIAL_TOKENS)
BOS, EOS, PAD, IMAGE, _USER, _ASSISTANT, BOI, EOI, VIDEO = range(256, VOCABULARY)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|user|>{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

PAST = "cache" if tuple(map(int, version("transformers").split(".")[:2])) >= (5, 24) else "past_key_values"
"""What this transformers calls a KV cache."""

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


_VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
_TEXT_PART: dict[str, Any] = {key: value for key, value in _COMMON.items() if not key.endswith("token_id")}
_TOKENS: dict[str, Any] = {key: value for key, value in _COMMON.items() if key.endswith("token_id")}

IMAGE_TEXT: Mapping[str, dict[str, Any]] = {
    "qwen2_5_vl": {
        **_TOKENS,
        "model_type": "qwen2_5_vl",
        "image_token_id": IMAGE,
        "video_token_id": VIDEO,
        "vision_start_token_id": BOI,
        "vision_config": {
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 64,
            "patch_size": 8,
            "window_size": 32,
            "fullatt_block_indexes": [1],
        },
        "text_config": {
            **_TEXT_PART,
            "model_type": "qwen2_5_vl_text",
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
        },
    },
    "llava": {
        **_TOKENS,
        "model_type": "llava",
        "image_token_index": IMAGE,
        "vision_feature_layer": -1,
        "vision_config": {**_VISION, "model_type": "clip_vision_model", "projection_dim": 32},
        "text_config": {**_TEXT_PART, "model_type": "llama"},
    },
    "gemma3": {
        **_TOKENS,
        "model_type": "gemma3",
        "image_token_index": IMAGE,
        "boi_token_index": BOI,
        "eoi_token_index": EOI,
        "mm_tokens_per_image": 4,
        "vision_config": {**_VISION, "model_type": "siglip_vision_model"},
        "text_config": {key: value for key, value in TEXT["gemma3"].items() if not key.endswith("token_id")},
    },
}


def write_image_text_model(directory: Path, name: str) -> Path:
    """A directory for `model.path` with the vision-language architecture `name`, its processor included.

    Writing the processor imports transformers.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(IMAGE_TEXT[name], indent=2))
    write_tokenizer(directory, chat_template=None)
    settings: dict[str, dict[str, Any]] = {
        "qwen2_5_vl": {
            "processor_class": "Qwen2_5_VLProcessor",
            "image_processor": {
                "image_processor_type": "Qwen2VLImageProcessor",
                "patch_size": 8,
                "merge_size": 2,
                "temporal_patch_size": 2,
                "size": {"shortest_edge": 1024, "longest_edge": 4096},
            },
        },
        "llava": {
            "processor_class": "LlavaProcessor",
            "image_token": "<image>",
            "patch_size": 8,
            "num_additional_image_tokens": 1,
            "vision_feature_select_strategy": "default",
            "image_processor": {
                "image_processor_type": "CLIPImageProcessor",
                "size": {"shortest_edge": 32},
                "crop_size": {"height": 32, "width": 32},
            },
        },
        "gemma3": {
            "processor_class": "Gemma3Processor",
            "image_seq_length": 4,
            "image_processor": {
                "image_processor_type": "Gemma3ImageProcessor",
                "size": {"height": 32, "width": 32},
            },
        },
    }
    (directory / "processor_config.json").write_text(json.dumps(settings[name], indent=2))
    return directory


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
        "extra_special_tokens": {
            "image_token": "<image>",
            "boi_token": "<boi>",
            "eoi_token": "<eoi>",
            "video_token": "<video>",
        },
    }
    if pad_token:
        settings["pad_token"] = "<|pad|>"
    if chat_template is not None:
        settings["chat_template"] = chat_template
    (directory / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
