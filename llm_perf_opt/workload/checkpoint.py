"""Whether a checkpoint is the model that was loaded: tensors that are missing, of another shape, or left over."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from llm_perf_opt.errors import StageError
from llm_perf_opt.workload.weights import weight_files

SHOWN = 5
MOST_UNEXPECTED = 0.01
"""Of the checkpoint's bytes."""

# What checkpoints of today hold beside the model that generates: layers that guess several tokens, poolers of
# embeddings, scales of quantized weights, and buffers that older releases saved.
_ORDINARY = re.compile(
    r"(^|\.)(mtp|nextn|pooler|position_ids|masked_bias|rotary_emb|inv_freq|num_batches_tracked)"
    r"|_scale(_inv)?$|scales?$|attn\.bias$|attention\.bias$"
)
_LAYER = re.compile(r"\.(?:layers|h|blocks)\.(\d+)\.")


def check_loaded(model: Any, loading: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """Refuse a model whose weights are not the checkpoint's; what the reader should know of those that were left out.

    Args:
        loading: what `from_pretrained` says it did.

    Raises:
        StageError: tensors are missing, of another shape, or too many are not the model's.
    """
    if mismatched := sorted(loading["mismatched_keys"]):
        named = [f"{name} {tuple(there)} for {tuple(wanted)}" for name, there, wanted in mismatched]
        raise StageError(
            f"{path}: {len(named)} tensors have another shape than config.json says: {_some(named)}",
            "the weights belong to another config.json: restore the checkpoint's own",
        )
    if missing := sorted(loading["missing_keys"]):
        raise StageError(
            f"{path}: the checkpoint lacks {len(missing)} tensors of a {type(model).__name__}: {_some(missing)}",
            "give a whole checkpoint of that class, or set model.weights: random",
        )
    unexpected = sorted(loading["unexpected_keys"])
    if not unexpected:
        return ()
    sizes = tensor_bytes(path)
    known = {name: sizes.get(name) for name in unexpected}
    unusual = [name for name in unexpected if not _is_ordinary(name, model)]
    total = sum(sizes.values())
    taken = sum(size or 0 for name, size in known.items() if name in set(unusual))
    named = [_with_bytes(name, size) for name, size in known.items()]
    heads = list(getattr(model.config, "architectures", None) or ())
    if unusual and heads and type(model).__name__ not in heads:
        raise StageError(
            f"{path} is a checkpoint of {', '.join(heads)}, not of {type(model).__name__}, which has no place for "
            f"{_some([_with_bytes(name, known[name]) for name in unusual])}",
            "give a checkpoint of the class that is loaded",
        )
    if total and taken > MOST_UNEXPECTED * total:
        raise StageError(
            f"{path}: {taken:,} of {total:,} bytes are tensors that a {type(model).__name__} has no place for: "
            f"{_some([_with_bytes(name, known[name]) for name in unusual])}",
            "config.json describes another model than the weights: restore the checkpoint's own",
        )
    return (f"{len(named)} tensors of the checkpoint are no part of a {type(model).__name__}: {_some(named)}",)


def _is_ordinary(name: str, model: Any) -> bool:
    layer = _LAYER.search(name)
    layers = getattr(model.config.get_text_config(decoder=True), "num_hidden_layers", None)
    beyond = layer is not None and isinstance(layers, int) and int(layer[1]) >= layers
    return beyond or _ORDINARY.search(name) is not None


def _with_bytes(name: str, size: int | None) -> str:
    return f"{name} (size unknown)" if size is None else f"{name} ({size:,} bytes)"


def _some(names: Collection[str]) -> str:
    first = list(names)[:SHOWN]
    more = len(names) - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")


def tensor_bytes(path: Path) -> dict[str, int]:
    """Name → bytes of every tensor in the checkpoint at `path`, without reading their content."""
    found: dict[str, int] = {}
    for file in weight_files(path):
        if file.suffix == ".safetensors":
            found |= _of_safetensors(file)
        elif file.suffix == ".bin":
            found |= _of_pickle(file)
    return found


def _of_safetensors(file: Path) -> dict[str, int]:
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header = json.loads(stream.read(length))
    return {
        name: entry["data_offsets"][1] - entry["data_offsets"][0]
        for name, entry in header.items()
        if name != "__metadata__"
    }


def _of_pickle(file: Path) -> dict[str, int]:
    import torch

    tensors = torch.load(file, map_location="meta", weights_only=True, mmap=True)
    return {name: math.prod(value.shape) * value.element_size() for name, value in tensors.items()}
