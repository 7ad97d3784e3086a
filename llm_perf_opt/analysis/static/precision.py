"""Bytes of stored weights, cache, state and activations: plain types, and a checkpoint's quantization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llm_perf_opt.analysis.static.description import Block
from llm_perf_opt.analysis.static.operators import Experts, Linear, Operator
from llm_perf_opt.analysis.static.quantization import Layout, Scheme, quantization_of, read_scheme, with_experts
from llm_perf_opt.analysis.static.state import StateType
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
class Precision:
    """Types of everything that is stored or moved."""

    dtype: str
    """Of activations and of weights that are not quantized."""
    kv_dtype: str
    scheme: Scheme | None
    notes: tuple[str, ...]
    scan_dtype: str = "float32"
    """Of the recurrent state of state-space layers."""

    def state_dtype(self, kind: StateType) -> str:
        """The type a state is kept in."""
        return {"float32": "float32", "scan": self.scan_dtype, "activations": self.dtype}[kind]

    def state_element_bytes(self, kind: StateType) -> float:
        """Bytes of one element of a state."""
        return BITS[self.state_dtype(kind)] / 8

    def weight_bytes(self, block: Block, operator: Operator) -> float:
        """Bytes per weight of an operator, its scales included, on average over the layers of its block."""
        if self.scheme is not None and self.scheme.bytes_per_weight is not None:
            return self.scheme.bytes_per_weight
        plain = BITS[self.dtype] / 8
        layouts = self._layouts(block, operator)
        if not any(layouts):
            return plain
        if isinstance(operator, Linear):
            matrices: Sequence[tuple[int, int]] = ((operator.inputs, operator.outputs),)
        else:
            assert isinstance(operator, Experts)
            matrices = operator.projections
        each = {layout: _stored(layout, matrices, operator.bias, plain) for layout in set(layouts)}
        return sum(each[layout] for layout in layouts) / len(layouts)

    def _layouts(self, block: Block, operator: Operator) -> list[Layout | None]:
        """How the operator's matrices are stored, layer by layer."""
        if self.scheme is None or not operator.quantizable or not isinstance(operator, Linear | Experts):
            return [None]
        experts = isinstance(operator, Experts)
        return [self.scheme.layout_of(path, experts=experts) for path in _paths(block, operator)]

    def compute_dtype(self, block: Block, operator: Operator) -> str:
        """The type an operator's products run in."""
        named = {layout.compute for layout in self._layouts(block, operator) if layout is not None}
        computes = {name for name in named if name is not None}
        return computes.pop() if len(named) == len(computes) == 1 else self.dtype

    def kv_element_bytes(self) -> float:
        """Bytes of one cached element."""
        return BITS[self.kv_dtype] / 8

    def activation_element_bytes(self) -> float:
        """Bytes of one activation."""
        return BITS[self.dtype] / 8


def _paths(block: Block, operator: Operator) -> list[str]:
    """The module of an operator in each layer of its block."""
    base = block.name.partition("[")[0]
    if base.rpartition(".")[2] == operator.name or operator.name in ("logits", "self"):
        return [base]
    layers = block.layers or ((0,) if block.repeat > 1 else ())
    return [f"{base}.{layer}.{operator.name}" for layer in layers] or [f"{base}.{operator.name}"]


def _stored(layout: Layout | None, matrices: Sequence[tuple[int, int]], bias: bool, plain: float) -> float:
    """Bytes per weight of these matrices."""
    held = sum(inputs * outputs for inputs, outputs in matrices)
    if layout is None:
        return plain
    stored = sum(layout.matrix_bytes(*matrix) for matrix in matrices)
    if bias:
        biases = sum(outputs for _, outputs in matrices)
        stored, held = stored + biases * plain, held + biases
    return stored / held


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


def resolve(config: Mapping[str, Any], dtype: str | None, kv_dtype: str | None, found: str | None = None) -> Precision:
    """Types for a model: the request's where it names them, else the checkpoint's.

    Args:
        found: the type that the weights' files are in, for a config that names none.

    Raises:
        ConfigError: an unknown type name.
    """
    notes: list[str] = []
    scheme: Scheme | None = None
    wanted = dtype_name(dtype) if dtype else None
    checkpoint = _checkpoint_dtype(config) or found
    compute = wanted if wanted in _FLOATS else checkpoint if checkpoint in _FLOATS else None
    if compute is None:
        compute = "bfloat16"
        notes.append("the config names no dtype: bfloat16 is assumed")
    quantization = quantization_of(config)
    if wanted is not None and wanted not in _FLOATS:
        scheme = Scheme(wanted, Layout(BITS[wanted], compute=wanted if wanted in ("fp8", "int8") else None))
        notes.append(f"weights of linear layers in {wanted} without scales, everything else in {compute}")
    elif quantization is not None and wanted is None:
        scheme = read_scheme(quantization)
        if scheme is None:
            method = quantization.get("quant_method", "unnamed")
            notes.append(f"ASSUMED: quantization {method!r} is not known here, so that weights count as {compute}")
        else:
            scheme = with_experts(scheme, config.get("expert_dtype"))
            notes.append(f"weights as the checkpoint stores them ({scheme.label}), the rest in {compute}")
    elif quantization is not None:
        notes.append(f"the checkpoint's quantization is set aside for {wanted}")
    kept = dtype_name(kv_dtype) if kv_dtype else compute
    return Precision(compute, kept, scheme, tuple(notes), _scan_dtype(config, compute))
