"""The two rules that say what a launch is limited by, with all of their figures and without some."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.analysis.kernels.analyze import analyze_launch
from llm_perf_opt.analysis.kernels.classify import (
    classify,
    classify_partly,
    classify_sm_dram,
    explain,
    recorded,
)
from llm_perf_opt.analysis.kernels.figures import DRAM, MEMORY, SM, WAVES
from llm_perf_opt.records.kernels import KernelAnalysis, RuleResult, Value
from llm_perf_opt.reports.kernels import kernel_document, terminal_document
from llm_perf_opt.reports.markdown import to_markdown
from tests.unit.kernels.test_analysis import made

PERCENT = st.floats(0, 100)


@pytest.mark.parametrize(
    ("sm", "memory", "expected"),
    [
        (59.99, 59.99, "latency_bound"),
        (60.0, 59.0, "balanced"),
        (60.0, 50.0, "compute_bound"),
        (69.99, 60.0, "balanced"),
        (20.0, 60.0, "memory_bound"),
        (95.0, 86.0, "balanced"),
        (95.0, 85.0, "compute_bound"),
        (None, 90.0, "unknown"),
        (90.0, None, "unknown"),
    ],
)
def test_the_rule_at_its_edges(sm: float | None, memory: float | None, expected: str) -> None:
    assert classify(sm, memory) == expected


@given(PERCENT, PERCENT)
def test_the_rule_is_symmetric_and_never_silent(sm: float, memory: float) -> None:
    swapped = {"compute_bound": "memory_bound", "memory_bound": "compute_bound"}
    here = classify(sm, memory)
    assert classify(memory, sm) == swapped.get(here, here)
    assert here != "unknown"
    assert classify(sm, memory, small=True) == ("small_grid" if here == "latency_bound" else here)
    if here in swapped:
        assert max(sm, memory) >= 60
        assert abs(sm - memory) >= 10


@given(PERCENT, PERCENT, st.booleans())
def test_a_part_of_the_memory_figure_never_gives_a_class_that_no_whole_one_would(
    sm: float, part: float, small: bool
) -> None:
    """Below its peak: what is said of `part` holds for every memory throughput from there on."""
    said = classify_partly(sm, part, small=small)
    if max(sm, part) < 80 and said not in ("unknown", "small_grid"):
        whole = [part + (100 - part) * step / 50 for step in range(51)]
        assert {classify(sm, memory) for memory in whole} == {said}
    if max(sm, part) >= 80:
        assert said == classify(sm, part)
    assert (said == "small_grid") == (small and max(sm, part) < 60)


@given(st.none() | PERCENT, st.floats(80, 100))
def test_dram_at_its_peak_is_memory_bound_unless_compute_is_there_too(sm: float | None, dram: float) -> None:
    said = classify_partly(sm, dram)
    assert said == ("memory_bound" if sm is None or dram - sm >= 10 else classify(sm, dram))
    assert said != "unknown"


@pytest.mark.parametrize(
    ("sm", "dram", "expected"),
    [
        (9.61, 20.52, "memory_bound"),
        (33.36, 11.28, "compute_bound"),
        (0.02, 0.4, "balanced"),
        (25.0, 20.0, "compute_bound"),
        (24.99, 20.0, "balanced"),
        (None, 20.0, "unknown"),
    ],
)
def test_the_published_rule(sm: float | None, dram: float | None, expected: str) -> None:
    assert classify_sm_dram(sm, dram) == expected


def bottleneck(message: str) -> RuleResult:
    return RuleResult(section="SpeedOfLight", name="SOLBottleneck", kind="OPT", message=message)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "This kernel grid is too small to fill the available resources, resulting in only 0.7 full waves",
            "small_grid",
        ),
        ("bandwidth below 60.0% of peak typically indicate latency issues. Look at Scheduler", "latency_bound"),
        ("Compute is more heavily utilized than Memory: Look at the Compute Workload Analysis", "compute_bound"),
        ("Memory is more heavily utilized than Compute: Look at the Memory Workload Analysis", "memory_bound"),
        ("Compute and Memory are well-balanced: To reduce runtime", "balanced"),
        (
            "The kernel is utilizing greater than 80.0% of the available compute or memory performance of the device. "
            "Start by analyzing workloads in the Memory Workload Analysis section.",
            "memory_bound",
        ),
        (
            "The kernel is utilizing greater than 80.0% of the available compute or memory performance of the device. "
            "Start by analyzing workloads in the Compute Workload Analysis section.",
            "compute_bound",
        ),
        ("Words of another version.", None),
    ],
)
def test_what_ncu_itself_said(message: str, expected: str | None) -> None:
    rule = bottleneck(message)
    assert recorded([rule.model_copy(update={"name": "Other"}), rule]) == expected
    bound, why = explain({}, [rule]) if expected else (None, "")
    assert bound == expected
    assert not expected or "as ncu applied it" in why


def test_why_says_the_rule_and_the_figures_and_a_grid_that_is_too_small() -> None:
    figures = {
        name: Value(value=value) for name, value in (("sm_pct", 9.61), ("memory_pct", 20.5), ("waves_per_sm", 0.4))
    }
    assert explain(figures) == (
        "small_grid",
        "ncu's 60 % rule: SM 9.6 %, memory 20.5 % of peak: both below 60 %, and the grid fills a part of the GPU: the "
        "grid makes 0.40 waves",
    )
    assert explain({**figures, "waves_per_sm": Value(value=1.0)})[0] == "latency_bound"
    unknown, why = explain({"sm_pct": Value(value=None, reason="no SM"), "memory_pct": Value(value=50.0)})
    assert (unknown, why) == ("unknown", "no SM")


@pytest.mark.parametrize(
    ("grid", "metrics", "gpu", "expected"),
    [
        ("(1, 1, 1)", {}, None, "small_grid"),
        ("(2, 1, 1)", {}, None, "unknown"),  # of how many multiprocessors is not known
        ("(107, 1, 1)", {"launch__sm_count": 108.0}, None, "small_grid"),
        ("(108, 1, 1)", {"launch__sm_count": 108.0}, None, "unknown"),
        ("(54, 2, 1)", {"device__attribute_multiprocessor_count": 109.0}, None, "small_grid"),
        ("(131, 1, 1)", {}, "NVIDIA H100 80GB HBM3", "small_grid"),
        ("(132, 1, 1)", {}, "NVIDIA H100 80GB HBM3", "unknown"),
        ("(1, 1, 1)", {WAVES: 1.5}, None, "unknown"),  # what ncu measured counts
        ("(900, 1, 1)", {WAVES: 0.9}, None, "small_grid"),
        ("(900, 1, 1)", {WAVES: 0.9, SM: 10.0, DRAM[0]: 85.0}, None, "memory_bound"),
    ],
)
def test_a_grid_that_fills_a_part_of_the_gpu(
    grid: str, metrics: dict[str, float], gpu: str | None, expected: str
) -> None:
    launch = analyze_launch(made(metrics, gpu, grid))
    assert launch.bound == expected
    assert (launch.bound == "small_grid") == ("fills a part of the GPU" in launch.why)


def test_a_tensor_gemm_at_its_roof_is_not_latency_bound_without_a_rule_and_a_word() -> None:
    """SM 55 % by ncu's rule is latency-bound, though the tensor cores work at 91 % of what they can."""
    path = "sm__ops_path_tensor_src_bf16_dst_fp32.sum"
    launch = analyze_launch(
        made(
            {
                SM: 55.0,
                MEMORY: 30.0,
                DRAM[0]: 20.0,
                path: 910e9,
                f"{path}.peak_sustained": 1e6,
                "sm__cycles_elapsed.avg.per_second": 1e9,
                "gpu__time_duration.sum": 1e6,
                "dram__bytes.sum": 1e6,
                "dram__bytes.sum.peak_sustained": 1e3,
                "dram__cycles_elapsed.avg.per_second": 1e9,
            }
        )
    )
    assert (launch.bound, launch.sm_dram) == ("latency_bound", "compute_bound")
    assert "ncu's 60 % rule" in launch.why
    assert "yet its arithmetic is at tensor bf16→fp32 91 % of its roof" in launch.why
    for document in (kernel_document, terminal_document):
        text = to_markdown(document(KernelAnalysis(launches=(launch,), note="")))
        assert "class, 60 % rule | class, SM:DRAM" in text
        assert "91 % of its roof" in text
