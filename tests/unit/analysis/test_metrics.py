"""The definitions of the figures, on records made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llm_perf_opt.analysis.metrics import BatchCost, stage_metrics, throttle_note
from llm_perf_opt.records.base import Record
from llm_perf_opt.records.hardware import HardwareState
from llm_perf_opt.records.metrics import Metric
from llm_perf_opt.records.workload import BatchResult, Memory, Workload
from tests import records
from tests.records import NO_PEAKS, NOT_WATCHED, PEAKS, batch, hardware, repeat, work, workload


def figures(record: Workload, state: HardwareState = NOT_WATCHED) -> dict[str, Metric]:
    return stage_metrics(record, state, work(), PEAKS).metrics


def test_times() -> None:
    found = figures(workload())
    assert found["ttft_ms"].median == 50.0
    assert found["preprocess.latency_ms"].median == 10.0
    assert found["prefill.latency_ms"].median == 39.0
    assert found["e2e.latency_ms"].median == 70.0
    # (t_last - t_first) / (n - 1) = (70 - 50) / (5 - 1)
    assert found["decode.tpot_ms"].median == 5.0
    # Four tokens after the first in 20 ms.
    assert found["decode.tokens_per_s"].median == pytest.approx(200.0)
    assert found["decode.host_sync_ms"].median == pytest.approx(0.4)


def test_tokens_per_s_counts_rows_up_to_their_end_of_sequence() -> None:
    # Two rows; one ends at its second token, the other runs all five.
    record = workload(batch(repeat(new_tokens=(2, 5)), samples=(0, 1), prompt_tokens=(100, 90), image_tokens=(0, 0)))
    assert figures(record)["decode.tokens_per_s"].median == pytest.approx((1 + 4) / 0.020)
    assert figures(record)["decode.tpot_ms"].median == 5.0


def test_every_repeat_of_every_batch_is_one_observation() -> None:
    record = workload(batch(repeat(ttft_ms=50.0), repeat(ttft_ms=60.0)), batch(repeat(ttft_ms=40.0)))
    assert figures(record)["ttft_ms"].samples == (50.0, 60.0, 40.0)


def test_every_observation_names_its_batch() -> None:
    single = repeat(decode_ms=None, step_ms=(), e2e_ms=50.0, new_tokens=(1,))
    record = workload(batch(repeat(), repeat()), batch(single, repeat()))
    found = figures(record, hardware())
    assert found["ttft_ms"].batches == found["prefill.mfu"].batches == (0, 0, 1, 1)
    # The repeat that made one token has no time per output token.
    assert found["decode.tpot_ms"].batches == found["decode.mbu"].batches == (0, 0, 1)
    assert found["memory.peak_bytes"].batches == found["energy.per_token_j"].batches == ()


def test_decode_steps_are_those_of_all_repeats_together() -> None:
    even = repeat(step_ms=(4.0, 4.0, 4.0, 4.0), decode_ms=16.0)
    uneven = repeat(step_ms=(4.0, 4.0, 8.0, 24.0), decode_ms=40.0)
    found = figures(workload(batch(even), batch(uneven)))
    assert found["decode.step_p50_ms"].samples == (4.0,)
    # Of 8 in order, position 0.95 · 7 = 6.65 lies between 8 and 24, and 0.99 · 7 = 6.93.
    assert found["decode.step_p95_ms"].median == pytest.approx(8 + 0.65 * 16)
    assert found["decode.step_p99_ms"].median == pytest.approx(8 + 0.93 * 16)
    # One of 8 ms is not over twice the median.
    assert found["decode.slow_step_share"].median == pytest.approx(24 / 56)
    assert found["decode.step_p50_ms"].note == "over all 8 decode steps of the timed repeats"
    # (t_last - t_first) / (n - 1) whatever its steps are.
    assert found["decode.tpot_ms"].samples == (5.0, 5.0)


def test_ratios() -> None:
    found = figures(workload())
    # 10^10 FLOPs in 39 ms on 10^12 FLOP/s; 10^9 bytes in 20 ms on 10^11 B/s; 10^9 FLOPs in 20 ms.
    assert found["prefill.mfu"].median == pytest.approx(1e10 / (1e12 * 0.039))
    assert found["decode.mbu"].median == pytest.approx(1e9 / (1e11 * 0.020))
    assert found["decode.mfu"].median == pytest.approx(1e9 / (1e12 * 0.020))
    assert found["prefill.mfu"].note == "against a made-up GPU, dense float16"


def test_a_ratio_above_one_is_an_error_and_not_clipped() -> None:
    found = stage_metrics(workload(), NOT_WATCHED, work(prefill_flops=10**12), PEAKS).metrics["prefill.mfu"]
    assert found.median is None
    assert found.reason is not None
    assert "above 1" in found.reason
    assert "25.6" in found.reason


def test_unknown_peaks_and_unknown_work_are_null_with_the_reason() -> None:
    unknown = stage_metrics(workload(), NOT_WATCHED, work(), NO_PEAKS).metrics
    assert unknown["decode.mbu"].reason == "no peak is known for this device"
    only_bandwidth = stage_metrics(workload(), NOT_WATCHED, work(), replace(PEAKS, flops_per_s=None)).metrics
    assert only_bandwidth["prefill.mfu"].median is None
    assert only_bandwidth["decode.mbu"].median is not None
    uncovered = stage_metrics(workload(), NOT_WATCHED, lambda _: "not covered", PEAKS).metrics
    assert uncovered["prefill.mfu"].reason == "not covered"


def test_work_is_asked_for_once_a_batch_and_figure_of_a_batch() -> None:
    asked: list[BatchResult] = []

    def counted(item: BatchResult) -> BatchCost:
        asked.append(item)
        return BatchCost(1, 1, 1, 1)

    stage_metrics(workload(batch(*[repeat()] * 50)), NOT_WATCHED, counted, PEAKS)
    assert len(asked) == 1


def test_one_token_only_has_no_decode() -> None:
    single = repeat(decode_ms=None, step_ms=(), e2e_ms=50.0, new_tokens=(1,), host_sync_ms=0.0)
    found = figures(workload(batch(single)))
    steps = ("decode.step_p50_ms", "decode.step_p95_ms", "decode.step_p99_ms", "decode.slow_step_share")
    for name in (*steps, "decode.tpot_ms", "decode.tokens_per_s", "decode.mbu", "decode.mfu", "decode.host_sync_ms"):
        assert found[name].median is None
        assert found[name].reason is not None
        assert "second token" in str(found[name].reason)
    assert found["ttft_ms"].median == 50.0


def test_nothing_ran() -> None:
    empty = workload().model_copy(update={"batches": (), "work_fingerprint": None})
    found = figures(empty)
    for name, metric in found.items():
        if name != "memory.peak_bytes":
            assert metric.median is None, name
            assert metric.reason, name


def test_names_of_the_specification_are_there_and_units_are_in_them() -> None:
    names = "ttft_ms prefill.latency_ms decode.tpot_ms decode.tokens_per_s e2e.latency_ms prefill.mfu decode.mbu"
    found = figures(workload())
    assert set(names.split()) | {"decode.mfu", "memory.peak_bytes", "energy.per_token_j"} <= set(found)
    for name, metric in found.items():
        suffix = {"_ms": "ms", "_bytes": "bytes", "_per_s": "tokens/s", "_share": "share", "_j": "J/token"}
        assert next((unit for end, unit in suffix.items() if name.endswith(end)), "ratio") == metric.unit


def test_memory() -> None:
    found = figures(workload())["memory.peak_bytes"]
    assert (found.median, found.n, found.note) == (5 << 30, 1, "CUDA allocator, timed repeats")
    none = figures(workload(memory=Memory(peak_bytes=None, source="x", reason="why")))["memory.peak_bytes"]
    assert none.reason == "why"


def test_energy_per_token_is_over_all_tokens_of_the_timed_repeats() -> None:
    record = workload(batch(repeat(), repeat()))
    found = figures(record, hardware())["energy.per_token_j"]
    assert found.median == pytest.approx(600.0 / 10)
    assert found.n == 1
    assert "energy counter" in str(found.note)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (HardwareState(recorded=False, reason="no GPU"), "no GPU"),
        (hardware(energy_j=None, energy_method=None), "neither energy nor power"),
        (hardware(energy_j=None, unavailable={"power_w": "no permission"}), "no permission"),
    ],
)
def test_energy_that_is_not_known(state: HardwareState, reason: str) -> None:
    found = figures(workload(), state)["energy.per_token_j"]
    assert found.median is None
    assert reason in str(found.reason)


def test_a_throttled_run_says_so_wherever_a_time_is_quoted() -> None:
    found = stage_metrics(workload(), hardware(), work(), PEAKS)
    assert found.throttled is True
    for name in ("ttft_ms", "decode.tpot_ms", "decode.tokens_per_s", "prefill.mfu", "decode.mbu"):
        assert "throttled (sw_power_cap in 50% of samples)" in str(found.metrics[name].note)
    cool = hardware(throttled=False, throttle_reasons=(), clock_events={"gpu_idle": 1.0})
    assert stage_metrics(workload(), cool, work(), PEAKS).throttled is False
    assert throttle_note(cool) is None
    assert stage_metrics(workload(), NOT_WATCHED, work(), PEAKS).throttled is None


def test_the_records_survive_their_files() -> None:
    kept: tuple[Record, ...] = (workload(), hardware(), records.instrumented())
    for record in kept:
        assert type(record).model_validate_json(record.model_dump_json()) == record
    made = stage_metrics(workload(), hardware(), work(), PEAKS)
    assert type(made).model_validate_json(made.model_dump_json()) == made
