from __future__ import annotations

import pytest

from llm_perf_opt.tools.ncu_lists import (
    estimated_passes,
    listed_metrics,
    listed_sections,
    split_metrics,
    split_sections,
)

TABLE = """Device NVIDIA GeForce RTX 3080 (GA102)
-------------------- --------------- ---------------- ------------------------------------------
Metric Name          Metric Type     Metric Unit      Metric Description
-------------------- --------------- ---------------- ------------------------------------------
dram__bytes_read     Counter         byte             # of bytes read from DRAM
gpu__time_duration   Counter         nsecond          incremental duration in nanoseconds
sm__throughput       Throughput      %                SM throughput
"""
CSV = """"Device","Metric Name","Metric Type","Metric Unit","Metric Description"
"NVIDIA H100","dram__bytes_read","Counter","byte","# of bytes read from DRAM"
"NVIDIA H100","gpu__time_duration","Counter","nsecond","incremental duration"
"NVIDIA H100","sm__throughput","Throughput","%","SM throughput"
"""
SECTIONS = """---------------------------- --------------------------- ------- -----------------------------
Identifier                   Display Name                Enabled Filename
---------------------------- --------------------------- ------- -----------------------------
ComputeWorkloadAnalysis      Compute Workload Analysis   no      ...mputeWorkloadAnalysis.section
SpeedOfLight                 GPU Speed Of Light          yes     SpeedOfLight.section
SpeedOfLight_RooflineChart   GPU Speed Of Light Roofline no      ...edOfLight_RooflineChart.section
"""


@pytest.mark.parametrize("output", [TABLE, CSV])
def test_metrics_are_read_from_either_layout(output: str) -> None:
    assert listed_metrics(output) == {"dram__bytes_read", "gpu__time_duration", "sm__throughput"}


def test_sections_are_read_from_either_layout() -> None:
    names = {"ComputeWorkloadAnalysis", "SpeedOfLight", "SpeedOfLight_RooflineChart"}
    assert listed_sections(SECTIONS) == names
    rows = ['"Identifier","Display Name"', *(f'"{name}","words","no"' for name in sorted(names))]
    assert listed_sections("\n".join(rows)) == names


def test_unknown_metrics_are_dropped() -> None:
    wanted = [
        "gpu__time_duration.sum",
        "dram__bytes_written.sum",
        "flop_count_hp",
        "launch__registers_per_thread",
        "regex:sm__.*",
        "group:memory__chart",
        "breakdown:sm__throughput.avg.pct_of_peak_sustained_elapsed",
    ]
    kept, dropped = split_metrics(wanted, listed_metrics(TABLE))
    assert dropped == ["dram__bytes_written.sum", "flop_count_hp"]
    assert kept == [name for name in wanted if name not in dropped]
    assert split_metrics(wanted, frozenset()) == (wanted, [])


def test_unknown_sections_are_dropped() -> None:
    known = listed_sections(SECTIONS)
    wanted = ["SpeedOfLight", "WorkloadDistribution", "regex:.*Roofline.*"]
    assert split_sections(wanted, known) == (["SpeedOfLight", "regex:.*Roofline.*"], ["WorkloadDistribution"])
    assert split_sections(wanted, frozenset()) == (wanted, [])


@pytest.mark.parametrize(("basic", "full"), [(45, 229), (144, 613)], ids=["2022.3", "2024.1"])
def test_the_estimate_does_not_hang_on_how_a_release_counts(basic: int, full: int) -> None:
    assert 8 <= estimated_passes(basic, full) <= 10  # public logs of the set basic: 8 and 9
    assert 31 <= estimated_passes(full, full) <= 49
    assert estimated_passes(0, full) == 1
