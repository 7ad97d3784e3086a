"""All rules over the records of a run."""

from __future__ import annotations

from collections.abc import Iterator

from llm_perf_opt.analysis.advice.evidence import Evidence
from llm_perf_opt.analysis.advice.rule import Case, Rule
from llm_perf_opt.records.advice import Advice, Saving
from llm_perf_opt.registry import ADVICE


def all_rules() -> Iterator[Rule]:
    """Every rule, by family."""
    for _, rules in ADVICE.all(tuple):
        yield from rules


def advise(evidence: Evidence) -> tuple[Advice, ...]:
    """What would help, by falling bound; what has none comes last.

    A rule speaks once, of the case that is worth most.
    """
    found = [advice for rule in all_rules() if (advice := _of_rule(rule, evidence)) is not None]
    return tuple(sorted(found, key=lambda advice: -_worth(advice.saving)))


def _of_rule(rule: Rule, evidence: Evidence) -> Advice | None:
    fired = [case for case in rule.cases(evidence) if case.figures[0].value > rule.above]
    if not fired:
        return None
    case = max(fired, key=lambda case: _worth(case.saving))
    return Advice(
        rule=rule.name,
        sentence=case.sentence,
        change=case.change,
        figures=case.figures,
        above=rule.above,
        evidence=_files(case),
        saving=case.saving if isinstance(case.saving, Saving) else None,
        saving_reason=case.saving if isinstance(case.saving, str) else None,
    )


def _worth(saving: Saving | str | None) -> float:
    return saving.share if isinstance(saving, Saving) else -1.0


def _files(case: Case) -> tuple[str, ...]:
    """Those that the figures are from, and the others; each once."""
    of_figures = (figure.source.partition(": ")[0] for figure in case.figures)
    return tuple(dict.fromkeys((*of_figures, *case.evidence)))
