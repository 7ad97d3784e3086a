"""The vision encoder."""

from __future__ import annotations

from collections.abc import Iterator

from llm_perf_opt.analysis.advice.evidence import Evidence
from llm_perf_opt.analysis.advice.rule import END_TO_END, Case, Rule, amdahl, part_of_end_to_end, percent
from llm_perf_opt.analysis.vision import vision_times
from llm_perf_opt.records.advice import AdviceFigure
from llm_perf_opt.records.workload import Instrumented, Workload

FIGURE = "share of prefill in the vision encoder"
OCR = ("deepseek_ocr", "deepseek_ocr2", "demo")
"""Adapters that `model.preprocess` is for."""


def dominates(evidence: Evidence) -> Iterator[Case]:
    for piece in evidence.each(Instrumented):
        timed = evidence.of_stage(piece.stage, Workload)
        parts = vision_times(piece.record)
        if not parts or not piece.record.prefill_ms or timed is None or not timed.record.batches:
            continue
        vision_ms = sum(part.total_ms for part in parts)
        share = vision_ms / piece.record.prefill_ms
        prefill = part_of_end_to_end(timed, "prefill")
        names = " + ".join(part.name for part in parts)
        source = f"{piece.file}: modules[].total_ms of {names}, prefill_ms"
        yield Case(
            sentence=f"Prefill is mostly the vision encoder: {names} take {percent(share)} of it, and prefill is "
            f"{percent(prefill.value)} of the end-to-end time.",
            figures=(AdviceFigure(name=FIGURE, value=share, unit="share", source=source), prefill),
            change=_change(timed.record),
            saving=amdahl(share * prefill.value, END_TO_END, "the encoder took no time"),
        )


def _change(record: Workload) -> str:
    if record.model.adapter in OCR:
        said = (
            "Give it fewer pixels: model.preprocess.enable: true with a smaller base_size and image_size, or "
            "crop_mode: false for one view of the page instead of tiles"
        )
    else:
        said = "Give it fewer pixels: smaller images, or fewer of them in a prompt"
    return f"{said}; then check that the predictions are still good enough."


RULES = (
    Rule(
        name="vision-dominates-prefill",
        about="The modules outside the language model take over half of prefill, in the instrumented run.",
        figure=FIGURE,
        above=0.5,
        tried_on="a run of the demo",
        cases=dominates,
    ),
)
