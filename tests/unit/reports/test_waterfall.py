"""What a capture is of: its own stage's profile, the workload under a tool, or nobody knows."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.analysis.static.generation import generation_cost
from llm_perf_opt.analysis.timeline.summary import summary
from llm_perf_opt.artifacts.layout import WORKLOAD, workload_dir
from llm_perf_opt.config.schema import Config, Hardware
from llm_perf_opt.records.columns import ANNOTATION
from llm_perf_opt.records.device_timeline import DeviceTimeline
from llm_perf_opt.records.waterfall import Waterfall
from llm_perf_opt.records.workload import Profile, Workload
from llm_perf_opt.reports import waterfall as joined
from llm_perf_opt.reports import write
from llm_perf_opt.reports.document import Document
from llm_perf_opt.reports.facts import RunFacts
from llm_perf_opt.reports.markdown import to_markdown
from llm_perf_opt.reports.sections import waterfall as section
from tests import records
from tests.unit.timeline.build import Call, Piece, Rows, Span

MS = 1_000_000
LLAMA = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 256, "torch_dtype": "float16",
}  # fmt: skip
PEAK_TFLOPS, BANDWIDTH_GBS = 0.001, 0.5


def batch(sample: int = 0, tokens: int = 100, step_ms: tuple[float, ...] = (5.0, 5.0, 5.0, 5.0)) -> Any:
    repeats = [records.repeat(step_ms=step_ms, e2e_ms=50.0 + sum(step_ms) + extra) for extra in (0.0, 2.0, 0.4)]
    return records.batch(*repeats, samples=(sample,), prompt_tokens=(tokens,), padded_tokens=tokens)


def workload(*batches: Any, **changes: Any) -> Workload:
    return records.workload(*batches, model=records.model(config=LLAMA), **changes)


def line(*, decodes: int = 1, kernels_ms: int = 12, step_ms: int = 30) -> DeviceTimeline:
    """So many decodes, each with one kernel, and as many prefills."""
    rows = Rows()
    for number in range(decodes):
        start = number * 100 * MS
        rows.spans += [
            Span(start, start + 40 * MS, name="prefill", kind=ANNOTATION),
            Span(start + 50 * MS, start + (50 + step_ms) * MS, name="decode", kind=ANNOTATION),
        ]
        rows.calls.append(Call(start, start + 5, correlation=2 * number))
        rows.calls.append(Call(start + 51 * MS, start + 52 * MS, correlation=2 * number + 1))
        rows.work += [
            Piece(start + 10, start + 30 * MS, correlation=2 * number),
            Piece(start + 52 * MS, start + (52 + kernels_ms) * MS, correlation=2 * number + 1),
        ]
    return summary(rows.events(), source="a capture")


def run_of(
    stage: str, *left: Any, timed: Workload | None = None, path: Path = Path("/run"), **changes: Any
) -> RunFacts:
    measured = [] if timed is None else [records.measured(timed)]
    facts = records.facts(*measured, path=path, records=tuple(records.found(stage, record) for record in left))
    assert facts.setup is not None
    hardware = Hardware(peak_tflops=PEAK_TFLOPS, memory_bandwidth_gbs=BANDWIDTH_GBS)
    setup = dataclasses.replace(facts.setup, config=Config(hardware=hardware))
    return dataclasses.replace(facts, **{"setup": setup} | changes)


def profile(**changes: Any) -> Profile:
    values: dict[str, Any] = {
        "sample": 0, "decode_steps": 3, "whole": False, "activities": ("cpu", "cuda"), "events": 1, "wall_ms": 1.0,
        "phase_ms": {}, "warmup_runs": 1,
    }  # fmt: skip
    return Profile(**values | changes)


def bound_ns(tokens: int, steps: int, phase: str) -> int:
    cost = generation_cost(LLAMA, prompt_tokens=(tokens,), new_tokens=steps + 1, dtype="float16")
    work = cost.decode if phase == "decode" else cost.prefill
    return round(max(work.flops / (PEAK_TFLOPS * 1e12), work.bytes / (BANDWIDTH_GBS * 1e9)) * 1e9)


def of(facts: RunFacts, phase: str = "decode") -> Waterfall:
    return joined.waterfalls(facts)[0][2][phase]


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_a_profiled_sample_is_held_against_its_own_steps(phase: str) -> None:
    facts = run_of("torch_profiler", profile(), line(), timed=workload(batch(), batch(1, 700)))
    found = of(facts, phase)
    assert found.parts.static_bound_ns == bound_ns(100, 3, phase)
    assert found.steps == (3 if phase == "decode" else 1)
    step = (30 / 3, (20 + 0.4) / 4) if phase == "decode" else (40, 39)
    assert (found.captured_step_ns, found.unprofiled_step_ns) == (round(step[0] * MS), round(step[1] * MS))
    assert found.host_causes_inflated == (phase == "decode")
    parts = found.parts
    assert parts.kernels_above_bound_ns is not None and parts.idle_by_cause is not None
    assert found.kernel_ns == bound_ns(100, 3, phase) + parts.kernels_above_bound_ns
    assert found.kernel_ns + sum(parts.idle_by_cause.values()) == found.wall_ns


def test_summary_and_report_say_the_same() -> None:
    facts = run_of("torch_profiler", profile(), line(kernels_ms=1), timed=workload(batch()))
    found = of(facts)
    assert found.parts.kernels_above_bound_ns is None, "the bound is above 1 ms"
    said = json.loads(json.dumps(write.summary(facts)))["timeline"]
    assert said["waterfall"]["decode"] == json.loads(found.model_dump_json())
    assert set(said["waterfall"]) == {"decode", "prefill"}
    assert "below the bound" in said["answer"]
    built = section.section(facts)
    assert built is not None
    text = to_markdown(Document("t", (built,)))
    assert found.answer.split(":")[0] in text
    assert "| kernels | 1.000 | 3.3 % |" in text
    assert "inflated by profiling" in text


def test_a_sample_timed_with_others_has_no_cost_of_profiling() -> None:
    two = batch().model_copy(update={"samples": (0, 1), "prompt_tokens": (100, 80)})
    found = of(run_of("torch_profiler", profile(), line(), timed=workload(two)))
    assert found.parts.static_bound_ns == bound_ns(100, 3, "decode")
    assert found.reasons["cost_of_profiling_ns"] == joined.ALONE


def under_nsys(tmp_path: Path, captured: Workload, record: DeviceTimeline, timed: Workload | None) -> Waterfall:
    folder = workload_dir(tmp_path, "nsys")
    folder.mkdir(parents=True)
    (folder / WORKLOAD).write_text(captured.model_dump_json())
    return of(run_of("nsys", record, timed=timed, path=tmp_path))


def test_a_capture_of_every_repeat(tmp_path: Path) -> None:
    done = workload(batch(), batch(1, 700), stage="nsys")
    found = under_nsys(tmp_path, done, line(decodes=6), workload(batch(), batch(1, 700)))
    assert found.steps == 24
    assert found.parts.static_bound_ns == pytest.approx(
        3 * (bound_ns(100, 4, "decode") + bound_ns(700, 4, "decode")), abs=6
    )
    assert found.unprofiled_step_ns == round(20.4 / 4 * MS)


def test_some_of_the_repeats_of_equal_batches(tmp_path: Path) -> None:
    found = under_nsys(tmp_path, workload(batch(), batch(1), stage="nsys"), line(), None)
    assert found.parts.static_bound_ns == bound_ns(100, 4, "decode")
    assert found.reasons["cost_of_profiling_ns"] == joined.NOT_TIMED


def test_some_of_the_repeats_of_unequal_batches_are_not_guessed(tmp_path: Path) -> None:
    found = under_nsys(tmp_path, workload(batch(), batch(1, 700), stage="nsys"), line(), None)
    assert found.reasons["static_bound_ns"].startswith("the capture holds 1 of 6 generations, which are not alike")


def test_other_work_is_no_comparison(tmp_path: Path) -> None:
    done = workload(batch(), stage="nsys", work_fingerprint="12" * 32)
    found = under_nsys(tmp_path, done, line(decodes=3), workload(batch()))
    assert "different work" in found.reasons["cost_of_profiling_ns"]
    assert found.parts.static_bound_ns is not None


@pytest.mark.parametrize(("changes", "reason"), [({}, joined.FOREIGN), ({"setup": None}, joined.IMPORTED)])
def test_what_is_not_known_has_its_reason(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    found = of(run_of("nsys", line(), path=tmp_path, **changes))
    assert {found.reasons[name] for name in ("static_bound_ns", "kernels_above_bound_ns", "steps")} == {reason}
    assert found.kernel_ns == 12 * MS


def test_steps_with_names_of_their_own_are_counted() -> None:
    rows = Rows(
        work=[Piece(0, 5), Piece(12, 15)],
        spans=[Span(start, start + 9, name="step[DECODE bs=32]") for start in (0, 10)],
    )
    found = of(run_of("torch_profiler", summary(rows.events()), setup=None))
    assert (found.steps, found.captured_step_ns, found.wall_ns) == (2, 9, 18)


def test_steps_of_several_processes_are_those_of_each() -> None:
    spans = [Span(start, start + 9, thread, "step[DECODE bs=32]") for start in (0, 10) for thread in (0, 1)]
    work = [Piece(1, 5, device, process=device) for device in (0, 1)]
    record = summary(Rows(work=work, spans=spans, threads=[0, 1], devices=2).events())
    found = of(run_of("torch_profiler", record, setup=None))
    assert (found.devices, found.steps, found.captured_step_ns, found.wall_ns) == (2, 4, 9, 36)


def test_a_run_without_a_capture_says_so() -> None:
    said = write.summary(records.facts(records.measured(records.workload())))["timeline"]
    assert said["waterfall"]["decode"]["parts"]["idle_by_cause"] is None
    assert said["waterfall"]["decode"]["reasons"]["idle_by_cause"] == joined.NO_CAPTURE
    assert "timeline" not in write.summary(records.facts())
