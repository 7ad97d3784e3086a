"""What a device is held against: the configuration's own peaks, the catalogue's, or measured ones, never a mixture."""

from __future__ import annotations

import pytest

from llm_perf_opt.analysis.cost import peaks_of, wants_measured_peaks
from llm_perf_opt.analysis.metrics import BatchCost, Peaks, stage_metrics
from llm_perf_opt.analysis.static.analyze import analyze
from llm_perf_opt.analysis.static.measured import measured_figures
from llm_perf_opt.config.schema import Hardware
from llm_perf_opt.records.metrics import Metrics
from llm_perf_opt.records.static import StaticRequest
from llm_perf_opt.records.workload import DeviceFacts
from tests import records
from tests.unit.hardware.test_peaks import peaks, rate

H100 = "NVIDIA H100 80GB HBM3"
FLOAT32 = records.model(dtype="float32", weight_bytes=64 << 20)


def device(kind: str, name: str) -> DeviceFacts:
    return DeviceFacts(device=kind, name=name, threads=2, torch_version="2.x", transformers_version="5.x")


CPU, GPU, SLICE = device("cpu", "A CPU"), device("cuda:0", H100), device("cuda:0", f"{H100} MIG 1g.10gb")


@pytest.mark.parametrize(
    ("on", "hardware", "wanted"),
    [
        (CPU, Hardware(), True),
        (GPU, Hardware(), False),
        (SLICE, Hardware(), True),
        (CPU, Hardware(gpu="h100-sxm5"), False),
        (CPU, Hardware(peaks="catalogue"), False),
        (GPU, Hardware(peaks="measured"), True),
        (CPU, Hardware(peak_tflops=1.0), True),
        (CPU, Hardware(peak_tflops=1.0, memory_bandwidth_gbs=1.0), False),
    ],
)
def test_when_peaks_are_measured(on: DeviceFacts, hardware: Hardware, wanted: bool) -> None:
    assert wants_measured_peaks(on.device, on.name, hardware) is wanted
    found = peaks_of(on, FLOAT32, hardware, peaks(name=on.name, device=on.device))
    assert ("the measured peak of" in found.source) is wanted


def test_measured_peaks_are_of_the_type_that_runs() -> None:
    found = peaks_of(CPU, FLOAT32, Hardware(), peaks())
    assert (found.flops_per_s, found.bytes_per_s, found.mbu_reason) == (100e9, 20e9, None)
    half = peaks_of(CPU, records.model(dtype="float16"), Hardware(), peaks(missing={"float16": "no such product"}))
    assert (half.flops_per_s, half.reason) == (None, "no such product")


def test_a_catalogue_without_the_type_is_not_filled_up_by_measuring() -> None:
    found = peaks_of(GPU, records.model(dtype="int4"), Hardware(), peaks())
    assert found.flops_per_s is None and found.bytes_per_s == 3.35e12


def test_what_the_configuration_says_stands_before_what_was_measured() -> None:
    found = peaks_of(CPU, FLOAT32, Hardware(memory_bandwidth_gbs=40.0), peaks(last_level_cache_bytes=1 << 40))
    assert (found.flops_per_s, found.bytes_per_s, found.mbu_reason) == (100e9, 40e9, None)
    assert found.source.startswith("hardware.memory_bandwidth_gbs, the measured peak of A CPU")


def test_a_run_from_before_says_how_to_get_them() -> None:
    found = peaks_of(CPU, FLOAT32, Hardware())
    assert found.flops_per_s is None
    assert "was measured in this run: run it again" in (found.reason or "")


def metrics(against: Peaks, prefill_flops: int = 10**9, least_bytes: int = 10**7) -> Metrics:
    """39 ms of prefill, 20 ms of decode."""
    cost = BatchCost(prefill_flops, 10**7, least_bytes, 10**7)
    return stage_metrics(records.workload(), records.NOT_WATCHED, lambda _: cost, against)


def test_decode_is_not_held_against_memory_where_the_weights_need_not_come_from_it() -> None:
    small = metrics(peaks_of(CPU, records.model(dtype="float32"), Hardware(), peaks())).metrics
    assert small["prefill.mfu"].median == pytest.approx(1e9 / (100e9 * 0.039))
    assert small["decode.mbu"].median is None
    expected = "the weights (1.9 MiB) fit the last-level cache (32.0 MiB), so that they need not come from memory"
    assert small["decode.mbu"].reason == expected
    untold = peaks(last_level_cache_bytes=None, missing={"last_level_cache_bytes": "nobody says"})
    reason = metrics(peaks_of(CPU, FLOAT32, Hardware(), untold)).metrics["decode.mbu"].reason
    assert reason == "whether the weights fit the last-level cache is not known: nobody says"
    large = metrics(peaks_of(CPU, FLOAT32, Hardware(), peaks())).metrics["decode.mbu"]
    assert large.median == pytest.approx(1e7 / (20e9 * 0.020))


def test_a_model_that_beats_the_benchmark_has_no_share_of_it() -> None:
    """A measured peak is what a benchmark reached: whoever passes it shows that it is no roof."""
    against = peaks_of(CPU, FLOAT32, Hardware(), peaks(cache="/c/peaks.json"))
    passed = metrics(against, prefill_flops=10**10).metrics["prefill.mfu"]
    assert passed.median is None
    assert passed.reason == (
        "comes out as 2.56, above 1: this ran faster than the benchmark behind the measured peak of A CPU (cpu, 2 "
        "threads, float32, 2026-01-02), so that is no roof for it; remove /c/peaks.json to measure it again"
    )


def test_bounds_of_phases_by_measured_peaks() -> None:
    config = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    config |= {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100}
    record = analyze(config, StaticRequest(prompt_tokens=10, new_tokens=3, dtype="float32"))
    figures = measured_figures(record, peaks())
    assert not isinstance(figures, str)
    prefill, decode, generation = record.phases.prefill, record.phases.decode, record.phases.generation
    bound = figures.phases.prefill
    assert prefill is not None and decode is not None and generation is not None and bound is not None
    assert bound.compute_ms == pytest.approx(prefill.flops / 100e9 * 1e3)
    assert bound.memory_ms == pytest.approx(prefill.bytes / 20e9 * 1e3)
    assert bound.bound_ms == max(bound.compute_ms or 0, bound.memory_ms)
    assert bound.memory_bound_valid is False
    whole = figures.phases.generation
    assert whole is not None and whole.memory_ms == pytest.approx(generation.bytes / 20e9 * 1e3)
    assert measured_figures(record, peaks(flops_per_s={})) == "products of float32 were not measured"
    assert measured_figures(record, peaks(read_bytes_per_s=None, missing={"read_bytes_per_s": "no room"})) == "no room"


def test_the_spread_is_of_the_worst_round() -> None:
    assert rate(10.0, 9.0, 9.5).spread == pytest.approx(0.1)
