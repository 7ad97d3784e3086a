"""Small models of every family, with sizes chosen so that no two numbers of a layer coincide."""

from __future__ import annotations

from typing import Any

Case = tuple[str, str, dict[str, Any]]

_SIZES: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
}
_EXPERTS = {"num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 28}
_LOCAL = {"num_local_experts": 5, "num_experts_per_tok": 2}
_ROUTED = {
    "n_routed_experts": 6,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 28,
    "n_shared_experts": 2,
    "first_k_dense_replace": 1,
}
_LATENT = {
    "num_key_value_heads": 6,
    "q_lora_rank": 20,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 10,
    "qk_rope_head_dim": 4,
    "v_head_dim": 12,
}
_LATENT_SPARSE = {**_LATENT, "index_topk": 64, "index_n_heads": 3, "index_head_dim": 14}
_DELTA = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 14,
    "linear_value_head_dim": 10,
    "linear_conv_kernel_dim": 3,
    "head_dim": 12,
    "num_hidden_layers": 5,
    "pad_token_id": 0,
}
_SHARED = {"shared_expert_intermediate_size": 36}
_SCAN = {
    "mamba_n_heads": 6,
    "mamba_d_head": 16,
    "mamba_n_groups": 2,
    "mamba_d_state": 14,
    "mamba_d_conv": 3,
    "mamba_expand": 2,
}
_STATE = {"vocab_size": 96, "hidden_size": 48, "num_hidden_layers": 3, "state_size": 14, "conv_kernel": 3}
_NEMOTRON_H = {
    "mamba_num_heads": 6,
    "mamba_head_dim": 14,
    "n_groups": 2,
    "ssm_state_size": 10,
    "conv_kernel": 3,
    "head_dim": 12,
    "n_routed_experts": 5,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 28,
    "moe_shared_expert_intermediate_size": 36,
}
_GEMMA3N = {
    "head_dim": 10,
    "vocab_size_per_layer_input": 90,
    "hidden_size_per_layer_input": 14,
    "laurel_rank": 8,
    "num_hidden_layers": 7,
    "num_kv_shared_layers": 2,
}
_GEMMA4 = {
    "head_dim": 10,
    "global_head_dim": 14,
    "vocab_size_per_layer_input": 90,
    "hidden_size_per_layer_input": 14,
    "num_hidden_layers": 7,
}
_GPT2 = {"vocab_size": 96, "n_positions": 256, "n_embd": 48, "n_layer": 3, "n_head": 6}
_WINDOW = {"sliding_window": 8}


def _case(name: str, model_type: str, **changes: Any) -> Case:
    return name, model_type, {**_SIZES, **changes}


DECODERS: tuple[Case, ...] = (
    _case("llama", "llama"),
    _case("llama-bias-tied", "llama", attention_bias=True, mlp_bias=True, tie_word_embeddings=True, head_dim=10),
    _case("granite", "granite"),
    _case("helium", "helium", head_dim=8),
    _case("helium-bias", "helium", head_dim=8, attention_bias=True),
    _case("arcee", "arcee"),
    _case("smollm3", "smollm3", num_hidden_layers=5, pad_token_id=0),
    _case("smollm3-window", "smollm3", num_hidden_layers=5, use_sliding_window=True, pad_token_id=0, **_WINDOW),
    _case("seed_oss", "seed_oss", head_dim=10),
    _case("ernie4_5", "ernie4_5", head_dim=10, use_bias=True),
    _case("qwen2", "qwen2"),
    _case("qwen2-window", "qwen2", use_sliding_window=True, max_window_layers=1, **_WINDOW),
    _case("qwen3", "qwen3", head_dim=10),
    _case("mistral", "mistral", **_WINDOW),
    _case("mistral-nemo", "mistral", sliding_window=None, head_dim=10),
    _case(
        "ministral",
        "ministral",
        head_dim=10,
        layer_types=["sliding_attention", "full_attention", "full_attention"],
        **_WINDOW,
    ),
    _case("phi3", "phi3", pad_token_id=0, **_WINDOW),
    _case("phi", "phi"),
    _case("phi-norm", "phi", qk_layernorm=True),
    _case("gemma", "gemma", head_dim=10),
    _case("gemma2", "gemma2", head_dim=10, num_hidden_layers=5, **_WINDOW),
    _case("gemma3_text", "gemma3_text", head_dim=10, num_hidden_layers=7, **_WINDOW),
    _case("glm", "glm", head_dim=10, pad_token_id=0),
    _case("glm4", "glm4", head_dim=10, pad_token_id=0),
    _case("cohere", "cohere", use_qk_norm=True),
    _case("cohere2", "cohere2", num_hidden_layers=5, **_WINDOW),
    _case("olmo", "olmo"),
    _case("olmo2", "olmo2"),
    _case("olmo3", "olmo3", num_hidden_layers=5, **_WINDOW),
    _case("stablelm", "stablelm"),
    _case("stablelm-parallel", "stablelm", use_parallel_residual=True, use_qkv_bias=True, qk_layernorm=True),
    _case("starcoder2", "starcoder2", **_WINDOW),
    _case("nemotron", "nemotron"),
    _case("exaone4", "exaone4", num_hidden_layers=5, **_WINDOW),
    ("gpt2", "gpt2", _GPT2),
    ("gpt_bigcode", "gpt_bigcode", _GPT2),
    ("gpt_bigcode-heads", "gpt_bigcode", {**_GPT2, "multi_query": False, "n_inner": 70}),
    _case("gpt_neox", "gpt_neox"),
    ("bloom", "bloom", {"vocab_size": 96, "hidden_size": 48, "n_layer": 3, "n_head": 6}),
    _case("opt", "opt", ffn_dim=80),
    _case("opt-projected", "opt", ffn_dim=80, word_embed_proj_dim=32, do_layer_norm_before=False),
    _case("falcon-7b", "falcon"),
    _case("falcon-40b", "falcon", new_decoder_architecture=True, num_kv_heads=2, bias=True),
    _case("falcon-rw", "falcon", parallel_attn=False, multi_query=False, alibi=True, bias=True),
    _case("mixtral", "mixtral", **_LOCAL),
    _case("phimoe", "phimoe", attention_bias=True, lm_head_bias=True, **_LOCAL),
    _case("minimax_m2", "minimax_m2", head_dim=10, **_LOCAL),
    _case("qwen2_moe", "qwen2_moe", shared_expert_intermediate_size=36, decoder_sparse_step=2, **_EXPERTS),
    _case("qwen2_moe-window", "qwen2_moe", use_sliding_window=True, max_window_layers=2, **_EXPERTS, **_WINDOW),
    _case("qwen3_moe", "qwen3_moe", head_dim=10, mlp_only_layers=[1], **_EXPERTS),
    _case("olmoe", "olmoe", **_EXPERTS),
    _case("gpt_oss", "gpt_oss", head_dim=10, **_LOCAL, **_WINDOW),
    _case("glm4_moe", "glm4_moe", head_dim=10, use_qk_norm=True, attention_bias=True, **_ROUTED),
    _case("dots1", "dots1", max_window_layers=1, **_ROUTED, **_WINDOW),
    _case("granitemoe", "granitemoe", **_LOCAL),
    _case("granitemoeshared", "granitemoeshared", shared_intermediate_size=20, **_LOCAL),
    _case("deepseek_v2", "deepseek_v2", **(_ROUTED | _LATENT | {"q_lora_rank": None})),
    _case("deepseek_v3", "deepseek_v3", n_group=2, topk_group=1, **(_ROUTED | _LATENT)),
    _case("deepseek_v32", "deepseek_v32", n_group=2, topk_group=1, **(_ROUTED | _LATENT_SPARSE)),
    _case("glm_moe_dsa", "glm_moe_dsa", index_topk_freq=2, index_skip_topk_offset=1, **(_ROUTED | _LATENT_SPARSE)),
    _case("llama4_text", "llama4_text", head_dim=10, intermediate_size_mlp=64, attention_chunk_size=7, **_LOCAL),
    _case(
        "llama4_text-interleaved",
        "llama4_text",
        head_dim=10,
        intermediate_size_mlp=64,
        attention_chunk_size=7,
        interleave_moe_layer_step=2,
        no_rope_layer_interval=2,
        **_LOCAL,
    ),
    ("mamba", "mamba", {**_STATE, "time_step_rank": 5}),
    ("falcon_mamba", "falcon_mamba", {**_STATE, "use_bias": True, "use_conv_bias": False}),
    ("mamba2", "mamba2", {**_STATE, "num_heads": 6, "head_dim": 16, "n_groups": 2}),
    _case("qwen3_next", "qwen3_next", mlp_only_layers=[1], **(_EXPERTS | _DELTA | _SHARED)),
    _case("qwen3_5_text", "qwen3_5_text", full_attention_interval=2, **_DELTA),
    _case("qwen3_5_moe_text", "qwen3_5_moe_text", attention_bias=True, **(_EXPERTS | _DELTA | _SHARED)),
    _case("falcon_h1", "falcon_h1", mamba_d_ssm=96, mamba_rms_norm=True, projectors_bias=True, **_SCAN),
    _case("falcon_h1-plain", "falcon_h1", mamba_d_ssm=96, mamba_conv_bias=False, attention_bias=True, **_SCAN),
    _case(
        "granitemoehybrid",
        "granitemoehybrid",
        shared_intermediate_size=20,
        layer_types=["mamba", "attention", "mamba"],
        **(_LOCAL | _SCAN),
    ),
    _case(
        "granitemoehybrid-dense",
        "granitemoehybrid",
        shared_intermediate_size=20,
        num_local_experts=0,
        layer_types=["attention"] * 3,
        **_SCAN,
    ),
    _case("nemotron_h", "nemotron_h", hybrid_override_pattern="M-M*E", mlp_bias=True, **_NEMOTRON_H),
    _case(
        "nemotron_h-latent",
        "nemotron_h",
        layers_block_type=["linear_attention", "moe", "full_attention", "moe"],
        moe_latent_size=20,
        use_bias=True,
        **_NEMOTRON_H,
    ),
    _case("gemma3n_text", "gemma3n_text", **(_GEMMA3N | _WINDOW)),
    _case(
        "gemma4_text-moe-shared",
        "gemma4_text",
        enable_moe_block=True,
        num_experts=5,
        top_k_experts=2,
        moe_intermediate_size=28,
        num_kv_shared_layers=1,
        **(_GEMMA4 | _WINDOW),
    ),
    _case("gemma4_text", "gemma4_text", num_kv_shared_layers=1, use_double_wide_mlp=True, **(_GEMMA4 | _WINDOW)),
    _case(
        "gemma4_text-moe",
        "gemma4_text",
        enable_moe_block=True,
        num_experts=5,
        top_k_experts=2,
        moe_intermediate_size=28,
        attention_k_eq_v=True,
        num_global_key_value_heads=1,
        **(_GEMMA4 | _WINDOW | {"hidden_size_per_layer_input": 0}),
    ),
)

VisionCase = tuple[str, str, dict[str, Any], tuple[tuple[int, int], ...]]

_TOWER = {
    "hidden_size": 36,
    "intermediate_size": 52,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "image_size": 28,
    "patch_size": 7,
}
_CLIP = {"model_type": "clip_vision_model", **_TOWER}
_SIGLIP = {"model_type": "siglip_vision_model", **_TOWER}
_GRID = {"num_heads": 2, "patch_size": 4, "depth": 4}
_QWEN = {**_SIZES, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}}
_GEMMA = {**_SIZES, "head_dim": 10}
_TWO = ((28, 28), (50, 30))
_GRIDS = ((64, 48), (40, 24))
_NO_MLP = {key: value for key, value in _SIZES.items() if key != "intermediate_size"}
_AXES = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 1]}
_QWEN3_TOWER = {
    **_GRID,
    "hidden_size": 32,
    "intermediate_size": 44,
    "out_hidden_size": 48,
    "num_position_embeddings": 64,
}
_SAM_SIZES = {"num_hidden_layers": 4, "num_attention_heads": 2, "global_attn_indexes": [1, 3], "mlp_dim": 72}

VISION: tuple[VisionCase, ...] = (
    (
        "llava-clip",
        "llava",
        {"text_config": {"model_type": "llama", **_SIZES}, "vision_config": _CLIP},
        _TWO,
    ),
    (
        "llava-siglip",
        "llava",
        {
            "vision_feature_layer": [-2, -1],
            "vision_feature_select_strategy": "full",
            "text_config": {"model_type": "qwen2", **_SIZES, "tie_word_embeddings": True},
            "vision_config": _SIGLIP,
        },
        _TWO,
    ),
    (
        "paligemma",
        "paligemma",
        {
            "projection_dim": 48,
            "text_config": {"model_type": "gemma", **_GEMMA},
            "vision_config": {**_SIGLIP, "vision_use_head": False},
        },
        _TWO[:1],
    ),
    (
        "gemma3",
        "gemma3",
        {
            "mm_tokens_per_image": 4,
            "text_config": {**_GEMMA, **_WINDOW, "num_hidden_layers": 7},
            "vision_config": {**_TOWER, "vision_use_head": False},
        },
        _TWO,
    ),
    (
        "qwen2_vl",
        "qwen2_vl",
        {"text_config": _QWEN, "vision_config": {**_GRID, "embed_dim": 32, "hidden_size": 48, "mlp_ratio": 3}},
        _GRIDS,
    ),
    (
        "qwen2_5_vl",
        "qwen2_5_vl",
        {
            "text_config": _QWEN,
            "vision_config": {
                **_GRID,
                "hidden_size": 32,
                "intermediate_size": 44,
                "out_hidden_size": 48,
                "window_size": 24,
                "fullatt_block_indexes": [1, 3],
            },
        },
        _GRIDS,
    ),
    (
        "qwen3_vl",
        "qwen3_vl",
        {
            "text_config": _GEMMA,
            "vision_config": {
                **_GRID,
                "hidden_size": 32,
                "intermediate_size": 44,
                "out_hidden_size": 48,
                "num_position_embeddings": 64,
                "deepstack_visual_indexes": [1, 2],
            },
        },
        _GRIDS,
    ),
    (
        "qwen3_vl_moe",
        "qwen3_vl_moe",
        {
            "text_config": {**_GEMMA, **_EXPERTS, "rope_parameters": _AXES},
            # One layer twice, and one that there is not.
            "vision_config": {**_QWEN3_TOWER, "deepstack_visual_indexes": [1, 0, 1, 40]},
        },
        _GRIDS,
    ),
    (
        "qwen3_5",
        "qwen3_5",
        {"text_config": {**_SIZES, **_DELTA, "rope_parameters": _AXES}, "vision_config": _QWEN3_TOWER},
        _GRIDS,
    ),
    (
        "qwen3_5_moe",
        "qwen3_5_moe",
        {
            "text_config": {**_NO_MLP, **_EXPERTS, **_DELTA, **_SHARED, "rope_parameters": _AXES},
            "vision_config": _QWEN3_TOWER,
        },
        _GRIDS,
    ),
    (
        "llama4",
        "llama4",
        {
            "text_config": {**_GEMMA, **_LOCAL, "intermediate_size_mlp": 64, "attention_chunk_size": 7},
            "vision_config": {
                "hidden_size": 32,
                "intermediate_size": 128,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": 28,
                "patch_size": 7,
                "projector_input_dim": 40,
                "projector_output_dim": 40,
                "vision_output_dim": 40,
            },
        },
        ((28, 28), (28, 28)),
    ),
    (
        "got_ocr2",
        "got_ocr2",
        {
            "text_config": {"model_type": "qwen2", **_SIZES},
            "vision_config": {
                **_SAM_SIZES,
                "hidden_size": 32,
                "output_channels": 16,
                "image_size": 160,
                "patch_size": 8,
                "window_size": 7,
            },
        },
        ((160, 160),),
    ),
)

DEEPSEEK_OCR2: dict[str, Any] = {
    "model_type": "deepseek_ocr2",
    "text_config": {
        **_SIZES,
        **{key: value for key, value in _ROUTED.items() if key != "first_k_dense_replace"},
        "num_key_value_heads": 6,
        "mlp_layer_types": ["dense", "sparse", "sparse"],
    },
    "vision_config": {
        "sam_config": {**_SAM_SIZES, "hidden_size": 24, "output_channels": 8, "downsample_channels": [12, 20]},
        "encoder_config": {
            "hidden_size": 20,
            "intermediate_size": 30,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
        },
    },
}
