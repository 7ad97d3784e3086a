"""A GGUF file's metadata, read without torch."""

from __future__ import annotations

from pathlib import Path

import pytest
from gguf import GGUFWriter

from llm_perf_opt.errors import ConfigError
from llm_perf_opt.workload.gguf_config import read_gguf_config
from tests.real_model import smollm2_gguf


def test_metadata_stands_for_a_config() -> None:
    """The values of SmolLM2-135M-Instruct's own config.json."""
    assert dict(read_gguf_config(smollm2_gguf())) == {
        "model_type": "llama",
        "num_hidden_layers": 30,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "max_position_embeddings": 8192,
        "vocab_size": 49152,
        "tie_word_embeddings": True,
    }


@pytest.mark.parametrize("content", [b"", b"GGUF", b"no gguf at all" * 100])
def test_a_broken_file_is_told(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="is not a readable GGUF file"):
        read_gguf_config(path)


def written(path: Path, **texts: str) -> bytes:
    writer = GGUFWriter(path, texts.pop("arch", "llama"))
    for name, text in texts.items():
        writer.add_string(f"x.{name}", text)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def test_a_key_that_is_there_twice_and_a_model_without_a_name(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    content = written(path, name_a="1", name_b="2")
    path.write_bytes(content.replace(b"name_b", b"name_a"))
    with pytest.raises(ConfigError, match=r"not a readable GGUF file: .*[Dd]uplicate"):
        read_gguf_config(path)
    other = tmp_path / "n.gguf"
    other.write_bytes(content.replace(b"general.architecture", b"general.architectura"))
    with pytest.raises(ConfigError, match="does not name its architecture"):
        read_gguf_config(other)
