"""Bars whose parts add up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from llm_perf_opt.reports.document import Chart, Table
from llm_perf_opt.reports.units import percent, significant

Tone = Literal[
    "read",
    "prefill",
    "decode",
    "rest",
    "in-prefill",
    "in-decode",
    "compute",
    "communication",
    "copy",
    "idle",
]


@dataclass(frozen=True)
class Part:
    """A part of a bar."""

    name: str
    value: float
    tone: Tone
    start: float | None = None
    """Where it begins; None: where the part before it ends."""
    remark: str = ""


@dataclass(frozen=True)
class Bar:
    """One bar: its parts side by side."""

    name: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, kw_only=True)
class Bars(Chart):
    """Bars on one axis from zero."""

    KIND: ClassVar[str] = "bars"

    unit: str
    total: float
    """End of the axis; shares are of it."""
    bars: tuple[Bar, ...]
    named: bool = False
    """Whether the name of each bar stands above it."""
    whole: str = ""
    """What the parts of the one bar add up to: the last row of its table."""
    what: str = "part"
    """What a part is, for the head of the table."""

    def plain(self) -> tuple[Table, ...]:
        several = len(self.bars) > 1
        rows = tuple(
            (*((bar.name,) if several else ()), part.name, significant(part.value), self._share(part.value))
            for bar in self.bars
            for part in bar.parts
        )
        if self.whole:
            rows += (("",) * several + (self.whole, significant(self.total), percent(1.0)),)
        columns = (*(("of",) if several else ()), self.what, self.unit, "share")
        first = len(columns) - 2
        return (Table(columns, rows, numeric=frozenset({first, first + 1})),)

    def data(self) -> Any:
        return {
            "unit": self.unit,
            "total": self.total,
            "named": self.named,
            "bars": [{"name": bar.name, "parts": list(self._parts(bar))} for bar in self.bars],
        }

    def _parts(self, bar: Bar) -> list[Any]:
        """[name, start, value, tone, words] of each part."""
        found: list[Any] = []
        at = 0.0
        for part in bar.parts:
            at = at if part.start is None else part.start
            words = f"{significant(part.value)} {self.unit} {self._share(part.value)}"
            found.append([part.name, at, part.value, part.tone, words, part.remark])
            at += part.value
        return found

    def _share(self, value: float) -> str:
        return percent(value / self.total) if self.total else "—"
