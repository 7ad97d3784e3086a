"""What the model said, the first samples of it."""

from __future__ import annotations

from llm_perf_opt.artifacts.layout import PREDICTIONS
from llm_perf_opt.records.elsewhere import Elsewhere
from llm_perf_opt.records.predictions import Prediction
from llm_perf_opt.reports.document import Block, Items, Paragraph, Section, Verbatim
from llm_perf_opt.reports.facts import RunFacts
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.units import in_bytes

SHOWN = 3
EXCERPT = 400
"""Most characters shown of one text."""


def section(facts: RunFacts) -> Section | None:
    galleries = [f"{stage}: {found.gallery}" for stage, found in facts.measured.items() if found.gallery]
    said = next((found.predictions for found in facts.measured.values() if found.predictions), ())
    outside = [
        f"{found.stage}: {file.path}, {in_bytes(file.size_bytes)}, sha256 {file.sha256} when the stage ended"
        for found, record in facts.all(Elsewhere)
        for file in record.files
    ]
    if not said and not galleries and not outside:
        return None
    blocks: list[Block] = []
    measured = facts.headline
    if measured is not None and measured.workload.model.weights == "random":
        blocks.append(Paragraph("The weights are random: the texts are noise, only their times mean something."))
    for prediction in said[:SHOWN]:
        blocks += _shown(prediction)
    if len(said) > SHOWN:
        blocks.append(Paragraph(f"{len(said) - SHOWN} more are in {PREDICTIONS}."))
    if galleries:
        blocks.append(Items(tuple(f"Gallery of {gallery}" for gallery in galleries)))
    if outside:
        blocks += [Paragraph("Written outside this run, as save_dir asks:"), Items(tuple(outside))]
    return Section("Predictions", tuple(blocks))


def _shown(prediction: Prediction) -> list[Block]:
    if prediction.error is not None or prediction.text is None:
        return [Paragraph(f"{prediction.source} failed: {prediction.error}")]
    text = prediction.text if len(prediction.text) <= EXCERPT else prediction.text[:EXCERPT] + " …"
    return [Paragraph(f"{prediction.source}, {prediction.new_tokens} new tokens:"), Verbatim(text or "(nothing)")]


SECTION = ReportSection(55, section)
