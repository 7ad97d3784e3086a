"""From raw timed repeats to the figures of `metrics.json`.

Definitions (SPEC of the figures: docs/metrics.md): every timed repeat of every batch is one observation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from llm_perf_opt.analysis.statistics import summarize, unmeasured
from llm_perf_opt.records.metrics import Metric, Metrics
from llm_perf_opt.records.workload import BatchResult, Repeat, Workload


@dataclass(frozen=True)
class Work:
    """What one run of a batch computes and must move at the least, from static analysis."""

    prefill_flops: int
    decode_flops: int
    """Sum over the decode steps, each at its own context."""
    decode_least_bytes: int
    """Weights and cache read once a step, and the new cache entries written."""


@dataclass(frozen=True)
class Peaks:
    """What the hardware could do; None where that is not known, with the reason."""

    flops_per_s: float | None
    bytes_per_s: float | None
    source: str
    reason: str | None = None


WorkOf = Callable[[BatchResult], Work | str]
"""The work of a batch, or why it is not known."""


def stage_metrics(record: Workload, work_of: WorkOf, peaks: Peaks) -> Metrics:
    """Every figure of one stage; what was not measured is null with a reason."""
    runs = list(_runs(record.batches))
    decoded = [(batch, repeat) for batch, repeat in runs if repeat.decode_ms is not None]
    none_decoded = "no repeat decoded a second token: max_new_tokens is 1, or the first token ended the text"
    ratios = _Ratios(work_of, peaks)
    metrics = {
        "ttft_ms": _timed("ms", [repeat.ttft_ms for _, repeat in runs]),
        "preprocess.latency_ms": _timed("ms", [repeat.preprocess_ms for _, repeat in runs]),
        "prefill.latency_ms": _timed("ms", [repeat.prefill_ms for _, repeat in runs]),
        "decode.tpot_ms": _or(none_decoded, "ms", [_tpot_ms(repeat) for _, repeat in decoded]),
        "decode.tokens_per_s": _or(none_decoded, "tokens/s", [_tokens_per_s(repeat) for _, repeat in decoded]),
        "decode.host_sync_ms": _or(none_decoded, "ms", [repeat.host_sync_ms for _, repeat in decoded]),
        "e2e.latency_ms": _timed("ms", [repeat.e2e_ms for _, repeat in runs]),
        "prefill.mfu": ratios.mfu(
            [(batch, repeat.prefill_ms) for batch, repeat in runs], lambda work: work.prefill_flops, "nothing was timed"
        ),
        "decode.mbu": ratios.mbu(_decode_times(decoded), none_decoded),
        "decode.mfu": ratios.mfu(_decode_times(decoded), lambda work: work.decode_flops, none_decoded),
        "memory.peak_bytes": _memory(record),
    }
    return Metrics(stage=record.stage, work_fingerprint=record.work_fingerprint, metrics=metrics)


def _runs(batches: Sequence[BatchResult]) -> Iterator[tuple[BatchResult, Repeat]]:
    for batch in batches:
        for repeat in batch.repeats:
            yield batch, repeat


def _decode_times(decoded: Sequence[tuple[BatchResult, Repeat]]) -> list[tuple[BatchResult, float]]:
    return [(batch, repeat.decode_ms) for batch, repeat in decoded if repeat.decode_ms is not None]


def _tpot_ms(repeat: Repeat) -> float:
    """(t_last − t_first) / (n − 1), t on the host, n the tokens of the longest row."""
    return (repeat.e2e_ms - repeat.ttft_ms) / len(repeat.step_ms)


def _tokens_per_s(repeat: Repeat) -> float:
    """Tokens after the first of every row, up to end of sequence, over the time between first and last."""
    return sum(count - 1 for count in repeat.new_tokens) / (repeat.e2e_ms - repeat.ttft_ms) * 1e3


def _timed(unit: str, samples: list[float]) -> Metric:
    return _or("nothing was timed: no sample could be run", unit, samples)


def _or(reason: str, unit: str, samples: list[float]) -> Metric:
    return summarize(unit, samples) if samples else unmeasured(unit, reason)


def _memory(record: Workload) -> Metric:
    memory = record.memory
    if memory.peak_bytes is None:
        return unmeasured("bytes", memory.reason or "not recorded")
    return summarize("bytes", [float(memory.peak_bytes)], note=memory.source)


class _Ratios:
    """Shares of what the hardware could do."""

    def __init__(self, work_of: WorkOf, peaks: Peaks) -> None:
        self._work_of = work_of
        self._peaks = peaks

    def mfu(self, times: Sequence[tuple[BatchResult, float]], flops: Callable[[Work], int], empty: str) -> Metric:
        """FLOPs / (dense peak × seconds)."""
        return self._ratio(times, flops, self._peaks.flops_per_s, empty)

    def mbu(self, times: Sequence[tuple[BatchResult, float]], empty: str) -> Metric:
        """Least bytes / (memory bandwidth × seconds)."""
        return self._ratio(times, lambda work: work.decode_least_bytes, self._peaks.bytes_per_s, empty)

    def _ratio(
        self,
        times: Sequence[tuple[BatchResult, float]],
        amount: Callable[[Work], int],
        peak_per_s: float | None,
        empty: str,
    ) -> Metric:
        if not times:
            return unmeasured("ratio", empty)
        if peak_per_s is None:
            return unmeasured("ratio", self._peaks.reason or "the peak of this hardware is not known")
        ratios = []
        for batch, time_ms in times:
            work = self._work_of(batch)
            if isinstance(work, str):
                return unmeasured("ratio", work)
            ratios.append(amount(work) / (peak_per_s * time_ms / 1e3))
        if max(ratios) > 1.0:
            return unmeasured(
                "ratio",
                f"comes out as {max(ratios):.3g}, above 1: the peak ({self._peaks.source}) or the count is wrong",
            )
        return summarize("ratio", ratios, note=f"against {self._peaks.source}")
