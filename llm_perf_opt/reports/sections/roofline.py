"""The phases as they were measured, and the kernels that ncu counted, under what the hardware allows."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import Literal

from llm_perf_opt.analysis.kernel_names import short_name
from llm_perf_opt.analysis.metrics import BatchCost
from llm_perf_opt.records.tools import NcuCapture
from llm_perf_opt.records.workload import Repeat
from llm_perf_opt.reports.charts.roofline import Point, Roof, RooflineChart
from llm_perf_opt.reports.document import Paragraph, Section
from llm_perf_opt.reports.facts import Measured, RunFacts
from llm_perf_opt.reports.section import ReportSection


def section(facts: RunFacts) -> Section | None:
    measured = facts.headline
    counted = measured is not None and measured.cost is not None and bool(measured.batches)
    points = tuple(_points(measured)) if measured is not None and counted else ()
    kernels = tuple(_kernels(facts))
    if not points and not kernels:
        if measured is None or not counted:
            return None
        return Section("Roofline", (Paragraph(f"Not drawn: {_uncounted(measured)}."),))
    roofs, note = _roof(measured)
    if points:
        note = f"{PHASES} {note}"
    if kernels:
        note = f"{note} {KERNELS}"
    chart = RooflineChart(title="Roofline", note=note, points=(*points, *kernels), roofs=roofs)
    return Section("Roofline", (chart,))


def _uncounted(measured: Measured) -> str:
    costs = (measured.cost(batch) for batch in measured.batches if measured.cost is not None)
    return "; ".join(dict.fromkeys(cost for cost in costs if isinstance(cost, str))) or "no work was counted"


def _roof(measured: Measured | None) -> tuple[tuple[Roof, ...], str]:
    """Of what timed the model, and what is said of it."""
    if measured is None:
        return (), NO_ROOF
    peaks = measured.peaks
    if peaks is None or (peaks.flops_per_s is None and peaks.bytes_per_s is None):
        return (), f"No roof is drawn: {_unknown(measured)}."
    note = f"Roof: {peaks.source}."
    if peaks.mbu_reason is not None:
        note += f" Decode is not held against the bandwidth: {peaks.mbu_reason}."
    return (Roof(peaks.source, peaks.flops_per_s, peaks.bytes_per_s),), note


PHASES = (
    "FLOPs and least bytes are those of static analysis for the batches of this run; time is that of the timed repeats "
    "(median)."
)
KERNELS = (
    "Kernels are as ncu counted them, FLOPs over DRAM traffic and time under ncu, which locks clocks: "
    "llmperf kernels analyze has the roof of their own clocks and kind of arithmetic."
)
NO_ROOF = "No roof is drawn: the run timed no phases."


def _kernels(facts: RunFacts) -> Iterator[Point]:
    """Those that an ncu profile of the run counted, each kind of arithmetic by itself."""
    for _, capture in facts.all(NcuCapture):
        for kernel in capture.arithmetic:
            yield Point(
                name=short_name(kernel.kernel),
                flops_per_byte=kernel.flops / kernel.dram_bytes,
                flops_per_s=kernel.flops / kernel.duration_ns * 1e9,
                remark=f"{kernel.kind}, {kernel.launches:,} launch{'es' if kernel.launches > 1 else ''} under ncu",
            )


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
