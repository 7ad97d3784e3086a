"""Kernels that were recorded on an RTX 5090, against what was published with them and what ncu itself said of them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from llm_perf_opt.analysis.kernels.analyze import analyze, is_read
from llm_perf_opt.captures.kernel_files import find_kernels
from llm_perf_opt.records.kernels import KernelLaunch
from llm_perf_opt.reports.kernels import kernel_roofline

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
    return {Path(launch.source).name: launch for launch in analyze(found.launches).launches}


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
    for name, launch in launches.items():
        with (folder / name / "ncu.section_SpeedOfLight.csv").open() as file:
            (said,) = [row for row in csv.DictReader(file) if row["Rule Name"] == "SOLBottleneck"]
        low = "too small to fill" in said["Rule Description"] or "latency issues" in said["Rule Description"]
        assert (launch.bound == "latency_bound") == low, name
        if not low:
            assert "greater than 80.0%" in said["Rule Description"]
            assert "Memory Workload Analysis" in said["Rule Description"]
            assert launch.bound == "memory_bound"


def test_where_the_published_class_differs_it_asked_for_no_least_utilization(
    launches: dict[str, KernelLaunch], published: dict[str, dict[str, str]]
) -> None:
    """The earlier system compared SM with DRAM throughput alone (20 % against 9 %: memory-bound), however low both."""
    for name, launch in launches.items():
        sm, dram, memory = (launch.figures[figure].value or 0.0 for figure in ("sm_pct", "dram_pct", "memory_pct"))
        # Any threshold from 1.9 to 5.7 points gives every published class.
        earlier = "balanced" if abs(sm - dram) < 5 else "memory_bound" if dram > sm else "compute_bound"
        assert published[name]["classification"] == earlier, name
        if launch.bound != published[name]["classification"]:
            assert launch.bound == "latency_bound"
            assert max(sm, memory) < 60
    counted = [launch.bound for launch in launches.values()]
    assert (counted.count("latency_bound"), counted.count("memory_bound")) == (16, 2)


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
    roofline = kernel_roofline(list(launches.values()))
    assert roofline is not None
    svg = roofline.svg()
    assert svg.count("<title>") == sum(len(launch.points) for launch in launches.values()) + 2  # legend
    assert "tensor bf16→fp32" in svg
    assert "peak unknown" in svg
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")


def test_reports_are_analysed_without_ncu(shared_data: Path) -> None:
    """The same launches as in the files' own names for them; their figures are checked in tests/unit/formats."""
    folder = shared_data / "ncu"
    found = find_kernels([folder / "rtx3070-ncu2020.3.ncu-rep", folder / "gtx1660ti-ncu2022.4.ncu-rep"], is_read)
    assert found.problems == []
    analysed = analyze(found.launches).launches
    assert [(item.kernel.split("(")[0], item.grid, item.block, item.gpu) for item in analysed] == [
        ("kernel", "(19532, 1, 1)", "(512, 1, 1)", "NVIDIA GeForce RTX 3070"),
        *((name, "(1, 1, 1)", "(64, 1, 1)", "NVIDIA GeForce GTX 1660 Ti") for name in WITHOUT_WORK),
    ]
    assert {item.bound for item in analysed} == {"latency_bound"}
