"""Sections on hand-made runs: what is known is said, what is not has its reason, nothing is added that is nested."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from llm_perf_opt.captures.timeline import analyse
from llm_perf_opt.records.advice import Advice
from llm_perf_opt.records.hardware import HardwareState
from llm_perf_opt.records.kernels import KernelArithmetic
from llm_perf_opt.records.manifest import Manifest, StageEntry
from llm_perf_opt.records.predictions import Prediction
from llm_perf_opt.records.tables import OperatorRow, ProfileTables
from llm_perf_opt.records.tools import NcuCapture
from llm_perf_opt.records.workload import Instrumented, Profile, SampleError
from llm_perf_opt.reports.attempt import Defect
from llm_perf_opt.reports.document import EXCERPT, Document, Gallery, Items, Paragraph, Section, Table, Verbatim
from llm_perf_opt.reports.facts import RunFacts
from llm_perf_opt.reports.html import to_html
from llm_perf_opt.reports.markdown import to_markdown
from llm_perf_opt.reports.sections import (
    advice,
    device_modules,
    figures,
    hardware,
    modules,
    operators,
    outcome,
    predictions,
    roofline,
    time,
)
from llm_perf_opt.reports.sections.operators import operator_table
from llm_perf_opt.reports.write import build_sections, find_sections, summary
from tests import records
from tests.unit.timeline.build import Piece, Rows
from tests.unit.timeline.graph_files import Launch, capture_rows, replay_rows


def text_of(section: Section | None) -> str:
    assert section is not None
    return to_markdown(Document("t", (section,)))


def with_modules(found: Instrumented) -> RunFacts:
    """A run whose profiled stage had one instrumented run more."""
    left = (records.found("torch_profiler", found),)
    return records.facts(records.measured(records.workload()), records=left)


def watched(state: HardwareState) -> RunFacts:
    return records.facts(records.measured(records.workload(), hardware=state))


def table_of(section: Section | None) -> Table:
    assert section is not None
    return next(block for block in section.blocks if isinstance(block, Table))


def sections_of(facts: RunFacts) -> tuple[Section, ...]:
    return build_sections(facts, find_sections(facts, []), [])


def test_a_run_without_measurements_has_no_section_about_them() -> None:
    facts = records.facts()
    for module in (figures, hardware, modules, predictions, time):
        assert module.section(facts) is None
    assert [section.title for section in sections_of(facts)] == ["Answer", "Environment", "Outcome", "Reproduce"]


def test_sections_come_in_their_order_and_render_everywhere() -> None:
    said = Prediction(source="/p.png", text="hello", prompt_tokens=1, new_tokens=1)
    gallery = "torch_profiler/viz/predictions.md"
    measured = records.measured(records.workload(), said, gallery=gallery, hardware=records.hardware())
    left = (records.found("torch_profiler", records.instrumented()),)
    sections = sections_of(records.facts(measured, records=left))
    expected = [
        "Answer",
        "Where the time goes",
        "Every decode step",
        "Modules",
        "Hardware state and memory",
        "Predictions",
        "Figures",
        "Work",
        "Environment",
        "Outcome",
        "Reproduce",
    ]
    assert [section.title for section in sections if section.title in expected] == expected
    document = Document("all", sections)
    assert to_markdown(document).count("\n## ") == len(sections)
    assert to_html(document).count("<h2>") == len(sections)


def test_modules_are_nested_and_never_added() -> None:
    section = modules.section(with_modules(records.instrumented()))
    rows = {(row[0], row[1].removeprefix("–\u00a0")): row for row in table_of(section).rows}
    assert rows["prefill", "sam"][4:] == ("20.00", "40.0 %")
    assert rows["prefill", "decoder.attention"][4:] == ("6.000", "12.0 %")
    assert rows["prefill", "norms and the rest"][4:] == ("1.000", "2.0 %")  # 10 - 6 - 3
    assert rows["decode", "decoder.layers"][4:] == ("15.00", "50.0 %")
    text = text_of(section)
    assert "Vision (sam + projector) is 50.0 % of prefill, nested in it." in text
    assert "clip: not timed: its forward was not called" in text
    assert "Instrumented: one more run of sample 0" in text
    assert "50.00 ms, that of the timed repeats 39.00 ms" in text


def test_text_models_have_no_vision() -> None:
    found = records.instrumented()
    decoder = tuple(item for item in found.modules if item.name.startswith("decoder"))
    assert "Vision" not in text_of(modules.section(with_modules(found.model_copy(update={"modules": decoder}))))


def test_no_modules_has_its_reason() -> None:
    found = Instrumented(reason="infer.execution is compile: hooks would change what runs")
    text = text_of(modules.section(with_modules(found)))
    assert "no module was timed: infer.execution is compile" in text


def test_hardware_of_a_throttled_gpu() -> None:
    facts = watched(records.hardware())
    text = text_of(hardware.section(facts))
    assert "the GPU was throttled (sw_power_cap in 50% of samples)" in text
    assert "Energy of the whole GPU: 600.0 J in 2.000 s, by the GPU's counter." in text
    assert "gpu_idle 5.0 %, sw_power_cap 50.0 %" in text
    assert "temperature_c: this GPU does not report it" in text
    assert "| SM clock, MHz | 20 | 1,200 | 1,500 | 1,450 | 1,600 |" in text
    assert "| timed repeats | 5.00 GiB | 2.00 GiB |" in text
    assert "| prefill | 4.00 GiB | — |" in text
    assert "host: not measured: not here" in text
    assert "\n- Throttled: the GPU was throttled" in text_of(time.section(facts))


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (HardwareState(recorded=False, reason="no NVIDIA GPU was used"), "were not recorded: no NVIDIA GPU was used."),
        (
            records.hardware(throttled=False, throttle_reasons=()),
            "was watched during the timed repeats and was not throttled",
        ),
        (
            records.hardware(throttled=None, throttle_reasons=(), clock_events={}),
            "whether it was throttled it does not say",
        ),
    ],
)
def test_hardware_in_words(state: HardwareState, sentence: str) -> None:
    facts = watched(state)
    assert sentence in text_of(hardware.section(facts))
    assert "Throttled" not in text_of(time.section(facts))


def test_figures_share_their_remarks() -> None:
    facts = records.facts(records.measured(records.workload(), peaks=records.NO_PEAKS, hardware=records.hardware()))
    text = text_of(figures.section(facts))
    assert "prefill.mfu, decode.mbu, decode.mfu: not measured: no peak is known for this device" in text
    assert text.count("the GPU was throttled") == 1
    assert "| decode.tpot_ms | ms | 1 | 5.000 | 5.000 | — | 5.000 | — |" in text


def test_predictions_are_excerpts_and_verbatim() -> None:
    said = [Prediction(source=f"/{n}.png", text="long " * 200, prompt_tokens=1, new_tokens=200) for n in range(5)]
    failed = Prediction(source="/bad.png", error="is empty")
    record = records.workload(model=records.model(weights="random"))
    section = predictions.section(records.facts(records.measured(record, failed, *said)))
    assert section is not None
    assert isinstance(section.blocks[0], Paragraph)
    assert section.blocks[0].text.startswith("The weights are random")
    gallery = section.blocks[1]
    assert isinstance(gallery, Gallery)
    assert [len(shown.text) for shown in gallery.shown if shown.text is not None] == [1_000] * 5  # whole on the page
    shown = [block for block in gallery.plain() if isinstance(block, Verbatim)]
    assert [len(block.text) for block in shown] == [EXCERPT + 2] * 2
    assert gallery.plain()[0] == Paragraph("bad.png, failed: is empty")


def test_predictions_of_a_model_are_escaped() -> None:
    said = Prediction(source="/<b>.png", text="```\n<script>alert(1)</script>\n```", prompt_tokens=1, new_tokens=9)
    section = predictions.section(records.facts(records.measured(records.workload(), said)))
    assert section is not None
    assert to_html(Document("t", (section,))).count("<script") == 1
    page = text_of(section)
    assert "\\<b\\>.png" in page
    assert "````text\n```\n<script>alert(1)</script>\n```\n````" in page


def test_the_gallery_is_named() -> None:
    section = predictions.section(records.facts(records.measured(records.workload(), gallery="x/viz/predictions.md")))
    assert section is not None
    assert section.blocks[-1] == Items(("Gallery of torch_profiler: x/viz/predictions.md",))


def test_time_in_plain_words() -> None:
    text = text_of(time.section(records.facts(records.measured(records.workload()))))
    assert "A batch takes 70.00 ms from the start of reading it to its last token (median of 1 timed runs" in text
    assert "prefill 55.7 %, decode 28.6 %, reading and preparing inputs 14.3 %" in text
    assert "2.0 % of decode is the host looking at tokens" in text
    assert "Prefill reaches 25.6 % of the compute peak (MFU), against a made-up GPU, dense float16." in text


def test_what_slow_steps_hide_in_the_mean_is_said() -> None:
    # Five tokens in 70 ms: 5 ms a token after the first, and the usual step takes 2 ms.
    stalled = records.batch(records.repeat(step_ms=(2.0, 2.0, 2.0, 14.0)))
    text = text_of(time.section(records.facts(records.measured(records.workload(stalled)))))
    assert "TPOT, a mean of 5.000 ms a token, is 150 % above the median step (p50 2.000" in text
    assert "70.0 % of decode time is in 1 of 4 steps that took over 2 times the median." in text
    even = text_of(time.section(records.facts(records.measured(records.workload()))))
    assert "is 0.0 % above the median step" in even
    assert "none of 4 steps took over 2 times the median" in even


@pytest.mark.parametrize(
    ("steps", "whole", "words"),
    [
        (16, False, "prefill and only the first 16 decode steps (pipeline.torch_profiler.steps)"),
        (3, True, "prefill and all of its 3 decode steps,"),
        (1, True, "prefill and all of its 1 decode step,"),
        (None, None, "One sample under the profiler (cpu; 9 events) took"),
    ],
)
def test_how_much_of_the_sample_was_profiled_is_said(steps: int | None, whole: bool | None, words: str) -> None:
    profile = Profile(
        sample=0,
        decode_steps=steps,
        whole=whole,
        activities=("cpu",),
        events=9,
        wall_ms=5.0,
        phase_ms={},
        warmup_runs=1,
    )
    left = (records.found("torch_profiler", profile), records.found("torch_profiler", ProfileTables([], [])))
    assert words in text_of(operators.section(records.facts(records=left)))


def test_outcome_tells_different_work_apart() -> None:
    stages = {
        "torch_profiler": StageEntry(status="completed", work_fingerprint="a" * 64),
        "direct_inference": StageEntry(status="failed", reason="boom", remedy="do this", work_fingerprint="b" * 64),
    }
    manifest = Manifest(llmperf_version="0", argv=(), created="2026-01-01T00:00:00Z", stages=stages)
    text = text_of(outcome.section(records.facts(manifest=manifest)))
    assert "Different work" in text
    assert "direct_inference: do this" in text


def test_operator_table_orders_and_shares() -> None:
    rows = [
        OperatorRow(phase="prefill", name="aten::mm", calls=2, self_cpu_ns=3_000_000, total_cpu_ns=3_000_000),
        OperatorRow(phase="decode", name="aten::add", calls=1_000, self_cpu_ns=1_000_000, total_cpu_ns=1_000_000),
    ]
    table = operator_table(rows, 1)
    assert table.rows == (("prefill", "aten::mm", "2", "3.000", "3.000", "75.0 %", "0", "—"),)


def test_failed_samples_are_named() -> None:
    error = SampleError(epoch=0, sample=3, source="/x.png", error="/x.png is empty")
    facts = records.facts(records.measured(records.workload(errors=(error,))))
    assert "sample 3 (/x.png) failed: /x.png is empty" in text_of(
        next(section for section in sections_of(facts) if section.title == "Work")
    )


def test_summary_is_json_and_carries_what_programs_ask_for() -> None:
    left = (records.found("torch_profiler", records.instrumented()),)
    measured = records.measured(records.workload(), hardware=records.hardware())
    found = json.loads(json.dumps(summary(records.facts(measured, records=left))))
    stage = found["measured"]["torch_profiler"]
    assert stage["throttled"] is True
    assert stage["hardware"]["energy_j"] == 600.0
    assert stage["instrumented"]["modules"][0]["name"] == "sam"
    assert stage["memory"]["phases"][2] == {"phase": "prefill", "host_bytes": None, "device_bytes": 4 << 30}
    assert "samples" not in stage["metrics"]["ttft_ms"]


def test_modules_on_the_device_and_kernels_in_graphs() -> None:
    launches = [Launch("gemm", 0, 0), Launch("norm", 0, 1)]
    rows, _ = replay_rows(launches)
    capture = capture_rows(launches, says_streams=False).events()
    told = []
    for record in (
        analyse(rows.events(), "replay", capture=capture).record,
        analyse(rows.events(), "replay").record,
    ):
        told.append(text_of(device_modules.section(records.facts(records=(records.found("torch_profiler", record),)))))
    assert "| Layer | 2 | 2 | 1.100e-05 | 100 % | 1.100e-05 | 1.100e-05 | norm |" in told[0]
    assert "| aten::op1 | 1 | 6.000e-06 | 54.5 % |" in told[0]
    assert "Kernels in CUDA graphs: 2; joined to their capture: 2." in told[0]
    assert "Kernels in CUDA graphs: 2; joined to their capture: 0." in told[1]
    assert "Not joined: 2 kernels of 1.100e-05 ms: its capture is not in the files" in told[1]
    nothing = analyse(Rows(work=[Piece(0, 5)]).events(), "file").record
    assert device_modules.section(records.facts(records=(records.found("torch_profiler", nothing),))) is None


def test_what_would_help_is_said_with_its_figures_and_its_bound() -> None:
    left = (records.found("torch_profiler", records.instrumented().model_copy(update={"prefill_ms": 40.0})),)
    facts = records.facts(records.measured(records.workload()), records=left)
    workload = records.found("torch_profiler", records.workload())
    facts = replace(facts, records=(workload, *left))
    text = text_of(advice.section(facts))
    assert "sam + projector take 62.5 % of it" in text and "model.preprocess" not in text
    assert (
        "At the most it brings 34.8 % of the end-to-end time (1.53 times as fast), if the encoder took no time." in text
    )
    assert (
        "| vision-dominates-prefill | share of prefill in the vision encoder | 62.5 % | torch_profiler/record.json"
        in text
    )
    (said,) = [found for found in summary(facts)["advice"] if found["rule"] == "vision-dominates-prefill"]
    assert said["saving"]["share"] == pytest.approx(25 / 40 * 39 / 70)


def test_kernels_that_ncu_counted_stand_on_the_roofline_of_the_run() -> None:
    kernel = KernelArithmetic(
        kernel="gemm<float>", kind="fp32", launches=2, flops=4e6, dram_bytes=2e6, duration_ns=1000.0
    )
    capture = NcuCapture(
        tool=None,
        replay_mode=None,
        replay_reason=None,
        filters=(),
        steady_step=False,
        device=None,
        passes=(),
        facts=None,
        arithmetic=(kernel,),
    )
    left = (records.found("ncu", capture),)
    run = replace(records.measured(records.workload()), cost=records.work(), peaks=records.PEAKS)
    timed = text_of(roofline.section(records.facts(run, records=left)))
    # Of the made run 1e12 FLOP/s and 1e11 byte/s are the peaks: 2 FLOP/byte allow 0.2 TFLOP/s.
    assert "| gemm | 2.000 | 4 TFLOP/s | 200 GFLOP/s | 2000 % | fp32, 2 launches under ncu |" in timed
    assert "| prefill |" in timed and "Kernels are as ncu counted them" in timed
    alone = text_of(roofline.section(records.facts(records=left)))
    assert "| gemm | 2.000 | 4 TFLOP/s | — | — |" in alone
    assert "No roof is drawn: the run timed no phases." in alone
    assert roofline.section(records.facts()) is None


def test_at_most_five_pieces_of_advice_are_shown() -> None:
    made = Advice(rule="r", sentence="S.", change="C.", figures=(), above=0, evidence=(), saving_reason="it is made up")
    shown = advice.blocks([made] * 7)
    assert isinstance(shown[0], Items) and len(shown[0].items) == 5
    assert shown[-1] == Paragraph("2 more, with lower bounds or none, in summary.json under advice.")


def test_a_defect_in_a_rule_costs_the_advice_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> tuple[Advice, ...]:
        raise ZeroDivisionError("a rule")

    monkeypatch.setattr("llm_perf_opt.reports.write.advice_of", broken)
    defects: list[Defect] = []
    assert summary(records.facts(records.measured(records.workload())), defects)["advice"] is None
    assert ["the advice could not be written: a defect, ZeroDivisionError" in found.message for found in defects] == [
        True
    ]
