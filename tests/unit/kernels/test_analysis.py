"""Classes, arithmetic and ceilings of launches made by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.analysis.kernel_names import identity
from llm_perf_opt.analysis.kernels.analyze import analyze_kernels, analyze_launch, arithmetic_by_kernel
from llm_perf_opt.analysis.kernels.arithmetic import executed, tensor_paths, widest
from llm_perf_opt.analysis.kernels.figures import dram_bytes
from llm_perf_opt.records.kernels import KernelAnalysis, KernelLaunch, Launch
from llm_perf_opt.reports.charts.roofline import RooflineChart
from llm_perf_opt.reports.document import Table
from llm_perf_opt.reports.kernel_roofline import kernel_roofline

OP = "smsp__sass_thread_inst_executed_op_{}_pred_on.sum"
TENSOR = "sm__ops_path_tensor_src_"


def made(metrics: dict[str, float], gpu: str | None = None, grid: str = "") -> Launch:
    return Launch("file", "1", "0", "gemm", grid, "(32, 1, 1)", "0", "9.0", metrics, gpu)


NO_TABLE = Table((), ())


def analysed(launches: list[KernelLaunch], **captured_ns: int) -> KernelAnalysis:
    return KernelAnalysis(launches=tuple(launches), captured_ns=captured_ns, note="")


def drawn(launches: list[KernelLaunch]) -> RooflineChart:
    roofline = kernel_roofline(analysed(launches), NO_TABLE)
    assert roofline is not None
    return roofline


def point(found: KernelLaunch, kind: str) -> dict[str, object]:
    return next(item.model_dump() for item in found.points if item.kind == kind)


def test_counted_instructions_and_what_each_does() -> None:
    counts = {
        "fadd": 1,
        "fmul": 10,
        "ffma": 100,
        "ffma2": 1000,
        "dadd": 1,
        "dmul": 1,
        "dfma": 1,
        "hadd": 1,
        "hmul": 1,
        "hfma": 1,
    }
    found = executed(made({OP.format(op): float(count) for op, count in counts.items()}))
    assert {kind: value.value for kind, value in found.items()} == {
        "fp64": 1 + 1 + 2, "fp32": 1 + 10 + 200 + 4000, "fp16": 2 + 2 + 4, "tensor": None
    }  # fmt: skip
    assert found["tensor"].reason == "the export has no sm__ops_path_tensor_… metric"


def test_rates_per_cycle_need_a_clock_and_a_duration() -> None:
    rates = {f"{OP.format(op)}.per_cycle_elapsed": 4.0 for op in ("fadd", "fmul", "ffma")}
    whole = {**rates, "smsp__cycles_elapsed.avg.per_second": 2e9, "gpu__time_duration.sum": 1000.0}
    assert executed(made(whole))["fp32"].value == pytest.approx(16 * 2e9 * 1e-6)
    assert "cycles_elapsed" in (executed(made(rates))["fp32"].reason or "")
    partial = dict(list(rates.items())[:2])
    assert executed(made(partial))["fp32"].reason == f"the export has no value of {OP.format('{ffma}')}"
    idle = dict.fromkeys(rates, 0.0)
    assert executed(made(idle))["fp32"].value == 0.0


def test_nested_tensor_paths_count_once() -> None:
    names = [
        f"{TENSOR}bf16_dst_fp32.sum",
        f"{TENSOR}bf16_dst_fp32_sparsity_off.sum",
        f"{TENSOR}bf16_dst_fp32_sparsity_on.sum",
        "sm__ops_path_tensor_op_hmma_src_bf16_dst_fp32_sparsity_off.sum",
        f"{TENSOR}fp16.sum",
        f"{TENSOR}fp16_dst_fp16.sum",
        f"{TENSOR}fp8_sparsity_off.sum",
        f"{TENSOR}fp8_sparsity_on.sum",
        f"{TENSOR}int8.sum",
        f"{TENSOR}fp16.sum.per_cycle_elapsed",
        "sm__ops_path_tensor.sum",
    ]
    kinds = {path.kind: name for path, name in widest(tensor_paths(names, None)).items()}
    assert kinds == {
        "tensor bf16→fp32": names[0],
        "tensor fp16": names[4],
        "tensor fp8 (sparsity off)": names[6],
        "tensor fp8 (sparsity on)": names[7],
    }


@given(
    st.sets(
        st.sampled_from(
            [(s, d, p) for s in ("bf16", "fp16", "fp8") for d in (None, "fp32") for p in (None, "on", "off")]
        )
    )
)
def test_what_is_counted_covers_everything_and_never_itself(chosen: set[tuple[str, str | None, str | None]]) -> None:
    names = {
        TENSOR + src + (f"_dst_{dst}" if dst else "") + (f"_sparsity_{sparsity}" if sparsity else "") + ".sum"
        for src, dst, sparsity in chosen
    }
    kept = widest(tensor_paths(names, None))
    everything = {path for name in names for path in tensor_paths([name], None)}
    assert all(any(path.covers(other) for path in kept) for other in everything)
    assert not any(path != other and path.covers(other) for path in kept for other in kept)


def test_traffic_is_counted_or_a_rate_times_the_duration() -> None:
    both = {"dram__bytes_read.sum": 100.0, "dram__bytes_write.sum": 0.0}
    assert dram_bytes(made({**both, "dram__bytes.sum": 7.0})).value == 100.0
    assert dram_bytes(made({"dram__bytes_read.sum": 100.0, "dram__bytes.sum": 7.0})).value == 7.0
    rate = {"dram__bytes.sum.per_second": 1e12, "gpu__time_duration.sum": 2000.0}
    assert dram_bytes(made(rate)).value == pytest.approx(2e6)
    assert "dram__bytes_read.sum with dram__bytes_write.sum" in (dram_bytes(made({})).reason or "")


MEASURED = {
    "gpu__time_duration.sum": 1000.0,
    "dram__bytes.sum": 1000.0,
    **{OP.format(op): 1000.0 for op in ("fadd", "fmul", "ffma")},
    "sm__sass_thread_inst_executed_op_ffma_pred_on.sum.peak_sustained": 1000.0,
    "sm__cycles_elapsed.avg.per_second": 1e9,
    "dram__bytes.sum.peak_sustained": 100.0,
    "dram__cycles_elapsed.avg.per_second": 1e9,
}


def test_the_roof_is_the_lower_of_peak_and_bandwidth() -> None:
    found = point(analyze_launch(made(MEASURED)), "fp32")
    assert found["flops"] == 4000
    assert found["flops_per_s"] == pytest.approx(4e9)
    assert found["intensity_flops_per_byte"] == 4
    assert (found["peak_flops_per_s"], found["bandwidth_bytes_per_s"]) == (2e12, 1e11)
    assert found["roof_flops_per_s"] == 4e11
    assert found["share_of_roof"] == pytest.approx(0.01)
    assert (found["ceiling"], found["reason"]) == ("ncu", None)
    busy = point(analyze_launch(made({**MEASURED, "dram__bytes.sum": 1.0})), "fp32")
    assert busy["roof_flops_per_s"] == 2e12


def test_a_named_gpu_lends_the_ceilings_that_ncu_does_not_give() -> None:
    tensor = {**MEASURED, f"{TENSOR}bf16_dst_fp32.sum": 9e6}
    found = point(analyze_launch(made(tensor, "NVIDIA GeForce RTX 5090")), "tensor bf16→fp32")
    assert found["peak_flops_per_s"] == 209.5e12
    assert found["ceiling"] == "catalogue, NVIDIA GeForce RTX 5090 and ncu"
    unknown = point(analyze_launch(made(tensor, "NVIDIA GeForce RTX 9999")), "tensor bf16→fp32")
    assert unknown["share_of_roof"] is None
    assert "the catalogue does not know NVIDIA GeForce RTX 9999" in str(unknown["reason"])
    sparse = {**MEASURED, f"{TENSOR}bf16_dst_fp32_sparsity_on.sum": 9e6}
    assert "neither in the export nor in the catalogue" in str(
        point(analyze_launch(made(sparse, "NVIDIA GeForce RTX 5090")), "tensor bf16→fp32 (sparsity on)")["reason"]
    )
    half = {**MEASURED, **{OP.format(op): 1.0 for op in ("hadd", "hmul", "hfma")}}
    assert "neither in the export nor in the catalogue" in str(
        point(analyze_launch(made(half, "NVIDIA GeForce RTX 5090")), "fp16")["reason"]
    )
    reported = {**tensor, f"{TENSOR}bf16_dst_fp32.sum.peak_sustained": 5000.0}
    assert point(analyze_launch(made(reported)), "tensor bf16→fp32")["peak_flops_per_s"] == 5e12
    dense = {**reported, f"{TENSOR}bf16_dst_fp32_sparsity_off.sum.peak_sustained": 2500.0}
    assert point(analyze_launch(made(dense)), "tensor bf16→fp32")["peak_flops_per_s"] == 2.5e12


def test_what_cannot_be_known_is_null_with_a_reason() -> None:
    nothing = analyze_launch(made({}))
    assert nothing.bound == "unknown"
    assert nothing.points == ()
    assert all(value.value is None and value.reason for value in [*nothing.figures.values(), *nothing.flops.values()])
    no_traffic = point(analyze_launch(made({**MEASURED, "dram__bytes.sum": 0.0})), "fp32")
    assert no_traffic["intensity_flops_per_byte"] is None
    assert "no DRAM traffic" in str(no_traffic["reason"])
    above = point(analyze_launch(made({**MEASURED, "gpu__time_duration.sum": 0.001})), "fp32")
    assert math.isclose(float(str(above["share_of_roof"])), 1e4)
    assert "above the roof" in str(above["reason"])


def test_the_roofline_tells_gpus_apart() -> None:
    found = [analyze_launch(made(MEASURED, gpu)) for gpu in ("NVIDIA L4", "NVIDIA H100")]
    one, two = (drawn(launches) for launches in (found[:1], found))
    assert [roof.name for roof in one.roofs] == ["fp32"]
    assert [roof.name for roof in two.roofs] == ["fp32, NVIDIA H100", "fp32, NVIDIA L4"]
    assert {roof.bandwidth_bytes_per_s for roof in two.roofs} == {100e9}
    assert [(point.roof, point.row) for point in two.points] == [(1, 0), (0, 0)]
    assert kernel_roofline(analysed([analyze_launch(made({}))]), NO_TABLE) is None


def test_kernels_are_listed_by_their_time_under_ncu() -> None:
    launches = [made({**MEASURED, "gpu__time_duration.sum": ns}) for ns in (10.0, 1000.0, 20.0)]
    named = [replace(launch, kernel=name) for launch, name in zip(launches, ("a", "b", "a"), strict=True)]
    chart = drawn([analyze_launch(launch) for launch in named])
    assert chart.listed is not None
    assert [row[:3] for row in chart.listed.rows] == [("b", "1", "1.000"), ("a", "2", "0.03000")]
    assert [(point.name, point.row) for point in chart.points] == [("b", 0), ("a", 1), ("a", 1)]
    # A capture knows better: ncu saw few of the launches, with clocks locked.
    known = kernel_roofline(analysed([analyze_launch(launch) for launch in named], a=5_000_000), NO_TABLE)
    assert known is not None and known.listed is not None
    assert known.listed.columns[1] == "ms in nsys"
    assert [row[:2] for row in known.listed.rows] == [("a", "5.000"), ("b", "—")]


def test_times_of_a_capture_are_joined_whichever_tool_spelt_the_name() -> None:
    launches = [replace(made(MEASURED), kernel="void norm<float>(float *, int)"), made(MEASURED)]
    found = analyze_kernels(launches, captured_ns={identity("void norm<float>(float*, int)"): 7, "other": 9})
    assert found.captured_ns == {"void norm<float>(float *, int)": 7}


def test_the_arithmetic_of_a_kernel_is_that_of_all_its_launches() -> None:
    launches = [made({**MEASURED, "gpu__time_duration.sum": ns}) for ns in (10.0, 1000.0, 20.0)]
    named = [replace(launch, kernel=name) for launch, name in zip(launches, ("a", "b", "a"), strict=True)]
    uncounted = [made({"gpu__time_duration.sum": 1e6}), made({**MEASURED, "dram__bytes.sum": 0.0})]
    b, a = arithmetic_by_kernel(map(analyze_launch, [*named, *uncounted]))
    assert (b.kernel, b.launches, b.duration_ns) == ("b", 1, 1000.0)
    assert (a.kernel, a.kind, a.launches, a.duration_ns) == ("a", "fp32", 2, 30.0)
    assert (a.flops, a.dram_bytes) == (2 * 4000.0, 2 * 1000.0)
