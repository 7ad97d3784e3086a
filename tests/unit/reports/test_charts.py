"""What charts hold, and the tables that stand for them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.reports.charts.changes import Change, Changes
from llm_perf_opt.reports.charts.curves import MOST_CURVES, Curve, Curves, Mark, Spot
from llm_perf_opt.reports.charts.dots import evenly
from llm_perf_opt.reports.charts.roofline import Listed, Point, Roof, RooflineChart
from llm_perf_opt.reports.document import Table

FIGURES = Table(("figure",), (("e2e.latency_ms",),))


def change(low: float, high: float | None, percent: float = 1.0) -> Change:
    return Change("e2e", "1 → 2 ms", (1.0, 2.0), (3.0,), (1.5, 3.0), percent, (low, high), "+1 %", "slower", good=False)


def changes(*found: Change) -> Changes:
    return Changes(title="Figures", changes=found, dots="launches", tolerance_percent=1.0, behind=FIGURES)


def test_changes_keep_their_values_and_their_table() -> None:
    chart = changes(change(-1.0, None))
    assert chart.plain() == (FIGURES,)
    (row,) = chart.data()["changes"]
    assert (row["sides"], row["medians"], row["interval"]) == ([[1.0, 2.0], [3.0]], (1.5, 3.0), (-1.0, None))
    assert chart.pruned(0.0).most == 2


def test_one_wild_interval_does_not_hide_the_others() -> None:
    assert changes(change(-2.0, 2.0), change(-4.0, 4.0), change(-900.0, 900.0)).reach_percent == 12.0
    assert changes(change(-2.0, 2.0)).reach_percent == 2.0
    # What is the same lies within the axis too.
    assert changes(change(-0.1, 0.1, 0.0)).reach_percent == 1.5
    assert changes(replace(change(0, 0), percent=None, interval=None)).reach_percent == 1.5


@given(st.lists(st.floats(0, 1e9), min_size=1), st.integers(2, 30))
def test_few_dots_span_as_many_as_there_are(values: list[float], most: int) -> None:
    kept = evenly(values, most)
    assert len(kept) == min(len(values), most)
    assert (min(kept), max(kept)) == (min(values), max(values))


def curves(*found: Curve, from_zero: bool = True, labels: tuple[tuple[float, str], ...] = ()) -> Curves:
    return Curves(title="t", across="batch", up="ms", curves=found, from_zero=from_zero, labels=labels)


def curve(*points: tuple[float, float]) -> Curve:
    return Curve("measured", tuple(Spot(x, y, f"{x} {y}") for x, y in points))


def test_a_curve_as_a_table_is_its_ends_and_its_extremes() -> None:
    (table,) = curves(curve((4, 1.5), (1, 3.0), (1024, 2.0))).plain()
    assert table.rows == (("measured", "3", "1", "1,024", "1.500", "4", "3.000", "1"),)
    (dated,) = curves(curve((0, 1), (1, 2)), labels=((0.0, "Monday"), (1.0, "Tuesday"))).plain()
    assert dated.rows[0][2:4] == ("Monday", "Tuesday")


def test_axes_are_logarithmic_where_values_lie_far_apart() -> None:
    assert not curves(curve((1, 1), (3, 1))).logarithmic
    assert curves(curve((1, 1), (4, 1))).logarithmic
    assert not curves(curve((1, 1), (4, 1)), labels=((1.0, "a"),)).logarithmic
    steep = curve((1, 1), (2, 30))
    assert curves(steep, from_zero=False).up_logarithmic
    assert not curves(steep).up_logarithmic
    assert not curves(curve((1, 0), (2, 30)), from_zero=False).up_logarithmic


def test_spots_are_sorted_and_curves_beyond_the_colours_are_counted() -> None:
    found = curves(*[curve((2, 1), (1, 1))] * (MOST_CURVES + 3))
    data = found.data()
    assert [spot[0] for spot in data["curves"][0]["spots"]] == [1.0, 2.0]
    assert (len(data["curves"]), data["left_out"]) == (MOST_CURVES, 3)
    assert len(found.plain()[0].rows) == MOST_CURVES + 3
    marked = replace(found, marks=(Mark(0.5, "torch 2 → 3", step=True),))
    assert marked.data()["marks"] == [[0.5, "torch 2 → 3", True]]
    long = curves(curve(*((at, 1.0) for at in range(1, 101))))
    assert [len(one.spots) for one in long.pruned(0.1).curves] == [10]
    assert "One of 10 points is drawn." in long.pruned(0.1).note


def test_a_point_is_held_against_its_own_roof() -> None:
    roofs = (Roof("a", 100.0, 10.0), Roof("b", None, 10.0), Roof("c", 1000.0, 10.0))
    points = tuple(Point("work", 50.0, 50.0, roof=at, row=at) for at in range(3))
    chart = RooflineChart(title="t", points=points, roofs=roofs)
    assert [row[3:5] for row in chart.plain()[0].rows] == [
        ("100 FLOP/s", "50.0 %"),
        ("—", "—"),
        ("500 FLOP/s", "10.0 %"),
    ]
    assert [point[5] for point in chart.data()["points"]] == [0, 1, 2]
    assert chart.data()["names"] == ["work"]
    bare = replace(chart, roofs=())
    assert bare.plain()[0].rows[0][3] == "—"
    listed = replace(chart, listed=Listed(("kernel",), (("k0",), ("k1",), ("k2",))), behind=FIGURES)
    assert listed.plain() == (FIGURES,)
    few = listed.pruned(0.5)
    assert few.listed is not None
    assert (len(few.points), len(few.listed.rows)) == (1, 1)
    assert "1 of 3 points are drawn" in few.note


@pytest.mark.parametrize("roof", [Roof("a", None, 1.0), Roof("a", 1.0, None)])
def test_half_a_roof_allows_nothing_known(roof: Roof) -> None:
    assert roof.at(1.0) is None
