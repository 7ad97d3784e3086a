"""What is said of a comparison in a sentence or two, and of one figure in a few words."""

from __future__ import annotations

from llm_perf_opt.analysis.comparison import RATES
from llm_perf_opt.analysis.verdict import counted
from llm_perf_opt.records.comparison import Answers, Comparison, FigureChange, Replicate, StageComparison
from llm_perf_opt.records.machine import EFFECTS
from llm_perf_opt.reports.units import percent, percent_interval, signed_percent

WORDS = {
    "e2e.latency_ms": "end-to-end time",
    "prefill.latency_ms": "prefill time",
    "decode.tpot_ms": "time per output token",
    "ttft_ms": "time to first token",
}
"""Figures that a sentence has words for; others are named."""
WITHIN = "within one launch"
NOT_THE_SAME = "the machine was not the same for A and B"
PLURALS: dict[Replicate, str] = {"launch": "launches", "block": "runs", "repeat": "repeats of one launch"}
ABOUT_SPEED = ("ms", "tokens/s")


def sentence(comparison: Comparison) -> str:
    """On the headline figure."""
    stage = next(item for item in comparison.stages if item.stage == comparison.headline_stage)
    figure = next(item for item in stage.figures if item.name == comparison.headline_figure)
    if [run.path for run in comparison.a] == [run.path for run in comparison.b]:
        return "A and B are the same run: no change."
    if stage.work.rates and (rate := _rate(stage)) is not None:
        said = change_in_words(rate, comparison.replicate)
        return (
            f"Different numbers of tokens, so only rates are compared, without a verdict: {said} ({stage.work.reason})."
        )
    if stage.work.reason is not None:
        return f"Different work, so no change is computed: {stage.work.reason}.{_different_answers(stage.answers)}"
    if figure.outcome == "unknown":
        return f"Whether B is better cannot be said: {figure.reason}."
    within = "Within one launch a side, which says nothing of the next: " if comparison.replicate == "repeat" else ""
    lead = within + _lead(figure, comparison, stage.answers)
    seen = ". As measured: " if figure.outcome == "cannot tell" else ": "
    change = change_in_words(figure, comparison.replicate)
    return f"{lead}{seen}{change}.{_rest(figure, comparison, stage.answers)}{_machine(comparison)}"


def _rate(stage: StageComparison) -> FigureChange | None:
    return next((item for item in stage.figures if item.name == RATES[0] and item.change_percent is not None), None)


def _lead(figure: FigureChange, comparison: Comparison, answers: Answers) -> str:
    better = "faster" if figure.unit in ABOUT_SPEED else "better"
    if figure.outcome == "cannot tell":
        return f"Cannot tell whether B is {better}: {figure.reason}"
    if figure.outcome == "same":
        return f"B and A are the same within {comparison.tolerance_percent:g} %"
    if figure.outcome not in ("faster", "slower"):
        return f"B is {figure.outcome} than A" if figure.outcome != "equal" else "B is equal to A"
    with_others = ", with other answers" if answers.relation == "different" and figure.outcome == "faster" else ""
    return f"B is {in_words(figure)} than A{with_others}"


def _rest(figure: FigureChange, comparison: Comparison, answers: Answers) -> str:
    said = ""
    if figure.outcome == "cannot tell":
        said += _could_show(figure, comparison.replicate)
        if comparison.replicate == "block":
            said += " `llmperf ab` launches both in turn and needs no further runs."
    if answers.relation == "different":
        said += _different_answers(answers)
    elif answers.relation == "unknown" and figure.outcome == "faster":
        said += f" Whether B says the same is not known: {answers.reason}."
    return said


def _machine(comparison: Comparison) -> str:
    found = [said for effect in EFFECTS if (said := comparison.machine.said(effect)) is not None]
    return f" Of the machine there was not the same: {'; '.join(found)}." if found else ""


def _could_show(figure: FigureChange, replicate: Replicate) -> str:
    """What so many replicates could have shown, and how many would do."""
    said = ""
    if figure.smallest_change_percent is not None and figure.replicates is not None:
        had = counted(figure.replicates, replicate)
        said += f" {had[0].upper()}{had[1:]} would have shown a change of {figure.smallest_change_percent:.3g} %."
    if figure.needed is not None:
        what = "show one of" if figure.needed.what == "show" else "confirm that there is none of"
        count = f"{figure.needed.count} {PLURALS[replicate]} a side"
        said += f" To {what} {figure.needed.change_percent:.3g} %, {count} would do."
    return said


def _different_answers(answers: Answers) -> str:
    if answers.relation != "different" or answers.samples is None or answers.differing is None:
        return ""
    first = answers.differences[0]
    share = percent(answers.differing / answers.samples)
    return (
        f" B says something else to {answers.differing} of {answers.samples} samples ({share}), first to "
        f"{first.source} at output token {first.position}."
    )


def change_in_words(figure: FigureChange, replicate: Replicate) -> str:
    """The change of a figure with its interval, the method of that and what it was made over."""
    words = WORDS.get(figure.name, figure.name)
    if figure.change_percent is None:
        return f"{words}: no percentage, some values are 0"
    changed = f"{words} {signed_percent(figure.change_percent)}"
    over = "" if figure.replicates is None else f" over {counted(figure.replicates, replicate)}"
    interval = interval_in_words(figure)
    if interval is None or figure.confidence is None:
        return changed
    within = f", {WITHIN}" if replicate == "repeat" else ""
    return f"{changed} ({figure.confidence * 100:.3g} % interval {interval}, {figure.method}{over}{within})"


def interval_in_words(figure: FigureChange) -> str | None:
    if figure.change_percent_interval is None:
        return None
    low, high = figure.change_percent_interval
    return percent_interval((low, high)) if high is not None else f"{signed_percent(low)} to any"


def in_words(figure: FigureChange) -> str:
    """The outcome of one figure: of what is no speed, better and worse."""
    if figure.outcome in ("faster", "slower") and figure.unit not in ABOUT_SPEED:
        return "better" if figure.outcome == "faster" else "worse"
    return figure.outcome
