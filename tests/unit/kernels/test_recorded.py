"""Kernels that were recorded on an RTX 5090, against what was published with them and what ncu itself said of them."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from llm_perf_opt.analysis.kernels.analyze import analyze_kernels, analyze_launch, is_read
from llm_perf_opt.analysis.kernels.figures import WAVES
from llm_perf_opt.captures.kernel_files import find_kernels
from llm_perf_opt.records.kernels import BoundClass, KernelAnalysis, KernelLaunch
from llm_perf_opt.reports.document import Table
from llm_perf_opt.reports.kernel_roofline import kernel_roofline

pytestmark = pytest.mark.real_data

# Published column → our figure, and what turns ours into its unit.
COLUMNS = {
    "sm_throughput_pct": ("sm_pct", 1.0),
    "dram_throughput_pct": ("dram_pct", 1.0),
    "mem_throughput_pct": ("memory_pct", 1.0),
    "l1tex_throughput_pct": ("l1_pct", 1.0),
    "l2_throughput_pct": ("l2_pct", 1.0),
    "duration_us": ("duration_ns", 1e-3),
    "mem_busy_pct": ("mem_busy_pct", 1.0),
    "max_bandwidth_pct": ("max_bandwidth_pct", 1.0),
    "memory_throughput_gbs": ("dram_bytes_per_s", 1e-9),
    "l1tex_hit_rate_pct": ("l1_hit_pct", 1.0),
    "l2_hit_rate_pct": ("l2_hit_pct", 1.0),
    "achieved_occupancy_pct": ("achieved_occupancy_pct", 1.0),
    "theoretical_occupancy_pct": ("theoretical_occupancy_pct", 1.0),
}
ROOFLINE = "ncu.section_SpeedOfLight_RooflineChart.csv"
WITHOUT_WORK = ("warmingUp", "mathKernel1", "mathKernel2", "mathKernel3")
WITHOUT_FILES = {"kernel_0009_60b6526c428eef70c521b6a4c8ca71db", "kernel_0016_d5dc19ab8d6c32669179c164a1a4c9a5"}


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    return shared_data / "ncu" / "dsocr-rtx5090-v1"


@pytest.fixture(scope="module")
def launches(folder: Path) -> dict[str, KernelLaunch]:
    """Name of the folder → the launch in it."""
    found = find_kernels([folder], is_read)
    assert found.problems == []
    return {Path(launch.source).name: launch for launch in analyze_kernels(found.launches).launches}


@pytest.fixture(scope="module")
def published(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "published" / "metrics_summary.csv").open() as file:
        return {row["kernel_id"]: row for row in csv.DictReader(file)}


def test_two_published_kernels_have_no_files(
    launches: dict[str, KernelLaunch], published: dict[str, dict[str, str]]
) -> None:
    assert set(published) - set(launches) == WITHOUT_FILES
    assert {published[name]["classification"] for name in WITHOUT_FILES} == {"unknown"}
    assert set(launches) <= set(published)


def test_every_common_figure_equals_the_published_one(
    launches: dict[str, KernelLaunch], published: dict[str, dict[str, str]]
) -> None:
    for name, launch in launches.items():
        row = published[name]
        assert (launch.kernel, launch.grid, launch.block) == (row["kernel_name"], row["grid_size"], row["block_size"])
        assert (launch.compute_capability, float(launch.device or "nan")) == (row["cc"], float(row["device"]))
        for column, (figure, factor) in COLUMNS.items():
            value = launch.figures[figure].value
            assert value is not None
            assert round(value * factor, 2) == float(row[column]), f"{name} {column}"


def test_tensor_rates_equal_the_published_ones_and_intensities_but_for_their_units(
    folder: Path, launches: dict[str, KernelLaunch], published: dict[str, dict[str, str]]
) -> None:
    """The published intensities divide by bare numbers: 11.14 Mbyte read and 512 byte written became 523.14."""
    compared = 0
    for name, launch in launches.items():
        points = [point for point in launch.points if point.kind == "tensor bf16→fp32"]
        rate = published[name]["roofline_flops_per_s"]
        assert bool(points) == bool(rate)
        for point in points:
            compared += 1
            assert point.flops_per_s == pytest.approx(float(rate), rel=1e-9)
            read, written = traffic(folder / name / "ncu.metrics.csv")
            earlier = point.flops / (read[0] + written[0])
            assert float(published[name]["roofline_ai_flops_per_byte"]) == pytest.approx(earlier, rel=1e-9)
            units = {"byte": 1, "Kbyte": 1e3, "Mbyte": 1e6}
            right = point.flops / (read[0] * units[read[1]] + written[0] * units[written[1]])
            assert point.intensity_flops_per_byte == pytest.approx(right, rel=1e-9)
            assert "nothing names the GPU" in str(point.reason)
    assert compared == 3


def traffic(path: Path) -> list[tuple[float, str]]:
    """Number and unit of what was read from and written to DRAM, as they stand in the file."""
    with path.open() as file:
        rows = {row["Metric Name"]: row for row in csv.DictReader(file)}
    names = ("dram__bytes_read.sum", "dram__bytes_write.sum")
    return [(float(rows[name]["Metric Value"].replace(",", "")), rows[name]["Metric Unit"]) for name in names]


def test_classes_are_those_of_ncu_itself(folder: Path, launches: dict[str, KernelLaunch]) -> None:
    """Its rule for the Speed Of Light section left its verdict in the exports."""
    words: dict[BoundClass, str] = {
        "small_grid": "too small to fill",
        "latency_bound": "latency issues",
        "memory_bound": "greater than 80.0%",
    }
    for name, launch in launches.items():
        with (folder / name / "ncu.section_SpeedOfLight.csv").open() as file:
            (said,) = [row for row in csv.DictReader(file) if row["Rule Name"] == "SOLBottleneck"]
        assert words[launch.bound] in said["Rule Description"], name
        assert launch.bound != "memory_bound" or "Memory Workload Analysis" in said["Rule Description"]
    assert Counter(launch.bound for launch in launches.values()) == {
        "small_grid": 12, "latency_bound": 4, "memory_bound": 2
    }  # fmt: skip


def test_classes_by_sm_against_dram_are_the_published_ones(
    launches: dict[str, KernelLaunch], published: dict[str, dict[str, str]]
) -> None:
    assert {name: launch.sm_dram for name, launch in launches.items()} == {
        name: row["classification"] for name, row in published.items() if name not in WITHOUT_FILES
    }


def test_the_class_is_known_wherever_a_file_holds_one(shared_data: Path, launches: dict[str, KernelLaunch]) -> None:
    """Every file alone: those of single sections without SM throughput hold no class, but of the busiest and a few."""
    folder = shared_data / "ncu"
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in (".csv", ".ncu-rep")]
    bounds: Counter[tuple[str, BoundClass]] = Counter()
    for path in files:
        for launch in analyze_kernels(find_kernels([path], is_read).launches).launches:
            kind = path.name.removeprefix("ncu.").removesuffix(".csv")
            bounds[kind, launch.bound] += 1
            whole = launches.get(path.parent.name)
            assert launch.bound in ("unknown", "small_grid") or whole is None or launch.bound == whole.bound, path
    unknown = {kind: count for (kind, bound), count in bounds.items() if bound == "unknown"}
    print(f"{sum(unknown.values())} of {bounds.total()} launches without a class: {unknown}")
    assert bounds.total() == 131
    assert unknown == {
        "section_MemoryWorkloadAnalysis": 15,
        "section_Occupancy": 17,
        "section_SchedulerStats": 17,
        "section_SpeedOfLight_RooflineChart": 17,
    }


def test_results_of_rules_are_those_in_the_files(folder: Path, launches: dict[str, KernelLaunch]) -> None:
    for name, launch in launches.items():
        said = set()
        for path in sorted((folder / name).glob("*.csv")):
            with path.open() as file:
                said |= {
                    (row["Rule Name"], row["Rule Type"], row["Rule Description"], row["Estimated Speedup"] or None)
                    for row in csv.DictReader(file)
                    if row["Rule Name"]
                }
        found = {
            (rule.name, rule.kind, rule.message, None if rule.speedup_pct is None else f"{rule.speedup_pct:g}")
            for rule in launch.rules
        }
        assert found == said, name
        assert len(launch.rules) == len(found)
    estimates = [rule for launch in launches.values() for rule in launch.rules if rule.speedup_pct is not None]
    assert Counter(rule.speedup_kind for rule in estimates) == {"local": 18, "global": 18}


def test_memory_throughput_is_the_higher_of_its_parts_and_bandwidth_gives_the_share(
    folder: Path, launches: dict[str, KernelLaunch]
) -> None:
    """What is derived where one section was exported is what ncu printed in another."""
    for name, launch in launches.items():
        section = folder / name / "ncu.section_MemoryWorkloadAnalysis.csv"
        (alone,) = analyze_kernels(find_kernels([section], is_read).launches).launches
        assert alone.figures["memory_pct"].derived is not None
        assert alone.figures["memory_pct"].value == launch.figures["memory_pct"].value
        (alone,) = analyze_kernels(find_kernels([section.with_name(ROOFLINE)], is_read).launches).launches
        assert alone.figures["dram_pct"].derived is not None
        measured = launch.figures["dram_pct"].value
        assert alone.figures["dram_pct"].value == pytest.approx(measured, abs=0.02, rel=2e-3), name


def test_hit_rate_waves_and_stalls_of_a_recorded_report(shared_data: Path) -> None:
    (launch,) = find_kernels([shared_data / "ncu" / "rtx3070-ncu2020.3.ncu-rep"], is_read).launches
    whole = analyze_launch(launch)
    parts = {name: value for name, value in launch.metrics.items() if "hit_rate" not in name and name != WAVES}
    derived = analyze_launch(replace(launch, metrics=parts))
    for name in ("l2_hit_pct", "waves_per_sm"):
        assert derived.figures[name].derived is not None
        assert derived.figures[name].value == pytest.approx(whole.figures[name].value, rel=1e-3)
    assert next(iter(whole.stalls)) == "barrier"  # ncu's rule: 58 % of the cycles between two instructions
    assert "58.0% of the total" in next(rule.message for rule in whole.rules if rule.name == "CPIStallBarrier")
    assert whole.figures["sectors_per_load"].value == pytest.approx(4.472, abs=1e-3)


def test_the_arithmetic_of_ncu_and_its_ceilings(launches: dict[str, KernelLaunch]) -> None:
    """Kernel 1, from its roofline section: (0 + 2.07 + 2·83.00) per cycle at 2.14 GHz; 128 byte at 13.72 GHz."""
    (point,) = launches["kernel_0001_67bdb7e29d1bb4e0ca0aec954ef18af3"].points
    assert point.kind == "fp32"
    assert point.flops_per_s == pytest.approx((2.07 + 2 * 83.00) * 2.14e9)
    assert point.bandwidth_bytes_per_s == pytest.approx(128 * 13.72e9)
    assert point.peak_flops_per_s == pytest.approx(43_520 * 2.14e9)
    assert point.share_of_roof == pytest.approx(0.2052, rel=2e-3)  # DRAM throughput is 20.52 %
    assert point.ceiling == "ncu"


def test_the_roofline_of_the_recorded_kernels(launches: dict[str, KernelLaunch]) -> None:
    roofline = kernel_roofline(KernelAnalysis(launches=tuple(launches.values()), note=""), Table((), ()))
    assert roofline is not None
    assert len(roofline.points) == sum(len(launch.points) for launch in launches.values())
    assert [(roof.name, roof.peak_flops_per_s is None) for roof in roofline.roofs] == [
        ("fp32", False),
        ("tensor bf16→fp32", True),
    ]
    assert roofline.listed is not None
    assert "cutlass" in roofline.listed.rows[0][0]


def test_reports_are_analysed_without_ncu(shared_data: Path) -> None:
    """The same launches as in the files' own names for them; their figures are checked in tests/unit/formats."""
    folder = shared_data / "ncu"
    found = find_kernels([folder / "rtx3070-ncu2020.3.ncu-rep", folder / "gtx1660ti-ncu2022.4.ncu-rep"], is_read)
    assert found.problems == []
    analysed = analyze_kernels(found.launches).launches
    assert [(item.kernel.split("(")[0], item.grid, item.block, item.gpu) for item in analysed] == [
        ("kernel", "(19532, 1, 1)", "(512, 1, 1)", "NVIDIA GeForce RTX 3070"),
        *((name, "(1, 1, 1)", "(64, 1, 1)", "NVIDIA GeForce GTX 1660 Ti") for name in WITHOUT_WORK),
    ]
    assert [item.bound for item in analysed] == ["latency_bound", *["small_grid"] * 4]


def test_the_case_files(shared_data: Path) -> None:
    cases = shared_data.parent / "cases" / "ncu"
    (gemm, norm) = analyze_kernels(find_kernels([cases / "ncu-raw-dram80.csv"], is_read).launches).launches
    assert (gemm.bound, gemm.sm_dram) == ("memory_bound", "memory_bound")
    assert gemm.figures["dram_bytes_per_s"].value == pytest.approx(2_001e6 / 2e-3)
    assert norm.bound == "small_grid"
    assert "fills a part of the GPU" in norm.why
    found = find_kernels([cases / "two-exports-in-one.csv"], is_read)
    assert found.problems == []
    assert [launch.kernel.split("(")[0] for launch in found.launches] == [*WITHOUT_WORK, "kernel"]
    assert found.launches[-1].metrics["gpu__time_duration.sum"] == pytest.approx(336_704)
