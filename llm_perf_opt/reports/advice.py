"""What would help in a run: its records given to the rules."""

from __future__ import annotations

from llm_perf_opt.analysis.advice.advise import advise
from llm_perf_opt.analysis.advice.evidence import Evidence, Piece
from llm_perf_opt.artifacts.layout import METRICS
from llm_perf_opt.records.advice import Advice
from llm_perf_opt.reports.facts import RunFacts


def evidence_of(facts: RunFacts) -> Evidence:
    """Every record of the run, and the figures that were worked out of them."""
    kept = (Piece(at.stage, at.file.relative_to(facts.path).as_posix(), at.record) for at in facts.records)
    figures = (Piece(stage, f"{stage}/{METRICS}", found.metrics) for stage, found in facts.measured.items())
    return Evidence((*kept, *figures), None if facts.setup is None else facts.setup.config)


def advice_of(facts: RunFacts) -> tuple[Advice, ...]:
    """What would help, the most promising first."""
    return advise(evidence_of(facts))
