"""The answer first, and the figures that it stands on."""

from __future__ import annotations

from llm_perf_opt.records.metrics import Metric
from llm_perf_opt.reports.answer import answer_of
from llm_perf_opt.reports.charts.tiles import Tile, Tiles, left_out
from llm_perf_opt.reports.document import Block, Items, Lead, Paragraph, Section
from llm_perf_opt.reports.facts import Measured, RunFacts
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.trust import trust_of

QUOTED = {
    "e2e.latency_ms": "end to end",
    "ttft_ms": "time to first token",
    "prefill.latency_ms": "prefill",
    "decode.tpot_ms": "per output token",
    "decode.tokens_per_s": "decode rate",
}


def section(facts: RunFacts) -> Section:
    blocks: list[Block] = [Lead(answer_of(facts))]
    remedies = tuple(f"{name}: {entry.remedy}" for name, entry in facts.manifest.stages.items() if entry.remedy)
    blocks += [Items(remedies)] if remedies else []
    measured = facts.headline
    if measured is not None and measured.workload.batches:
        blocks.append(tiles_of(measured))
    if (trust := trust_of(facts)) is not None:
        blocks.append(Paragraph(trust))
    return Section("Answer", tuple(blocks))


def tiles_of(measured: Measured) -> Tiles:
    """The five figures that people quote."""
    metrics = measured.metrics.metrics
    tiles = tuple(_tile(label, metrics[name]) for name, label in QUOTED.items())
    launches, batches = len(measured.launches), len(measured.workload.batches)
    several, kind = (launches, "launch") if launches > 1 else (batches, "sample")
    dots = f"one colour a {kind}" if 1 < several <= 6 else "all alike" if several > 1 else "of one sample"
    over = (
        f"over the medians of {launches:,} launches"
        if launches > 1
        else "over these repeats of one launch; it says nothing of another launch"
    )
    note = f"Dots: timed repeats, {dots}. Line: median. Shade: 95 % interval of the median {over}.{left_out(tiles)}"
    return Tiles(title=f"Figures of {measured.workload.stage}", note=note, tiles=tiles)


def _tile(label: str, metric: Metric) -> Tile:
    remark = metric.reason or ""
    if metric.median is not None and metric.ci95 is None:
        remark = f"no interval from {metric.n} repeat{'' if metric.n == 1 else 's'}"
    return Tile(
        label, metric.unit, metric.median, metric.samples, metric.launches or metric.batches, metric.ci95, remark
    )


SECTION = ReportSection(10, section)
