"""Which modules of a checkpoint are stored in fewer bits, and what the files of a directory hold."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.analysis.static.analyze import analyze
from llm_perf_opt.analysis.static.quantization import read_scheme
from llm_perf_opt.analysis.static.source import read_config
from llm_perf_opt.analysis.static.stored import stored_weights
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.records.static import StaticRequest
from tests.unit.static.configs import LLAMA_31_8B

LAYER = 4096 * (2 * 4096 + 2 * 1024) + 3 * 4096 * 14336
MLP = 3 * 4096 * 14336


def weight_bytes(quantization: dict[str, Any], **request: Any) -> int:
    found = analyze({**LLAMA_31_8B, "quantization_config": quantization}, StaticRequest(**request)).model.weight_bytes
    assert found is not None
    return found


PLAIN = 2 * 8_030_261_248
NVFP4 = {"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16}
INT4 = {
    "quant_method": "compressed-tensors",
    "config_groups": {"g": {"targets": ["Linear"], "weights": {"num_bits": 4, "group_size": 32, "symmetric": True}}},
}


@pytest.mark.parametrize(
    ("quantization", "quantized", "bytes_each", "extra"),
    [
        # Seven matrices a layer, two float32 scalars each.
        ({**NVFP4, "exclude_modules": ["lm_head"]}, 32 * LAYER, 9 / 16, 32 * 7 * 8),
        ({**NVFP4, "exclude_modules": ["model.layers.*.self_attn*"]}, 32 * MLP, 9 / 16, 32 * 3 * 8),
        # Layer 1, and not layers 10 to 19.
        ({**NVFP4, "exclude_modules": ["model.layers.1*"]}, 31 * LAYER, 9 / 16, 31 * 7 * 8),
        ({**NVFP4, "ignore": ["language_model.model.layers.3.mlp*"]}, 32 * LAYER - MLP, 9 / 16, (32 * 7 - 3) * 8),
        ({**INT4, "ignore": ["lm_head", "re:.*self_attn.*"]}, 32 * MLP, 1 / 2 + 2 / 32, 32 * 3 * 16),
        ({"quant_method": "awq", "bits": 4, "modules_to_not_convert": ["self_attn"]}, 32 * MLP, 0.5 + 2.5 / 128, 0),
        (
            {
                "quant_method": "modelopt",
                "quant_algo": "MIXED_PRECISION",
                "quantized_layers": {"model.layers.*.mlp*": {"quant_algo": "MXFP8"}},
            },
            32 * MLP,
            33 / 32,
            0,
        ),
    ],
)
def test_bytes_follow_the_modules(quantization: dict[str, Any], quantized: int, bytes_each: float, extra: int) -> None:
    assert weight_bytes(quantization) == PLAIN - 2 * quantized + round(quantized * bytes_each) + extra


def test_fp8_of_modelopt_has_one_scale_a_matrix() -> None:
    found = weight_bytes({"quant_method": "modelopt", "quant_algo": "FP8", "exclude_modules": ["lm_head"]})
    assert found == PLAIN - 32 * LAYER + 32 * 7 * 8


def test_experts_in_a_type_of_their_own() -> None:
    """DeepSeek-V4 says beside its FP8 that the experts are in FP4: blocks of 32 along the inputs, one byte a scale."""
    config = {
        "model_type": "mixtral",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_hidden_layers": 1,
        "num_local_experts": 4,
        "vocab_size": 32,
        "torch_dtype": "bfloat16",
        "quantization_config": {"quant_method": "fp8", "weight_block_size": [64, 64]},
    }
    plain, mixed = (analyze(made).model.weight_bytes for made in (config, {**config, "expert_dtype": "fp4"}))
    assert plain is not None
    assert mixed is not None
    experts = 4 * 3 * 64 * 128
    assert plain - mixed == (experts + experts // 64**2 * 4) - (experts // 2 + experts // 32)


def test_quantization_inside_the_text_part_is_read() -> None:
    text = {**LLAMA_31_8B, "quantization_config": INT4}
    inside = analyze({"model_type": "llava", "text_config": text}).model
    assert inside.quantization == "compressed-tensors 4 bits"


@pytest.mark.parametrize(
    "quantization",
    [
        {"quant_method": "hieroglyphs"},
        {"quant_method": "modelopt", "quant_algo": "NVFP9"},
        {"quant_method": "compressed-tensors", "config_groups": {}},
        {"quant_method": "gptq", "bits": "four"},
        {},
    ],
)
def test_an_unknown_scheme_is_a_stated_assumption(quantization: dict[str, Any]) -> None:
    assert read_scheme(quantization) is None
    record = analyze({**LLAMA_31_8B, "quantization_config": quantization})
    assert any(line.startswith("ASSUMED: quantization") for line in record.assumptions)


def test_the_file_of_modelopt_beside_the_config(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_31_8B))
    written = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4", "exclude_modules": []}}
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(written))
    assert analyze(read_config(tmp_path)[0]).model.quantization == "ModelOpt NVFP4"
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA_31_8B, "quantization_config": {"quant_method": "fp8"}}))
    assert analyze(read_config(tmp_path)[0]).model.quantization == "fp8"


def write(file: Path, tensors: dict[str, tuple[str, list[int], int]]) -> None:
    header, offset = {}, 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps({**header, "__metadata__": {"format": "pt"}}).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + bytes(offset))


def test_headers_give_the_bytes(tmp_path: Path) -> None:
    assert stored_weights(tmp_path) is None
    write(tmp_path / "model.safetensors", {"a": ("BF16", [4, 3], 24), "b": ("F32", [2], 8), "c": ("U8", [5], 5)})
    found = stored_weights(tmp_path)
    assert found is not None
    assert (found.bytes, found.elements, found.dtype) == (37, 19, "bfloat16")
    record = analyze(LLAMA_31_8B, stored=found)
    assert record.model.weight_bytes == 37
    assert analyze(LLAMA_31_8B, StaticRequest(dtype="float16"), stored=found).model.weight_bytes == PLAIN


def test_shards_and_an_index_alone(tmp_path: Path) -> None:
    index = {"metadata": {"total_size": 48}, "weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    alone = stored_weights(tmp_path)
    assert alone is not None
    assert (alone.bytes, alone.elements) == (48, None)
    write(tmp_path / "m-1.safetensors", {"a": ("F16", [4, 3], 24)})
    with pytest.raises(ConfigError, match=r"m-2\.safetensors: named by the index, and not there"):
        stored_weights(tmp_path)
    write(tmp_path / "m-2.safetensors", {"b": ("F16", [4, 3], 24)})
    both = stored_weights(tmp_path)
    assert both is not None
    assert (both.bytes, both.elements, both.dtype) == (48, 24, "float16")


@pytest.mark.parametrize("content", [b"", b"12345678", struct.pack("<Q", 2**60), struct.pack("<Q", 4) + b"{{{{"])
def test_broken_weights_are_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ConfigError, match=r"model\.safetensors: (no safetensors file|its header cannot be read)"):
        stored_weights(tmp_path)


def test_a_link_to_nowhere_is_told(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "gone")
    with pytest.raises(ConfigError, match="a symbolic link whose target is gone"):
        stored_weights(tmp_path)


@pytest.mark.parametrize(
    "given",
    [
        {"quant_method": "fp8", "weight_block_size": [float("nan"), 128]},
        {"quant_method": "fp8", "weight_block_size": [128]},
        {"quant_method": "fp8", "weight_block_size": ["a", -1]},
        {"quant_method": "gguf", "bytes_per_weight": "many"},
        {"quant_method": "gguf"},
    ],
)
def test_numbers_that_are_none_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"not two whole numbers|not a number of bytes"):
        read_scheme(given)
