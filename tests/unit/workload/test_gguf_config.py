"""A GGUF file's metadata, read without torch."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf import GGUFEndian, GGUFWriter

from llm_perf_opt.analysis.static.analyze import analyze
from llm_perf_opt.analysis.static.methods import static_record
from llm_perf_opt.errors import ConfigError, LlmperfError
from llm_perf_opt.records.static import StaticRequest
from llm_perf_opt.workload.gguf_config import _ADJUST, ARCHITECTURES, read_gguf_config, stored_in_gguf
from llm_perf_opt.workload.gguf_file import read_once
from tests.real_model import smollm2_gguf


def test_metadata_stands_for_a_config() -> None:
    """The values of SmolLM2-135M-Instruct's own config.json, and how its tensors are stored."""
    found = dict(read_gguf_config(smollm2_gguf()))
    stored = stored_in_gguf(smollm2_gguf())
    assert stored is not None
    assert stored.parameters == 134_515_008
    quantization = found.pop("quantization_config")
    assert quantization["quant_method"] == "gguf"
    assert quantization["bytes_per_weight"] == stored.bytes / stored.parameters
    assert found == {
        "model_type": "llama",
        "num_hidden_layers": 30,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "attention_bias": False,
        "max_position_embeddings": 8192,
        "vocab_size": 49152,
        "tie_word_embeddings": True,
    }


def test_transformers_opens_a_file_once_and_as_we_do(tmp_path: Path) -> None:
    theirs = gguf.GGUFReader
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    with read_once():
        assert gguf.GGUFReader(str(smollm2_gguf())) is gguf.GGUFReader(str(smollm2_gguf()))
        with pytest.raises(ConfigError, match="is not a readable GGUF file"):
            gguf.GGUFReader(str(tmp_path / "broken.gguf"))
    assert gguf.GGUFReader is theirs


@pytest.mark.parametrize("content", [b"", b"GGUF", b"no gguf at all" * 100])
def test_a_broken_file_is_told(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="is not a readable GGUF file"):
        read_gguf_config(path)


def test_what_a_field_holds_may_be_broken_too(tmp_path: Path) -> None:
    for name, value in (("split.count", 1 << 31), ("general.type", "m\udcff")):
        path = tmp_path / f"{name}.gguf"
        writer = GGUFWriter(path, "llama")
        if isinstance(value, int):
            writer.add_uint32(name, value)
        else:
            writer.add_string(name, "MARK")
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        path.write_bytes(path.read_bytes().replace(b"MARK", b"m\xff\xff\xff"))
        with pytest.raises(ConfigError, match=r"parts of a model|not a readable GGUF file: general\.type"):
            read_gguf_config(path)


@pytest.mark.parametrize(
    ("kind", "items", "said"),
    [
        (4, 1 << 40, "an array of"),
        (4, 1 << 20, "ends before"),
        (8, 1 << 20, "ends before"),
        (9, 1 << 20, "ends before"),
    ],
    ids=["absurd", "numbers", "texts", "arrays"],
)
def test_an_array_that_promises_more_than_the_file_holds(tmp_path: Path, kind: int, items: int, said: str) -> None:
    """gguf's own reader makes empty numbers until memory is gone."""
    path = tmp_path / "x.gguf"
    head = struct.pack("<4sIQQ", b"GGUF", 3, 0, 1)
    path.write_bytes(head + struct.pack("<Q1sIIQ", 1, b"k", 9, kind, items) + bytes(64))
    with pytest.raises(ConfigError, match=said):
        read_gguf_config(path)


SIZES = {
    "block_count": 2,
    "context_length": 64,
    "embedding_length": 32,
    "feed_forward_length": 48,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
}


def written(
    path: Path, architecture: str, sizes: dict[str, Any], tensors: dict[str, tuple[int, ...]], **how: Any
) -> Path:
    """A GGUF file of these sizes and half-precision tensors, none of whose values matter."""
    writer = GGUFWriter(str(path), architecture, **how)
    for key, value in sizes.items():
        name = f"{architecture}.{key}"
        if isinstance(value, list):
            writer.add_array(name, value)
        elif isinstance(value, bool):
            writer.add_bool(name, value)
        elif isinstance(value, str):
            writer.add_string(name, value)
        elif isinstance(value, float):
            writer.add_float32(name, value)
        elif value < 0:
            writer.add_int32(name, value)
        else:
            writer.add_uint32(name, value)
    for name, shape in tensors.items():
        writer.add_tensor(name, np.zeros(shape, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def llama_tensors(layers: tuple[int, ...] = (0, 1)) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {"token_embd.weight": (60, 32), "output_norm.weight": (32,)}
    for layer in layers:
        shapes = {"attn_q": (32, 32), "attn_k": (16, 32), "attn_v": (16, 32), "attn_output": (32, 32)}
        shapes |= {"ffn_gate": (48, 32), "ffn_up": (48, 32), "ffn_down": (32, 48)}
        shapes |= {"attn_norm": (32,), "ffn_norm": (32,)}  # type: ignore[dict-item]
        found |= {f"blk.{layer}.{name}.weight": shape for name, shape in shapes.items()}
    # Frequencies are no parameter.
    return found | {"rope_freqs.weight": (4,)}


def elements(tensors: dict[str, tuple[int, ...]]) -> int:
    return sum(int(np.prod(shape)) for name, shape in tensors.items() if name != "rope_freqs.weight")


def test_parameters_are_the_tensors_or_it_is_an_error(tmp_path: Path) -> None:
    tensors = llama_tensors()
    path = written(tmp_path / "m.gguf", "llama", SIZES, tensors)
    record = analyze(read_gguf_config(path), stored=stored_in_gguf(path))
    assert record.model.parameters == elements(tensors)
    assert record.model.dtype == "float16"
    assert record.model.weight_bytes == 2 * (elements(tensors) + 4)
    short = written(tmp_path / "short.gguf", "llama", SIZES, llama_tensors((0,)))
    with pytest.raises(ConfigError, match=r"its sizes make [\d,]+ parameters, its tensors hold [\d,]+"):
        analyze(read_gguf_config(short), stored=stored_in_gguf(short))


def test_layers_that_differ(tmp_path: Path) -> None:
    tensors = llama_tensors()
    tensors |= {"blk.1.attn_k.weight": (8, 32), "blk.1.attn_v.weight": (8, 32)}
    path = written(tmp_path / "m.gguf", "llama", {**SIZES, "attention.head_count_kv": [2, 1]}, tensors)
    record = analyze(read_gguf_config(path), stored=stored_in_gguf(path))
    assert record.model.parameters == elements(tensors)
    assert record.model.kv_bytes_per_token == 2 * 8 * (2 + 1) * 2
    without = written(tmp_path / "none.gguf", "llama", {**SIZES, "attention.head_count_kv": [2, 0]}, {})
    with pytest.raises(ConfigError, match="layers without it are not described"):
        read_gguf_config(without)


def test_a_file_of_the_other_byte_order_reads_the_same(tmp_path: Path) -> None:
    little = written(tmp_path / "l.gguf", "llama", SIZES, llama_tensors())
    big = written(tmp_path / "b.gguf", "llama", SIZES, llama_tensors(), endianess=GGUFEndian.BIG)
    assert read_gguf_config(big) == read_gguf_config(little)
    assert stored_in_gguf(big) == stored_in_gguf(little)


def test_a_split_model_is_one(tmp_path: Path) -> None:
    tensors = llama_tensors()
    names = list(tensors)
    for number, part in enumerate((names[:7], names[7:])):
        path = tmp_path / f"m-{number + 1:05d}-of-00002.gguf"
        writer = GGUFWriter(str(path), "llama")
        for key, value in SIZES.items() if number == 0 else ():
            writer.add_uint32(f"llama.{key}", value)
        writer.add_uint16("split.count", 2)
        for name in part:
            writer.add_tensor(name, np.zeros(tensors[name], dtype=np.float16))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    first, second = sorted(tmp_path.iterdir())
    for path in (first, second):
        assert analyze(read_gguf_config(path), stored=stored_in_gguf(path)).model.parameters == elements(tensors)
    second.rename(tmp_path / "elsewhere.gguf")
    read_gguf_config.cache_clear()
    with pytest.raises(ConfigError, match=r"one of 2 parts .* others are missing: m-00002-of-00002\.gguf"):
        read_gguf_config(first)


def test_experts_and_names_that_gguf_spells_otherwise(tmp_path: Path) -> None:
    experts = {"expert_count": 4, "expert_used_count": 2}
    mixtral = read_gguf_config(written(tmp_path / "a.gguf", "llama", {**SIZES, **experts}, {}))
    assert (mixtral["model_type"], mixtral["num_local_experts"]) == ("mixtral", 4)
    moe = read_gguf_config(
        written(tmp_path / "b.gguf", "qwen3moe", {**SIZES, **experts, "expert_feed_forward_length": 20}, {})
    )
    assert (moe["model_type"], moe["num_experts"], moe["moe_intermediate_size"]) == ("qwen3_moe", 4, 20)
    for architecture, known in ARCHITECTURES.items():
        found = read_gguf_config(written(tmp_path / f"{architecture}.gguf", architecture, SIZES, {}))
        assert found["model_type"] == known.model_type or architecture == "llama"


def test_architectures_are_those_that_transformers_names() -> None:
    from transformers.integrations.ggml import GGUF_CONFIG_MAPPING
    from transformers.integrations.gguf.gguf_config_mapping import GGUF_CONFIG_ARCHS

    renamed = {"qwen2_moe": "qwen2moe", "qwen3_moe": "qwen3moe", "gpt_oss": "gpt-oss", "minimax_m2": "minimax-m2"}
    named = {renamed.get(name, name) for name in (*GGUF_CONFIG_MAPPING, *GGUF_CONFIG_ARCHS)}
    assert named - {"general", "tokenizer"} == set(ARCHITECTURES)


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    for kind, text in (("imatrix", "an importance matrix"), ("adapter", "an adapter")):
        writer = GGUFWriter(str(tmp_path / f"{kind}.gguf"), "llama")
        writer.add_type(kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        with pytest.raises(ConfigError, match=text):
            read_gguf_config(tmp_path / f"{kind}.gguf")
    with pytest.raises(ConfigError, match="'walrus' is none that transformers loads"):
        read_gguf_config(written(tmp_path / "w.gguf", "walrus", SIZES, {}))


def test_a_key_that_is_there_twice_and_a_model_without_a_name(tmp_path: Path) -> None:
    path = written(tmp_path / "m.gguf", "llama", {"name_a": 1, "name_b": 2}, {})
    content = path.read_bytes()
    path.write_bytes(content.replace(b"name_b", b"name_a"))
    with pytest.raises(ConfigError, match=r"not a readable GGUF file: .*[Dd]uplicate"):
        read_gguf_config(path)
    other = tmp_path / "n.gguf"
    other.write_bytes(content.replace(b"general.architecture", b"general.architectura"))
    with pytest.raises(ConfigError, match="names no architecture"):
        read_gguf_config(other)


OTHERS: list[Any] = [None, "forty", -1, [1, 2, 3]]
"""What may stand in place of a number; None: nothing."""


@pytest.mark.parametrize("architecture", ["llama", *sorted(_ADJUST.keys() - {"llama"})])
def test_sizes_that_are_missing_or_none_are_named_or_counted(tmp_path: Path, architecture: str) -> None:
    """Each in turn, in every architecture whose sizes are worked out of others."""
    sizes = SIZES | {"expert_count": 4, "expert_used_count": 2, "ssm.inner_size": 64, "ssm.time_step_rank": 8}
    sizes |= {"attention.key_length": 8, "nextn_predict_layers": 1, "attention.sliding_window_pattern": 1}
    for key in sizes.keys() - {"context_length", "embedding_length", "attention.head_count", "attention.key_length"}:
        for number, value in enumerate(OTHERS):
            path = tmp_path / f"{key}-{number}.gguf"
            others = sizes | {key: value} if value is not None else {k: v for k, v in sizes.items() if k != key}
            written(path, architecture, others, {"token_embd.weight": (16,)})
            try:
                static_record(dict(read_gguf_config(path)), StaticRequest(prompt_tokens=4), method="analytic")
            except LlmperfError as error:
                assert error.remedy
