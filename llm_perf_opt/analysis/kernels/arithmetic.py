"""FLOPs that a launch executed, by kind, from the counters of ncu's roofline sections.

On the ordinary units an instruction counts one operation a thread, a fused multiply-add two; half-precision
instructions, and the packed `…2` ones of Blackwell, work on two values. Tensor cores are counted in operations, per
operand and result type. docs/nsight/kernels.md has the sources.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from llm_perf_opt.analysis.kernels.figures import DURATION, missing
from llm_perf_opt.records.kernels import Launch, Value

_INSTRUCTION = "sass_thread_inst_executed_op_{}_pred_on"
PER_CYCLE = ".per_cycle_elapsed"
CLOCKS = ("smsp__cycles_elapsed.avg.per_second", "sm__cycles_elapsed.avg.per_second")

# Kind → instruction → operations. The first three are needed; the packed ones exist on Blackwell only.
_ORDINARY = {
    "fp64": {"dadd": 1, "dmul": 1, "dfma": 2},
    "fp32": {"fadd": 1, "fmul": 1, "ffma": 2, "fadd2": 2, "fmul2": 2, "ffma2": 4},
    "fp16": {"hadd": 2, "hmul": 2, "hfma": 4},
}
_NEEDED = 3
TENSOR = "tensor"
_TYPES = r"(?:fp64|fp32|tf32|fp16|bf16|fp8|fp6|fp4|int8|int4|int1)"
_TENSOR = re.compile(
    rf"sm__ops_path_tensor(?:_op_(?P<op>[a-z]+))?_src_(?P<src>{_TYPES}(?:_{_TYPES})*)"
    r"(?:_dst_(?P<dst>[a-z0-9]+))?(?:_sparsity_(?P<sparsity>on|off))?"
    r"\.sum(?P<rate>\.per_cycle_elapsed|\.peak_sustained)?"
)


def is_counter(name: str) -> bool:
    """Whether this module reads the metric."""
    return name in CLOCKS or _COUNTER.fullmatch(name) is not None or _TENSOR.fullmatch(name) is not None


_COUNTER = re.compile(
    r"(?:smsp|sm)__" + _INSTRUCTION.format("[dfh](?:add|mul|fma)2?") + r"\.sum(?:\.per_cycle_elapsed|\.peak_sustained)?"
)


@dataclass(frozen=True, slots=True)
class TensorPath:
    """One way through the tensor cores, as a metric counts it; None covers all."""

    op: str | None
    src: frozenset[str]
    dst: str | None
    sparsity: str | None

    @property
    def kind(self) -> str:
        shown = "/".join(sorted(self.src))
        details = [text for text in (self.op, self.sparsity and f"sparsity {self.sparsity}") if text]
        return f"{TENSOR} {shown}" + (f"→{self.dst}" if self.dst else "") + "".join(f" ({text})" for text in details)

    @property
    def counts_flops(self) -> bool:
        return not any(name.startswith("int") for name in self.src)

    def covers(self, other: TensorPath) -> bool:
        """Whether everything that `other` counts is in this count too."""
        pairs = ((self.op, other.op), (self.dst, other.dst), (self.sparsity, other.sparsity))
        return self.src >= other.src and all(mine in (None, theirs) for mine, theirs in pairs)


def tensor_paths(names: Iterable[str], rate: str | None) -> dict[TensorPath, str]:
    """Paths that do arithmetic on floats → their metric.

    Args:
        rate: what follows `.sum`; None nothing.
    """
    found = {}
    for name in names:
        match = _TENSOR.fullmatch(name)
        if match is not None and match["rate"] == rate:
            path = TensorPath(match["op"], frozenset(match["src"].split("_")), match["dst"], match["sparsity"])
            if path.counts_flops:
                found[path] = name
    return found


def widest(paths: dict[TensorPath, str]) -> dict[TensorPath, str]:
    """Without those that another one covers, so that nothing counts twice."""
    return {
        path: name for path, name in paths.items() if not any(other != path and other.covers(path) for other in paths)
    }


def executed(launch: Launch) -> dict[str, Value]:
    """Kind → FLOPs of the launch; null where the counters of a kind are not in the export."""
    found = {kind: _ordinary(launch, weights) for kind, weights in _ORDINARY.items()}
    paths = widest(tensor_paths(launch.metrics, None))
    for path, name in paths.items():
        found[path.kind] = Value(value=launch.metrics[name])
    for path, name in widest(tensor_paths(launch.metrics, PER_CYCLE)).items():
        if not any(other.covers(path) or path.covers(other) for other in paths):
            found[path.kind] = _of_rate(launch, launch.metrics[name])
    if len(found) == len(_ORDINARY):
        found[TENSOR] = Value(value=None, reason="the export has no sm__ops_path_tensor_… metric")
    return found


def _ordinary(launch: Launch, weights: dict[str, int]) -> Value:
    for rate in ("", PER_CYCLE):
        counts = {op: _count(launch, op, rate) for op in weights}
        absent = [op for op in list(weights)[:_NEEDED] if counts[op] is None]
        if not absent:
            total = sum(weight * (counts[op] or 0.0) for op, weight in weights.items())
            return Value(value=total) if not rate else _of_rate(launch, total)
    return missing((f"smsp__{_INSTRUCTION.format('{' + ','.join(absent) + '}')}.sum",))


def _count(launch: Launch, op: str, rate: str) -> float | None:
    name = f"{_INSTRUCTION.format(op)}.sum{rate}"
    return launch.metrics.get(f"smsp__{name}", launch.metrics.get(f"sm__{name}"))


def _of_rate(launch: Launch, per_cycle: float) -> Value:
    """Operations per elapsed cycle × cycles per second × seconds."""
    clock = next((launch.metrics[name] for name in CLOCKS if name in launch.metrics), None)
    duration = launch.metrics.get(DURATION)
    if per_cycle == 0:
        return Value(value=0.0)
    if clock is None:
        return missing(CLOCKS)
    return missing((DURATION,)) if duration is None else Value(value=per_cycle * clock * duration * 1e-9)
