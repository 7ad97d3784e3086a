"""A GGUF file's metadata as the `config.json` it stands for, and what its tensors hold, without torch."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_perf_opt.analysis.static.stored import StoredWeights
from llm_perf_opt.errors import ConfigError

if TYPE_CHECKING:
    from gguf import GGUFReader

# Key names: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
_COMMON = {
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.sliding_window": "sliding_window",
    "context_length": "max_position_embeddings",
    "vocab_size": "vocab_size",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
}
_EXPERTS, _LOCAL = {"expert_count": "num_experts"}, {"expert_count": "num_local_experts"}
_PER_LAYER = ("num_key_value_heads", "num_attention_heads", "intermediate_size")
_DELTA = {
    "full_attention_interval": "full_attention_interval",
    "ssm.conv_kernel": "linear_conv_kernel_dim",
    "ssm.state_size": "linear_key_head_dim",
    "ssm.group_count": "linear_num_key_heads",
    "ssm.time_step_rank": "linear_num_value_heads",
}


@dataclass(frozen=True, slots=True)
class _Architecture:
    """What transformers calls a GGUF architecture, and the keys it spells in its own way."""

    model_type: str
    keys: Mapping[str, str | None]
    """GGUF key -> config key; None drops one."""


# The architectures that transformers' GGUF loader names.
ARCHITECTURES: Mapping[str, _Architecture] = {
    "llama": _Architecture("llama", {"rope.dimension_count": "head_dim", **_LOCAL}),
    "mistral": _Architecture("mistral", {"rope.dimension_count": "head_dim"}),
    "qwen2": _Architecture("qwen2", {}),
    "qwen2moe": _Architecture("qwen2_moe", _EXPERTS),
    "qwen3": _Architecture("qwen3", {}),
    "qwen3moe": _Architecture("qwen3_moe", _EXPERTS),
    "qwen35": _Architecture("qwen3_5_text", _DELTA),
    "qwen35moe": _Architecture("qwen3_5_moe_text", {**_DELTA, **_EXPERTS}),
    "gpt-oss": _Architecture("gpt_oss", {**_LOCAL, "expert_feed_forward_length": "intermediate_size"}),
    "minimax-m2": _Architecture("minimax_m2", {**_LOCAL, "expert_feed_forward_length": "intermediate_size"}),
    "falcon": _Architecture("falcon", {"attention.head_count_kv": "num_kv_heads"}),
    "phi3": _Architecture("phi3", {}),
    "bloom": _Architecture("bloom", {"block_count": "n_layer", "attention.head_count": "n_head"}),
    "stablelm": _Architecture("stablelm", {}),
    "gpt2": _Architecture(
        "gpt2",
        {
            "block_count": "n_layer",
            "context_length": "n_positions",
            "embedding_length": "n_embd",
            "feed_forward_length": "n_inner",
            "attention.head_count": "n_head",
            "attention.head_count_kv": None,
        },
    ),
    "starcoder2": _Architecture("starcoder2", {}),
    "mamba": _Architecture(
        "mamba",
        {
            "ssm.conv_kernel": "conv_kernel",
            "ssm.state_size": "state_size",
            "ssm.time_step_rank": "time_step_rank",
            "ssm.inner_size": "intermediate_size",
            "feed_forward_length": None,
            "attention.head_count": None,
            "attention.head_count_kv": None,
        },
    ),
    "nemotron": _Architecture("nemotron", {}),
    "gemma2": _Architecture("gemma2", {}),
    "gemma3": _Architecture("gemma3_text", {}),
    "gemma4": _Architecture(
        "gemma4_text",
        {
            "attention.key_length": "global_head_dim",
            "attention.key_length_swa": "head_dim",
            "attention.shared_kv_layers": "num_kv_shared_layers",
            "embedding_length_per_layer_input": "hidden_size_per_layer_input",
            "expert_used_count": "top_k_experts",
            **_EXPERTS,
        },
    ),
    "lfm2": _Architecture("lfm2", {"shortconv.l_cache": "conv_L_cache"}),
    "t5": _Architecture("t5", {}),
    "umt5": _Architecture("umt5", {}),
    "deci": _Architecture("deci", {}),
}
# Tensors that are no weights of transformers' model: frequencies, and what routers are corrected by.
_NO_PARAMETERS = re.compile(r"rope_freqs|rope_factors|exp_probs_b")
_MOST_PARTS = 99_999
"""Their names have five digits."""
_ALWAYS_TIED = ("falcon", "bloom")
_PLAIN = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@functools.cache  # a run asks for it in more than one place, and a vocabulary takes seconds to read
def _reader(path: Path) -> GGUFReader:
    from llm_perf_opt.workload.gguf_file import open_gguf

    return open_gguf(path)


def _field(reader: GGUFReader, name: str) -> Any:
    field = reader.fields.get(name)
    try:
        return None if field is None else field.contents()
    except (ValueError, IndexError, KeyError, OverflowError) as error:  # text that is no UTF-8; a type that is none
        file = reader.data.filename
        raise ConfigError(f"{file} is not a readable GGUF file: {name}: {error}", "download it again") from error


def _parts(path: Path) -> list[Path]:
    """All files of a model that is split into several, this one among them.

    Raises:
        ConfigError: some of them are missing.
    """
    count = _field(_reader(path), "split.count")
    if not isinstance(count, int) or count < 2:
        return [path]
    if count > _MOST_PARTS:
        raise ConfigError(f"{path}: it says to be one of {count:,} parts of a model", "download it again")
    match = re.fullmatch(r"(.*-)\d{5}(-of-\d{5}\.gguf)", path.name)
    files = [path.with_name(f"{match[1]}{number:05d}{match[2]}") for number in range(1, count + 1)] if match else []
    missing = [file.name for file in files if not file.exists()]
    if missing or not files:
        named = ", ".join(missing[:3]) if files else "they are not named NAME-00001-of-00002.gguf"
        raise ConfigError(f"{path}: one of {count} parts of a model, and others are missing: {named}", "fetch them all")
    return files


def _architecture(path: Path, reader: GGUFReader) -> tuple[str, _Architecture]:
    named, kind = _field(reader, "general.architecture"), _field(reader, "general.type")
    if kind not in (None, "model") or named is None:
        what = {"imatrix": "an importance matrix for quantising a model", "adapter": "an adapter"}.get(str(kind))
        reason = f"holds {what or 'no model: it names no architecture'}"
        raise ConfigError(f"{path}: {reason}", "give the GGUF file of the model itself")
    if not isinstance(named, str) or named not in ARCHITECTURES:
        raise ConfigError(
            f"{path}: architecture {named!r} is none that transformers loads from GGUF",
            f"give the model's own directory, or one of {', '.join(ARCHITECTURES)}",
        )
    return named, ARCHITECTURES[named]


@functools.cache
def read_gguf_config(path: Path) -> Mapping[str, Any]:
    """Sizes of the model in `path`, named as in `config.json`.

    Raises:
        ConfigError: the file is no GGUF file, or holds no model that transformers knows.
    """
    files = _parts(path)
    reader = _reader(files[0])
    architecture, known = _architecture(path, reader)
    found: dict[str, Any] = {"model_type": known.model_type}
    for key, name in {**_COMMON, **known.keys}.items():
        value = _field(reader, f"{architecture}.{key}")
        if value is not None and name is not None and name not in found:
            found[name] = value
    tensors = {tensor.name: tensor for file in files for tensor in _reader(file).tensors}
    # A file without an output matrix uses the embedding for it.
    found["tie_word_embeddings"] = "output.weight" not in tensors or architecture in _ALWAYS_TIED
    embedding = tensors.get("token_embd.weight")
    if embedding is not None and len(embedding.shape) > 1:
        found["vocab_size"] = int(embedding.shape[1])
    elif "vocab_size" not in found and "tokenizer.ggml.tokens" in reader.fields:
        found["vocab_size"] = len(reader.fields["tokenizer.ggml.tokens"].data)
    _ADJUST.get(architecture, _nothing)(found, reader, set(tensors))
    _per_layer(path, found)
    found |= _stored_types(files)
    return found


def _whole(value: Any) -> int | None:
    """A number that sizes can be worked out of; what else stands there is named when the sizes are checked."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _nothing(found: dict[str, Any], reader: GGUFReader, tensors: set[str]) -> None:
    return


def _llama(found: dict[str, Any], reader: GGUFReader, tensors: set[str]) -> None:
    if found.get("num_local_experts"):
        # llama.cpp knows Mixtral by Llama's name.
        found["model_type"] = "mixtral"
        found["intermediate_size"] = found.pop("moe_intermediate_size", found.get("intermediate_size"))
    else:
        found.pop("num_local_experts", None)
        found["attention_bias"] = any(name.endswith("attn_q.bias") for name in tensors)


def _mixture(found: dict[str, Any], reader: GGUFReader, tensors: set[str]) -> None:
    width, active = _whole(found.get("intermediate_size")), _whole(found.get("num_experts_per_tok"))
    if "moe_intermediate_size" not in found and width and active:
        # llama.cpp's rule where the width of an expert is not given.
        found["moe_intermediate_size"] = width // active


def _falcon(found: dict[str, Any], reader: GGUFReader, tensors: set[str]) -> None:
    found["new_decoder_architecture"] = (_whole(found.get("num_kv_heads")) or 1) > 1


def _stablelm(found: dict[str, Any], reader: GGUFReader, tensors: set[str]) -> None:
    found["use_qkv_bias"] = any(name.endswith("attn_q.bias") for name in tensors)
    found["use_parallel_residual"] = not any("ffn_norm" in name for name in tensors)


def _delta(found: dict[str, Any], reader: GGUFReader, tensors: set[str]) -> None:
    architecture = str(_field(reader, "general.architecture"))
    inner = _whole(_field(reader, f"{architecture}.ssm.inner_size"))
    heads, layers = _whole(found.get("linear_num_value_heads")), _whole(found.get("num_hidden_layers"))
    if inner and heads:
        found["linear_value_head_dim"] = inner // heads
    # The file counts the multi-token-prediction block as a layer.
    if layers is not None:
        found["num_hidden_layers"] = layers - (_whole(_field(reader, f"{architecture}.nextn_predict_layers")) or 0)


def _gemma4(found: dict[str, Any], reader: GGUFReader, tensors: set[str]) -> None:
    found["enable_moe_block"] = bool(found.get("num_experts"))
    pattern = _field(reader, "gemma4.attention.sliding_window_pattern")
    if isinstance(pattern, list):
        found["layer_types"] = ["sliding_attention" if slides else "full_attention" for slides in pattern]


def _lfm2(found: dict[str, Any], reader: GGUFReader, tensors: set[str]) -> None:
    heads = found.get("num_key_value_heads")
    if isinstance(heads, list) and heads and None not in map(_whole, heads):
        found["num_key_value_heads"] = max(heads)
        found["layer_types"] = ["full_attention" if count else "conv" for count in heads]
    found["block_auto_adjust_ff_dim"] = False


_ADJUST = {
    "llama": _llama,
    "qwen2moe": _mixture,
    "qwen3moe": _mixture,
    "falcon": _falcon,
    "stablelm": _stablelm,
    "qwen35": _delta,
    "qwen35moe": _delta,
    "gemma4": _gemma4,
    "lfm2": _lfm2,
}


def _per_layer(path: Path, found: dict[str, Any]) -> None:
    """Arrays of one entry a layer as one number, and as overrides of the layers that differ."""
    overrides: dict[str, dict[str, int]] = {}
    for key in _PER_LAYER:
        values = found.get(key)
        if not isinstance(values, list):
            continue
        if len(values) != found.get("num_hidden_layers") or not all(map(_whole, values)):
            raise ConfigError(f"{path}: {key} is {values}: layers without it are not described", "use its config.json")
        found[key] = Counter(values).most_common(1)[0][0]
        for layer, value in enumerate(values):
            if value != found[key]:
                overrides.setdefault(str(layer), {})[key] = value
    if overrides:
        found["per_layer_config"] = overrides


def _weights(files: Iterable[Path]) -> tuple[int, int, Counter[str]]:
    """Elements of the model's parameters, bytes of all tensors, and elements by type."""
    elements, size, types = 0, 0, Counter[str]()
    for file in files:
        tied = _field(_reader(file), "general.architecture") in _ALWAYS_TIED
        for tensor in _reader(file).tensors:
            size += int(tensor.n_bytes)
            types[tensor.tensor_type.name] += int(tensor.n_elements)
            if not _NO_PARAMETERS.search(tensor.name) and not (tied and tensor.name == "output.weight"):
                elements += int(tensor.n_elements)
    return elements, size, types


def _stored_types(files: Iterable[Path]) -> dict[str, Any]:
    """The plain type that the tensors are in, or their bytes a weight where they are quantized."""
    elements, size, types = _weights(files)
    if not elements:
        return {}
    usual = types.most_common(1)[0][0]
    if usual in _PLAIN:
        return {"dtype": _PLAIN[usual]}
    return {"quantization_config": {"quant_method": "gguf", "kind": usual, "bytes_per_weight": size / elements}}


def stored_in_gguf(path: Path) -> StoredWeights | None:
    """What the tensors of a file, or of all files it is split into, hold; None where there are none.

    Raises:
        ConfigError: the file is no GGUF file, or a part of a model is missing.
    """
    files = _parts(path)
    elements, size, types = _weights(files)
    if not elements:
        return None
    usual = types.most_common(1)[0][0]
    named = "the GGUF file" if len(files) == 1 else f"{len(files)} GGUF files"
    return StoredWeights(size, elements, _PLAIN.get(usual), named, parameters=elements)
