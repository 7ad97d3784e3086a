"""Roofline bounds, memory fit, sweeps and the drawing."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from llm_perf_opt.analysis.static.analyze import analyze
from llm_perf_opt.analysis.static.sweep import parse_axis, sweep
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.hardware.catalogue import gpu_named
from llm_perf_opt.records.memory_fit import MemoryFit
from llm_perf_opt.records.static import Bound, GpuFigures, StaticRecord, StaticRequest
from llm_perf_opt.records.static_sweep import COLUMNS, StaticSweep
from llm_perf_opt.reports.html import to_html
from llm_perf_opt.reports.markdown import to_markdown
from llm_perf_opt.reports.static import static_document
from llm_perf_opt.reports.static_sweep import sweep_curves, sweep_document, sweep_roofline
from llm_perf_opt.reports.units import scaled
from tests.integration.static_table import DECODERS
from tests.unit.static.configs import DEEPSEEK_OCR, DEEPSEEK_V3, LLAMA_31_8B

H100, A100, V100 = gpu_named("h100-sxm5"), gpu_named("a100-sxm4-80gb"), gpu_named("v100-sxm2-32gb")


def markdown(record: StaticRecord) -> str:
    return to_markdown(static_document(record))


def sweep_table(done: StaticSweep) -> str:
    return to_markdown(sweep_document(done))


def on_h100(request: StaticRequest | None = None) -> GpuFigures:
    return analyze(LLAMA_31_8B, request, [H100]).gpus[0]


def test_bounds_by_hand() -> None:
    record = analyze(LLAMA_31_8B, StaticRequest(), [H100])
    gpu, prefill, decode = record.gpus[0], record.phases.prefill, record.phases.decode
    assert prefill is not None
    assert decode is not None
    peak, bandwidth = 989.4e12, 3350e9
    assert gpu.ridge == pytest.approx(peak / bandwidth)
    for bound, phase in ((gpu.phases.prefill, prefill), (gpu.phases.decode, decode)):
        assert bound is not None
        assert bound.compute_ms == pytest.approx(phase.flops / peak * 1e3)
        assert bound.memory_ms == pytest.approx(phase.bytes / bandwidth * 1e3)
        assert bound.bound_ms == max(bound.compute_ms or 0, bound.memory_ms)
        assert (bound.unfused_ms or 0) >= (bound.bound_ms or 0)
        assert bound.memory_bound_valid is True
    assert gpu.phases.prefill is not None
    assert gpu.phases.decode is not None
    assert (gpu.phases.prefill.limited_by, gpu.phases.decode.limited_by) == ("compute", "memory")


def test_generation_is_bound_by_its_phases_in_turn() -> None:
    one = on_h100(StaticRequest(new_tokens=1)).phases
    many = on_h100(StaticRequest(new_tokens=11)).phases
    assert one.prefill is not None
    assert one.generation is not None
    assert many.generation is not None
    assert one.generation.bound_ms == one.prefill.bound_ms
    steps = [on_h100(StaticRequest(context=2048 + i)).phases.decode for i in range(10)]
    total = (one.prefill.bound_ms or 0) + sum(step.bound_ms or 0 for step in steps if step)
    assert many.generation.bound_ms == pytest.approx(total)
    assert many.generation.tokens_per_s == pytest.approx(11 / total * 1e3)


def test_fp8_weights_run_at_the_fp8_peak_where_there_is_one() -> None:
    h100, a100 = analyze(DEEPSEEK_V3, StaticRequest(), [H100, A100]).gpus
    assert h100.peak_flops == {"bfloat16": 989.4e12, "fp8": pytest.approx(1978.9e12)}
    assert a100.peak_flops == {"bfloat16": 312e12, "fp8": 312e12}
    assert "counted at the bfloat16 peak" in a100.reasons["peak_flops.fp8"]


def test_an_unknown_peak_makes_no_bound() -> None:
    gpu = analyze(LLAMA_31_8B, StaticRequest(), [V100]).gpus[0]
    assert gpu.peak_flops == {"bfloat16": None}
    assert gpu.ridge is None
    assert gpu.reasons["peak_flops.bfloat16"]
    bound = gpu.phases.decode
    assert isinstance(bound, Bound)
    assert (bound.compute_ms, bound.bound_ms, bound.limited_by, bound.tokens_per_s) == (None, None, None, None)
    assert bound.memory_ms > 0


def test_a_model_that_fits_in_l2_has_no_memory_bound() -> None:
    small = {"model_type": "llama", **DECODERS[0][2]}
    record = analyze(small, StaticRequest(), [H100])
    bound = record.gpus[0].phases.decode
    assert bound is not None
    assert bound.memory_bound_valid is False
    assert "(invalid)" in markdown(record)


def test_memory_fit_and_largest_batch_agree() -> None:
    fit = on_h100().memory
    assert isinstance(fit, MemoryFit)
    assert fit.kv_bytes == (2048 + 128) * 131072
    assert fit.total_bytes == fit.weight_bytes + fit.kv_bytes + fit.activation_bytes
    for batch, fits in ((fit.largest_batch, True), (fit.largest_batch + 1, False)):
        found = on_h100(StaticRequest(batch=batch)).memory
        assert found is not None
        assert found.fits is fits
        assert found.largest_batch == fit.largest_batch
    huge = analyze(DEEPSEEK_V3, StaticRequest(), [H100]).gpus[0].memory
    assert huge is not None
    assert (huge.fits, huge.largest_batch) == (False, 0)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("batch=1,2,4,…,256", (1, 2, 4, 8, 16, 32, 64, 128, 256)),
        ("batch=1,2,...,16", (1, 2, 4, 8, 16)),
        ("context=1k,…,8k", (1024, 2048, 4096, 8192)),
        ("context=0,512", (0, 512)),
        ("prompt=8,16,24,…,40", (8, 16, 24, 32, 40)),
        ("batch=3,5,…,10", (3, 5, 7, 9, 10)),
        ("batch=7", (7,)),
    ],
)
def test_axes(text: str, values: tuple[int, ...]) -> None:
    assert parse_axis(text) == (text.partition("=")[0], values)


@pytest.mark.parametrize(
    "text",
    ["batch", "batch=", "batch=0", "batch=…,4", "batch=1,…", "batch=4,2,…,8", "batch=a", "heads=1", "batch=1,…,…,4"],
)
def test_bad_axes_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match="--sweep") as caught:
        parse_axis(text)
    assert caught.value.remedy


def test_a_sweep_gives_the_figures_of_single_analyses() -> None:
    done = sweep(LLAMA_31_8B, StaticRequest(), {"batch": (1, 4), "context": (0, 1000)}, [H100])
    assert len(done.points) == 2 + 4
    for point in done.points:
        single = analyze(LLAMA_31_8B, StaticRequest(batch=point.batch, context=point.context), [H100])
        phase, bound = getattr(single.phases, point.phase), getattr(single.gpus[0].phases, point.phase)
        assert (point.flops, point.bytes) == (phase.flops, phase.bytes)
        assert (point.bound_ms, point.tokens_per_s) == (bound.bound_ms, bound.tokens_per_s)


def test_sweep_files() -> None:
    done = sweep(DEEPSEEK_OCR, StaticRequest(images=((700, 900),)), {"batch": (1, 2)}, [H100, A100])
    rows = list(csv.DictReader(io.StringIO(done.to_csv())))
    assert len(rows) == len(done.points) == 8
    assert tuple(rows[0]) == COLUMNS
    assert {row["phase"] for row in rows} == {"prefill", "decode"}
    assert json.loads(done.to_json())["points"][0]["gpu"] == "h100-sxm5"
    assert "a100-sxm4-80gb" in sweep_table(done)
    roofline = sweep_roofline(done)
    assert roofline is not None
    assert [roof.name for roof in roofline.roofs] == ["h100-sxm5", "a100-sxm4-80gb"]
    assert len(roofline.points) == 8
    page = to_html(sweep_document(replace(done, model_type="a <title> & more"), drawn=True))
    assert "a &lt;title&gt; &amp; more in bfloat16" in page


def test_a_point_lies_on_its_roof() -> None:
    """A bound is what the roof allows: on the slope before the ridge, on the flat part after it."""
    done = sweep(LLAMA_31_8B, StaticRequest(), {"batch": (1,)}, [H100])
    roofline = sweep_roofline(done)
    assert roofline is not None
    (roof,) = roofline.roofs
    assert {point.tone for point in roofline.points} == {"prefill", "decode"}
    for point in roofline.points:
        assert point.flops_per_s == pytest.approx(roof.at(point.flops_per_byte))


def test_gpus_without_a_peak_for_the_type_are_not_drawn() -> None:
    assert sweep_roofline(sweep(LLAMA_31_8B, StaticRequest(), {"batch": (1,)}, [V100])) is None
    both = sweep_roofline(sweep(LLAMA_31_8B, StaticRequest(), {"batch": (1,)}, [V100, H100]))
    assert both is not None
    assert [roof.name for roof in both.roofs] == ["h100-sxm5"]


def test_curves_go_over_the_axis_of_most_values() -> None:
    done = sweep(LLAMA_31_8B, StaticRequest(), {"batch": (1, 2), "context": (1024, 2048, 4096)}, [H100, A100])
    prefill, decode = sweep_curves(done)
    assert (prefill.across, decode.across) == ("batch", "context")
    assert [curve.name for curve in prefill.curves] == ["h100-sxm5", "a100-sxm4-80gb"]
    assert [curve.name for curve in decode.curves][:2] == ["h100-sxm5, batch 1", "a100-sxm4-80gb, batch 1"]
    bounds = {point.context: point.bound_ms for point in done.points if (point.gpu, point.batch) == ("h100-sxm5", 1)}
    assert [(spot.x, spot.y) for spot in decode.curves[0].spots] == [(at, bounds[at]) for at in (1024, 2048, 4096)]
    (alone,) = sweep_curves(sweep(LLAMA_31_8B, StaticRequest(), {"context": (1024, 2048)}))
    assert (alone.up, alone.across) == ("GFLOP", "context")
    assert sweep_curves(sweep(LLAMA_31_8B, StaticRequest(), {"batch": (1,)})) == ()


def test_without_a_gpu_there_is_no_roofline() -> None:
    done = sweep(LLAMA_31_8B, StaticRequest(), {"batch": (1,)})
    assert sweep_roofline(done) is None
    assert [point.gpu for point in done.points] == [None, None]
    assert "bound ms" not in sweep_table(done)


def test_markdown_has_every_part() -> None:
    text = markdown(analyze(DEEPSEEK_OCR, StaticRequest(images=((700, 900),), new_tokens=5), [H100]))
    for part in (
        "## Phases",
        "vision (in prefill)",
        "## NVIDIA H100 SXM5",
        "## By operator",
        "## Modules: decode step",
    ):
        assert part in text
    assert "least / expected (uniform) / most" in text
    assert "- a bound is the larger of" in text.replace("\\", "")


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (999, "999 B"), (15_278_000_000, "15.28 GB"), (2e18, "2000 PB")]
)
def test_scaled_numbers(value: float, text: str) -> None:
    assert scaled(value, "B") == text
