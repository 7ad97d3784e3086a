"""What was asked for, and how each stage ended."""

from __future__ import annotations

from llm_perf_opt.reports.document import Items, Section, Table
from llm_perf_opt.reports.facts import RunFacts

ORDER = 10


def section(facts: RunFacts) -> Section:
    manifest = facts.manifest
    rows = tuple((name, entry.status, entry.reason or "") for name, entry in manifest.stages.items())
    blocks: list[Items | Table] = [Table(("stage", "status", "reason"), rows)]
    remedies = tuple(f"{name}: {entry.remedy}" for name, entry in manifest.stages.items() if entry.remedy)
    if remedies:
        blocks.append(Items(remedies))
    fingerprints = {name: entry.work_fingerprint for name, entry in manifest.stages.items() if entry.work_fingerprint}
    if len(set(fingerprints.values())) > 1:
        listed = ", ".join(f"{name} {value[:12]}" for name, value in fingerprints.items())
        blocks.append(
            Items((f"Different work: the stages did not run the same thing ({listed}); do not compare them.",))
        )
    return Section("Outcome", tuple(blocks))
