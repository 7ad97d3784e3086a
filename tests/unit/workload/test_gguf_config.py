"""A GGUF file's metadata, read without torch."""

from __future__ import annotations

from pathlib import Path

import pytest

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
