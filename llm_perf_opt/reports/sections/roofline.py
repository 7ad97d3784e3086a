"""The phases as they were measured, under what the hardware allows."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import Literal

from llm_perf_opt.analysis.metrics import BatchCost
from llm_perf_opt.records.workload import Repeat
from llm_perf_opt.reports.charts.roofline import Point, Roof, RooflineChart
from llm_perf_opt.reports.document import Paragraph, Section
from llm_perf_opt.reports.facts import Measured, RunFacts
from llm_perf_opt.reports.section import ReportSection


def section(facts: RunFacts) -> Section | None:
    measured = facts.headline
    if measured is None or measured.cost is None or not measured.batches:
        return None
    points = tuple(_points(measured))
    if not points:
        costs = map(measured.cost, measured.batches)
        said = "; ".join(dict.fromkeys(cost for cost in costs if isinstance(cost, str))) or "no work was counted"
        return Section("Roofline", (Paragraph(f"Not drawn: {said}."),))
    peaks = measured.peaks
    known = peaks is not None and (peaks.flops_per_s is not None or peaks.bytes_per_s is not None)
    roof = f"Roof: {peaks.source}." if peaks is not None and known else f"No roof is drawn: {_unknown(measured)}."
    note = (
        "FLOPs and least bytes are those of static analysis for the batches of this run; time is that of the timed "
        f"repeats (median). {roof}"
    )
    if peaks is not None and peaks.mbu_reason is not None:
        note += f" Decode is not held against the bandwidth: {peaks.mbu_reason}."
    chart = RooflineChart(
        title="Roofline of the phases",
        note=note,
        points=points,
        roofs=() if peaks is None or not known else (Roof(peaks.source, peaks.flops_per_s, peaks.bytes_per_s),),
    )
    return Section("Roofline", (chart,))


def _unknown(measured: Measured) -> str:
    return measured.peaks.reason or "no peak is known" if measured.peaks is not None else "no peak is known"


def _points(measured: Measured) -> Iterator[Point]:
    counted = [
        (cost, batch.repeats)
        for batch in measured.batches
        if measured.cost is not None and not isinstance(cost := measured.cost(batch), str)
    ]
    phases: tuple[tuple[str, Literal["prefill", "decode"], _Flops, _Bytes, _Time], ...] = (
        ("prefill", "prefill", lambda cost: cost.prefill_flops, lambda cost: cost.prefill_least_bytes, _prefill_ms),
        ("decode", "decode", lambda cost: cost.decode_flops, lambda cost: cost.decode_least_bytes, _decode_ms),
    )
    for name, tone, flops_of, bytes_of, time_of in phases:
        flops, moved, rates = 0, 0, []
        for cost, repeats in counted:
            times = [ms for repeat in repeats if (ms := time_of(repeat))]
            least = bytes_of(cost)
            if not times or not least:
                continue
            flops += flops_of(cost)
            moved += least
            rates += [flops_of(cost) / ms * 1e3 for ms in times]
        if flops and moved:
            yield Point(name, flops / moved, statistics.median(rates), tone, f"{len(rates):,} timed repeats")


_Flops = Callable[[BatchCost], int]
_Bytes = Callable[[BatchCost], int | None]
_Time = Callable[[Repeat], float | None]


def _prefill_ms(repeat: Repeat) -> float:
    return repeat.prefill_ms


def _decode_ms(repeat: Repeat) -> float | None:
    return repeat.decode_ms


SECTION = ReportSection(40, section)
