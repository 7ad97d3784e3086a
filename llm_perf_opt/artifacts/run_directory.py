"""The run directory: where it is made, and the manifest that says how far the run got."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from llm_perf_opt import __version__
from llm_perf_opt.artifacts.files import sha256_of, write_text, writing
from llm_perf_opt.artifacts.layout import MANIFEST, RUN_LOG
from llm_perf_opt.errors import ConfigError, MissingError
from llm_perf_opt.records.manifest import ImportedFile, Manifest, StageEntry
from llm_perf_opt.records.outcome import Outcome


def now() -> str:
    """UTC time to the millisecond, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_path(runs_dir: Path, run_id: str | None) -> Path:
    """Where a new run goes: `runs_dir/run_id`, or the local time, numbered where that second is taken."""
    if run_id is not None:
        return runs_dir / run_id
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    path, number = runs_dir / stamp, 1
    while path.exists():
        path, number = runs_dir / f"{stamp}-{number}", number + 1
    return path


def refuse_existing(path: Path) -> None:
    """Raise ConfigError when `path` already holds a run or is no directory."""
    if (path / MANIFEST).exists():
        raise ConfigError(
            f"{path} already holds a run", "choose another --output, or go on with it: llmperf run --resume DIR"
        )
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path} is a file, not a directory", "choose another --output")


def read_manifest(path: Path) -> Manifest:
    """The manifest of the run in `path`.

    Raises:
        MissingError: there is none, or it is not readable.
    """
    file = path / MANIFEST
    try:
        return Manifest.model_validate_json(file.read_bytes())
    except FileNotFoundError as error:
        raise MissingError(f"{path} holds no run: there is no {MANIFEST}", "name the directory of a run") from error
    except (OSError, ValidationError) as error:
        raise MissingError(f"{file} cannot be read as the manifest of a run: {error}") from error


def refresh_digests(path: Path) -> None:
    """Bring the digests of an ended run up to date, after its reports were written again."""
    manifest = read_manifest(path)
    text = manifest.model_copy(update={"artifacts": _digests(path)}).model_dump_json(indent=2)
    write_text(path / MANIFEST, text + "\n")


def _digests(path: Path) -> dict[str, str]:
    files = (file for file in sorted(path.rglob("*")) if file.is_file() and not file.is_symlink())
    names = ((file.relative_to(path).as_posix(), file) for file in files)
    return {name: sha256_of(file) for name, file in names if name not in (MANIFEST, RUN_LOG)}


class RunDirectory:
    """A run directory that is being written."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def create(cls, path: Path, *, argv: Sequence[str], stages: Sequence[str]) -> RunDirectory:
        """Make `path` and its manifest, every stage pending.

        Raises:
            ConfigError: it already holds a run.
            MissingError: it cannot be written.
        """
        refuse_existing(path)
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
        manifest = Manifest(
            llmperf_version=__version__,
            argv=tuple(argv),
            created=now(),
            stages={name: StageEntry() for name in stages},
        )
        directory = cls(path, manifest)
        directory._save()
        directory.log(f"llmperf {__version__}: {shlex.join(argv)}")
        return directory

    @classmethod
    def reopen(cls, path: Path) -> RunDirectory:
        """Go on with the run in `path`: what is completed stays, every other stage is pending again."""
        manifest = read_manifest(path)
        entries = {
            name: entry if entry.status == "completed" else StageEntry() for name, entry in manifest.stages.items()
        }
        directory = cls(
            path,
            manifest.model_copy(
                update={"stages": entries, "status": "running", "exit_code": None, "ended": None, "artifacts": {}}
            ),
        )
        directory._save()
        directory.log(f"llmperf {__version__}: resumed")
        return directory

    def stage_path(self, stage: str) -> Path:
        """The stage's own directory (not made here: a stage that writes nothing leaves none)."""
        return self.path / stage

    def write_json(self, name: str, record: BaseModel) -> None:
        write_text(self.path / name, record.model_dump_json(indent=2) + "\n")

    def log(self, text: str) -> None:
        """Add `text` to the log, with the time."""
        with writing(self.path / RUN_LOG), (self.path / RUN_LOG).open("a", encoding="utf-8") as file:
            file.write(f"{now()} {text.rstrip()}\n")

    def begin(self, stage: str) -> None:
        self.log(f"{stage}: started")
        self._update(stage, StageEntry(status="running", started=now()))

    def end(self, stage: str, outcome: Outcome) -> None:
        entry = StageEntry(
            status=outcome.status,
            reason=outcome.reason,
            remedy=outcome.remedy,
            exit_code=outcome.exit_code,
            started=self.manifest.stages[stage].started,
            ended=now(),
            work_fingerprint=outcome.work_fingerprint,
        )
        self._update(stage, entry)
        self.log(f"{stage}: {outcome.status}" + (f": {outcome.reason}" if outcome.reason else ""))

    def record_imports(self, files: Sequence[ImportedFile]) -> None:
        """Say which files of elsewhere this run is made of."""
        self.manifest = self.manifest.model_copy(update={"imported": tuple(files)})
        self._save()

    def interrupt(self) -> None:
        """Say of the stages that were running that they were interrupted."""
        for name, entry in self.manifest.stages.items():
            if entry.status == "running":
                changes = {
                    "status": "interrupted",
                    "reason": "the run was interrupted before this stage ended",
                    "ended": now(),
                }
                self._update(name, entry.model_copy(update=changes))
                self.log(f"{name}: interrupted")

    def close(self, status: str, exit_code: int) -> None:
        """End the run: hash every artifact and say how it went."""
        self.log(f"{status}, exit code {exit_code}")
        changes = {"status": status, "exit_code": exit_code, "ended": now(), "artifacts": _digests(self.path)}
        self.manifest = self.manifest.model_copy(update=changes)
        self._save()

    def _update(self, stage: str, entry: StageEntry) -> None:
        self.manifest = self.manifest.model_copy(update={"stages": {**self.manifest.stages, stage: entry}})
        self._save()

    def _save(self) -> None:
        self.write_json(MANIFEST, self.manifest)
