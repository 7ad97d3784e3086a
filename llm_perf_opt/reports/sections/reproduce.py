"""How to do it again, and what tells whether it is the same."""

from __future__ import annotations

import shlex
from pathlib import PurePath

from llm_perf_opt.artifacts.layout import CONFIG, ENVIRONMENT, INPUTS, SUMMARY
from llm_perf_opt.reports.document import Block, Command, Items, Paragraph, Section, Table
from llm_perf_opt.reports.facts import RunFacts
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.units import in_bytes

MOST_INPUTS = 20


def section(facts: RunFacts) -> Section:
    manifest, run = facts.manifest, shlex.quote(facts.path.name)
    lines = [shlex.join(manifest.argv)]
    if facts.setup is not None:
        lines += ["", "# The same configuration, then the two runs beside each other:"]
        lines += [f"llmperf run {run}/{CONFIG} --output again", f"llmperf compare {run} again"]
    blocks: list[Block] = [
        Paragraph(f"Made with llmperf {manifest.llmperf_version}, {manifest.created}:"),
        Command("\n".join(lines)),
    ]
    if manifest.hidden:
        hidden = ", ".join(manifest.hidden)
        blocks.append(Paragraph(f"{CONFIG} does not hold {hidden} as they were: they held secrets."))
    rows = _digests(facts)
    if rows:
        blocks.append(Table(("what", "size", "sha256"), rows, numeric=frozenset({1})))
    left = 0 if facts.setup is None else len(facts.setup.inputs.samples) - MOST_INPUTS
    blocks += [Paragraph(f"{left:,} more inputs are in {INPUTS}.")] if left > 0 else []
    if facts.setup is not None:
        files = f"Configuration: {CONFIG}; inputs with digests: {INPUTS}; machine: {ENVIRONMENT}"
        blocks.append(Items((f"{files}; all figures: {SUMMARY}.",)))
    return Section("Reproduce", tuple(blocks))


def _digests(facts: RunFacts) -> tuple[tuple[str, ...], ...]:
    """Of what was imported, or of the inputs and the weights."""
    rows = [
        (PurePath(file.source).name, in_bytes(file.size_bytes), file.sha256 or "—") for file in facts.manifest.imported
    ]
    if facts.setup is not None:
        rows += [
            (PurePath(sample.path).name if sample.path else "the prompt", in_bytes(sample.size_bytes), sample.sha256)
            for sample in facts.setup.inputs.samples[:MOST_INPUTS]
        ]
    if facts.headline is not None:
        model = facts.headline.workload.model
        rows.append(("weights", in_bytes(model.weight_bytes), model.weights_id))
    return tuple(rows)


SECTION = ReportSection(80, section)
