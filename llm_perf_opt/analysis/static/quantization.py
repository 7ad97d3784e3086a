"""Checkpoint quantization: which modules are stored in fewer bits, and with which scales.

Layouts follow the formats' own documentation: block scales of FP8 checkpoints
(https://huggingface.co/docs/transformers/quantization/finegrained_fp8), groups of GPTQ and AWQ
(https://huggingface.co/docs/transformers/quantization/gptq), NF4 blocks of 64 with float32 scales
(https://huggingface.co/docs/bitsandbytes/reference/nn/linear4bit), MXFP4 and MXFP8 blocks of 32 with one-byte scales
(https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf), NVFP4 blocks of 16 with FP8
scales and one float32 a matrix (https://nvidia.github.io/TensorRT-Model-Optimizer), and compressed-tensors
(https://github.com/vllm-project/compressed-tensors).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import ceil, inf
from typing import Any

from llm_perf_opt.errors import ConfigError

_REMEDY = "restore the file from the model's source"
Quantization = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Layout:
    """How a quantized matrix is stored: `bits` a weight and `scale_bytes` for each block of rows x columns."""

    bits: float
    block: tuple[int, int] | None = None
    """Outputs and inputs that share a scale; 0 means the whole axis."""
    scale_bytes: float = 0.0
    matrix_extra_bytes: int = 0
    """Beside the scales: one for the whole matrix, or for its inputs."""
    input_extra_bytes: int = 0
    """An index for each input."""
    compute: str | None = None
    """Type that products run in where activations are quantized too; None is the plain type."""

    def matrix_bytes(self, inputs: int, outputs: int) -> float:
        """Bytes of one matrix with its scales."""
        size = inputs * outputs * self.bits / 8 + self.matrix_extra_bytes + inputs * self.input_extra_bytes
        if self.block is None:
            return size
        rows, columns = self.block[0] or outputs, self.block[1] or inputs
        return size + ceil(outputs / rows) * ceil(inputs / columns) * self.scale_bytes


@dataclass(frozen=True, slots=True, eq=False)  # thousands of names would be hashed at every look-up
class Scheme:
    """The layout of every module of a checkpoint."""

    label: str
    usual: Layout | None
    """Of modules that nothing else is said about; None leaves them in the plain type."""
    excluded: tuple[str, ...] = ()
    named: tuple[tuple[str, Layout], ...] = ()
    """Modules with a layout of their own."""
    experts_only: bool = False
    experts: Layout | None = None
    """Of routed experts, where they are stored otherwise than the rest."""
    bytes_per_weight: float | None = None
    """Of every weight, norms and embeddings too, where only the mean is known."""

    def layout_of(self, path: str, *, experts: bool) -> Layout | None:
        """How the matrices of a module are stored; None for the plain type.

        Args:
            experts: the module holds routed experts, which checkpoints store one by one below it.
        """
        return _layout_of(self, path, experts)


# Where the layers stand in checkpoints, beside the plain names of transformers' inner model.
_PREFIXES = ("model.", "model.language_model.", "language_model.model.", "language_model.", "backbone.", "")
_MIXTURES = ("mlp", "block_sparse_moe", "feed_forward", "ffn")
"""What checkpoints call the part of a layer that holds its experts."""
_PREFIX = re.compile(r"(?:model\.)?(?:language_model\.)?(?:model\.)?")


class _Names:
    """Modules that the patterns of a config mean: names, globs, or `re:` and an expression.

    A name means the module it ends in and all below it; of `layers.1*` layer 1 is meant, not layers 10 to 19.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._plain = frozenset(pattern for pattern in patterns if "*" not in pattern and not pattern.startswith("re:"))
        globs = [
            re.sub(r"(?<=\d)\\\*", r"(?!\\d).*", re.escape(pattern)).replace(r"\*", ".*")
            for pattern in patterns
            if "*" in pattern and not pattern.startswith("re:")
        ]
        self._globs = re.compile(rf"(?:.*\.)?(?:{'|'.join(globs)})(?:\..*)?") if globs else None
        self._expressions = [re.compile(pattern[3:]) for pattern in patterns if pattern.startswith("re:")]

    def mean(self, name: str) -> bool:
        """Whether the module of this full name is meant."""
        parts = name.split(".")
        if self._plain and any(
            ".".join(parts[start:end]) in self._plain
            for start in range(len(parts))
            for end in range(start + 1, len(parts) + 1)
        ):
            return True
        if self._globs is not None and self._globs.fullmatch(name):
            return True
        return any(expression.match(name) for expression in self._expressions)


@cache
def _excluded(scheme: Scheme) -> _Names:
    return _Names(scheme.excluded)


@cache
def _named(scheme: Scheme) -> Mapping[Layout, _Names]:
    by_layout: dict[Layout, list[str]] = {}
    for pattern, layout in scheme.named:
        by_layout.setdefault(layout, []).append(pattern)
    return {layout: _Names(patterns) for layout, patterns in by_layout.items()}


@cache
def _layout_of(scheme: Scheme, path: str, experts: bool) -> Layout | None:
    core = _PREFIX.sub("", path, count=1)
    names = [prefix + core for prefix in _PREFIXES]
    found = next((part for part in _MIXTURES if f".{part}." in core), None)
    if found:
        names = [name.replace(f".{found}.", f".{part}.") for name in names for part in _MIXTURES]
    if experts:
        names += [f"{name}.0.{part}" for name in names for part in ("gate_proj", "up_proj", "down_proj", "w1")]
    for layout, named in _named(scheme).items():
        if any(map(named.mean, names)):
            return layout
    if scheme.experts_only and not experts:
        return None
    if experts and scheme.experts is not None:
        return scheme.experts
    return None if any(map(_excluded(scheme).mean, names)) else scheme.usual


def quantization_of(config: Mapping[str, Any]) -> Quantization | None:
    """What a config says of its quantization, at its top or in its text part."""
    for part in (config, config.get("text_config"), config.get("language_config"), config.get("llm_config")):
        found = part.get("quantization_config") if isinstance(part, Mapping) else None
        if isinstance(found, Mapping):
            return found
    return None


def _names(*lists: object) -> tuple[str, ...]:
    return tuple(name for names in lists if isinstance(names, Sequence) for name in names if isinstance(name, str))


def _groups(bits: float, group: object, *, index: bool) -> Layout:
    """Weights in groups along the inputs, each with a 16-bit scale and a zero point of the weights' size."""
    size = group if isinstance(group, int) and group > 0 else 0
    return Layout(bits, (1, size), 2 + bits / 8, input_extra_bytes=4 if index else 0)


def _block(sides: Sequence[object]) -> tuple[int, int]:
    """Rows and columns that have one scale.

    Raises:
        ConfigError: these are not two whole numbers above 0.
    """
    whole = [side for side in sides if isinstance(side, int) and not isinstance(side, bool) and side > 0]
    if len(sides) != 2 or len(whole) != 2:
        raise ConfigError(f"a block of quantized weights is {sides!r:.80}, not two whole numbers", _REMEDY)
    return whole[0], whole[1]


def _fp8(quantization: Quantization) -> Layout:
    block = quantization.get("weight_block_size")
    shape = _block(block) if isinstance(block, list) else (0, 0)
    fixed = 4 if quantization.get("activation_scheme") == "static" else 0
    return Layout(8, shape, 4, matrix_extra_bytes=fixed, compute="fp8")


def _bitsandbytes(quantization: Quantization) -> Layout:
    if quantization.get("load_in_8bit"):
        return Layout(8, (1, 0), 4, compute="int8")
    # Double quantization stores the scales themselves in 8 bits, with a float32 for each 256 of them.
    double = bool(quantization.get("bnb_4bit_use_double_quant"))
    return Layout(4, (1, 64), 1 + 4 / 256 if double else 4)


_ALGORITHMS: Mapping[str, Callable[[int], Layout]] = {
    # A scale of the weights and one of the inputs, float32 each.
    "FP8": lambda group: Layout(8, (0, 0), 4, matrix_extra_bytes=4, compute="fp8"),
    "FP8_PER_CHANNEL_PER_TOKEN": lambda group: Layout(8, (1, 0), 4, compute="fp8"),
    "FP8_PB_WO": lambda group: Layout(8, (128, 128), 4),
    "MXFP8": lambda group: Layout(8, (1, 32), 1, compute="fp8"),
    "MXFP4": lambda group: Layout(4, (1, 32), 1),
    "NVFP4": lambda group: Layout(4, (1, group or 16), 1, matrix_extra_bytes=8),
    "NVFP4_AWQ": lambda group: Layout(4, (1, group or 16), 1, matrix_extra_bytes=8),
    "W4A16_AWQ": lambda group: Layout(4, (1, group or 128), 2),
    "W4A8_AWQ": lambda group: Layout(4, (1, group or 128), 2, matrix_extra_bytes=8),
    "W8A16": lambda group: Layout(8, (1, 0), 2),
    "INT8_SQ": lambda group: Layout(8, (1, 0), 4, compute="int8"),
    "W8A8_SQ_PER_CHANNEL": lambda group: Layout(8, (1, 0), 4, compute="int8"),
}
"""ModelOpt's names of its layouts; each takes the group size."""


def _algorithm(named: object, group: object) -> Layout | None:
    made = _ALGORITHMS.get(named) if isinstance(named, str) else None
    return made(group if isinstance(group, int) else 0) if made else None


def _modelopt(quantization: Quantization) -> Scheme | None:
    excluded = _names(quantization.get("ignore"), quantization.get("exclude_modules"))
    algorithm, group = quantization.get("quant_algo"), quantization.get("group_size")
    if algorithm != "MIXED_PRECISION":
        layout = _algorithm(algorithm, group)
        return Scheme(f"ModelOpt {algorithm}", layout, excluded) if layout else None
    layers = quantization.get("quantized_layers")
    named = []
    for path, how in layers.items() if isinstance(layers, Mapping) else ():
        layout = _algorithm(how.get("quant_algo"), how.get("group_size")) if isinstance(how, Mapping) else None
        if layout is None:
            return None
        named.append((str(path), layout))
    usual = _fp8(quantization) if quantization.get("quant_method") == "fp8" else None
    kinds = sorted({str(how["quant_algo"]) for how in layers.values()}) if isinstance(layers, Mapping) else []
    return Scheme(f"ModelOpt {' and '.join(kinds)}", usual, excluded, tuple(named)) if named else None


def _compressed_layout(weights: object, activations: object) -> Layout | None:
    if not isinstance(weights, Mapping) or not isinstance(weights.get("num_bits"), int):
        return None
    bits, group, block = weights["num_bits"], weights.get("group_size"), weights.get("block_structure")
    real = weights.get("type") == "float"
    if isinstance(block, list):
        shape = _block(block)
    elif isinstance(group, int) and group > 0:
        shape = (1, group)
    else:
        shape = (0, 0) if weights.get("strategy") == "tensor" else (1, 0)
    compute = None
    if isinstance(activations, Mapping) and activations.get("num_bits") == bits == 8:
        compute = "fp8" if real else "int8"
    if real and bits == 4:
        return Layout(4, shape, 1, matrix_extra_bytes=8)
    zero_point = 0 if weights.get("symmetric", True) else bits / 8
    # Packed integers come with the shape they were packed from.
    return Layout(bits, shape, 2 + zero_point, matrix_extra_bytes=0 if real or bits == 8 else 16, compute=compute)


def _compressed_tensors(quantization: Quantization) -> Scheme | None:
    groups = quantization.get("config_groups")
    usual: Layout | None = None
    named: list[tuple[str, Layout]] = []
    for group in groups.values() if isinstance(groups, Mapping) else ():
        layout = _compressed_layout(group.get("weights"), group.get("input_activations"))
        if layout is None:
            return None
        for target in _names(group.get("targets")):
            if target == "Linear":
                usual = layout
            else:
                named.append((target, layout))
    if usual is None and not named:
        return None
    bits = sorted({f"{layout.bits:g}" for layout in (usual, *(layout for _, layout in named)) if layout})
    label = f"compressed-tensors {' and '.join(bits)} bits"
    return Scheme(label, usual, _names(quantization.get("ignore")), tuple(named))


def read_scheme(quantization: Quantization) -> Scheme | None:
    """The scheme of a `quantization_config`; None where its method is not known."""
    method = quantization.get("quant_method")
    if method is None and (quantization.get("load_in_4bit") or quantization.get("load_in_8bit")):
        method = "bitsandbytes"
    if method != "compressed-tensors" and "quant_algo" in quantization:
        method = "modelopt"
    read = _METHODS.get(method) if isinstance(method, str) else None
    return read(quantization) if read else None


def _left(quantization: Quantization) -> tuple[str, ...]:
    keys = ("modules_to_not_convert", "ignore", "llm_int8_skip_modules")
    return _names(*(quantization.get(key) for key in keys))


def _grouped(quantization: Quantization) -> Scheme | None:
    method, bits = str(quantization["quant_method"]), quantization.get("bits", 4)
    if not isinstance(bits, int):
        return None
    layout = _groups(bits, quantization.get("group_size", 128), index=method == "gptq")
    return Scheme(f"{method} {bits:g} bits", layout, _left(quantization))


def _bits_and_bytes(quantization: Quantization) -> Scheme:
    bits = 8 if quantization.get("load_in_8bit") else 4
    return Scheme(f"bitsandbytes {bits} bits", _bitsandbytes(quantization), _left(quantization))


def _gguf(quantization: Quantization) -> Scheme:
    size = quantization.get("bytes_per_weight")
    if not isinstance(size, int | float) or not 0 < size < inf:
        raise ConfigError(f"bytes_per_weight is {size!r:.80}, not a number of bytes", _REMEDY)
    return Scheme(f"GGUF {quantization.get('kind')}", None, bytes_per_weight=float(size))


def with_experts(scheme: Scheme, expert_dtype: object) -> Scheme:
    """The scheme of a checkpoint whose config gives its experts a type of their own (DeepSeek-V4)."""
    if expert_dtype != "fp4" or scheme.named:
        return scheme
    return replace(scheme, label=f"{scheme.label}, experts in fp4", experts=Layout(4, (1, 32), 1))


_METHODS: Mapping[str, Callable[[Quantization], Scheme | None]] = {
    "modelopt": _modelopt,
    "compressed-tensors": _compressed_tensors,
    "fp8": lambda given: Scheme("fp8", _fp8(given), _left(given)),
    "fbgemm_fp8": lambda given: Scheme("fp8", Layout(8, (1, 0), 4, compute="fp8"), _left(given)),
    "gptq": _grouped,
    "awq": _grouped,
    "mxfp4": lambda given: Scheme("mxfp4", Layout(4, (1, 32), 1), _left(given), experts_only=True),
    "bitsandbytes": _bits_and_bytes,
    "gguf": _gguf,
}
