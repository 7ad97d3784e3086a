"""What limits a run, in a few sentences: what its page says first, and `answer` in `summary.json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from llm_perf_opt.analysis.vision import vision_times
from llm_perf_opt.records.device_timeline import DeviceTimeline
from llm_perf_opt.records.static import StaticRecord
from llm_perf_opt.records.tools import NcuCapture
from llm_perf_opt.records.workload import Instrumented
from llm_perf_opt.reports.facts import Measured, RunFacts
from llm_perf_opt.reports.units import percent, significant
from llm_perf_opt.reports.waterfall import waterfalls, whole_answer

WORDS = {"preprocess": "reading and preparing inputs", "prefill": "prefill", "decode": "decode", "rest": "the rest"}
MOSTLY = 0.5


def answer_of(facts: RunFacts) -> str:
    """The answer; of a run that went wrong, that it did, first."""
    sentences = [*_failures(facts), *_timed(facts), *_on_devices(facts)]
    return " ".join(sentences or _untimed(facts))


def phase_means_ms(measured: Measured) -> dict[str, float]:
    """Mean time of each phase over the timed repeats; they add up to the mean end-to-end time."""
    repeats = [repeat for batch in measured.batches for repeat in batch.repeats]
    sums = {
        "preprocess": sum(repeat.preprocess_ms for repeat in repeats),
        "prefill": sum(repeat.prefill_ms for repeat in repeats),
        "decode": sum(repeat.decode_ms or 0.0 for repeat in repeats),
    }
    sums["rest"] = max(0.0, sum(repeat.e2e_ms for repeat in repeats) - sum(sums.values()))
    return {name: value / len(repeats) for name, value in sums.items()} if repeats else {}


def _vision_share(found: Instrumented) -> tuple[str, float] | None:
    """The family's own modules in prefill, and their share of it."""
    times = vision_times(found)
    if not times or not found.prefill_ms:
        return None
    return " + ".join(time.name for time in times), sum(time.total_ms for time in times) / found.prefill_ms


def _failures(facts: RunFacts) -> Iterator[str]:
    stages = facts.manifest.stages
    for name, entry in stages.items():
        if entry.status in ("failed", "interrupted"):
            reason = f": {entry.reason.rstrip('.')}" if entry.reason else ""
            yield f"{name} {'failed' if entry.status == 'failed' else 'was interrupted'}{reason}."
    waiting = [name for name, entry in stages.items() if entry.status in ("pending", "running")]
    if waiting and facts.manifest.status != "running":
        yield f"Not carried out: {', '.join(waiting)}."


def _timed(facts: RunFacts) -> Iterator[str]:
    measured = facts.headline
    if measured is None:
        return
    means, e2e = phase_means_ms(measured), measured.metrics.metrics["e2e.latency_ms"]
    if not means or e2e.median is None:
        yield "No sample could be timed."
        return
    total = sum(means.values())
    ordered = sorted(means.items(), key=lambda part: -part[1])
    shares = ", ".join(f"{WORDS[name]} {percent(value / total)}" for name, value in ordered if value / total >= 0.001)
    rows = max(len(batch.samples) for batch in measured.batches)
    what = "A sample takes" if rows == 1 else f"A batch of up to {rows} samples takes"
    yield f"{what} {significant(e2e.median)} ms, median of {e2e.n:,} timed repeats: {shares}."
    yield from _cause(facts, measured, means)
    yield _distance(measured)
    if measured.metrics.throttled:
        yield "The GPU was throttled: these times are not to be quoted."


def _cause(facts: RunFacts, measured: Measured, means: Mapping[str, float]) -> Iterator[str]:
    """What most of the largest phase is."""
    largest = max(means, key=lambda name: means[name])
    found = next((record for _, record in facts.all(Instrumented) if record.modules), None)
    if largest == "prefill":
        vision = None if found is None else _vision_share(found)
        if vision is not None and vision[1] >= MOSTLY:
            yield f"Prefill is the vision encoder: {vision[0]} take {percent(vision[1])} of it."
    elif largest == "decode":
        tpot, tokens = (measured.metrics.metrics[name].median for name in ("decode.tpot_ms", "decode.tokens_per_s"))
        if tpot is not None:
            yield f"Decode makes a token every {significant(tpot)} ms ({significant(tokens)} tokens/s)."
    elif largest == "preprocess":
        yield "Most of it is the host reading and preparing inputs, before the model runs."


def _distance(measured: Measured) -> str:
    """How far it is from what the hardware could do."""
    metrics = measured.metrics.metrics
    # A peak that was measured is never passed off as one of a data sheet.
    kind = "measured " if measured.peaks is not None and "measured" in measured.peaks.source else ""
    known = [
        f"{phase} reaches {percent(metric.median)} of the {kind}{what}"
        for phase, what, metric in (
            ("prefill", "compute peak (MFU)", metrics["prefill.mfu"]),
            ("decode", "memory bandwidth (MBU)", metrics["decode.mbu"]),
        )
        if metric.median is not None
    ]
    if known:
        said = ", ".join(known)
        return f"{said[0].upper()}{said[1:]}."
    return f"How far this is from the hardware is not known: {metrics['prefill.mfu'].reason}."


def _on_devices(facts: RunFacts) -> Iterator[str]:
    """What the captures say of the devices; of several that say it, the first of each stage."""
    seen = [(record, whole_answer(record, found)) for _, record, found in waterfalls(facts) if record.devices]
    yield from list(dict.fromkeys(answer for _, answer in seen))[:2]
    compared = (record.rank_comparison for _, record in facts.all(DeviceTimeline) if record.rank_comparison is not None)
    yield from [found.answer for found in compared][:1]
    yield from _first_kernel(record for record, _ in seen)


def _first_kernel(records: Iterable[DeviceTimeline]) -> Iterator[str]:
    """Of the first capture that holds kernels, the one that took longest in all."""
    record = next((record for record in records if record.kernels), None)
    if record is None:
        return
    times: Counter[tuple[str, str]] = Counter()
    calls: Counter[tuple[str, str]] = Counter()
    for row in record.kernels:
        times[row.short_name, row.category] += row.total_ns
        calls[row.short_name, row.category] += row.calls
    (kernel, time_ns), *_ = times.most_common(1)
    share = time_ns / total if (total := sum(times.values())) else 0.0
    launches = f"{calls[kernel]:,} launch{'es' * (calls[kernel] != 1)}"
    yield f"Of the time in kernels the most is {kernel[0]} ({kernel[1]}): {percent(share)}, in {launches}."


def _untimed(facts: RunFacts) -> Iterator[str]:
    """Where nothing was timed and no device watched."""
    profiled = facts.first(NcuCapture)
    if profiled is not None and profiled.facts is not None:
        kernels = f"{profiled.facts.results:,} launches of {len(profiled.facts.kernels):,} kernels"
        yield f"ncu profiled {kernels}; its times are taken under replay and measure nothing else."
    static = facts.first(StaticRecord)
    if static is not None:
        yield "Nothing was timed: what is here is what static analysis counts."
    without = [record.answer for _, record in facts.all(DeviceTimeline)]
    yield from without[:1]
    if profiled is None and static is None and not without:
        yield "Nothing was measured."
