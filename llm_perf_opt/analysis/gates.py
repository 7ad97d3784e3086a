"""Limits on a comparison: `[STAGE:]FIGURE > AMOUNT` read from the command line, and decided by one-sided tests."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from llm_perf_opt.analysis.comparison import Judged, Judging
from llm_perf_opt.analysis.one_sided import Decision, Limit, decide_together
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.nearest import nearest
from llm_perf_opt.records.comparison import (
    Answers,
    GateMeasure,
    GateOutcome,
    GateResult,
    Replicate,
    StageComparison,
)

EXAMPLE = "for example --fail-if 'decode.tpot_ms > +5%'"
AMOUNTS = "+5% or -5% (change against A), +20 or -20 (in the figure's unit), 500 (B itself)"
_AMOUNT = re.compile(r"(?P<sign>[+-]?)\s*(?P<number>\d+(?:\.\d*)?|\.\d+)\s*(?P<percent>%?)", re.ASCII)


@dataclass(frozen=True)
class Gate:
    """One limit; it is crossed where the figure lies beyond it."""

    expression: str
    stage: str | None
    """None stands for the headline stage."""
    figure: str
    operator: Literal["<", ">"]
    measure: GateMeasure
    limit: float


def parse_gate(expression: str) -> Gate:
    """Read one `--fail-if`; names are checked by `check_names`, when the runs are known.

    Raises:
        ConfigError: it does not follow the grammar; the message names the part that is wrong.
    """
    where = f"--fail-if {expression!r}"
    signs = [char for char in expression if char in "<>"]
    if len(signs) != 1:
        what = "has no > or <" if not signs else "has more than one > or <"
        raise ConfigError(f"{where} {what}", f"quote the whole limit, the shell takes > for itself; {EXAMPLE}")
    operator: Literal["<", ">"] = ">" if signs[0] == ">" else "<"
    left, _, right = expression.partition(operator)
    stage, colon, name = left.rpartition(":")
    if not name.strip() or (colon and not stage.strip()):
        raise ConfigError(f"{where}: {left.strip()!r} is no figure", f"write FIGURE or STAGE:FIGURE; {EXAMPLE}")
    measure, limit = _amount(right.strip(), where)
    return Gate(expression, stage.strip() if colon else None, name.strip(), operator, measure, limit)


def _amount(text: str, where: str) -> tuple[GateMeasure, float]:
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise ConfigError(f"{where}: {text!r} is no amount", f"write {AMOUNTS}; {EXAMPLE}")
    if found["percent"] and not found["sign"]:
        raise ConfigError(f"{where}: {text!r} has no sign", f"write +{text} or -{text}: it is a change against A")
    limit = float(found["sign"] + found["number"])
    if not found["sign"]:
        return "value", limit
    if not found["percent"]:
        return "difference", limit
    if limit <= -100:
        raise ConfigError(f"{where}: nothing can fall by 100 % or more", EXAMPLE)
    return "change_percent", limit


def check_names(gates: Sequence[Gate], stages: Sequence[str], figures: Sequence[str]) -> None:
    """Raise ConfigError for a gate on a stage or a figure that there is not."""
    for gate in gates:
        for kind, name, known in (("stage", gate.stage, stages), ("figure", gate.figure, figures)):
            if name is not None and name not in known:
                raise ConfigError(
                    f"--fail-if {gate.expression!r}: there is no {kind} {name!r}",
                    f"did you mean {nearest(name, known)}? There are {', '.join(known)}; {EXAMPLE}",
                )


def check_figure(figure: str, figures: Sequence[str]) -> None:
    """Raise ConfigError for a headline that there is not."""
    if figure not in figures:
        raise ConfigError(
            f"there is no figure {figure!r}",
            f"did you mean {nearest(figure, figures)}? There are {', '.join(figures)}",
        )


SAME_OUTPUT = "--require-same-output"


def decide_gates(
    gates: Sequence[Gate],
    headline: str,
    stages: Mapping[str, StageComparison],
    figures: Mapping[str, Mapping[str, Judged]],
    *,
    replicate: Replicate,
    how: Judging,
) -> tuple[GateResult, ...]:
    """All gates, in order: those that a test can decide together, the others each by what there is.

    Args:
        headline: the stage of gates that name none.
        stages, figures: by stage, and by name of the figure; stages that one side lacks are not there.
    """
    settled = [_settled(gate, gate.stage or headline, stages, figures) for gate in gates]
    open_gates = [(gate, found) for gate, found in zip(gates, settled, strict=True) if isinstance(found, Judged)]
    limits = [_limit(gate, found) for gate, found in open_gates]
    decisions = iter(decide_together(limits, level=how.level, replicate=replicate) if limits else ())
    return tuple(
        _tested(gate, gate.stage or headline, found, next(decisions), how) if isinstance(found, Judged) else found
        for gate, found in zip(gates, settled, strict=True)
    )


def _settled(
    gate: Gate,
    stage: str,
    stages: Mapping[str, StageComparison],
    figures: Mapping[str, Mapping[str, Judged]],
) -> GateResult | Judged:
    """What became of a gate that no test is needed for, or what a test is to be made of."""
    if stage not in stages:
        return _result(gate, stage, "", "inconclusive", f"{stage} was not measured in both runs")
    found = figures[stage][gate.figure]
    unit = _unit(gate, found)
    if stages[stage].work.reason is not None:
        return _result(gate, stage, unit, "inconclusive", f"different work: {stages[stage].work.reason}")
    if found.values is None:
        return _result(gate, stage, unit, "inconclusive", found.change.reason or "")
    seen = _seen(gate, found)
    if seen is None:
        why = f"some of its values are 0, of which nothing is a percentage: use a limit in {found.change.unit}"
        return _result(gate, stage, unit, "inconclusive", f"{why}, such as +1")
    if found.counted:
        beyond = seen > gate.limit if gate.operator == ">" else seen < gate.limit
        where = "beyond" if beyond else "within"
        outcome: GateOutcome = "crossed" if beyond else "passed"
        return _result(gate, stage, unit, outcome, f"it lies {where} the limit", found=seen)
    return found


def _limit(gate: Gate, found: Judged) -> Limit:
    assert found.values is not None
    return Limit(gate.operator, gate.measure, gate.limit, *found.values)


def _tested(gate: Gate, stage: str, found: Judged, decision: Decision, how: Judging) -> GateResult:
    outcome, reason = decision.outcome, decision.reason
    if how.undecided is not None:
        outcome, reason = "inconclusive", how.undecided
    made = _result(gate, stage, _unit(gate, found), outcome, reason, found=_seen(gate, found))
    return made.model_copy(
        update={
            "test": decision.test,
            "crossed_p": decision.crossed_p,
            "passed_p": decision.passed_p,
            "replicates_needed": decision.replicates_needed,
        }
    )


def _seen(gate: Gate, found: Judged) -> float | None:
    assert found.values is not None
    if gate.measure == "value":
        return statistics.median(found.values[1])
    return found.change.difference if gate.measure == "difference" else found.change.change_percent


def _unit(gate: Gate, found: Judged) -> str:
    return "%" if gate.measure == "change_percent" else found.change.unit


def same_output(stage: str, answers: Answers) -> GateResult:
    """`--require-same-output`: crossed where B said something else to any sample."""
    outcome: GateOutcome = "crossed" if answers.relation == "different" else "passed"
    reason = f"{answers.differing} of {answers.samples} samples have other output tokens"
    if answers.relation == "unknown":
        outcome, reason = "inconclusive", answers.reason or ""
    found = None if answers.differing is None else float(answers.differing)
    gate = Gate(SAME_OUTPUT, None, "", ">", "same_output", 0)
    return _result(gate, stage, "samples", outcome, reason, found=found)


def _result(
    gate: Gate, stage: str, unit: str, outcome: GateOutcome, reason: str, *, found: float | None = None
) -> GateResult:
    return GateResult(
        expression=gate.expression,
        stage=stage,
        figure=gate.figure,
        measure=gate.measure,
        operator=gate.operator,
        limit=gate.limit,
        unit=unit,
        found=found,
        outcome=outcome,
        reason=reason,
    )
