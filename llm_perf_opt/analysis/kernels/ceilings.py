"""What the GPU allows a launch: peaks and bandwidth as ncu reports them, else as the GPU catalogue has them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import get_args

from llm_perf_opt.analysis.kernels.arithmetic import CLOCKS, TENSOR, tensor_paths
from llm_perf_opt.analysis.kernels.figures import BYTES_A_CYCLE, DRAM_CLOCK
from llm_perf_opt.hardware.catalogue import find_gpu
from llm_perf_opt.hardware.gpu import Accumulate, Dtype, Gpu
from llm_perf_opt.records.kernels import Launch

PEAK = ".peak_sustained"
SM_CLOCK = CLOCKS[1]
NCU = "ncu"

# Kind → the instruction with most operations, and how many.
_BEST = {"fp64": ("dfma", 2), "fp32": ("ffma", 2), "fp16": ("hfma", 4)}
# Kind → operand type of the catalogue; the catalogue knows half precision on tensor cores only.
_CATALOGUED: dict[str, Dtype] = {"fp64": "fp64", "fp32": "fp32"}
_TENSOR_KIND = re.compile(rf"{TENSOR} (?P<src>[a-z0-9]+)(?:→(?P<dst>[a-z0-9]+))?(?: \(.*\))*")


@dataclass(frozen=True, slots=True)
class Ceiling:
    """One limit, or why it is not known."""

    value: float | None
    """FLOP/s or bytes/s."""
    source: str | None = None
    reason: str | None = None


def bandwidth(launch: Launch) -> Ceiling:
    """Bytes per second that DRAM can move, at the memory clock that was measured."""
    metrics = launch.metrics
    if BYTES_A_CYCLE in metrics and DRAM_CLOCK in metrics:
        return Ceiling(metrics[BYTES_A_CYCLE] * metrics[DRAM_CLOCK], NCU)
    gpu = find_gpu(launch.gpu or "")
    if gpu is None:
        return Ceiling(None, reason=f"no DRAM bandwidth: the export has no {BYTES_A_CYCLE} and {_no_gpu(launch)}")
    return Ceiling(gpu.memory_bandwidth_bytes_per_s, _catalogue(gpu))


def peak(launch: Launch, kind: str) -> Ceiling:
    """FLOP/s of this kind of arithmetic, at the SM clock that was measured or as published."""
    clock = launch.metrics.get(SM_CLOCK)
    a_cycle = _operations_a_cycle(launch, kind)
    if clock is not None and a_cycle is not None:
        return Ceiling(a_cycle * clock, NCU)
    gpu = find_gpu(launch.gpu or "")
    if gpu is None:
        return Ceiling(None, reason=f"no {kind} peak: it is not in the export and {_no_gpu(launch)}")
    dtype, accumulate = _catalogue_types(kind)
    if dtype is None:
        return Ceiling(None, reason=f"no {kind} peak: it is neither in the export nor in the catalogue")
    found = gpu.peak_flops(dtype, accumulate)
    if found is None:
        return Ceiling(None, reason=f"no {kind} peak: {gpu.why_no_peak(dtype, accumulate)}")
    return Ceiling(found.flops_per_s, _catalogue(gpu))


def _operations_a_cycle(launch: Launch, kind: str) -> float | None:
    if kind in _BEST:
        instruction, operations = _BEST[kind]
        issued = launch.metrics.get(f"sm__sass_thread_inst_executed_op_{instruction}_pred_on.sum{PEAK}")
        return None if issued is None else issued * operations
    names = {path.kind: name for path, name in tensor_paths(launch.metrics, PEAK).items()}
    # A path that counts dense and sparse products alike is held against the dense peak.
    name = names.get(f"{kind} (sparsity off)") or names.get(kind)
    return None if name is None else launch.metrics[name]


def _catalogue_types(kind: str) -> tuple[Dtype | None, Accumulate | None]:
    if kind in _CATALOGUED:
        return _CATALOGUED[kind], None
    found = _TENSOR_KIND.fullmatch(kind)
    if found is None or "sparsity on" in kind:  # the catalogue's peaks are dense
        return None, None
    name = "fp64_matrix" if found["src"] == "fp64" else found["src"]
    dtype = next((known for known in get_args(Dtype) if known == name), None)
    return dtype, next((known for known in get_args(Accumulate) if known == found["dst"]), None)


def _no_gpu(launch: Launch) -> str:
    if launch.gpu:
        return f"the catalogue does not know {launch.gpu}"
    return "nothing names the GPU"


def _catalogue(gpu: Gpu) -> str:
    return f"catalogue, {gpu.title}"
