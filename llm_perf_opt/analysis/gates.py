"""Limits on a comparison: `[STAGE:]FIGURE > AMOUNT` read from the command line, and decided on intervals."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from llm_perf_opt.analysis.comparison import COUNTED, ONE_OBSERVATION
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.nearest import nearest
from llm_perf_opt.records.comparison import FigureChange, GateMeasure, GateOutcome, GateResult, StageComparison

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


def decide(gate: Gate, headline: str, stages: Sequence[StageComparison]) -> GateResult:
    """Crossed or passed where the whole 95 % interval lies on that side of the limit, else inconclusive."""
    stage = gate.stage or headline
    compared = next((item for item in stages if item.stage == stage), None)
    if compared is None:
        return _result(gate, stage, "", "inconclusive", f"{stage} was not measured in both runs")
    figure = next(item for item in compared.figures if item.name == gate.figure)
    unit = "%" if gate.measure == "change_percent" else figure.unit
    if compared.work.reason is not None:
        return _result(gate, stage, unit, "inconclusive", f"different work: {compared.work.reason}")
    found, interval, why_not = _held(gate, figure)
    if found is None:
        return _result(gate, stage, unit, "inconclusive", why_not)
    if interval is None and figure.unit != COUNTED:
        return _result(gate, stage, unit, "inconclusive", why_not, found=found)
    outcome, reason = _outcome(gate, *(interval or (found, found)))
    return _result(gate, stage, unit, outcome, reason, found=found, interval=interval)


def _held(gate: Gate, figure: FigureChange) -> tuple[float | None, tuple[float, float] | None, str]:
    """What is held against the limit, its interval, and why one of them is missing."""
    if gate.measure == "value":
        if figure.b.median is None:
            return None, None, f"not measured in B: {figure.b.reason}"
        few = "too few timed runs in B for a 95 % interval of its median, which takes six: raise measure.repeats"
        return figure.b.median, figure.b.ci95, few if figure.b.n > 1 else ONE_OBSERVATION
    reason = figure.reason or ""
    if gate.measure == "difference":
        return figure.difference, figure.difference_ci95, reason
    if figure.percent_reason is not None:
        reason = f"{figure.percent_reason}: use a limit in {figure.unit}, such as +1"
    return figure.change_percent, figure.change_percent_ci95, reason


def _outcome(gate: Gate, low: float, high: float) -> tuple[GateOutcome, str]:
    beyond, within = (low > gate.limit, high <= gate.limit)
    if gate.operator == "<":
        beyond, within = (high < gate.limit, low >= gate.limit)
    what = "the whole 95 % interval lies" if low != high else "it lies"
    if beyond:
        return "crossed", f"{what} beyond the limit"
    if within:
        return "passed", f"{what} within the limit"
    runs = "B" if gate.measure == "value" else "both runs"
    return (
        "inconclusive",
        f"the limit lies inside the 95 % interval: more timed repeats (measure.repeats) in {runs} narrow it",
    )


def _result(
    gate: Gate,
    stage: str,
    unit: str,
    outcome: GateOutcome,
    reason: str,
    *,
    found: float | None = None,
    interval: tuple[float, float] | None = None,
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
        found_ci95=interval,
        outcome=outcome,
        reason=reason,
    )
