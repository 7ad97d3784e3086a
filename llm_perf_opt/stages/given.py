"""Ranks that a launcher has started, one llmperf each: the first owns the run, the others start what it orders.

They tell one another through files on storage that all of them see. The first announces its run directory in a file
named after the launch. For every child it then puts down a start file beside the order, and each other rank starts its
own child there and puts down how that ended.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_perf_opt.artifacts.files import write_text, writing
from llm_perf_opt.artifacts.layout import ORDER, rank_dir, record_dirs
from llm_perf_opt.artifacts.run_directory import read_manifest
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import ConfigError, StageError
from llm_perf_opt.stages.child import child_environment, rank_environment
from llm_perf_opt.tools.process import Finished, run
from llm_perf_opt.workload.order import one_child_argv
from llm_perf_opt.workload.ranks import Ranks

ANNOUNCE_LIMIT_S = 300.0
"""How long a rank waits for the first one's run, whose start may be as much earlier than its own."""
LATE_LIMIT_S = 60.0
"""How long the first rank waits, after its own child, for those of the others."""
STOPPED_LIMIT_S = 3.0
"""How long it waits for those that it has stopped."""
POLL_S = 0.2
START, STOP, ENDED = "start", "stop", "ended"


def with_ranks_given(config: Config, ranks: Ranks | None) -> Config:
    """The configuration for the ranks that a launcher has started.

    Raises:
        ConfigError: it asks for another number of them, or for a capture.
    """
    parallel = config.parallel
    if ranks is None and parallel.nodes > 1:
        raise ConfigError(
            f"parallel.nodes: {parallel.nodes}: llmperf itself starts ranks on this machine alone",
            "start it on every machine by srun or torchrun, once a rank, or set parallel.nodes: 1",
        )
    if ranks is None:
        return config
    if parallel.tensor not in (1, ranks.world):
        raise ConfigError(
            f"{ranks.launcher} started {ranks.world} ranks, and parallel.tensor is {parallel.tensor}",
            f"start as many, or leave parallel.tensor out; without {ranks.launcher} llmperf starts them itself",
        )
    if config.pipeline.nsys.enable or config.pipeline.ncu.enable:
        raise ConfigError(
            f"captures of ranks that {ranks.launcher} started are not made",
            f"start llmperf without {ranks.launcher}: it starts the ranks of one machine itself",
        )
    return Config.model_validate(
        {**config.model_dump(mode="json"), "parallel": {**parallel.model_dump(mode="json"), "tensor": ranks.world}}
    )


def check_resumed(config: Config, ranks: Ranks | None) -> None:
    """Refuse ranks with which a run of this configuration cannot go on.

    Raises:
        ConfigError: the run has another number of them.
    """
    if ranks is not None and config.parallel.tensor != ranks.world:
        raise ConfigError(
            f"{ranks.launcher} started {ranks.world} ranks, and the run to resume has {config.parallel.tensor}",
            f"start as many, or resume it without {ranks.launcher}",
        )
    with_ranks_given(config, ranks)


def meeting_file(config: Config, environ: Mapping[str, str]) -> Path:
    """Where the first rank of a launch announces its run."""
    torchrun = ["MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"]
    srun = ["SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"]
    launch = json.dumps([environ.get(name) for name in (torchrun if "RANK" in environ else srun)])
    return Path(config.artifacts.runs_dir) / f".ranks-{hashlib.sha256(launch.encode()).hexdigest()[:16]}.json"


@contextmanager
def announced(config: Config, ranks: Ranks | None, run_path: Path) -> Iterator[None]:
    """While the first rank carries out its run, the others find it; it ends when all of them have."""
    if ranks is None:
        yield
        return
    before = read_manifest(run_path).ended
    announcement = Announcement(run_path.absolute(), uuid.uuid4().hex, before)
    file = meeting_file(config, os.environ)
    file.parent.mkdir(parents=True, exist_ok=True)
    _forget(announcement.run, file.parent)
    write_text(file, json.dumps({"run": str(announcement.run), "token": announcement.token, "before": before}))
    try:
        yield
        until = time.monotonic() + LATE_LIMIT_S
        while time.monotonic() < until and len(_found_by(file, announcement)) < ranks.world - 1:
            time.sleep(POLL_S)
    finally:
        for mark in _found_by(file, announcement):
            mark.unlink(missing_ok=True)
        file.unlink(missing_ok=True)


@dataclass(frozen=True)
class Announcement:
    """The run of a launch, as its first rank says."""

    run: Path
    token: str
    """Of this attempt: a launch that is started once more has the same file."""
    before: str | None
    """When the run ended that is resumed: what its manifest says until there is something new."""


def _forget(run: Path, folder: Path) -> None:
    """Remove what an attempt that was killed has left: it was meant for ranks that are gone."""
    for start in _starts(run):
        start.unlink(missing_ok=True)
    for file in folder.glob(".ranks-*.json"):
        old = _read(file)
        if old is not None and old.run == run:
            for mark in _found_by(file, old):
                mark.unlink(missing_ok=True)
            file.unlink(missing_ok=True)


def _read(file: Path) -> Announcement | None:
    try:
        found = json.loads(file.read_text())
        return Announcement(Path(found["run"]), found["token"], found["before"])
    except (OSError, ValueError, KeyError):
        return None


def _found_by(file: Path, announcement: Announcement) -> list[Path]:
    """The marks of the ranks that found it."""
    return list(file.parent.glob(f"{file.name}.{announcement.token}.*"))


def _starts(run_path: Path) -> list[Path]:
    """The start files of all children, of several launches too."""
    stages = run_path.glob("tmp/workload/*/")
    return sorted(start for stage in stages for folder in record_dirs(stage) for start in folder.glob(f"{START}.*"))


def follow(config: Config, ranks: Ranks) -> int:
    """What a rank other than the first does: start what is ordered until the run ends; the run's exit code.

    Raises:
        StageError: the first rank began no run.
    """
    file = meeting_file(config, os.environ)
    file.parent.mkdir(parents=True, exist_ok=True)
    while True:
        announcement = _announced(file, ranks)
        write_text(file.parent / f"{file.name}.{announcement.token}.{ranks.rank}", "")
        code = _follow(announcement, file, config, ranks)
        if code is not None:
            return code


def _follow(announcement: Announcement, file: Path, config: Config, ranks: Ranks) -> int | None:
    """The exit code of the run; None where another was announced in its place, as the first rank was killed.

    Raises:
        MissingError: the run is gone.
    """
    done: set[Path] = set()

    def replaced() -> bool:
        said = _read(file)
        return said is not None and said != announcement

    while True:
        withdrawn = not file.exists()
        for start in _starts(announcement.run):
            if start not in done:
                done.add(start)
                _carry_out(start, config, ranks, replaced)
        manifest = read_manifest(announcement.run)
        ended = manifest.status != "running"
        if withdrawn or (ended and manifest.ended != announcement.before):
            return (manifest.exit_code or 0) if ended else StageError.exit_code
        if replaced():
            return None
        time.sleep(POLL_S)


def _announced(file: Path, ranks: Ranks) -> Announcement:
    """The run that the first rank has begun about now, by the clock of the storage alone: machines may differ."""
    began = _time_at(file.parent)
    until = time.monotonic() + ANNOUNCE_LIMIT_S
    while time.monotonic() < until:
        found = _read(file)
        with contextlib.suppress(OSError):
            if found is not None and file.stat().st_mtime > began - ANNOUNCE_LIMIT_S:
                return found
        time.sleep(POLL_S)
    raise StageError(
        f"rank {ranks.rank} waited {ANNOUNCE_LIMIT_S:.0f} s for the run of rank 0",
        "see what rank 0 says; all ranks need the same artifacts.runs_dir, on storage that all of them see",
    )


def _time_at(folder: Path) -> float:
    """What the clock of the storage says."""
    with writing(folder), tempfile.NamedTemporaryFile(dir=folder, prefix=".ranks-") as file:
        return os.fstat(file.fileno()).st_mtime


def _carry_out(start: Path, config: Config, ranks: Ranks, replaced: Callable[[], bool]) -> None:
    scratch, meeting = start.parent, start.suffix
    stop = scratch / f"{STOP}{meeting}"
    if stop.exists():
        return
    finished = run(
        one_child_argv(scratch / ORDER),
        log=rank_dir(scratch, ranks.rank) / "start.log",
        cwd=Path.cwd(),
        env=given_environment(config, ranks),
        on_tick=lambda: not stop.exists() and not replaced(),
    )
    write_text(scratch / f"{ENDED}{meeting}.{ranks.rank}", json.dumps({"ok": finished.ok, "code": own_code(finished)}))


def own_code(finished: Finished) -> int:
    """The exit code of a child, below 0 the signal that ended it; 0 where it was stopped by us."""
    if finished.stopped_by_caller:
        return 0
    return -signal.Signals[finished.signal] if finished.signal else finished.returncode or 0


def given_environment(config: Config, ranks: Ranks) -> dict[str, str]:
    """Of a child of one of these ranks, in torchrun's words whoever started them."""
    environment = {**child_environment(), **rank_environment(config)}
    rendezvous = config.parallel.rendezvous or "127.0.0.1:29500"
    host, _, port = rendezvous.rpartition(":")
    told = {"RANK": ranks.rank, "WORLD_SIZE": ranks.world, "LOCAL_RANK": ranks.local_rank}
    environment |= {name: str(value) for name, value in told.items()}
    if config.parallel.rendezvous is not None or "MASTER_ADDR" not in environment:
        environment |= {"MASTER_ADDR": host, "MASTER_PORT": port, "TORCHELASTIC_USE_AGENT_STORE": "False"}
    return environment


@dataclass(frozen=True)
class Others:
    """The other ranks, seen from the first, for one child."""

    scratch_dir: Path
    meeting: str
    world: int

    def begin(self) -> None:
        """Have them start theirs."""
        write_text(self.scratch_dir / f"{START}.{self.meeting}", "")

    def well(self) -> bool:
        """Whether none has ended badly."""
        return all(found["ok"] for found in self._ended().values())

    def own_codes(self) -> dict[int, int]:
        """Rank → what its child ended with of itself; of those that ended."""
        return {int(file.suffix[1:]): int(found["code"]) for file, found in self._ended().items()}

    def finish(self, *, wait: bool) -> None:
        """Wait for them a while, then have those stopped that are left, which say soon how they ended."""
        self._wait(LATE_LIMIT_S if wait else 0.0)
        write_text(self.scratch_dir / f"{STOP}.{self.meeting}", "")
        self._wait(STOPPED_LIMIT_S)

    def _wait(self, limit_s: float) -> None:
        until = time.monotonic() + limit_s
        while time.monotonic() < until and len(self._ended()) < self.world - 1:
            time.sleep(POLL_S)

    def _ended(self) -> dict[Path, dict[str, Any]]:
        found = self.scratch_dir.glob(f"{ENDED}.{self.meeting}.*")
        return {file: json.loads(file.read_text()) for file in found}
