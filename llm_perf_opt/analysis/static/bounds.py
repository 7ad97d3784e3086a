"""Roofline bounds of phases on a GPU, memory fit and largest batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from llm_perf_opt.analysis.static import walk
from llm_perf_opt.analysis.static.description import Block
from llm_perf_opt.analysis.static.precision import BITS, Precision
from llm_perf_opt.analysis.static.state import CausalConvolution, Recurrence
from llm_perf_opt.hardware.gpu import Dtype, Gpu
from llm_perf_opt.records.memory_fit import MemoryFit
from llm_perf_opt.records.static import Bound, GpuFigures, GpuPhases

# float32 counts against the vector units: torch leaves TF32 off unless asked
# (https://docs.pytorch.org/docs/stable/notes/cuda.html, "TensorFloat-32 (TF32) on Ampere").
_DTYPES: dict[str, Dtype] = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "fp8": "fp8", "int8": "int8"}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one GPU can do, for the types of one model. FLOP/s and bytes/s."""

    peaks: dict[str, float]
    bandwidth: float
    l2_bytes: int | None
    reasons: dict[str, str]


def limits(gpu: Gpu, rows: Iterable[walk.Row], precision: Precision) -> Limits:
    """Peaks of a GPU for the types that a model's products run in.

    A type the GPU has no units for is computed in the activations' type: weights are widened as they are read.
    """
    peaks: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for compute in sorted({row.compute for row in rows if row.flops} | {precision.dtype}):
        for candidate in (compute, precision.dtype):
            peak = gpu.peak_flops(_DTYPES[candidate])
            if peak is not None:
                peaks[compute] = peak.flops_per_s
                if candidate != compute:
                    why = gpu.why_no_peak(_DTYPES[compute])
                    reasons[f"peak_flops.{compute}"] = f"{why}: counted at the {candidate} peak"
                break
        else:
            reasons[f"peak_flops.{compute}"] = gpu.why_no_peak(_DTYPES[compute])
    return Limits(peaks, gpu.memory_bandwidth_bytes_per_s, gpu.l2_bytes, reasons)


def bound(rows: Sequence[walk.Row], tokens: int, limit: Limits) -> Bound:
    """The bound of one phase: max(sum of F/P, sum of B/W), and the unfused sum of max."""
    known = all(row.compute in limit.peaks for row in rows if row.flops)
    seconds = [row.flops / limit.peaks[row.compute] if row.flops else 0.0 for row in rows] if known else []
    weights = sum(row.weight_least for row in rows)
    memory_s = (weights + sum(row.kv + row.state for row in rows)) / limit.bandwidth
    compute_s = sum(seconds) if known else None
    unfused_s: float | None = None
    if known:
        moved = [(row.weight_least + row.kv + row.state + row.activation) / limit.bandwidth for row in rows]
        unfused_s = sum(map(max, seconds, moved))
    bound_s = None if compute_s is None else max(compute_s, memory_s)
    return Bound(
        compute_ms=None if compute_s is None else compute_s * 1e3,
        memory_ms=memory_s * 1e3,
        memory_bound_valid=None if limit.l2_bytes is None else weights > limit.l2_bytes,
        bound_ms=None if bound_s is None else bound_s * 1e3,
        limited_by=None if compute_s is None else "compute" if compute_s >= memory_s else "memory",
        unfused_ms=None if unfused_s is None else unfused_s * 1e3,
        tokens_per_s=tokens / bound_s if bound_s else None,
    )


def _sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second


def in_turn(first: Bound, second: Bound, tokens: int) -> Bound:
    """The bound of two phases that run one after the other: neither can use what the other leaves idle.

    Args:
        tokens: generated tokens, for the rate.
    """
    compute, memory = _sum(first.compute_ms, second.compute_ms), first.memory_ms + second.memory_ms
    whole = _sum(first.bound_ms, second.bound_ms)
    larger = first if (first.bound_ms or 0) >= (second.bound_ms or 0) else second
    return Bound(
        compute_ms=compute,
        memory_ms=memory,
        memory_bound_valid=larger.memory_bound_valid,
        bound_ms=whole,
        limited_by=larger.limited_by,
        unfused_ms=_sum(first.unfused_ms, second.unfused_ms),
        tokens_per_s=tokens / whole * 1e3 if whole else None,
    )


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes a model needs: once, and for each sequence of a batch."""

    weights: int
    kv_per_sequence: int
    activations_per_sequence: int
    state_per_sequence: int = 0

    def fit(self, gpu: Gpu, batch: int) -> MemoryFit:
        """Whether `batch` sequences fit, and how many would."""
        each = self.kv_per_sequence + self.state_per_sequence + self.activations_per_sequence
        total = self.weights + batch * each
        room = gpu.memory_bytes - self.weights
        return MemoryFit(
            weight_bytes=self.weights,
            kv_bytes=batch * self.kv_per_sequence,
            state_bytes=batch * self.state_per_sequence,
            activation_bytes=batch * self.activations_per_sequence,
            total_bytes=total,
            memory_bytes=gpu.memory_bytes,
            fits=total <= gpu.memory_bytes,
            largest_batch=max(0, room // each) if each else 0,
        )


def footprint(
    decoder: Sequence[Block], precision: Precision, *, weights: int, end: int, step: int, logits: int, source: int = 0
) -> Footprint:
    """What a generation keeps.

    Args:
        weights: bytes of all that is resident, encoders included.
        end: tokens of a sequence after the last step.
        step: most tokens of a sequence in one pass (the prompt, or a chunk of it).
        logits: positions whose logits exist at once.
        source: positions of a sequence that an encoder has read.
    """
    # The head reads the hidden state and leaves float32 logits beside those of its own type.
    head = decoder[-1].operators[-1]
    vocabulary = getattr(head, "outputs", 0)
    plain = BITS[precision.dtype] / 8
    beside = (*decoder[:-1], replace(decoder[-1], operators=decoder[-1].operators[:-1]))
    working = walk.widest(beside) * max(step, source) * plain + vocabulary * logits * (plain + 4)
    return Footprint(
        weights=weights,
        kv_per_sequence=walk.cache_bytes(decoder, end, precision, source),
        state_per_sequence=sum(walk.state_bytes(decoder, precision, kind) for kind in (Recurrence, CausalConvolution)),
        activations_per_sequence=round(working),
    )


@dataclass(frozen=True, slots=True)
class PhaseRows:
    """The rows of each phase with the tokens it yields; None where there is no such phase."""

    vision: tuple[Sequence[walk.Row], int] | None
    prefill: tuple[Sequence[walk.Row], int]
    decode: tuple[Sequence[walk.Row], int] | None
    later: tuple[Sequence[walk.Row], int] | None
    """All decode steps after prefill."""
    new_tokens: int
    """Of the whole batch."""


def on_gpu(gpu: Gpu, phases: PhaseRows, precision: Precision, need: Footprint, batch: int) -> GpuFigures:
    """All figures of one GPU."""
    limit = limits(gpu, phases.prefill[0], precision)
    first = bound(*phases.prefill, limit)
    plain = limit.peaks.get(precision.dtype)
    peaks = {name: limit.peaks.get(name) for name in {row.compute for row in phases.prefill[0] if row.flops}}
    return GpuFigures(
        name=gpu.id,
        title=gpu.title,
        peak_flops=dict(sorted(peaks.items())),
        memory_bandwidth_bytes_per_s=limit.bandwidth,
        l2_bytes=gpu.l2_bytes,
        ridge=None if plain is None else plain / limit.bandwidth,
        phases=GpuPhases(
            vision=None if phases.vision is None else bound(*phases.vision, limit),
            prefill=first,
            decode=None if phases.decode is None else bound(*phases.decode, limit),
            generation=None if phases.later is None else in_turn(first, bound(*phases.later, limit), phases.new_tokens),
        ),
        memory=need.fit(gpu, batch),
        reasons=limit.reasons,
        sources=tuple(dict.fromkeys((*gpu.sources["compute"], *gpu.sources["memory"]))),
    )
