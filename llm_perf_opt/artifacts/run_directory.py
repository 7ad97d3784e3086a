"""The run directory while it is written, and the manifest that says how far the run got."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from llm_perf_opt import __version__
from llm_perf_opt.artifacts.claim import claim_run
from llm_perf_opt.artifacts.digests import Damage, Digests
from llm_perf_opt.artifacts.files import clear_temporary, sha256_of, write_text, write_text_in, writing
from llm_perf_opt.artifacts.layout import AB, LAUNCHES, MANIFEST, RUN_LOG, SIDE_A, SIDE_B
from llm_perf_opt.errors import ConfigError, LlmperfError, MissingError
from llm_perf_opt.opening import read_file
from llm_perf_opt.records.manifest import ImportedFile, Manifest, StageEntry
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.redact import redact_text

_RESERVE = f".{MANIFEST}.reserved"
"""Space for the last manifest on a disk that fills up. It has the name of a temporary file: a kill leaves it."""
_RESERVE_BYTES = (256 << 10, 64 << 10, 16 << 10)
"""The first of these that there is room for."""


def now() -> str:
    """UTC time to the millisecond, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_manifest(path: Path) -> Manifest:
    """The manifest of the run in `path`.

    Raises:
        MissingError: there is none, or it is not readable.
    """
    file = path / MANIFEST
    try:
        return Manifest.model_validate_json(read_file(file))
    except FileNotFoundError as error:
        raise MissingError(f"{path} holds no run: there is no {MANIFEST}", "name the directory of a run") from error
    except OSError as error:
        raise MissingError(
            f"{file} cannot be read as the manifest of a run: {error.strerror}", "name the directory of a run"
        ) from error
    except ValidationError as error:
        raise MissingError(f"{file} cannot be read as the manifest of a run: {error}") from error


def runs_in(path: Path) -> list[Path]:
    """The runs right below `path`, by name; `path` itself where it is a run, or there is none.

    Raises:
        ConfigError: it holds the two sides of an A/B.
    """
    if (path / AB).exists():
        raise ConfigError(f"{path} holds an A/B, which is two sides", f"name {path / SIDE_A} and {path / SIDE_B}")
    if (path / MANIFEST).exists() or not path.is_dir():
        return [path]
    return sorted(file.parent for file in path.glob(f"*/{MANIFEST}")) or [path]


def _as_text(manifest: Manifest) -> str:
    return manifest.model_dump_json(indent=2) + "\n"


def _writable(manifest: Manifest) -> Manifest:
    """`manifest`, with what no JSON holds (of paths that are no UTF-8) spelt out."""
    try:
        _as_text(manifest)
    except PydanticSerializationError:
        return Manifest.model_validate(_spelt(manifest.model_dump()))
    return manifest


def _spelt(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_spelt(key): _spelt(item) for key, item in value.items()}
    return tuple(map(_spelt, value)) if isinstance(value, tuple) else value


class RunDirectory:
    """A run directory that is being written by this process alone.

    What cannot be written of manifest and log stops nothing: the run goes on, and `close` says so.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self.digests = Digests(path)
        self._unsaved: LlmperfError | None = None
        self._exit_codes: list[int] = []
        self._lost = False
        self.closed = False
        # Held open, so that no other directory can be taken for this one.
        with writing(path):
            self._folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._log = _locked_log(path)
        self._latest = manifest.created

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        argv: Sequence[str],
        stages: Sequence[str],
        numbered: bool = False,
        imported: Sequence[ImportedFile] = (),
    ) -> RunDirectory:
        """Make `path` and its manifest, every stage pending.

        Args:
            imported: files of elsewhere that it is made of, so that an import is one from its first moment.
            numbered: take the next free name where another run has that of `path`.

        Raises:
            ConfigError: it already holds a run.
            MissingError, StageError: it cannot be written.
        """
        manifest = _writable(
            Manifest(
                llmperf_version=__version__,
                argv=tuple(argv),
                created=now(),
                stages={name: StageEntry() for name in stages},
                imported=tuple(imported),
            )
        )
        claimed = claim_run(path, _as_text(manifest), numbered=numbered)
        try:
            directory = cls(claimed, manifest)
            directory._reserve()
            directory.log(f"llmperf {__version__}: {shlex.join(argv)}")
        except BaseException:  # no run began: nobody is to find one
            if numbered:
                shutil.rmtree(claimed, ignore_errors=True)
            else:
                (claimed / MANIFEST).unlink(missing_ok=True)
            raise
        return directory

    @classmethod
    def reopen(cls, path: Path, *, again: Collection[str], damaged: Collection[Damage] = ()) -> RunDirectory:
        """Go on with the run in `path`: the stages of `again` are pending, the others stay.

        Args:
            damaged: files that are not used any more; those that are there are removed.

        Raises:
            ConfigError: the run is still going on.
        """
        manifest = read_manifest(path)
        directory = cls(path, manifest)
        _tidy(path, directory.log)
        for damage in damaged:
            directory.log(str(damage))
            (path / damage.file).unlink(missing_ok=True)
            # Of a stage of which a file is not as it was, no launch is kept.
            (path / damage.file.split("/", 1)[0] / LAUNCHES).unlink(missing_ok=True)
        gone = tuple(f"{stage}/" for stage in again)
        changes = {
            "stages": {name: StageEntry() if name in again else entry for name, entry in manifest.stages.items()},
            "status": "running",
            "exit_code": None,
            "ended": None,
            "problems": (),
            "artifacts": {name: sha for name, sha in manifest.artifacts.items() if not name.startswith(gone)},
        }
        # On disk the run stays as it ended until there is something new to say.
        directory.manifest = manifest.model_copy(update=changes)
        directory._reserve()
        directory.log(f"llmperf {__version__}: resumed")
        return directory

    def write_json(self, name: str, record: BaseModel) -> None:
        write_text(self.path / name, record.model_dump_json(indent=2) + "\n")

    def log(self, text: str) -> None:
        """Add `text` to the log, with the time."""
        _append(self._log, text)

    def is_lost(self) -> bool:
        """Whether the directory is no longer where it was made."""
        try:
            return not os.path.samestat(os.fstat(self._folder), self.path.stat())
        except OSError:
            return True

    def begin(self, stage: str) -> None:
        self.log(f"{stage}: started")
        self._update(stage, StageEntry(status="running", started=self._time(f"{stage} started")))

    def end(self, stage: str, outcome: Outcome) -> None:
        entry = StageEntry(
            status=outcome.status,
            reason=outcome.reason,
            remedy=outcome.remedy,
            exit_code=outcome.exit_code,
            started=self.manifest.stages[stage].started,
            ended=self._time(f"{stage} ended"),
            work_fingerprint=outcome.work_fingerprint,
        )
        self.sign()
        self._update(stage, entry)
        self.log(f"{stage}: {outcome.status}" + (f": {outcome.reason}" if outcome.reason else ""))

    def sign(self) -> None:
        """Keep the digests of what is there: a run that is killed can be checked too."""
        made, _ = self.digests.all()
        self.manifest = self.manifest.model_copy(update={"artifacts": {**self.manifest.artifacts, **made}})

    def record_imports(self, files: Sequence[ImportedFile]) -> None:
        """Say which files of elsewhere this run is made of."""
        self.manifest = self.manifest.model_copy(update={"imported": tuple(files)})
        self._save()

    def record_hidden(self, settings: Sequence[str]) -> None:
        """Say which settings `config.yaml` does not hold as they were."""
        if settings:
            self.manifest = self.manifest.model_copy(update={"hidden": tuple(settings)})
            self._save()

    def problem(self, text: str, exit_code: int = 1) -> None:
        """Say what went wrong beside the stages; 0 where the run is complete all the same."""
        text = redact_text(text)
        self.log(text)
        self._exit_codes.append(exit_code)
        self.manifest = self.manifest.model_copy(update={"problems": (*self.manifest.problems, text)})

    def interrupt(self) -> None:
        """Say of the stages that were running that they were interrupted."""
        self._end_running("interrupted", "the run was interrupted before this stage ended")

    def lose(self) -> None:
        """Say that the directory was removed, and with it what the stages had left."""
        self._lost = True
        message = f"the run directory {self.path} was removed or moved while the run was going on"
        self.problem(message)
        for name, entry in self.manifest.stages.items():
            if entry.status in ("completed", "running"):
                changes = {"status": "failed", "reason": message, "exit_code": 1, "ended": entry.ended or now()}
                self._update(name, entry.model_copy(update=changes))

    def close(self, *, interrupted: bool = False) -> None:
        """End the run: hash every file and say how it went. The manifest here is right even where it cannot be written.

        The exit code is 130 after an interrupt, else 3 where something was missing, else 2 where settings were
        refused, else 1 where anything failed, else 0.
        """
        self._end_running("failed", "the run ended before this stage did")
        lost = self.is_lost()
        if lost and not self._lost:
            self.lose()
        made, unread = self.digests.all()
        for name in unread:
            self.problem(f"{name} has no digest: its content or its name cannot be read", 0)
        self._finish(interrupted, made)
        with contextlib.suppress(OSError):
            (self.path / _RESERVE).unlink(missing_ok=True)
        self._save(last=not lost)
        if lost and self.path.is_dir() and not (self.path / MANIFEST).exists():  # a stage made it again
            with contextlib.suppress(LlmperfError):
                write_text(self.path / MANIFEST, _as_text(self.manifest))
        if self._unsaved is not None and not lost:
            self.problem(self._unsaved.message)
            self._finish(interrupted, made)
            self._save(last=True)
        os.close(self._log)
        os.close(self._folder)
        self.closed = True

    def _finish(self, interrupted: bool, made: dict[str, str]) -> None:
        exit_code = 130 if interrupted else self._exit_code()
        status: Literal["interrupted", "completed", "failed"] = (
            "interrupted" if interrupted else "completed" if exit_code == 0 else "failed"
        )
        self.log(f"{status}, exit code {exit_code}")
        changes = {"status": status, "exit_code": exit_code, "ended": self._time("the run ended"), "artifacts": made}
        self.manifest = self.manifest.model_copy(update=changes)

    def _exit_code(self) -> int:
        failed = (entry for entry in self.manifest.stages.values() if entry.status == "failed")
        codes = {*self._exit_codes, *(entry.exit_code if entry.exit_code in (1, 2, 3) else 1 for entry in failed)}
        return max(codes, default=0)

    def _end_running(self, status: Literal["interrupted", "failed"], reason: str) -> None:
        for name, entry in self.manifest.stages.items():
            if entry.status == "running":
                changes = {"status": status, "reason": reason, "ended": now(), "exit_code": int(status == "failed")}
                self._update(name, entry.model_copy(update=changes))
                self.log(f"{name}: {status}")

    def _time(self, what: str) -> str:
        """The time, as the clock gives it; one that was set back is said."""
        time = now()
        if time < self._latest:
            self.log(f"the clock was set back: {what} at {time}, after {self._latest}")
        self._latest = time
        return time

    def _update(self, stage: str, entry: StageEntry) -> None:
        self.manifest = self.manifest.model_copy(update={"stages": {**self.manifest.stages, stage: entry}})
        self._save()

    def _save(self, *, last: bool = False) -> None:
        """Write the manifest into the directory, wherever that was moved: what was removed is not made again, and
        another run's manifest is not replaced."""
        self._unsaved = None
        self.manifest = _writable(self.manifest)
        text = _as_text(self.manifest)
        try:
            write_text_in(self._folder, self.path / MANIFEST, text)
        except LlmperfError as error:
            if not (last and _overwritten(self.path / MANIFEST, text)):
                self._unsaved = error

    def _reserve(self) -> None:
        reserve = self.path / _RESERVE
        for size in _RESERVE_BYTES:
            with contextlib.suppress(OSError):
                reserve.write_bytes(bytes(size))
                return
        with contextlib.suppress(OSError):
            reserve.unlink(missing_ok=True)


def _overwritten(file: Path, text: str) -> bool:
    """Write into the blocks that `file` has already, as a full disk still allows, where it fits into them."""
    data = text.encode()
    with contextlib.suppress(OSError), file.open("r+b", buffering=0) as stream:
        if len(data) <= 512 * os.fstat(stream.fileno()).st_blocks and stream.write(data) == len(data):
            stream.truncate()
            return True
    return False


def _locked_log(path: Path) -> int:
    """The log, open for appending and locked as long as this process writes the run.

    Raises:
        ConfigError: another process does.
    """
    with writing(path / RUN_LOG):
        descriptor = os.open(path / RUN_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ConfigError(f"another process is writing {path}", "wait for its end, or stop it") from None
    except OSError:
        pass  # a file system without locks
    return descriptor


def is_written(path: Path) -> bool:
    """Whether a process writes the run in `path` now, as far as the file system tells."""
    try:
        os.close(_locked_log(path))
    except ConfigError:
        return True
    return False


def _tidy(path: Path, log: Callable[[str], None]) -> None:
    """Remove what a killed run left half-written."""
    for name in clear_temporary(path):
        if name != _RESERVE:
            log(f"removed {name}, which was left half-written")


@contextlib.contextmanager
def renewing_reports(path: Path) -> Iterator[Renewal]:
    """Reports are written into a run that has ended: of these files alone the digests are brought up to date.

    Raises:
        ConfigError: the run has not ended.
    """
    descriptor = _locked_log(path)
    renewal = Renewal(descriptor)
    try:
        _tidy(path, renewal.log)
        yield renewal
        manifest = read_manifest(path)
        digests = {file.relative_to(path).as_posix(): sha256_of(file) for file in renewal.files}
        renewed = manifest.model_copy(update={"artifacts": {**manifest.artifacts, **digests}})
        if renewed != manifest:
            write_text(path / MANIFEST, _as_text(renewed))
    finally:
        os.close(descriptor)


class Renewal:
    """What was written again."""

    def __init__(self, log: int) -> None:
        self.files: list[Path] = []
        self._log = log

    def log(self, text: str) -> None:
        _append(self._log, text)


def _append(log: int, text: str) -> None:
    """One line, secrets hidden; what a full disk does not take is left out."""
    with contextlib.suppress(OSError):
        os.write(log, f"{now()} {redact_text(text.rstrip())}\n".encode(errors="backslashreplace"))
