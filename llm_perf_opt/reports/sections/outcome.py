"""What was asked for, and how each stage ended."""

from __future__ import annotations

from llm_perf_opt.records.manifest import ImportedFile
from llm_perf_opt.reports.document import Block, Items, Paragraph, Section, Table
from llm_perf_opt.reports.facts import RunFacts
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.units import in_bytes


def section(facts: RunFacts) -> Section:
    manifest = facts.manifest
    rows = tuple((name, entry.status, entry.reason or "") for name, entry in manifest.stages.items())
    blocks: list[Block] = [Table(("stage", "status", "reason"), rows)]
    remedies = tuple(f"{name}: {entry.remedy}" for name, entry in manifest.stages.items() if entry.remedy)
    if remedies:
        blocks.append(Items(remedies))
    fingerprints = {name: entry.work_fingerprint for name, entry in manifest.stages.items() if entry.work_fingerprint}
    if len(set(fingerprints.values())) > 1:
        listed = ", ".join(f"{name} {value[:12]}" for name, value in fingerprints.items())
        blocks.append(
            Items((f"Different work: the stages did not run the same thing ({listed}); do not compare them.",))
        )
    if facts.unread:
        words = (f"What {stage} left was not read: {reason}" for stage, reason in facts.unread.items())
        blocks.append(Items(tuple(words)))
    if manifest.imported:
        blocks += [
            Paragraph("Imported: the configuration, the machine and the inputs of what was captured are not known."),
            Table(("kind", "size", "stored as", "imported from"), tuple(_file_row(file) for file in manifest.imported)),
        ]
    return Section("Outcome", tuple(blocks))


def _file_row(file: ImportedFile) -> tuple[str, ...]:
    stored = file.stored or "not stored"
    return (file.what, in_bytes(file.size_bytes), stored, file.source)


SECTION = ReportSection(68, section)
