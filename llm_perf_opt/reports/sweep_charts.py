"""What the page of a sweep draws: the front, and a curve of each figure."""

from __future__ import annotations

import json
from collections.abc import Sequence

from llm_perf_opt.records.sweep import FIGURES, LATENCY, THROUGHPUT, PointResult, Scalar, SweepResults
from llm_perf_opt.reports.charts.curves import Curve, Curves, Spot
from llm_perf_opt.reports.units import significant

BATCH = "infer.batch_size"
CURVES = {"decode.tpot_ms": "time per output token", "prefill.latency_ms": "prefill", THROUGHPUT: "throughput"}


def sweep_charts(results: SweepResults) -> list[Curves]:
    """As far as points were measured."""
    measured = [row for row in results.points if row.on_front is not None]
    found = [_front(results, measured)] if len(measured) > 1 else []
    key = _axis_of(results)
    if key is not None:
        found += [chart for name, words in CURVES.items() if (chart := _curves(results, key, name, words)) is not None]
    return found


def label(row: PointResult) -> str:
    """All settings of a point."""
    return ", ".join(f"{key}={said_of(value)}" for key, value in row.settings.items()) or row.id


def said_of(value: Scalar) -> str:
    """A setting as it is written in YAML."""
    return value if isinstance(value, str) else json.dumps(value)


def value_of(row: PointResult, name: str) -> float:
    """A figure of a point where it was measured."""
    value = row.figures[name].value
    assert value is not None, "points on or off the front were measured"
    return value


def _front(results: SweepResults, measured: Sequence[PointResult]) -> Curves:
    works = {(row.prompt_tokens, row.new_tokens) for row in measured}
    front = tuple((value_of(row, LATENCY), value_of(row, THROUGHPUT)) for row in measured if row.on_front)
    curves = []
    for name, rows in _series(results, measured, BATCH).items():
        spots = tuple(
            Spot(value_of(row, LATENCY), value_of(row, THROUGHPUT), _words(row, THROUGHPUT), _interval(row, THROUGHPUT))
            for row in rows
        )
        curves.append(Curve(name, spots, joined=False))
    return Curves(
        title="Throughput against latency",
        note="Throughput against latency: points on the front are beaten by none in both.",
        across=f"{LATENCY} (less is better)",
        up=f"{THROUGHPUT} (more is better)",
        curves=tuple(curves),
        front=front if len(works) == 1 else (),
    )


def _axis_of(results: SweepResults) -> str | None:
    """The key that curves go over: the batch, else the first of numbers."""
    numeric = [key for key in results.keys if all(_is_number(row.settings.get(key)) for row in results.points)]
    return BATCH if BATCH in numeric else next(iter(numeric), None)


def _is_number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _curves(results: SweepResults, key: str, name: str, words: str) -> Curves | None:
    measured = [row for row in results.points if row.figures and row.figures[name].value is not None]
    if len(measured) < 2:
        return None
    curves = []
    for series, rows in _series(results, measured, key).items():
        spots = tuple(
            Spot(_number(row, key), value_of(row, name), _words(row, name), _interval(row, name)) for row in rows
        )
        bound = tuple(
            (_number(row, key), value)
            for row in rows
            if name in row.bounds and (value := row.bounds[name].value_ms) is not None
        )
        curves.append(Curve(series, spots, bound=bound))
    title = f"{words[0].upper()}{words[1:]} by {key}"
    return Curves(
        title=title,
        note=f"{title}.",
        across=key,
        up=f"{name}, {FIGURES[name]}" if FIGURES[name] not in name else name,
        curves=tuple(curves),
    )


def _words(row: PointResult, name: str) -> str:
    interval = _interval(row, name)
    within = "" if interval is None else f", {row.figures[name].interval} {' to '.join(map(significant, interval))}"
    return f"{label(row)}: {name} {significant(value_of(row, name))} {FIGURES[name]}{within}"


def _series(results: SweepResults, rows: Sequence[PointResult], key: str) -> dict[str, list[PointResult]]:
    """Rows by all settings but `key`."""
    others = [other for other in results.keys if other != key]
    found: dict[str, list[PointResult]] = {}
    for row in rows:
        name = ", ".join(f"{other.rpartition('.')[2]}={said_of(row.settings.get(other))}" for other in others)
        found.setdefault(name or "measured", []).append(row)
    return found


def _number(row: PointResult, key: str) -> float:
    value = row.settings[key]
    assert isinstance(value, int | float), "the axis is of numbers"
    return value


def _interval(row: PointResult, name: str) -> tuple[float, float] | None:
    low, high = row.figures[name].low, row.figures[name].high
    return None if low is None or high is None else (low, high)
