"""Where the change of a figure is, for people."""

from __future__ import annotations

from llm_perf_opt.records.comparison import Explanation, Split
from llm_perf_opt.reports.document import Block, Paragraph, Section, Table
from llm_perf_opt.reports.units import signed, signed_percent, significant
from llm_perf_opt.reports.verdict import WORDS

NAMED = 3
"""Parts that a sentence names."""
SHOWN = 10
"""Parts that a table shows; the JSON has all."""
UNATTRIBUTED: dict[str, str] = {
    "time of the device": "of the phase outside the device's time",
    "operators on the host": "of the phase outside operators",
    "kernels": "of the phase not in kernels (idle, host) or in several at once",
}
PROFILING = "not in the profiled samples"


def explained_section(found: Explanation) -> Section:
    """A sentence and a table for each split, which is conserved to the change of the figure."""
    words = WORDS.get(found.figure, found.figure)
    once = min(found.profiles) < 2
    noise = (
        "One profiled sample a side: how far it scatters is not known, so no part is more than a hint."
        if once
        else f"Noise is the standard error over {found.profiles[0]} profiled runs of A and {found.profiles[1]} of B."
    )
    intro = (
        f"Each table explains the whole change of {words}, {signed(found.change_ms)} ms of {significant(found.a_ms)} "
        f"ms, and they are never added. {noise} `{PROFILING}` is the change of the figure less that of the profiled "
        "phase: the profiler slows the host down."
    )
    blocks: list[Block] = [Paragraph(intro)]
    for split in found.splits:
        blocks += [Paragraph(_sentence(words, found, split)), _table(found, split)]
    return Section(f"Where the change of {words} is", tuple(blocks))


def _sentence(words: str, found: Explanation, split: Split) -> str:
    """'time per output token +8.0 %: +7.0 from …': points of A's figure, which add up."""
    named = split.parts[:NAMED]
    rest = found.change_ms - sum(part.change_ms for part in named)
    said = [f"{_points(part.change_ms, found)} from {part.name}" for part in named]
    said.append(f"{_points(rest, found)} from everything else")
    whole = signed_percent(found.change_ms / found.a_ms * 100) if found.a_ms > 0 else f"{signed(found.change_ms)} ms"
    return f"By {split.of}: {words} {whole}: {', '.join(said)}."


def _points(change_ms: float, found: Explanation) -> str:
    return signed_percent(change_ms / found.a_ms * 100).removesuffix(" %") if found.a_ms > 0 else signed(change_ms)


def _table(found: Explanation, split: Split) -> Table:
    rows = [
        (
            part.name,
            significant(part.a_ms),
            significant(part.b_ms),
            signed(part.change_ms),
            significant(part.noise_ms),
        )
        for part in split.parts[:SHOWN]
    ]
    further = split.parts[SHOWN:]
    if further:
        rows.append((f"{len(further)} more", "", "", signed(sum(part.change_ms for part in further)), ""))
    rows += [
        (UNATTRIBUTED[split.of], "", "", signed(split.unattributed_ms), ""),
        (PROFILING, "", "", signed(split.profiling_ms), ""),
        ("together", significant(found.a_ms), significant(found.b_ms), signed(found.change_ms), ""),
    ]
    columns = (split.of, "A ms", "B ms", "change ms", "noise ms")
    return Table(columns, tuple(rows), numeric=frozenset({1, 2, 3, 4}), names=frozenset({0}), important=(0, 3, 1, 2))
