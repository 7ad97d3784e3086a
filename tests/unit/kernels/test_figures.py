"""Figures that the export has in parts only."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.analysis.kernels.analyze import analyze_launch, is_read
from llm_perf_opt.analysis.kernels.figures import ACCESS, LIMITS, REQUEST, figures
from tests.unit.kernels.test_analysis import made

NS, READ, WRITTEN = "gpu__time_duration.sum", "dram__bytes_read.sum", "dram__bytes_write.sum"
PEAK, CLOCK = "dram__bytes.sum.peak_sustained", "dram__cycles_elapsed.avg.per_second"
STALLED = "smsp__average_warps_issue_stalled_{}_per_issue_active.ratio"
LOADS = {
    "l1tex__t_sectors_pipe_lsu_mem_global_op_ld.sum": 1538586.0,
    "l1tex__t_requests_pipe_lsu_mem_global_op_ld.sum": 344051.0,
}


@pytest.mark.parametrize(
    ("metrics", "figure", "expected"),
    [
        ({NS: 2e6, READ: 2e9, WRITTEN: 1e6}, "dram_bytes_per_s", 2.001e9 / 2e-3),
        ({f"{READ}.per_second": 3e9, f"{WRITTEN}.per_second": 1e9}, "dram_bytes_per_s", 4e9),
        ({"dram__sectors_read.sum": 10.0, "dram__sectors_write.sum": 5.0}, "dram_bytes", 480.0),
        ({NS: 1e3, READ: 500.0, WRITTEN: 0.0, PEAK: 2.0, CLOCK: 1e9}, "dram_pct", 25.0),
        ({ACCESS: 8.99, REQUEST: 20.52}, "memory_pct", 20.52),
        ({ACCESS: 8.99}, "memory_pct", None),
        ({"lts__t_sectors_lookup_hit.sum": 30.0, "lts__t_sectors.sum": 120.0}, "l2_hit_pct", 25.0),
        ({"l1tex__t_sectors_lookup_hit.sum": 30.0, "l1tex__t_sectors_lookup_miss.sum": 10.0}, "l1_hit_pct", 75.0),
        ({"lts__t_sectors_lookup_hit.sum": 130.0, "lts__t_sectors.sum": 120.0}, "l2_hit_pct", None),
        ({"lts__t_sectors_lookup_hit.sum": 0.0, "lts__t_sectors.sum": 0.0}, "l2_hit_pct", None),
        (LOADS, "sectors_per_load", 1538586 / 344051),
        ({**LOADS, "l1tex__t_requests_pipe_lsu_mem_global_op_ld.sum": 0.0}, "sectors_per_load", None),
        ({"launch__grid_size": 7.0}, "blocks", 7.0),
    ],
)
def test_worked_out_of_parts(metrics: dict[str, float], figure: str, expected: float | None) -> None:
    assert all(is_read(name) for name in metrics)
    found = figures(made(metrics))[figure]
    assert found.value == (None if expected is None else pytest.approx(expected))
    assert (found.reason is None) == (expected is not None)


@given(st.floats(0.01, 100))
def test_a_figure_of_its_own_counts_before_its_parts(measured: float) -> None:
    found = figures(
        made({ACCESS: 1.0, REQUEST: 2.0, "gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed": measured})
    )
    assert (found["memory_pct"].value, found["memory_pct"].derived) == (measured, None)


@given(
    st.tuples(*[st.integers(1, 60)] * 3),
    st.integers(1, 200),
    st.lists(st.integers(1, 64), min_size=4, max_size=4),
    st.none() | st.integers(1, 64),
)
def test_waves_are_rounds_of_resident_blocks(
    grid: tuple[int, int, int], processors: int, limits: list[int], barriers: int | None
) -> None:
    metrics = {name: float(limit) for name, limit in zip(LIMITS, limits, strict=True)}
    metrics["launch__sm_count"] = float(processors)
    if barriers is not None:
        metrics["launch__occupancy_limit_barriers"] = float(barriers)
    waves = figures(made(metrics, grid=str(grid)))["waves_per_sm"].value
    # Block after block onto a GPU that holds so many at once.
    left, rounds, held = grid[0] * grid[1] * grid[2], 0, processors * min([*limits, barriers or 64])
    while left > held:
        left, rounds = left - held, rounds + 1
    assert waves == pytest.approx(rounds + left / held)


def test_stalls_are_ordered_and_the_warp_that_issued_is_none() -> None:
    launch = analyze_launch(
        made({STALLED.format(name): value for name, value in
              (("selected", 1.0), ("wait", 2.0), ("long_scoreboard", 5.0), ("membar", 0.0))})
    )  # fmt: skip
    assert list(launch.stalls.items()) == [("long_scoreboard", 5.0), ("wait", 2.0)]
