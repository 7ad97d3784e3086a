"""A GGUF file's metadata as the `config.json` it stands for, without torch."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_perf_opt.errors import ConfigError
from llm_perf_opt.opening import check_file

# GGUF architecture → transformers model type, for architectures whose keys below mean the same.
# Key names: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
MODEL_TYPES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "mistral": "mistral"}
KEYS = {
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "context_length": "max_position_embeddings",
    "vocab_size": "vocab_size",
}


@functools.cache  # a run asks for it in more than one place, and a vocabulary takes seconds to read
def read_gguf_config(path: Path) -> Mapping[str, Any]:
    """Sizes of the model in `path`, named as in `config.json`.

    Raises:
        ConfigError: the file is no GGUF file.
    """
    from gguf import GGUFReader

    try:
        check_file(path)
        reader = GGUFReader(path)
    except OSError as error:
        raise ConfigError(
            f"{path} is not a readable GGUF file: {error.strerror or error}", "name a model file"
        ) from error
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise ConfigError(f"{path} is not a readable GGUF file: {error}", "download it again") from error
    fields = reader.fields
    if "general.architecture" not in fields:
        raise ConfigError(f"{path} does not name its architecture (general.architecture)", "convert the model again")
    architecture = str(fields["general.architecture"].contents())
    found: dict[str, Any] = {"model_type": MODEL_TYPES.get(architecture, architecture)}
    for key, name in KEYS.items():
        field = fields.get(f"{architecture}.{key}")
        if field is not None:
            found[name] = field.contents()
    names = {tensor.name for tensor in reader.tensors}
    # A file without an output matrix uses the embedding for it.
    found["tie_word_embeddings"] = "output.weight" not in names
    if "vocab_size" not in found and "tokenizer.ggml.tokens" in fields:
        found["vocab_size"] = len(fields["tokenizer.ggml.tokens"].data)
    return found
