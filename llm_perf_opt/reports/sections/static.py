"""What static analysis says of the model."""

from __future__ import annotations

from llm_perf_opt.reports.document import Block, Items, Section, Table
from llm_perf_opt.reports.facts import RunFacts
from llm_perf_opt.reports.units import in_bytes, significant

ORDER = 60


def section(facts: RunFacts) -> Section | None:
    static = facts.static
    if static is None:
        return None
    phases = {
        "vision (in prefill)": static.phases.vision,
        "prefill": static.phases.prefill,
        "decode step": static.phases.decode,
    }
    rows = tuple(
        (name, f"{phase.flops:,}", in_bytes(phase.bytes), significant(phase.arithmetic_intensity))
        for name, phase in phases.items()
        if phase is not None
    )
    blocks: list[Block] = [Table(("phase", "FLOPs", "least bytes", "FLOP/B"), rows, numeric=frozenset({1, 2, 3}))]
    reasons = tuple(f"{name}: not covered: {reason}" for name, reason in static.reasons.items())
    blocks.append(Items((*reasons, *static.assumptions)))
    return Section("Static analysis", tuple(blocks))
