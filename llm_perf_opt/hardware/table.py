"""The generated part of docs/hardware/gpus.md; `python -m llm_perf_opt.hardware.table FILE` rewrites it in place."""

from __future__ import annotations

import sys
from pathlib import Path

from llm_perf_opt.hardware.catalogue import load_catalogue
from llm_perf_opt.hardware.gpu import Accumulate, Dtype, Gpu

BEGIN = "<!-- generated from llm_perf_opt/hardware/gpus/*.yaml: begin -->"
END = "<!-- generated: end -->"

_COLUMNS: tuple[tuple[str, Dtype], ...] = (
    ("FP64 matrix", "fp64_matrix"),
    ("FP32", "fp32"),
    ("TF32", "tf32"),
    ("BF16", "bf16"),
    ("FP16", "fp16"),
    ("FP8", "fp8"),
    ("FP4", "fp4"),
    ("INT8", "int8"),
)


def generated_part() -> str:
    """The table of all GPUs and the details of each, as Markdown."""
    gpus = load_catalogue()
    header = ["GPU", "units", "memory GB", "GB/s", "L2 MB", *(title for title, _ in _COLUMNS)]
    rows = [header, ["---", *("--:" for _ in header[1:])], *(_row(gpu) for gpu in gpus)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join([BEGIN, table, "## Each GPU", *(_details(gpu) for gpu in gpus), END])


def rewrite(path: Path) -> None:
    """Replace the generated part of a page, which must hold both markers."""
    page = path.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    path.write_text(before + generated_part() + rest.split(END)[1], encoding="utf-8")


def _row(gpu: Gpu) -> list[str]:
    return [
        f"[`{gpu.id}`](#{gpu.id})",
        _figure(gpu.sm_count),
        _figure(gpu.memory_bytes // 2**30),
        _figure(gpu.memory_bandwidth_gbs),
        _figure(None if gpu.l2_bytes is None else gpu.l2_bytes / 2**20),
        *(_peaks(gpu, dtype) for _, dtype in _COLUMNS),
    ]


def _peaks(gpu: Gpu, dtype: Dtype) -> str:
    """TFLOP/s with the usual accumulator, then with FP16 where that is faster."""
    usual = gpu.peak_flops(dtype)
    fast = gpu.peak_flops(dtype, "fp16") if dtype in ("fp16", "fp8") else None
    if usual is None:
        return "–"
    text = _figure(usual.flops_per_s / 1e12)
    if fast is not None and fast.flops_per_s > 1.5 * usual.flops_per_s:
        return f"{text} / {_figure(fast.flops_per_s / 1e12)}"
    return text


def _details(gpu: Gpu) -> str:
    accumulated: dict[Accumulate, str] = {"fp64": "FP64", "fp32": "FP32", "fp16": "FP16", "int32": "INT32"}
    names = ", ".join(f"`{name}`" for name in gpu.driver_names)
    peaks = "; ".join(
        f"{dtype} " + ", ".join(f"{_figure(value)} ({accumulated[kind]})" for kind, value in by_kind.items())
        for dtype, by_kind in gpu.dense_peak_tflops.items()
    )
    lines = [
        f"### {gpu.id}",
        "",
        f"{gpu.title}, {gpu.architecture}, {gpu.compute_capability}. The driver says {names}.",
        "",
        f"- Peaks, dense TFLOP/s (accumulator): {peaks}.",
        f"- Clock they assume: {_clocks(gpu)}.",
        *(f"- {note}" for note in gpu.notes),
        *(f"- No {field}: {reason}." for field, reason in gpu.missing.items()),
        *(f"- Source, {group}: {', '.join(f'<{url}>' for url in urls)}" for group, urls in gpu.sources.items()),
    ]
    return "\n".join(lines)


def _clocks(gpu: Gpu) -> str:
    low, high = gpu.low_precision_clock_mhz, gpu.high_precision_clock_mhz
    if low == high:
        return "not published" if low is None else f"{low} MHz"
    text = [
        f"{clock} MHz for {types}" if clock is not None else f"not published for {types}"
        for clock, types in ((low, "TF32 and narrower types"), (high, "FP32 and FP64"))
    ]
    return ", ".join(text)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:,.10g}"


if __name__ == "__main__":
    rewrite(Path(sys.argv[1]))
