"""A static sweep for people: its points as curves and on the roofline, and the table of them."""

from __future__ import annotations

from collections.abc import Iterator

from llm_perf_opt.records.static_sweep import StaticSweep, SweepPoint
from llm_perf_opt.reports.charts.curves import Curve, Curves, Spot
from llm_perf_opt.reports.charts.data_table import Cell, Column, DataTable
from llm_perf_opt.reports.charts.roofline import Point, Roof, RooflineChart
from llm_perf_opt.reports.document import Block, Document, Paragraph, Section, Table
from llm_perf_opt.reports.units import scaled, significant

SWEEP_CSV, SWEEP_PAGE = "static_sweep.csv", "static_sweep.html"
MOST_POINTS = 60
"""Points of the table where nothing can be sorted; the CSV has all."""
NO_ROOF = "no GPU of the sweep has a known peak for this type"
_FITS = {True: "yes", False: "no", None: "—"}
_AXES = ("context", "prompt", "batch")


def sweep_document(sweep: StaticSweep, *, drawn: bool = False) -> Document:
    """The points of a sweep.

    Args:
        drawn: with charts; a terminal shows the points alone.
    """
    sections = [Section(f"{sweep.model_type} in {sweep.dtype}", (_points(sweep),))]
    if drawn:
        sections = [*_drawn(sweep), *sections]
    return Document("Static sweep", tuple(sections))


def _drawn(sweep: StaticSweep) -> Iterator[Section]:
    if curves := sweep_curves(sweep):
        yield Section("Curves", curves)
    roofline = sweep_roofline(sweep)
    found: Block = roofline or Paragraph(f"Not drawn: {NO_ROOF if sweep.gpus else 'a roofline needs --gpu'}.")
    yield Section("Roofline", (found,))


def _points(sweep: StaticSweep) -> DataTable:
    columns = (
        Column("phase", "choice"),
        *(Column(name, "count") for name in ("batch", "prompt", "context")),
        *(Column(name, "number") for name in ("GFLOP", "MB", "FLOP/B")),
    )
    important: tuple[int, ...] = (0, 1, 2, 3, 4)
    if sweep.gpus:
        columns += (
            Column("GPU", "choice"),
            Column("bound ms", "number"),
            Column("limited by", "choice"),
            Column("tokens/s at most", "number"),
            Column("fits", "choice"),
        )
        important = (0, 1, 2, 3, 7, 8, 10)
    return DataTable(
        title="Points",
        columns=columns,
        rows=tuple(_row(point, on_gpu=bool(sweep.gpus)) for point in sweep.points),
        elsewhere=SWEEP_CSV,
        shown=MOST_POINTS,
        important=important,
    )


def _row(point: SweepPoint, *, on_gpu: bool) -> tuple[Cell, ...]:
    sizes = (point.phase, point.batch, point.prompt_tokens, point.context)
    amounts = (point.flops / 1e9, point.bytes / 1e6, point.arithmetic_intensity)
    if not on_gpu:
        return (*sizes, *amounts)
    limits = (point.bound_ms, point.limited_by or "—", point.tokens_per_s)
    return (*sizes, *amounts, point.gpu or "—", *limits, _FITS[point.fits])


def sweep_roofline(sweep: StaticSweep) -> RooflineChart | None:
    """Every phase at the rate that its bound allows; None without a GPU whose peak is known."""
    known = [gpu for gpu in sweep.gpus if gpu.peak_flops_per_s is not None]
    roofs = tuple(Roof(gpu.name, gpu.peak_flops_per_s, gpu.memory_bandwidth_bytes_per_s) for gpu in known)
    if not roofs:
        return None
    under = {roof.name: at for at, roof in enumerate(roofs)}
    points = tuple(
        Point(
            name=f"{point.phase} on {point.gpu}",
            flops_per_byte=point.arithmetic_intensity,
            flops_per_s=point.flops / point.bound_ms * 1e3,
            tone="prefill" if point.phase == "prefill" else "decode" if point.phase == "decode" else "rest",
            remark=_sizes(point),
            roof=under[point.gpu],
        )
        for point in sweep.points
        if point.gpu in under and point.bound_ms and point.flops
    )
    rows = tuple(
        (
            gpu.name,
            scaled(gpu.peak_flops_per_s, "FLOP/s"),
            scaled(gpu.memory_bandwidth_bytes_per_s, "B/s"),
            significant((gpu.peak_flops_per_s or 0) / gpu.memory_bandwidth_bytes_per_s),
        )
        for gpu in known
    )
    return RooflineChart(
        title=f"{sweep.model_type} in {sweep.dtype} on the roofline",
        note="Every point at the rate that its bound allows: what is left of the corner is limited by memory.",
        points=points,
        roofs=roofs,
        behind=Table(("GPU", "peak", "bandwidth", "corner, FLOP per byte"), rows, numeric=frozenset({1, 2, 3})),
    )


def _sizes(point: SweepPoint) -> str:
    said = f"batch {point.batch}, prompt {point.prompt_tokens:,}"
    return said if point.context is None else f"{said}, context {point.context:,}"


def sweep_curves(sweep: StaticSweep) -> tuple[Curves, ...]:
    """The bound of each phase, or without a GPU its FLOPs, over the axis of most values."""
    found = []
    for phase in dict.fromkeys(point.phase for point in sweep.points):
        points = [point for point in sweep.points if point.phase == phase and (point.bound_ms or not sweep.gpus)]
        counts = {name: len({_size(point, name) for point in points}) for name in _AXES}
        axis = max(counts, key=lambda name: counts[name])
        if counts[axis] < 2:
            continue
        others = [name for name in _AXES if name != axis and counts[name] > 1]
        named: dict[str, list[SweepPoint]] = {}
        for point in points:
            parts = [*([point.gpu] if point.gpu else []), *(f"{name} {_size(point, name):,.0f}" for name in others)]
            named.setdefault(", ".join(parts) or phase, []).append(point)
        curves = tuple(
            Curve(name, tuple(Spot(_size(point, axis), _height(point), _said(point)) for point in of))
            for name, of in named.items()
        )
        up = "bound ms" if sweep.gpus else "GFLOP"
        what = "Bound" if sweep.gpus else "FLOPs"
        title = f"{what} of {phase} by {axis}"
        found.append(Curves(title=title, note=f"{title}.", across=axis, up=up, curves=curves, from_zero=False))
    return tuple(found)


def _size(point: SweepPoint, axis: str) -> float:
    return {"batch": point.batch, "prompt": point.prompt_tokens, "context": point.context or 0}[axis]


def _height(point: SweepPoint) -> float:
    return point.flops / 1e9 if point.bound_ms is None else point.bound_ms


def _said(point: SweepPoint) -> str:
    said = f"{point.phase}, {_sizes(point)}: {scaled(point.flops, 'FLOP')}, {scaled(point.bytes, 'B')}"
    if point.bound_ms is None:
        return said
    fits = "" if point.fits is not False else "; does not fit in memory"
    return f"{said}; at least {significant(point.bound_ms)} ms on {point.gpu}, limited by {point.limited_by}{fits}"
