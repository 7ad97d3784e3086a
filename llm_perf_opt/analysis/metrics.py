"""From raw timed repeats to the figures of `metrics.json`.

Definitions (SPEC of the figures: docs/metrics.md): every timed repeat of every batch is one observation.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from llm_perf_opt.analysis.statistics import percentile, summarize, unmeasured
from llm_perf_opt.records.hardware import HardwareState
from llm_perf_opt.records.metrics import Metric, Metrics
from llm_perf_opt.records.workload import BatchResult, Repeat, Workload


@dataclass(frozen=True)
class BatchCost:
    """What one run of a batch computes and must move at the least, from static analysis."""

    prefill_flops: int
    decode_flops: int
    """Sum over the decode steps, each at its own context."""
    decode_least_bytes: int
    """Weights and cache read once a step, and the new cache entries written."""
    prefill_least_bytes: int
    """Weights read once, and the cache of the prompt written."""


@dataclass(frozen=True)
class Peaks:
    """What the hardware could do; None where that is not known, with the reason."""

    flops_per_s: float | None
    bytes_per_s: float | None
    source: str
    reason: str | None = None
    mbu_reason: str | None = None
    """Why decode is not held against the bandwidth, where that is not because of `reason`."""
    if_passed: str | None = None
    """What it means that something is faster; None: that the peak or the count is wrong."""

    def of(self, devices: int) -> Peaks:
        """Those of so many devices together."""
        if devices == 1:
            return self
        flops = None if self.flops_per_s is None else self.flops_per_s * devices
        moved = None if self.bytes_per_s is None else self.bytes_per_s * devices
        return replace(self, flops_per_s=flops, bytes_per_s=moved, source=f"{devices} × {self.source}")


SLOW = 2.0
"""A decode step is slow above so many medians."""


@dataclass(frozen=True)
class DecodeSteps:
    """How evenly a run decoded: all decode steps of all timed repeats, which one mean would hide."""

    n: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    slow: int
    """Steps over `SLOW` times the median."""
    slow_share: float
    """Of the time of all steps, in the slow ones."""
    total_ms: float
    """Of all steps."""


def decode_steps(batches: Sequence[BatchResult]) -> DecodeSteps | None:
    """The decode steps of a run; None where there are none."""
    steps = [step_ms for _, repeat in _runs(batches) for step_ms in repeat.step_ms]
    if not steps:
        return None
    median = statistics.median(steps)
    slow = [step_ms for step_ms in steps if step_ms > SLOW * median]
    total = sum(steps)
    return DecodeSteps(
        n=len(steps),
        p50_ms=median,
        p95_ms=percentile(steps, 0.95),
        p99_ms=percentile(steps, 0.99),
        slow=len(slow),
        slow_share=sum(slow) / total if total > 0 else 0.0,
        total_ms=total,
    )


FIGURES = (
    "ttft_ms",
    "preprocess.latency_ms",
    "prefill.latency_ms",
    "decode.tpot_ms",
    "decode.step_p50_ms",
    "decode.step_p95_ms",
    "decode.step_p99_ms",
    "decode.slow_step_share",
    "decode.tokens_per_s",
    "decode.host_sync_ms",
    "e2e.latency_ms",
    "prefill.mfu",
    "decode.mbu",
    "decode.mfu",
    "memory.peak_bytes",
    "energy.per_token_j",
)
"""All names, in the order of `stage_metrics`."""

NOTHING_TIMED = "nothing was timed: no sample could be run"
STOOD_STILL = "the clock stood still or went back between the first token and the last of a repeat"
NONE_DECODED = "no repeat decoded a second token: max_new_tokens is 1, or the first token ended the text"

CostOf = Callable[[BatchResult], BatchCost | str]
"""The work of a batch, or why it is not known."""


def stage_metrics(record: Workload, hardware: HardwareState, cost_of: CostOf, peaks: Peaks) -> Metrics:
    """Every figure of one stage; what was not measured is null with a reason."""
    runs = list(_runs(record.batches))
    decoded = [(index, repeat) for index, repeat in runs if repeat.decode_ms is not None]
    decode_times = [(index, repeat.decode_ms) for index, repeat in decoded if repeat.decode_ms is not None]
    prefill_times = [(index, repeat.prefill_ms) for index, repeat in runs]
    note = throttle_note(hardware)
    ratios = _Ratios(record.batches, cost_of, peaks, note)

    def timed(unit: str, samples: list[float]) -> Metric:
        if not samples:
            return unmeasured(unit, NOTHING_TIMED)
        return summarize(unit, samples, note, [index for index, _ in runs])

    def after_first(unit: str, figure: Callable[[Repeat], float]) -> Metric:
        if not decoded:
            return unmeasured(unit, NONE_DECODED if runs else NOTHING_TIMED)
        if any(repeat.e2e_ms <= repeat.ttft_ms for _, repeat in decoded):
            return unmeasured(unit, STOOD_STILL)
        samples = [figure(repeat) for _, repeat in decoded]
        return summarize(unit, samples, note, [index for index, _ in decoded])

    steps = decode_steps(record.batches)

    def of_steps(unit: str, pick: Callable[[DecodeSteps], float]) -> Metric:
        if steps is None:
            return unmeasured(unit, NONE_DECODED if runs else NOTHING_TIMED)
        return summarize(unit, [pick(steps)], note or f"over all {steps.n:,} decode steps of the timed repeats")

    metrics = {
        "ttft_ms": timed("ms", [repeat.ttft_ms for _, repeat in runs]),
        "preprocess.latency_ms": timed("ms", [repeat.preprocess_ms for _, repeat in runs]),
        "prefill.latency_ms": timed("ms", [repeat.prefill_ms for _, repeat in runs]),
        "decode.tpot_ms": after_first("ms", tpot_ms),
        "decode.step_p50_ms": of_steps("ms", lambda found: found.p50_ms),
        "decode.step_p95_ms": of_steps("ms", lambda found: found.p95_ms),
        "decode.step_p99_ms": of_steps("ms", lambda found: found.p99_ms),
        "decode.slow_step_share": of_steps("share", lambda found: found.slow_share),
        "decode.tokens_per_s": after_first("tokens/s", _tokens_per_s),
        "decode.host_sync_ms": after_first("ms", lambda repeat: repeat.host_sync_ms),
        "e2e.latency_ms": timed("ms", [repeat.e2e_ms for _, repeat in runs]),
        "prefill.mfu": ratios.mfu(prefill_times, lambda work: work.prefill_flops, NOTHING_TIMED),
        "decode.mbu": ratios.mbu(decode_times, NONE_DECODED),
        "decode.mfu": ratios.mfu(decode_times, lambda work: work.decode_flops, NONE_DECODED),
        "memory.peak_bytes": _memory(record),
        "energy.per_token_j": _energy(record, hardware),
    }
    return Metrics(
        stage=record.stage,
        work_fingerprint=record.work_fingerprint,
        throttled=hardware.throttled,
        metrics=metrics,
    )


def throttle_note(hardware: HardwareState) -> str | None:
    """What to know of figures taken while the GPU was held back; None where it was not, or nobody looked."""
    if not hardware.throttled:
        return None
    reasons = ", ".join(f"{name} in {hardware.clock_events[name]:.0%} of samples" for name in hardware.throttle_reasons)
    return f"the GPU was throttled ({reasons}): its clocks were lower than it can run"


def _runs(batches: Sequence[BatchResult]) -> Iterator[tuple[int, Repeat]]:
    """Every timed repeat with the index of its batch."""
    for index, batch in enumerate(batches):
        for repeat in batch.repeats:
            yield index, repeat


def tpot_ms(repeat: Repeat) -> float:
    """(t_last − t_first) / (n − 1), t on the host, n the tokens of the longest row."""
    return (repeat.e2e_ms - repeat.ttft_ms) / len(repeat.step_ms)


def _tokens_per_s(repeat: Repeat) -> float:
    """Tokens after the first of every row, up to end of sequence, over the time between first and last."""
    return sum(count - 1 for count in repeat.new_tokens) / (repeat.e2e_ms - repeat.ttft_ms) * 1e3


def _memory(record: Workload) -> Metric:
    memory = record.memory
    if memory.peak_bytes is None:
        return unmeasured("bytes", memory.reason or "not recorded")
    return summarize("bytes", [float(memory.peak_bytes)], note=memory.source)


def _energy(record: Workload, hardware: HardwareState) -> Metric:
    """Energy of the whole GPU over the timed repeats, by the tokens they made; one observation."""
    unit = "J/token"
    tokens = sum(sum(repeat.new_tokens) for _, repeat in _runs(record.batches))
    per_token_j = hardware.energy_per_token_j(tokens)
    if per_token_j is None:
        known = hardware.reason or hardware.unavailable.get("power_w") or "the GPU reports neither energy nor power"
        return unmeasured(unit, known if tokens else NOTHING_TIMED)
    how = "its energy counter" if hardware.energy_method == "energy_counter" else "sampled power over time"
    return summarize(unit, [per_token_j], note=f"whole GPU by {how}; prefill, preprocessing and idling included")


class _Ratios:
    """Shares of what the hardware could do."""

    def __init__(self, batches: Sequence[BatchResult], cost_of: CostOf, peaks: Peaks, note: str | None) -> None:
        self._batches = batches
        self._work_of = cost_of
        self._peaks = peaks
        self._note = note
        self._known: dict[int, BatchCost | str] = {}

    def mfu(self, times: Sequence[tuple[int, float]], flops: Callable[[BatchCost], int], empty: str) -> Metric:
        """FLOPs / (dense peak × seconds)."""
        return self._ratio(times, flops, self._peaks.flops_per_s, empty, self._peaks.reason)

    def mbu(self, times: Sequence[tuple[int, float]], empty: str) -> Metric:
        """Least bytes / (memory bandwidth × seconds)."""
        bandwidth = self._peaks.bytes_per_s if self._peaks.mbu_reason is None else None
        reason = self._peaks.mbu_reason or self._peaks.reason
        return self._ratio(times, lambda work: work.decode_least_bytes, bandwidth, empty, reason)

    def _work(self, index: int) -> BatchCost | str:
        """Asked for once a batch: it takes as long for one repeat as for a hundred."""
        if index not in self._known:
            self._known[index] = self._work_of(self._batches[index])
        return self._known[index]

    def _ratio(
        self,
        times: Sequence[tuple[int, float]],
        amount: Callable[[BatchCost], int],
        peak_per_s: float | None,
        empty: str,
        unknown: str | None,
    ) -> Metric:
        if not times:
            return unmeasured("ratio", empty)
        if min(time_ms for _, time_ms in times) <= 0:
            return unmeasured("ratio", "a repeat took no time: the clock stood still or went back")
        if peak_per_s is None:
            return unmeasured("ratio", unknown or "the peak of this hardware is not known")
        ratios = []
        for index, time_ms in times:
            work = self._work(index)
            if isinstance(work, str):
                return unmeasured("ratio", work)
            ratios.append(amount(work) / (peak_per_s * time_ms / 1e3))
        if max(ratios) > 1.0:
            meaning = self._peaks.if_passed or f"the peak ({self._peaks.source}) or the count is wrong"
            return unmeasured("ratio", f"comes out as {max(ratios):.3g}, above 1: {meaning}")
        source = f"against {self._peaks.source}"
        note = f"{source}; {self._note}" if self._note else source
        return summarize("ratio", ratios, note, [index for index, _ in times])
