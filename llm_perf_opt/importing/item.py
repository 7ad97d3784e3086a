"""One file on its way into a run, and what becomes of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from llm_perf_opt.artifacts.files import copy_file
from llm_perf_opt.errors import LlmperfError
from llm_perf_opt.records.manifest import ImportedFile
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.stages.base import Progress


@dataclass
class Item:
    """One file."""

    source: Path
    kind: str
    what: str
    """The kind in words."""
    size_bytes: int
    gpu: str | None = None
    """As the user named it, for a file that does not."""
    sha256: str | None = None
    stored: Path | None = None
    problem: LlmperfError | None = None
    rank: int | None = None
    """Where it is one of several ranks of a job."""
    world_size: int | None = None
    """Ranks of that job, where the file says."""
    read_before: bool = False
    """In a run that is gone on with: it is not read again."""

    @classmethod
    def again(cls, file: ImportedFile, run_path: Path) -> Item:
        """A file of a run that is gone on with, as it was recorded."""
        stored = None if file.stored is None else run_path / file.stored
        of_file = (Path(file.source), file.kind, file.what, file.size_bytes, file.gpu)
        return cls(*of_file, sha256=file.sha256, stored=stored, rank=file.rank)

    def copy(self, target: Path, progress: Progress, copy: Callable[[Path, Path], str] = copy_file) -> bool:
        """Have `copy` write the file to `target` and give its hex sha256; whether that worked."""

        def action() -> None:
            self.sha256 = copy(self.source, target)
            self.stored = target

        progress.update(f"copying {self.source.name}", 0, 1, 0)
        return self.attempt(action)

    def attempt(self, action: Callable[[], object]) -> bool:
        """Whether `action` worked; where it did not, the file keeps the reason, and the others go on."""
        try:
            action()
        except LlmperfError as error:
            self.problem = error
        return self.problem is None

    def record(self, run_path: Path) -> ImportedFile:
        return ImportedFile(
            source=os.path.abspath(self.source),  # noqa: PTH100 - `..` taken out, links kept
            kind=self.kind,
            what=self.what,
            size_bytes=self.size_bytes,
            sha256=self.sha256,
            stored=None if self.stored is None else self.stored.relative_to(run_path).as_posix(),
            gpu=self.gpu,
            problem=None if self.problem is None else self.problem.message,
            rank=self.rank,
        )

    def words(self) -> str:
        """What went wrong, with the file's name."""
        message = "" if self.problem is None else self.problem.message
        return message if self.source.name in message else f"{self.source}: {message}"


def outcome_of(items: Iterable[Item], judged: Outcome | None = None) -> Outcome:
    """Failed where a file could not be read, else as the capture was judged."""
    failed = [item for item in items if item.problem is not None]
    if not failed:
        return judged or Outcome.completed()
    problems = [item.problem for item in failed if item.problem is not None]
    remedies = dict.fromkeys(problem.remedy for problem in problems if problem.remedy)
    codes = [problem.exit_code for problem in problems]
    return Outcome.failed("; ".join(item.words() for item in failed), "; ".join(remedies) or None, max(codes))
