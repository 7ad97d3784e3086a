"""Telling a person how far a run is: a bar on a terminal, a line per phase elsewhere, nothing with --quiet."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

from llm_perf_opt.cli import console, interrupts
from llm_perf_opt.records.outcome import Outcome

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class Silent:
    """No progress."""

    def update(self, phase: str, done: int, total: int, steps: int) -> None:
        return None


class Lines:
    """One line for every new phase."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._phase = ""

    def update(self, phase: str, done: int, total: int, steps: int) -> None:
        if phase != self._phase:
            self._phase = phase
            console.note(f"{self._stage}: {phase}" + (f" ({total} runs)" if total > 1 else ""))


class Bar:
    """A bar over the runs of the current phase, with the tokens decoded so far."""

    def __init__(self, stage: str, display: RichProgress) -> None:
        self._stage = stage
        self._display = display
        self._task: TaskID = display.add_task(stage, total=None, detail="")

    def update(self, phase: str, done: int, total: int, steps: int) -> None:
        detail = f"{steps:,} tokens" if steps else ""
        self._display.update(
            self._task,
            description=f"{self._stage}: {phase}",
            completed=done,
            total=total if total > 1 else None,
            detail=detail,
        )

    def close(self) -> None:
        self._display.remove_task(self._task)


class Reporter:
    """Watches a run for the person at the terminal; use as a context manager."""

    def __init__(self) -> None:
        self._display: RichProgress | None = None
        self._bar: Bar | None = None

    def __enter__(self) -> Reporter:
        if not console.is_quiet() and not console.is_plain():
            self._display = _display()
            self._display.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._display is not None:
            self._display.stop()

    def stage_begins(self, name: str) -> Silent | Lines | Bar:
        if interrupts.were_seen():
            raise KeyboardInterrupt
        if console.is_quiet():
            return Silent()
        if self._display is None:
            console.note(f"{name}: started")
            return Lines(name)
        self._bar = Bar(name, self._display)
        return self._bar

    def stage_ends(self, name: str, outcome: Outcome) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        if outcome.status == "failed":
            console.error(f"{name}: {outcome.reason}", outcome.remedy or "")
        else:
            console.note(f"{name}: {outcome.status}" + (f" ({outcome.reason})" if outcome.reason else ""))

    def note(self, message: str) -> None:
        console.note(message)

    def problem(self, message: str) -> None:
        console.error(message)


def _display() -> RichProgress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
        console=Console(file=sys.stderr),
        transient=True,
    )
