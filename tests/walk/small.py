"""Small configurations of every architecture: the defaults of its class with sizes made small by their names.

What a name means is the same in nearly all classes; the few sizes that depend on others in a way of their own stand in
`ODD`. Layers are kept so that each kind of layer that the defaults have is there once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WIDTH, HEADS, HEAD, LAYERS, VOCABULARY = 64, 4, 16, 2, 160
MOST_LAYERS = 6

_BY_NAME: dict[int, tuple[str, ...]] = {
    VOCABULARY: ("vocab_size", "vocab_size_per_layer_input", "text_vocab_size", "unpadded_vocab_size"),
    WIDTH: (
        "hidden_size", "d_model", "n_embd", "embed_dim", "embedding_size", "emb_dim", "dim_model", "out_hidden_size",
        "projection_dim", "text_hidden_size", "hidden_dim", "word_embed_proj_dim", "attention_hidden_size",
        "encoder_hidden_size", "projector_hidden_size", "lru_width", "input_embedding_size", "output_embedding_size",
        "vision_hidden_size", "image_token_embed_dim", "merged_hidden_size",
        "cross_attention_hidden_size", "image_text_hidden_size", "decoder_hidden_size", "projection_hidden_size",
        "hidden_size_global", "text_embed_dim", "n_embed", "embedding_dim", "projector_input_dim",
        "projector_output_dim", "alignment_intermediate_size", "downsample_hidden_size",
    ),
    96: (
        "intermediate_size", "ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim", "ffn_hidden_size", "mlp_dim", "n_inner",
        "d_ff", "dff", "dim_ff", "moe_hidden_size", "feed_forward_size", "d_inner", "intermediate_size_mlp",
        "dense_intermediate_size", "shared_intermediate_size", "shared_expert_intermediate_size",
    ),
    32: (
        "moe_intermediate_size", "expert_ffn_hidden_size", "moe_shared_expert_intermediate_size", "share_expert_dim",
        "shared_experts_intermediate_size", "q_lora_rank", "image_size", "window_size", "o_lora_rank",
    ),
    HEADS: (
        "num_attention_heads", "n_head", "num_heads", "n_heads", "encoder_attention_heads", "decoder_attention_heads",
        "attention_heads", "swa_num_attention_heads", "n_mamba_heads", "index_n_heads", "num_sliding_attention_heads",
        "linear_num_value_heads", "linear_num_heads", "num_experts", "num_local_experts", "n_routed_experts",
        "moe_num_experts", "mm_tokens_per_image", "resampler_n_heads", "resampler_heads", "conf_num_attention_heads",
        "num_query_tokens", "num_decoder_attention_heads", "num_encoder_attention_heads",
    ),
    HEAD: (
        "head_dim", "kv_lora_rank", "qk_nope_head_dim", "v_head_dim", "swa_head_dim", "index_head_dim",
        "linear_key_head_dim", "linear_value_head_dim", "linear_head_dim", "d_kv", "attention_head_size", "dim_head",
        "mamba_d_state", "state_size", "ssm_state_size", "kv_channels", "swa_v_head_dim", "attention_head_dim",
        "resampler_head_dim", "resampler_dim_head", "d_head", "hidden_size_per_layer_input", "query_pre_attn_scalar",
        "lightning_head_dim", "sliding_head_dim", "mamba_d_head", "mamba_head_dim", "mamba_headdim",
    ),
    8: (
        "patch_size", "qk_rope_head_dim", "rotary_dim", "sliding_window", "attention_chunk_size", "sliding_window_size",
        "attention_window_size", "local_attention", "index_topk", "mamba_n_heads", "mamba_num_heads",
        "mamba_chunk_size", "chunk_size", "rope_head_dim",
    ),
    LAYERS: (
        "num_hidden_layers", "n_layer", "n_layers", "num_layers", "depth", "encoder_layers", "decoder_layers",
        "num_decoder_layers", "num_encoder_layers", "num_blocks", "resampler_depth", "conf_num_hidden_layers", "layers",
        "num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "moe_top_k", "top_k_experts",
        "linear_num_key_heads", "num_global_layers",
    ),
    1: (
        "n_group", "topk_group", "first_k_dense_replace", "num_expert_group", "mamba_n_groups", "mamba_ngroups",
        "n_groups", "n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_dense_layers",
        "num_nextn_predict_layers",
        "num_mtp_layers", "moe_layer_start_index", "num_kv_shared_layers",
    ),
    24: ("qk_head_dim",),
    256: ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length", "context_length",
          "max_target_positions", "model_max_length", ),
}  # fmt: skip
_SIZES = {name: size for size, names in _BY_NAME.items() for name in names}
_ABSENT: Mapping[str, Any] = {
    "head_dim": HEAD,
    "num_key_value_heads": HEADS,
    "num_experts_per_tok": 2,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "cross_attention_hidden_size": None,
}
"""What some classes cannot do without, though their default is null."""
_PER_LAYER = "per_layer_config"
_COUNTS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "depth")
_KEY_VALUE_HEADS = ("num_key_value_heads", "n_head_kv", "kv_n_heads", "num_kv_heads", "num_query_groups",
                    "swa_num_key_value_heads", "num_global_key_value_heads")  # fmt: skip
_TOKENS = ("_token_id", "_token_index", "_id", "_token_ids")

_ALONG_AXES = ("qwen2_vl", "qwen2_5_vl", "paddleocr_vl", "glm4v", "glm46v", "glm_ocr", "glmga")
_THINKER = {
    "vision_start_token_id": 150,
    "text_config.rope_parameters.mrope_section": [2, 3, 3],
}
_INDEXER = {
    "indexer_n_heads": HEADS,
    "indexer_kv_heads": 1,
    "indexer_head_dim": HEAD,
    "indexer_budget": 8,
    "indexer_compress_ratio": 2,
}
_ROPE = {kind: {"rope_type": "default", "rope_theta": 10000.0} for kind in ("full_attention", "sliding_attention")}
_TILES = {"image_grid_pinpoints": [[32, 64], [64, 32], [64, 64], [96, 32], [32, 96]]}
ODD: Mapping[str, Mapping[str, Any]] = {
    "mamba2": {"num_heads": 8},
    "falcon_h1": {"mamba_d_ssm": 128, "mamba_d_head": 16},
    "dots3_note_text": {"head_dim": 24},
    "dots3_note": {
        "text_config.head_dim": 24,
        "vision_config.adapter_in_dim": WIDTH,
        "vision_config.adapter_out_dim": WIDTH,
        "audio_config.adapter_input_size": WIDTH,
        "audio_config.adapter_out_dim": WIDTH,
    },
    "glm4v_moe": {"text_config.rope_parameters.mrope_section": [1, 1, 2]},
    "chameleon": {"vocabulary_map": {"<image>": 5}},
    "emu3": {"vocabulary_map": {"<image>": 5}},
    "cohere_compass_text": {"rope_parameters": _ROPE},
    "cohere_compass": {"text_config.rope_parameters": _ROPE},
    "dbrx": {"attn_config.rope_theta": 10000.0, "attn_config.clip_qkv": 8.0},
    "deepseek_ocr2": {"text_config.mlp_layer_types": ["dense", "sparse"]},
    "blt": {"encoder_hash_byte_group_vocab": 64},
    "granite4_vision": {"deepstack_layer_map": [[-1, 0]]},
    "ernie4_5_vl_moe": {"text_config.rope_parameters.mrope_section": [3, 3, 2]},
    "diffusion_gemma": {
        "text_config.num_experts": 4,
        "text_config.top_k_experts": 2,
        "text_config.moe_intermediate_size": 32,
    },
    "reformer": {"is_decoder": True, "axial_pos_embds_dim": [32, 32], "axial_pos_shape": [16, 16]},
    **{name: {"text_config.rope_parameters.mrope_section": [2, 3, 3]} for name in _ALONG_AXES},
    **dict.fromkeys(("qwen2_5_omni_thinker", "qwen3_omni_moe_thinker"), _THINKER),
    "hrm_text": {"num_layers_per_stack": 2},
    "hunyuan_vl": {"text_config.rope_parameters.xdrope_section": [2, 2, 2, 2]},
    "recurrent_gemma": {"num_hidden_layers": 3},
    "qwen4_exp_text": _INDEXER,
    "qwen4_exp": {f"text_config.{key}": value for key, value in _INDEXER.items()},
    "llava_next": _TILES,
    "llava_next_video": _TILES,
    "llava_onevision": _TILES,
    "qwen3_vl": {"vision_config.deepstack_visual_indexes": [0, 1]},
    "qwen3_vl_moe": {"vision_config.deepstack_visual_indexes": [0, 1]},
    "step3p7": {"text_config.sliding_window": 8},
    "zamba2": {"attention_hidden_size": 128, "attention_head_dim": 32, "mamba_headdim": 32, "hybrid_layer_ids": [1]},
    "zamba": {"attention_hidden_size": 128, "attention_head_dim": 32},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"]},
    "llama4": {"vision_config.intermediate_size": 256, "vision_config.vision_output_dim": WIDTH},
    "mllama": {"vision_config.vision_output_dim": 6 * WIDTH},
    "gpt_neo": {"window_size": 8},
    "longformer": {"attention_window": 16},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1},
    "molmo2": {"adapter_config.vision_feature_layer": [-1, -2]},
    "roc_bert": {"pronunciation_vocab_size": 160, "shape_vocab_size": 160, "shape_embed_dim": 32},
    "glm5_next": {"text_config.index_kpool": 4},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv"], "num_hidden_layers": 3},
    "bamba": {"attn_layer_indices": [1]},
    "deberta-v2": {"relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"]},
    "deberta": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "esm": {"vocab_size": VOCABULARY, "pad_token_id": 1, "mask_token_id": 5},
}
"""Model type -> keys, dotted below their part, that its rules of its own ask for."""


def small(defaults: Mapping[str, Any], model_type: str) -> dict[str, Any]:
    """The small configuration of a model type, from what its class writes by default."""
    config: dict[str, Any] = _shrunk(defaults)
    for key, value in ODD.get(model_type, {}).items():
        part = config
        *outer, name = key.split(".")
        for step in outer:
            part = part.setdefault(step, {})
        part[name] = value
    return config


def _shrunk(config: Mapping[str, Any]) -> dict[str, Any]:
    kept = _layers(config)
    made = {name: _value(name, value, config, kept) for name, value in config.items()}
    if "initializer_range" in made:
        # Wide enough that logits differ by more than rounding.
        made["initializer_range"] = 0.1
    return made


def _value(name: str, value: Any, config: Mapping[str, Any], kept: Sequence[int]) -> Any:
    if name == "tie_word_embeddings":
        return False
    if name == "mrope_section":
        return [2, 3, 3]
    if value is None:
        return _ABSENT.get(name)
    if isinstance(value, Mapping):
        return _part(name, value, kept)
    if isinstance(value, list | tuple):
        return [value[index] for index in kept] if len(value) == _count(config) else _listed(name, value)
    return _size(name, value, config, kept) if type(value) is int else value


def _part(name: str, value: Mapping[str, Any], kept: Sequence[int]) -> Mapping[str, Any]:
    if name in ("id2label", "label2id"):
        return value
    if name != _PER_LAYER:
        return _shrunk(value)
    own = {int(layer): part for layer, part in value.items()}
    return {str(new): _shrunk(own[old]) for new, old in enumerate(kept) if old in own}


def _size(name: str, value: int, config: Mapping[str, Any], kept: Sequence[int]) -> int:
    if name in _COUNTS:
        return len(kept)
    if name == "head_dim" and value == config.get("qk_rope_head_dim"):
        # Latent attention: that of the part that is rotated.
        return _SIZES["qk_rope_head_dim"]
    if name in _KEY_VALUE_HEADS:
        heads = next((config[name] for name in ("num_attention_heads", "n_heads", "n_head") if config.get(name)), None)
        return HEADS if value == heads else 1 if value == 1 else HEADS // 2
    return _number(name, value)


def _count(config: Mapping[str, Any]) -> int:
    return next((config[name] for name in _COUNTS if isinstance(config.get(name), int)), -1)


def _layers(config: Mapping[str, Any]) -> Sequence[int]:
    """The layers that are kept: the first of each kind, by all lists of what each layer is, and at least two."""
    count = _count(config)
    lists = [value for value in config.values() if isinstance(value, list | tuple) and len(value) == count]
    if own := config.get(_PER_LAYER):
        lists.append([own.get(f"{index:02d}", own.get(str(index))) for index in range(count)])
    if not lists:
        return range(min(LAYERS, count)) if count > 0 else ()
    seen: dict[str, int] = {}
    for index in range(count):
        seen.setdefault(repr([value[index] for value in lists]), index)
    chosen = sorted(seen.values())[:MOST_LAYERS]
    others = (index for index in range(count) if index not in chosen)
    while len(chosen) < min(LAYERS, count):
        chosen.append(next(others))
    return sorted(chosen)


def _number(name: str, value: int) -> int:
    if name in _SIZES:
        return min(value, _SIZES[name]) if value >= 0 else value
    if name.endswith(_TOKENS) and value >= VOCABULARY:
        # Tokens that mean something are distinct and at the end.
        return VOCABULARY - 1 - value % 40
    return value


def _listed(name: str, value: Sequence[Any]) -> list[Any]:
    return [_number(name, item) if isinstance(item, int) and not isinstance(item, bool) else item for item in value]
