"""Carries out the stages of a run: each outcome is recorded as it is known, and whatever happens the run is ended."""

from __future__ import annotations

import contextlib
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from llm_perf_opt.artifacts.layout import RUN_LOG
from llm_perf_opt.artifacts.run_directory import RunDirectory
from llm_perf_opt.errors import LlmperfError
from llm_perf_opt.records.manifest import Manifest
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.redact import redact_text
from llm_perf_opt.stages.base import Progress

StageAction = Callable[[Progress], Outcome]


class Listener(Protocol):
    """Who is told what happens (the command line)."""

    def stage_begins(self, name: str) -> Progress: ...

    def stage_ends(self, name: str, outcome: Outcome) -> None: ...

    def note(self, message: str) -> None: ...

    def problem(self, message: str) -> None:
        """Something beside the stages went wrong."""


@dataclass(frozen=True)
class Ended:
    """A run that is over."""

    path: Path
    manifest: Manifest


def run_stages(
    directory: RunDirectory,
    stages: Mapping[str, StageAction],
    listener: Listener,
    *,
    write_facts: Callable[[], None] = lambda: None,
) -> Ended:
    """Carry out every stage in order, one that fails not stopping the others; write the reports; close the run.

    Args:
        write_facts: writes what the run was asked and where it runs. Without that no stage begins.

    Raises:
        KeyboardInterrupt: again, after what was measured by then is reported and the run is closed.
    """
    with ending(directory, listener, write_facts=write_facts) as ready:
        if ready:
            _attempt_all(directory, stages, listener)
    return Ended(directory.path, directory.manifest)


@contextlib.contextmanager
def ending(
    directory: RunDirectory, listener: Listener, *, write_facts: Callable[[], None] = lambda: None
) -> Iterator[bool]:
    """Whatever happens inside, the run is reported and closed; a defect of what happens there is recorded in it.

    Yields:
        Whether what the run was asked could be written; without that nothing is to begin.

    Raises:
        KeyboardInterrupt: again, after that.
    """
    interruption: KeyboardInterrupt | None = None
    try:
        ready = _facts_written(directory, write_facts)
        yield ready
        if ready:
            _write_reports(directory)
    except KeyboardInterrupt as error:
        interruption = error
        try:
            directory.interrupt()
            _write_reports(directory)
        except KeyboardInterrupt:
            directory.problem("the reports were not written: the run was interrupted again", 0)
    except LlmperfError as error:  # beside any stage, such as a disk that fills up between two launches
        directory.problem(str(error), error.exit_code)
        _write_reports(directory)
    except BaseException as error:  # noqa: BLE001 - a defect outside of any stage: what was measured is not lost by it
        directory.log(traceback.format_exc())
        directory.problem(f"{type(error).__name__}: {error}: a defect of llmperf, its traceback is in {RUN_LOG}")
    while not directory.closed:
        try:
            with _undisturbed():
                directory.close(interrupted=interruption is not None)
        except KeyboardInterrupt as error:  # in the moment before
            interruption = error
    for problem in directory.manifest.problems:
        listener.problem(problem)
    if interruption is not None and directory.manifest.status == "interrupted":
        if directory.path.is_dir():
            listener.note(f"what was measured by then is in {directory.path}")
        raise interruption


def _facts_written(directory: RunDirectory, write_facts: Callable[[], None]) -> bool:
    try:
        write_facts()
    except LlmperfError as error:
        directory.problem(str(error), error.exit_code)
        return False
    directory.sign()
    return True


def _attempt_all(directory: RunDirectory, stages: Mapping[str, StageAction], listener: Listener) -> None:
    for name, action in stages.items():
        directory.begin(name)
        outcome = _fit_to_be_said(_outcome_of(name, action, listener.stage_begins(name), directory))
        if directory.is_lost():
            directory.lose()
            listener.stage_ends(name, Outcome.failed("the run directory is gone"))
            return  # what the other stages leave would not be found
        directory.end(name, outcome)
        listener.stage_ends(name, outcome)


def _outcome_of(name: str, action: StageAction, progress: Progress, directory: RunDirectory) -> Outcome:
    """The outcome of a stage, whatever it raises or returns; an interrupt alone is not its own."""
    remedy = f"a defect of the stage {name}: the traceback is in {RUN_LOG}"
    try:
        outcome: object = action(progress)
    except KeyboardInterrupt:
        raise
    except LlmperfError as error:
        return Outcome.failed(error.message, error.remedy or None, error.exit_code)
    except SystemExit as error:
        directory.log(traceback.format_exc())
        return Outcome.failed(f"the stage tried to end llmperf: SystemExit({error.code!r})", remedy)
    except BaseException as error:  # noqa: BLE001 - the stage boundary: one stage must not take down the others
        directory.log(traceback.format_exc())
        return Outcome.failed(f"{type(error).__name__}: {error}", remedy)
    if not isinstance(outcome, Outcome):
        kind = "None" if outcome is None else f"an object of type {type(outcome).__name__}"
        return Outcome.failed(
            f"the stage returned {kind}, which is no Outcome", f"a defect of the stage {name}: it must say how it ended"
        )
    return outcome


def _fit_to_be_said(outcome: Outcome) -> Outcome:
    """Without secrets: an error may quote a command, an address or the last lines of a log."""
    hidden = {
        field: redact_text(text)
        for field, text in (("reason", outcome.reason), ("remedy", outcome.remedy))
        if text is not None
    }
    return outcome.model_copy(update=hidden)


def _write_reports(directory: RunDirectory) -> None:
    if directory.is_lost():
        return
    from llm_perf_opt.reports.write import write_reports  # a third of the start of a command that may only plan

    try:
        written = write_reports(directory.path, directory.manifest)
    except LlmperfError as error:
        directory.problem(f"the reports could not be written: {error.message}", error.exit_code)
        return
    for defect in written.defects:
        directory.problem(defect.message, defect.exit_code)
        if defect.traceback:
            directory.log(defect.traceback)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Let nothing but SIGKILL stop this process: what is left to do takes a moment, and says how the run went."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [
        (number, signal.signal(number, signal.SIG_IGN)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    ]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
