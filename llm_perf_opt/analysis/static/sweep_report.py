"""A sweep as a table, as JSON and as a roofline."""

from __future__ import annotations

import json
from dataclasses import asdict

from llm_perf_opt.analysis.static.report import scaled, table
from llm_perf_opt.analysis.static.roofline import Mark, roofline_svg
from llm_perf_opt.analysis.static.sweep import Point, Sweep

_MOST_ROWS = 60
_FIT = {True: "yes", False: "no", None: "—"}


def _cells(point: Point, on_gpu: bool) -> list[str]:
    cells = [
        point.phase,
        str(point.batch),
        str(point.prompt_tokens),
        "—" if point.context is None else str(point.context),
        scaled(point.flops, "FLOP"),
        scaled(point.bytes, "B"),
        f"{point.arithmetic_intensity:.3g}",
    ]
    if on_gpu:
        cells += [
            point.gpu or "—",
            "—" if point.bound_ms is None else f"{point.bound_ms:.4g}",
            point.limited_by or "—",
            "—" if point.tokens_per_s is None else f"{point.tokens_per_s:.4g}",
            _FIT[point.fits],
        ]
    return cells


def sweep_table(sweep: Sweep) -> str:
    """The points as a Markdown table; the first ones where there are many, the CSV has them all."""
    on_gpu = any(point.gpu for point in sweep.points)
    header = ["phase", "batch", "prompt", "context", "FLOPs", "bytes", "FLOP/B"]
    if on_gpu:
        header += ["GPU", "bound ms", "limited by", "tokens/s at most", "fits"]
    text = table(header, [_cells(point, on_gpu) for point in sweep.points[:_MOST_ROWS]])
    left = len(sweep.points) - _MOST_ROWS
    return text + (f"\n\n… and {left} more in the CSV\n" if left > 0 else "\n")


def to_json(sweep: Sweep) -> str:
    """All points as one JSON object."""
    return json.dumps(
        {"schema": "llmperf.static_sweep/1", "points": [asdict(point) for point in sweep.points]}, indent=2
    )


def drawing(sweep: Sweep, title: str) -> str | None:
    """The roofline with every phase placed on it; None without a GPU whose peak is known."""
    marks = [
        Mark(
            gpu=point.gpu,
            phase=point.phase,
            intensity=point.arithmetic_intensity,
            rate=point.flops / point.bound_ms * 1e3,
            label=f"{point.phase} on {point.gpu}: batch {point.batch}, prompt {point.prompt_tokens}"
            + ("" if point.context is None else f", context {point.context}"),
        )
        for point in sweep.points
        if point.gpu is not None and point.bound_ms
    ]
    return roofline_svg(title, sweep.limits, sweep.dtype, marks)
