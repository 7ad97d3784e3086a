"""What static analysis says of the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from llm_perf_opt.analysis.static.measured import measured_figures
from llm_perf_opt.artifacts.layout import STATIC_REPORT
from llm_perf_opt.records.static import Bound, GpuFigures, StaticRecord
from llm_perf_opt.reports.document import Block, Document, Items, Paragraph, Section, Table
from llm_perf_opt.reports.facts import RunFacts
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.static import measured_blocks, static_document
from llm_perf_opt.reports.units import in_bytes, significant


def section(facts: RunFacts) -> Section | None:
    static = facts.first(StaticRecord)
    if static is None:
        return None
    phases = {
        "vision (in prefill)": static.phases.vision,
        "prefill": static.phases.prefill,
        "decode step": static.phases.decode,
    }
    rows = tuple(
        (name, f"{phase.tokens:,}", f"{phase.flops:,}", in_bytes(phase.bytes), significant(phase.arithmetic_intensity))
        for name, phase in phases.items()
        if phase is not None
    )
    columns = ("phase", "tokens", "FLOPs", "least bytes", "FLOP/B")
    blocks: list[Block] = [Table(columns, rows, numeric=frozenset({1, 2, 3, 4}))]
    if static.gpus:
        blocks.append(_bounds(static.gpus))
    blocks += _measured(static, facts)
    reasons = tuple(f"{name}: not covered: {reason}" for name, reason in static.reasons.items())
    blocks.append(Items((*reasons, *static.assumptions)))
    return Section("Static analysis", tuple(blocks))


def _measured(static: StaticRecord, facts: RunFacts) -> list[Block]:
    """The same by the peaks that a stage of the run measured, where it did."""
    timed = facts.headline
    peaks = None if timed is None else facts.measured_peaks(timed.workload.device)
    if peaks is None:
        return []
    figures = measured_figures(static, peaks)
    if isinstance(figures, str):
        return [Paragraph(f"No bounds by measured peaks: {figures}.")]
    return measured_blocks(figures)


def _bounds(gpus: Sequence[GpuFigures]) -> Table:
    """The least time each phase can take on each GPU; never a prediction."""
    rows = tuple(
        (gpu.title, name, significant(bound.bound_ms), bound.limited_by or "unknown", _validity(bound))
        for gpu in gpus
        for name, bound in (("prefill", gpu.phases.prefill), ("decode step", gpu.phases.decode))
        if bound is not None
    )
    return Table(("GPU", "phase", "bound ms", "limited by", "remark"), rows, numeric=frozenset({2}))


def _validity(bound: Bound) -> str:
    return "the weights fit in L2, so the memory bound does not hold" if bound.memory_bound_valid is False else ""


def pages(facts: RunFacts) -> Iterator[tuple[PurePosixPath, Document]]:
    """The record in words, beside it."""
    for found, record in facts.all(StaticRecord):
        yield PurePosixPath(found.stage, STATIC_REPORT), static_document(record)


SECTION = ReportSection(62, section, pages)
