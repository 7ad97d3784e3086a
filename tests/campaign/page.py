"""The figures of a campaign as tables, and their place in docs/reliability.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.campaign.judge import WRONG, Findings
from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "reliability.md"
START, END = "<!-- made by tests/campaign -->\n", "<!-- end -->"
EARLIER = "<!-- made by tests/campaign on an earlier commit -->\n"


@dataclass
class Row:
    """What came of one kind of fault, or of one format.

    Attributes:
        missed: faults that met nobody, which do not count.
        refused: inputs of which the exit code was not 0.
    """

    name: str
    injected: int = 0
    survived: int = 0
    missed: int = 0
    refused: int = 0
    peak_bytes: int = 0
    longest_s: float = 0.0
    wrong: Counter[str] = field(default_factory=Counter)

    def add(self, found: Findings) -> None:
        self.injected += 1
        self.survived += not found.wrong
        self.wrong.update(found.wrong.keys())


@dataclass(frozen=True)
class Figures:
    """One campaign."""

    date: str
    commit: str
    seed: int
    faults: list[Row]
    inputs: list[Row]
    wall_s: float


def total(rows: Sequence[Row]) -> Row:
    found = Row("all")
    for row in rows:
        found.injected += row.injected
        found.survived += row.survived
        found.missed += row.missed
        found.refused += row.refused
        found.peak_bytes = max(found.peak_bytes, row.peak_bytes)
        found.longest_s = max(found.longest_s, row.longest_s)
        found.wrong.update(row.wrong)
    return found


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figures_table(figures: Figures) -> str:
    """Both tables, with what they were made from."""
    parts = [
        f"{figures.date}, commit {figures.commit}, seed {figures.seed}; {figures.wall_s / 60:.0f} minutes "
        "on the machine that made them."
    ]
    wrong = [kind for kind in WRONG if kind != "memory over 1 GB"]
    if figures.faults:
        rows = [*figures.faults, total(figures.faults)]
        cells = [
            [row.name, *map(str, (row.injected, row.survived, *(row.wrong[kind] for kind in wrong), row.missed))]
            for row in rows
        ]
        parts.append(_table(["fault", "injected", "survived", *wrong, "met nobody"], cells))
    if figures.inputs:
        rows = [*figures.inputs, total(figures.inputs)]
        cells = [
            [
                row.name,
                *map(str, (row.injected, row.survived, *(row.wrong[kind] for kind in WRONG), row.refused)),
                f"{row.peak_bytes >> 20:,} MiB",
                f"{row.longest_s:.1f} s",
            ]
            for row in rows
        ]
        parts.append(_table(["format", "given", "survived", *WRONG, "refused", "peak memory", "longest"], cells))
    return "\n\n".join(parts)


def written(page: str, figures: Figures, start: str = START) -> str:
    """The page with its tables after `start` made anew."""
    before, _, rest = page.partition(start)
    _, _, after = rest.partition(END)
    return f"{before}{start}\n{figures_table(figures)}\n\n{END}{after}"
