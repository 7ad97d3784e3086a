"""A static sweep for people: the table of its points, and the roofline they lie on."""

from __future__ import annotations

from llm_perf_opt.records.static_sweep import StaticSweep, SweepPoint
from llm_perf_opt.reports.document import Block, Document, Paragraph, Section, Table
from llm_perf_opt.reports.drawing.roofline import Mark, Roof, Roofline
from llm_perf_opt.reports.units import scaled, significant

SWEEP_CSV, SWEEP_ROOFLINE = "static_sweep.csv", "static_roofline.svg"
MOST_POINTS = 60
"""Points in the table; the CSV has all."""
_FITS = {True: "yes", False: "no", None: "—"}


def sweep_document(sweep: StaticSweep) -> Document:
    """The points of a sweep; the first ones where there are many."""
    on_gpu = bool(sweep.gpus)
    bounds = ("GPU", "bound ms", "limited by", "tokens/s at most", "fits") if on_gpu else ()
    columns = ("phase", "batch", "prompt", "context", "FLOPs", "bytes", "FLOP/B", *bounds)
    numeric = frozenset({1, 2, 3, 4, 5, 6, 8, 10} if on_gpu else range(1, 7))
    rows = tuple(_sweep_row(point, on_gpu=on_gpu) for point in sweep.points[:MOST_POINTS])
    important = (0, 1, 2, 3, 7, 8, 10) if on_gpu else (0, 1, 2, 3, 4)
    blocks: list[Block] = [Table(columns, rows, numeric=numeric, important=important)]
    left = len(sweep.points) - MOST_POINTS
    if left > 0:
        blocks.append(Paragraph(f"{left:,} more are in {SWEEP_CSV}."))
    return Document("Static sweep", (Section(f"{sweep.model_type} in {sweep.dtype}", tuple(blocks)),))


def _sweep_row(point: SweepPoint, *, on_gpu: bool) -> tuple[str, ...]:
    sizes = (
        point.phase,
        str(point.batch),
        str(point.prompt_tokens),
        "—" if point.context is None else str(point.context),
    )
    amounts = (scaled(point.flops, "FLOP"), scaled(point.bytes, "B"), significant(point.arithmetic_intensity, 3))
    if not on_gpu:
        return (*sizes, *amounts)
    limits = (significant(point.bound_ms), point.limited_by or "—", significant(point.tokens_per_s))
    return (*sizes, *amounts, point.gpu or "—", *limits, _FITS[point.fits])


def sweep_roofline(sweep: StaticSweep) -> Roofline | None:
    """Every phase at the rate that its bound allows; None without a GPU whose peak is known."""
    roofs = tuple(
        Roof(gpu.name, sweep.dtype, gpu.peak_flops_per_s, gpu.memory_bandwidth_bytes_per_s)
        for gpu in sweep.gpus
        if gpu.peak_flops_per_s is not None
    )
    if not roofs:
        return None
    known = {roof.device for roof in roofs}
    marks = tuple(
        Mark(
            device=point.gpu,
            kind=sweep.dtype,
            group=point.phase,
            intensity_flops_per_byte=point.arithmetic_intensity,
            flops_per_s=point.flops / point.bound_ms * 1e3,
            title=f"{point.phase} on {point.gpu}: batch {point.batch}, prompt {point.prompt_tokens}"
            + ("" if point.context is None else f", context {point.context}"),
        )
        for point in sweep.points
        if point.gpu in known and point.bound_ms and point.flops
    )
    return Roofline(f"{sweep.model_type} in {sweep.dtype}", "bound", roofs, marks)
