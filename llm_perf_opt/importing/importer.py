"""What an importer is: a kind of file captured elsewhere, how it is told by its content, and how it is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from llm_perf_opt.errors import ConfigError, StageError
from llm_perf_opt.importing.parallel import each
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.registry import stage_leaving

if TYPE_CHECKING:
    from llm_perf_opt.importing.item import Item
    from llm_perf_opt.stages.base import Progress


A = TypeVar("A")
R = TypeVar("R")
OUTSIDE = "outside"
"""What lies in no phase is called so."""
PhaseRule = tuple[str, re.Pattern[str]]
"""(phase, what its ranges are called), as the time line has them."""


def phase_rule(text: str) -> PhaseRule:
    """`NAME=REGEX` as a rule.

    Raises:
        ConfigError: it has another form, or the expression is none.
    """
    name, equals, pattern = text.partition("=")
    example = "for example: --range 'decode=^model_step'"
    if not name.strip() or not equals or not pattern:
        raise ConfigError(f"--range {text!r} is not NAME=REGEX", example)
    if name.strip() == OUTSIDE:
        raise ConfigError(f"--range {text!r}: {OUTSIDE!r} is what lies in no phase", "call the phase something else")
    try:
        return name.strip(), re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"--range {text!r}: {pattern!r} is no regular expression: {error}", example) from error


def rule_words(rule: PhaseRule) -> str:
    """A rule as `NAME=REGEX`."""
    return f"{rule[0]}={rule[1].pattern}"


@dataclass(frozen=True)
class ImportContext:
    """What an importer is given."""

    items: list[Item]
    """Its files; at least one."""
    folder: Path
    """The stage's directory: copies and records go there."""
    scratch_dir: Path
    """Logs of tools."""
    progress: Progress
    rules: Sequence[PhaseRule] = ()
    """Ranges of whatever name that are phases."""
    world_size: int | None = None
    """Ranks of the job that the files are of, where that is known."""
    jobs: int = 1
    """So many files may be read at a time, in processes of their own."""
    save: Callable[[], None] = lambda: None
    """Record what became of the files so far: an import that goes on does not read again what is stored by then."""


def read_each(
    context: ImportContext, what: str, call: Callable[[A], R], arguments: Sequence[A]
) -> Iterator[tuple[int, R | StageError]]:
    """Read several files at a time, as `each` does, and record each as it ends."""
    several = len(arguments) > 1  # one says itself how far it is
    if several:
        context.progress.update(what, 0, len(arguments), 0)
    for ended, (position, found) in enumerate(each(call, arguments, context.jobs), 1):
        yield position, found
        context.save()
        if several:
            context.progress.update(what, ended, len(arguments), 0)


def any_number(_: Sequence[Item]) -> Sequence[Item]:
    """Files of this kind go into one run, however many they are."""
    return ()


@dataclass(frozen=True)
class Importer:
    """One kind of capture, whose files are read like what a stage of llmperf leaves."""

    kinds: Mapping[str, str]
    """Kind of file → what it is, in words."""
    recognise: Callable[[Path, bytes], str | None]
    """(file, its unpacked start) → which of the kinds it is; None where it is none."""
    read: Callable[[ImportContext], Outcome]
    """Copy and read the files; one that cannot be read keeps its problem (`Item.attempt`)."""
    record: type[Any]
    """What it leaves: the files are those of the stage that leaves the same."""
    conflicting: Callable[[Sequence[Item]], Sequence[Item]] = any_number
    """Of its files, those that do not go into one run; none or several."""
    number_ranks: Callable[[Sequence[Item]], int | None] = lambda _: None
    """Give several files their ranks, if that is how they go into one run; the number of ranks of their job, where that
    is known. Raises ConfigError where they do not."""

    kept: Callable[[Item, Path], bool] = lambda _, __: False
    """Of a file that was stored in a run that is gone on with: whether what was read of it is in the stage's directory,
    so that it need not be read again."""

    @property
    def stage(self) -> str:
        """The stage in whose directory the files go."""
        return stage_leaving(self.record)
