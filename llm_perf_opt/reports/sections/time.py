"""Where the time goes, in plain words."""

from __future__ import annotations

from collections import defaultdict

from llm_perf_opt.analysis.metrics import SLOW, decode_steps, throttle_note
from llm_perf_opt.records.metrics import Metric
from llm_perf_opt.records.tables import OperatorRow, ProfileTables
from llm_perf_opt.records.workload import Instrumented
from llm_perf_opt.reports.document import Items, Section
from llm_perf_opt.reports.facts import Measured, RunFacts
from llm_perf_opt.reports.phases import phase_bars
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.units import percent, significant

LABELS = frozenset({"warmup", "prefill", "decode"})


def section(facts: RunFacts) -> Section | None:
    measured = facts.headline
    if measured is None or not measured.workload.batches:
        return None
    items = [*_throttled(measured), *_phases(measured), *_limits(measured)]
    tables = facts.first(ProfileTables)
    operators = tables.operators if tables is not None else []
    for phase in ("prefill", "decode"):
        items += _operators(phase, operators)
    bars = phase_bars(measured, next((record for _, record in facts.all(Instrumented) if record.modules), None))
    return Section("Where the time goes", (*([bars] if bars is not None else []), Items(tuple(items))))


def _throttled(measured: Measured) -> list[str]:
    note = throttle_note(measured.hardware)
    return [f"Throttled: {note}. Cool it or raise its power limit before quoting these times."] if note else []


def _phases(measured: Measured) -> list[str]:
    repeats = [repeat for batch in measured.batches for repeat in batch.repeats]
    total = sum(repeat.e2e_ms for repeat in repeats)
    parts = {
        "reading and preparing inputs": sum(repeat.preprocess_ms for repeat in repeats),
        "prefill": sum(repeat.prefill_ms for repeat in repeats),
        "decode": sum(repeat.decode_ms or 0.0 for repeat in repeats),
    }
    ordered = sorted(parts.items(), key=lambda part: -part[1])
    shares = ", ".join(f"{name} {percent(value / total)}" for name, value in ordered)
    tokens = sum(sum(repeat.new_tokens) for repeat in repeats)
    e2e = measured.metrics.metrics["e2e.latency_ms"].median
    return [
        f"A batch takes {significant(e2e)} ms from the start of reading it to its last token (median of "
        f"{len(repeats)} timed runs that made {tokens} tokens): {shares}.",
        *_host_sync(measured, parts["decode"]),
        *_steps(measured),
    ]


def _steps(measured: Measured) -> list[str]:
    """How far the mean time per token is from the usual step, and what makes the difference."""
    steps, tpot = decode_steps(measured.batches), measured.metrics.metrics["decode.tpot_ms"].median
    if steps is None or tpot is None:
        return []
    off = tpot / steps.p50_ms - 1 if steps.p50_ms > 0 else 0.0
    distance = f"{percent(abs(off))} {'above' if off >= 0 else 'below'} the median step"
    slow = (
        f"{percent(steps.slow_share)} of decode time is in {steps.slow:,} of {steps.n:,} steps that took over {SLOW:g} "
        "times the median"
        if steps.slow
        else f"none of {steps.n:,} steps took over {SLOW:g} times the median"
    )
    return [
        f"TPOT, a mean of {significant(tpot)} ms a token, is {distance} (p50 {significant(steps.p50_ms)}, p95 "
        f"{significant(steps.p95_ms)}, p99 {significant(steps.p99_ms)} ms): {slow}."
    ]


def _host_sync(measured: Measured, decode_ms: float) -> list[str]:
    waited = sum(repeat.host_sync_ms for batch in measured.batches for repeat in batch.repeats)
    if decode_ms <= 0 or waited / decode_ms < 0.01:
        return []
    return [
        f"{percent(waited / decode_ms)} of decode is the host looking at tokens (end of sequence, logits processors); "
        "infer.stop_on_eos: false decodes a fixed length without it."
    ]


def _limits(measured: Measured) -> list[str]:
    metrics = measured.metrics.metrics
    return [
        _share("Prefill", "of the compute peak (MFU)", metrics["prefill.mfu"]),
        _share("Decode", "of the memory bandwidth (MBU)", metrics["decode.mbu"]),
    ]


def _share(phase: str, of_what: str, metric: Metric) -> str:
    if metric.median is None:
        return f"{phase}: share {of_what} unknown: {metric.reason}."
    return f"{phase} reaches {percent(metric.median)} {of_what}, {metric.note}."


def _operators(phase: str, operators: list[OperatorRow]) -> list[str]:
    sums: dict[str, int] = defaultdict(int)
    on_device = any(row.device_ns for row in operators if row.phase == phase)
    for row in operators:
        if row.phase == phase and row.name not in LABELS:
            sums[row.name] += row.device_ns if on_device else row.self_cpu_ns
    total = sum(sums.values())
    if not total:
        return []
    top = sorted(sums.items(), key=lambda item: (-item[1], item[0]))[:3]
    listed = ", ".join(f"{name} {percent(value / total)}" for name, value in top)
    where = "device time" if on_device else "self time on the host"
    return [f"In the profiled sample, the operators with the most {where} in {phase} are {listed}."]


SECTION = ReportSection(20, section)
