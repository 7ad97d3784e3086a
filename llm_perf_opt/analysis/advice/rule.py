"""What a rule of advice is, and the bound that goes with what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from llm_perf_opt.analysis.advice.evidence import Evidence, Piece
from llm_perf_opt.records.advice import AdviceFigure, Saving
from llm_perf_opt.records.workload import Workload

END_TO_END = "the end-to-end time"
DEVICE_TIME = "the time of the devices, first work to last"


@dataclass(frozen=True)
class Case:
    """One place that a rule has looked at; it fires where its first figure is above the rule's limit."""

    sentence: str
    figures: tuple[AdviceFigure, ...]
    change: str
    saving: Saving | str
    """Or why no bound is known."""
    evidence: tuple[str, ...] = ()
    """Files beside those that the figures are from."""


@dataclass(frozen=True)
class Rule:
    """One rule. `docs/advice.md` is made of these."""

    name: str
    about: str
    """When it fires and what it means, in a sentence or two."""
    figure: str
    """The figure it fires on: the first of every case."""
    above: float
    tried_on: str
    """A real run or a recorded import in which it fires, or `made records only`."""
    cases: Callable[[Evidence], Iterable[Case]]
    """What there is to look at; nothing where the run holds no such records, or a condition beside the figure fails."""


def amdahl(share: float, of: str, where: str) -> Saving | str:
    """The bound for a part that is `share` of a whole and could go altogether; or why there is none."""
    if not 0 <= share <= 1:
        return f"the records do not agree: a part would be {share:.3g} of the whole"
    return Saving(of=of, share=share, speedup=1 / (1 - share) if share < 1 else None, where=where)


Part = Literal["preprocess", "prefill", "decode"]


def end_to_end_ms(record: Workload) -> float:
    """From reading a batch to its last token, over all timed repeats."""
    return sum(repeat.e2e_ms for batch in record.batches for repeat in batch.repeats)


def part_of_end_to_end(timed: Piece[Workload], part: Part) -> AdviceFigure:
    """What a phase is of that time."""
    repeats = [repeat for batch in timed.record.batches for repeat in batch.repeats]
    whole_ms = end_to_end_ms(timed.record)
    part_ms = sum(getattr(repeat, f"{part}_ms") or 0.0 for repeat in repeats)
    return AdviceFigure(
        name=f"share of the end-to-end time in {part}",
        value=part_ms / whole_ms if whole_ms > 0 else 0.0,
        unit="share",
        source=f"{timed.file}: batches[].repeats[].{part}_ms, e2e_ms",
    )


def percent(share: float) -> str:
    """As it stands in a sentence."""
    return f"{share * 100:.1f} %" if share < 0.9995 else f"{share * 100:.0f} %"
