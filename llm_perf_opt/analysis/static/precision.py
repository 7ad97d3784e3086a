"""Bytes of stored weights, cache and activations: plain types and checkpoint quantization.

Sizes of quantized layouts follow the formats' own documentation: block scales of FP8 checkpoints
(https://huggingface.co/docs/transformers/quantization/finegrained_fp8), groups of GPTQ and AWQ
(https://huggingface.co/docs/transformers/quantization/gptq), NF4 blocks of 64 with float32 scales
(https://huggingface.co/docs/bitsandbytes/reference/nn/linear4bit) and MXFP4 blocks of 32 with one-byte
scales (https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from llm_perf_opt.analysis.static.operators import Experts, Linear, Operator, StateType
from llm_perf_opt.errors import ConfigError

BITS = {
    "float32": 32,
    "float16": 16,
    "bfloat16": 16,
    "fp8": 8,
    "int8": 8,
    "fp4": 4,
    "int4": 4,
}
_SPELLINGS = {
    "fp32": "float32",
    "float": "float32",
    "fp16": "float16",
    "half": "float16",
    "bf16": "bfloat16",
    "float8_e4m3fn": "fp8",
    "float8_e5m2": "fp8",
    "fp8_e4m3": "fp8",
    "fp8_e5m2": "fp8",
}
_FLOATS = ("float32", "float16", "bfloat16")


def dtype_name(text: str) -> str:
    """The canonical name of a type, `torch.` prefix and short spellings accepted.

    Raises:
        ConfigError: a name that is not known.
    """
    name = text.removeprefix("torch.").lower()
    name = _SPELLINGS.get(name, name)
    if name not in BITS:
        raise ConfigError(f"unknown dtype {text!r}", f"one of {', '.join(BITS)}")
    return name


@dataclass(frozen=True, slots=True)
class Layout:
    """How a quantized matrix is stored: `bits` a weight and `scale_bytes` for each block of rows x columns."""

    label: str
    bits: float
    block: tuple[int, int] | None = None
    """Outputs and inputs that share a scale; 0 means the whole axis."""
    scale_bytes: float = 0.0
    experts_only: bool = False
    skipped: tuple[str, ...] = ()
    """Modules left in the plain type."""
    compute: str | None = None
    """Type that products run in where activations are quantized too; None is the plain type."""

    def covers(self, operator: Operator) -> bool:
        """Whether the operator's matrices are stored this way."""
        if not operator.quantizable or not isinstance(operator, Linear | Experts):
            return False
        if self.experts_only and not isinstance(operator, Experts):
            return False
        parts = operator.name.split(".")
        return not any(set(name.split(".")) & set(parts) - {"mlp", "layers"} for name in self.skipped)

    def matrix_bytes(self, inputs: int, outputs: int) -> float:
        """Bytes of one matrix with its scales."""
        size = inputs * outputs * self.bits / 8
        if self.block is None:
            return size
        rows, columns = self.block[0] or outputs, self.block[1] or inputs
        return size + ceil(outputs / rows) * ceil(inputs / columns) * self.scale_bytes


@dataclass(frozen=True, slots=True)
class Precision:
    """Types of everything that is stored or moved."""

    dtype: str
    """Of activations and of weights that are not quantized."""
    kv_dtype: str
    layout: Layout | None
    notes: tuple[str, ...]
    scan_dtype: str = "float32"
    """Of the recurrent state of state-space layers."""

    def state_dtype(self, kind: StateType) -> str:
        """The type a state is kept in."""
        return {"float32": "float32", "scan": self.scan_dtype, "activations": self.dtype}[kind]

    def state_element_bytes(self, kind: StateType) -> float:
        """Bytes of one element of a state."""
        return BITS[self.state_dtype(kind)] / 8

    def weight_bytes(self, operator: Operator) -> float:
        """Bytes per weight of an operator, its scales included."""
        plain = BITS[self.dtype] / 8
        if self.layout is None or not self.layout.covers(operator):
            return plain
        if isinstance(operator, Linear):
            return self._stored(((operator.inputs, operator.outputs),), operator.bias, plain)
        assert isinstance(operator, Experts)
        return self._stored(operator.projections, operator.bias, plain)

    def _stored(self, matrices: Sequence[tuple[int, int]], bias: bool, plain: float) -> float:
        assert self.layout is not None
        stored = sum(self.layout.matrix_bytes(*matrix) for matrix in matrices)
        held = sum(inputs * outputs for inputs, outputs in matrices)
        if bias:
            biases = sum(outputs for _, outputs in matrices)
            stored, held = stored + biases * plain, held + biases
        return stored / held

    def compute_dtype(self, operator: Operator) -> str:
        """The type an operator's products run in."""
        if self.layout is not None and self.layout.compute is not None and self.layout.covers(operator):
            return self.layout.compute
        return self.dtype

    def kv_element_bytes(self) -> float:
        """Bytes of one cached element."""
        return BITS[self.kv_dtype] / 8

    def activation_element_bytes(self) -> float:
        """Bytes of one activation."""
        return BITS[self.dtype] / 8


def _checkpoint_dtype(config: Mapping[str, Any]) -> str | None:
    """The type the config names, at its top or in its text part."""
    for part in (config, config.get("text_config"), config.get("language_config"), config.get("llm_config")):
        if isinstance(part, Mapping):
            named = part.get("dtype") or part.get("torch_dtype")
            if isinstance(named, str) and named != "auto":
                return dtype_name(named)
    return None


def _scan_dtype(config: Mapping[str, Any], compute: str) -> str:
    """The type that state-space layers keep their state in: as the file says, else that of the activations."""
    for part in (config, config.get("text_config"), config.get("llm_config")):
        named = part.get("mamba_ssm_cache_dtype") if isinstance(part, Mapping) else None
        if isinstance(named, str) and named != "auto":
            return dtype_name(named)
    return compute


def _groups(bits: float, group: object, label: str, skipped: tuple[str, ...]) -> Layout:
    """Weights in groups along the inputs, each with a 16-bit scale and a zero point of the weights' size."""
    size = group if isinstance(group, int) and group > 0 else 0
    return Layout(f"{label} {bits:g} bits", bits, (1, size), 2 + bits / 8, skipped=skipped)


def _compressed_tensors(quantization: Mapping[str, Any], skipped: tuple[str, ...]) -> Layout | None:
    groups = quantization.get("config_groups")
    if not isinstance(groups, Mapping) or not groups:
        return None
    weights = next(iter(groups.values())).get("weights")
    if not isinstance(weights, Mapping) or not isinstance(weights.get("num_bits"), int):
        return None
    bits, group, block = weights["num_bits"], weights.get("group_size"), weights.get("block_structure")
    if isinstance(block, list) and len(block) == 2:
        shape: tuple[int, int] = (int(block[0]), int(block[1]))
    else:
        shape = (1, group if isinstance(group, int) and group > 0 else 0)
    return Layout(f"compressed-tensors {bits} bits", bits, shape, 2, skipped=skipped)


def _bitsandbytes(quantization: Mapping[str, Any], skipped: tuple[str, ...]) -> Layout:
    if quantization.get("load_in_8bit"):
        return Layout("bitsandbytes 8 bits", 8, (1, 0), 4, skipped=skipped, compute="int8")
    # Double quantization stores the scales themselves in 8 bits, with a float32 for each 256 of them.
    double = bool(quantization.get("bnb_4bit_use_double_quant"))
    return Layout("bitsandbytes 4 bits", 4, (1, 64), 1 + 4 / 256 if double else 4, skipped=skipped)


def _fp8(quantization: Mapping[str, Any], skipped: tuple[str, ...]) -> Layout:
    block = quantization.get("weight_block_size")
    shape = (int(block[0]), int(block[1])) if isinstance(block, list) and len(block) == 2 else (0, 0)
    return Layout("fp8", 8, shape, 4, skipped=skipped, compute="fp8")


def _layout(quantization: Mapping[str, Any]) -> Layout | None:
    """The layout of a `quantization_config`; None where its method is not known."""
    method = quantization.get("quant_method")
    names = quantization.get("modules_to_not_convert") or quantization.get("ignore") or ()
    skipped = tuple(name for name in names if isinstance(name, str) and not name.startswith("re:"))
    bits = quantization.get("bits", 4)
    layout: Layout | None = None
    if method == "fp8":
        layout = _fp8(quantization, skipped)
    elif method in ("gptq", "awq") and isinstance(bits, int):
        layout = _groups(bits, quantization.get("group_size", 128), method, skipped)
    elif method == "mxfp4":
        layout = Layout("mxfp4", 4, (1, 32), 1, experts_only=True, skipped=skipped)
    elif method == "bitsandbytes" or quantization.get("load_in_4bit") or quantization.get("load_in_8bit"):
        layout = _bitsandbytes(quantization, skipped)
    elif method == "compressed-tensors":
        layout = _compressed_tensors(quantization, skipped)
    return layout


def resolve(config: Mapping[str, Any], dtype: str | None, kv_dtype: str | None) -> Precision:
    """Types for a model: the request's where it names them, else the checkpoint's.

    Raises:
        ConfigError: an unknown type name.
    """
    notes: list[str] = []
    layout: Layout | None = None
    wanted = dtype_name(dtype) if dtype else None
    checkpoint = _checkpoint_dtype(config)
    compute = wanted if wanted in _FLOATS else checkpoint if checkpoint in _FLOATS else None
    if compute is None:
        compute = "bfloat16"
        notes.append("the config names no dtype: bfloat16 is assumed")
    quantization = config.get("quantization_config")
    if wanted is not None and wanted not in _FLOATS:
        layout = Layout(wanted, BITS[wanted], compute=wanted if wanted in ("fp8", "int8") else None)
        notes.append(f"weights of linear layers in {wanted} without scales, everything else in {compute}")
    elif isinstance(quantization, Mapping) and wanted is None:
        layout = _layout(quantization)
        method = quantization.get("quant_method", "unnamed")
        if layout is None:
            notes.append(f"quantization {method!r} is not known here: weights are counted in {compute}")
        else:
            notes.append(f"weights as the checkpoint stores them ({layout.label}), the rest in {compute}")
    elif isinstance(quantization, Mapping):
        notes.append(f"the checkpoint's quantization is set aside for {wanted}")
    kept = dtype_name(kv_dtype) if kv_dtype else compute
    return Precision(compute, kept, layout, tuple(notes), _scan_dtype(config, compute))
