"""Ranks that a launcher has started, one llmperf each: the first owns the run, the others start what it orders.

They tell one another through files on storage that all of them see. The first announces its run directory in a file
named after the launch. For every child it then puts down a start file beside the order, and each other rank starts its
own child there and puts down how that ended.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.artifacts.layout import ORDER, rank_dir
from llm_perf_opt.artifacts.run_directory import read_manifest
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import ConfigError, MissingError, StageError
from llm_perf_opt.stages.child import child_environment, rank_environment
from llm_perf_opt.tools.process import run
from llm_perf_opt.workload.order import one_child_argv
from llm_perf_opt.workload.ranks import Ranks

ANNOUNCE_LIMIT_S = 300.0
"""How long a rank waits for the first one's run, whose start may be as much earlier than its own."""
LATE_LIMIT_S = 60.0
"""How long the first rank waits, after its own child, for those of the others."""
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


def meeting_file(config: Config, environ: Mapping[str, str]) -> Path:
    """Where the first rank of a launch announces its run."""
    torchrun = ["MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"]
    srun = ["SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"]
    launch = json.dumps([environ.get(name) for name in (torchrun if "RANK" in environ else srun)])
    return Path(config.artifacts.runs_dir) / f".ranks-{hashlib.sha256(launch.encode()).hexdigest()[:16]}.json"


@contextmanager
def announced(config: Config, ranks: Ranks | None, run_path: Path) -> Iterator[None]:
    """While the first rank carries out its run, the others find it."""
    if ranks is None:
        yield
        return
    file = meeting_file(config, os.environ)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps({"run": str(run_path.absolute())}))
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def follow(config: Config, ranks: Ranks) -> int:
    """What a rank other than the first does: start what is ordered until the run ends; the run's exit code.

    Raises:
        StageError: the first rank began no run.
    """
    began = datetime.now(UTC).timestamp()
    run_path = _announced(config, ranks, began)
    done: set[Path] = set()
    while True:
        for start in sorted(run_path.glob(f"tmp/workload/*/{START}.*")):
            if start not in done:
                done.add(start)
                _carry_out(start, config, ranks)
        manifest = read_manifest(run_path)
        if manifest.status != "running":
            return manifest.exit_code or 0
        time.sleep(POLL_S)


def _announced(config: Config, ranks: Ranks, began: float) -> Path:
    file = meeting_file(config, os.environ)
    until = time.monotonic() + ANNOUNCE_LIMIT_S
    while time.monotonic() < until:
        try:
            path = Path(json.loads(file.read_text())["run"])
            manifest = read_manifest(path)
        except (OSError, ValueError, KeyError, MissingError):
            time.sleep(POLL_S)
            continue
        created = datetime.fromisoformat(manifest.created.replace("Z", "+00:00")).timestamp()
        if manifest.status == "running" and created > began - ANNOUNCE_LIMIT_S:
            return path
        time.sleep(POLL_S)
    raise StageError(
        f"rank {ranks.rank} waited {ANNOUNCE_LIMIT_S:.0f} s for the run of rank 0",
        "see what rank 0 says; all ranks need the same artifacts.runs_dir, on storage that all of them see",
    )


def _carry_out(start: Path, config: Config, ranks: Ranks) -> None:
    scratch, meeting = start.parent, start.suffix
    stop = scratch / f"{STOP}{meeting}"
    if stop.exists():
        return
    finished = run(
        one_child_argv(scratch / ORDER),
        log=rank_dir(scratch, ranks.rank) / "start.log",
        cwd=Path.cwd(),
        env=given_environment(config, ranks),
        on_tick=lambda: not stop.exists(),
    )
    write_text(scratch / f"{ENDED}{meeting}.{ranks.rank}", json.dumps({"ok": finished.ok}))


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
        return all(self._ended().values())

    def finish(self, *, wait: bool) -> None:
        """Wait for them a while, then have those stopped that are left."""
        until = time.monotonic() + (LATE_LIMIT_S if wait else 0.0)
        while time.monotonic() < until and len(self._ended()) < self.world - 1:
            time.sleep(POLL_S)
        write_text(self.scratch_dir / f"{STOP}.{self.meeting}", "")

    def _ended(self) -> dict[Path, bool]:
        found = self.scratch_dir.glob(f"{ENDED}.{self.meeting}.*")
        return {file: bool(json.loads(file.read_text())["ok"]) for file in found}
