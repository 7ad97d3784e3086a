"""Bounds of phases on a device whose peaks were measured."""

from __future__ import annotations

from llm_perf_opt.analysis.static.bounds import in_turn
from llm_perf_opt.hardware.measured import NOTHING_KEPT, kept_here
from llm_perf_opt.records.peaks import MeasuredPeaks
from llm_perf_opt.records.static import Bound, GpuPhases, MeasuredFigures, Phase, StaticRecord


def on_this_machine(record: StaticRecord) -> StaticRecord:
    """The record with bounds for the devices here whose peaks an earlier run has kept; or why there are none."""
    reasons: dict[str, str] = {}
    found = []
    for peaks in kept_here():
        figures = measured_figures(record, peaks)
        if isinstance(figures, str):
            reasons[f"measured.{peaks.device}"] = figures
        else:
            found.append(figures)
    if not found and not reasons:
        reasons["measured"] = NOTHING_KEPT
    return record.model_copy(update={"measured": tuple(found), "reasons": {**record.reasons, **reasons}})


def measured_figures(record: StaticRecord, peaks: MeasuredPeaks) -> MeasuredFigures | str:
    """The bounds of a model on a device; or why there are none."""
    dtype = record.request.dtype or record.model.dtype
    if record.model.quantization is not None:
        return f"products of {record.model.quantization} weights were not measured"
    rate, read = peaks.flops_per_s.get(dtype), peaks.read_bytes_per_s
    if rate is None:
        return peaks.missing.get(dtype, f"products of {dtype} were not measured")
    if read is None:
        return peaks.missing.get("read_bytes_per_s", "reading memory was not measured")
    flops_per_s, bytes_per_s, cache = rate.per_s, read.per_s, peaks.last_level_cache_bytes

    def bound(flops: int, moved: int, weights: int, tokens: int) -> Bound:
        compute_ms, memory_ms = flops / flops_per_s * 1e3, moved / bytes_per_s * 1e3
        bound_ms = max(compute_ms, memory_ms)
        return Bound(
            compute_ms=compute_ms,
            memory_ms=memory_ms,
            memory_bound_valid=None if cache is None else weights > cache,
            bound_ms=bound_ms,
            limited_by="compute" if compute_ms >= memory_ms else "memory",
            unfused_ms=None,
            tokens_per_s=tokens / bound_ms * 1e3 if bound_ms else None,
        )

    def of(phase: Phase | None) -> Bound | None:
        return None if phase is None else bound(phase.flops, phase.bytes, phase.weight_bytes, phase.tokens)

    first, whole = record.phases.prefill, record.phases.generation
    generation = None
    if first is not None and whole is not None:
        step = record.phases.decode.weight_bytes if record.phases.decode is not None else 0
        later = bound(whole.flops - first.flops, whole.bytes - first.bytes, step, 0)
        tokens = record.request.new_tokens * record.request.batch
        generation = in_turn(bound(first.flops, first.bytes, first.weight_bytes, first.tokens), later, tokens)
    return MeasuredFigures(
        device=peaks.device,
        label=peaks.label(dtype),
        peak_flops={dtype: flops_per_s},
        read_bytes_per_s=bytes_per_s,
        last_level_cache_bytes=cache,
        phases=GpuPhases(
            vision=of(record.phases.vision), prefill=of(first), decode=of(record.phases.decode), generation=generation
        ),
    )
