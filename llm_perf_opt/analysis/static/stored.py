"""Weights as files hold them: sizes from the headers of safetensors files, without reading a tensor."""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_perf_opt.errors import ConfigError
from llm_perf_opt.opening import open_file, parse_json

_INDEX = "model.safetensors.index.json"
_MOST_HEADER_BYTES = 100_000_000
"""The format's own limit (https://huggingface.co/docs/safetensors)."""
_TYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True, slots=True)
class StoredWeights:
    """All tensors of a checkpoint."""

    bytes: int
    elements: int | None
    """None where only the index is there."""
    dtype: str | None
    """The floating type that most elements are in, where it is a plain one."""
    source: str
    parameters: int | None = None
    """Elements that the model's own parameters must add up to; None where tensors may be packed, or be more."""
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Of every tensor; empty where one is of no plain floating type, and may be packed."""


def _header(file: Path) -> Mapping[str, Any]:
    try:
        with open_file(file) as handle:
            size = file.stat().st_size
            start = handle.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= _MOST_HEADER_BYTES:
                raise ConfigError(f"{file}: no safetensors file ({size:,} bytes)", "download it again")
            header = parse_json(handle.read(length))
    except FileNotFoundError as error:
        what = "a symbolic link whose target is gone" if file.is_symlink() else "named by the index, and not there"
        raise ConfigError(f"{file}: {what}", "download it again, or remove the link") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: its header cannot be read: {error}", "download it again") from error
    if not isinstance(header, dict):
        raise ConfigError(f"{file}: its header is no table of tensors", "download it again")
    ends = [tensor["data_offsets"][-1] for tensor in header.values() if _has_offsets(tensor)]
    if size < 8 + length + max(ends, default=0):
        raise ConfigError(f"{file}: cut short: {size:,} of {8 + length + max(ends):,} bytes", "download it again")
    return header


def _has_offsets(tensor: object) -> bool:
    """Whether the header says where a tensor ends."""
    offsets = tensor.get("data_offsets") if isinstance(tensor, dict) else None
    return isinstance(offsets, list) and bool(offsets) and isinstance(offsets[-1], int)


def _tensors(file: Path) -> tuple[int, Counter[str], dict[str, tuple[int, ...]]]:
    """Bytes of a file's tensors, its elements by type, and the shape of each."""
    size, elements, shapes = 0, Counter[str](), {}
    for name, tensor in _header(file).items():
        if name == "__metadata__":
            continue
        try:
            start, end = _whole(tensor["data_offsets"])
            size += end - start
            shapes[name] = _whole(tensor["shape"])
            elements[str(tensor["dtype"])] += math.prod(shapes[name])
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{file}: tensor {name} has no size", "download it again") from error
    return size, elements, shapes


def _whole(numbers: Any) -> tuple[int, ...]:
    """Whole numbers of 0 or more.

    Raises:
        TypeError, ValueError: something else.
    """
    found = tuple(numbers)
    if not all(type(number) is int and number >= 0 for number in found):
        raise ValueError(f"{numbers} are no sizes")
    return found


def _index(directory: Path) -> tuple[Mapping[Path, set[str]], int | None]:
    """Files with the tensors that the index says they hold, and the bytes it gives; or the one file there is."""
    index = directory / _INDEX
    if not index.is_file():
        single = directory / "model.safetensors"
        return ({single: set()} if single.exists() or single.is_symlink() else {}), None
    try:
        found = parse_json(index.read_text(encoding="utf-8"))
        files: dict[Path, set[str]] = {}
        for tensor, name in sorted(found["weight_map"].items(), key=lambda item: str(item[1])):
            files.setdefault(directory / str(name), set()).add(str(tensor))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{index}: no index of weights: {error}", "download it again") from error
    total = found.get("metadata", {}).get("total_size") if isinstance(found.get("metadata"), dict) else None
    return files, total if isinstance(total, int) and not isinstance(total, bool) else None


def stored_weights(directory: Path) -> StoredWeights | None:
    """What the safetensors files of a model directory hold; None where there are none, nor an index of them.

    Raises:
        ConfigError: a file is broken, or some shards are there and others are not.
    """
    files, total = _index(directory)
    if not files:
        return None
    if not any(file.exists() or file.is_symlink() for file in files):
        return StoredWeights(total, None, None, _INDEX) if total else None
    size, elements, shapes = 0, Counter[str](), {}
    for file, named_tensors in files.items():
        own, counted, found = _tensors(file)
        if lacking := sorted(named_tensors - found.keys()):
            raise ConfigError(
                f"{file}: holds no {lacking[0]}, which the index says it does ({len(lacking)} such tensors)",
                "the shards are not of one checkpoint: download them again",
            )
        size, elements = size + own, elements + counted
        shapes.update(found)
    floating = {_TYPES[kind]: count for kind, count in elements.items() if kind in _TYPES}
    dtype = max(floating, key=lambda kind: floating[kind]) if floating else None
    plain = shapes if elements.keys() <= _TYPES.keys() else {}
    named = next(iter(files)).name if len(files) == 1 else f"{len(files)} safetensors files"
    return StoredWeights(size, sum(elements.values()), dtype, f"the headers of {named}", shapes=plain)
