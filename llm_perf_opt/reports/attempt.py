"""Writing several reports so that a defect in one costs that one alone."""

from __future__ import annotations

import traceback as tracebacks
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.artifacts.layout import RUN_LOG
from llm_perf_opt.errors import LlmperfError


@dataclass(frozen=True)
class Defect:
    """A report, or a section of one, that could not be written."""

    message: str
    exit_code: int
    """0 where only a section is missing."""
    traceback: str = ""
    """For the log; empty where the message says it all."""


@dataclass
class Written:
    """What became of the reports."""

    files: list[Path] = field(default_factory=list)
    defects: list[Defect] = field(default_factory=list)


Report = tuple[Path, Callable[[], str]]
"""(file, what makes its text)."""


def defect_of(error: BaseException, what: str, exit_code: int) -> Defect:
    """A defect of llmperf or of a plug-in."""
    message = f"{what} could not be written: a defect, {type(error).__name__}: {error} (traceback in {RUN_LOG})"
    return Defect(" ".join(message.split()), exit_code, tracebacks.format_exc())


def write_each(reports: Iterable[Report], written: Written) -> None:
    """Write every report that can be; `written` says which, and what was in the way of the others."""
    for file, make in reports:
        try:
            write_text(file, make())
        except LlmperfError as error:
            written.defects.append(Defect(f"{file.name} could not be written: {error.message}", error.exit_code))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - the boundary of a report, which a third party may have a part in
            written.defects.append(defect_of(error, file.name, 1))
        else:
            written.files.append(file)
