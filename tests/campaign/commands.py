"""The command lines that faults are done to, and what they need beside them."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.campaign.corpus import LLAMA, RAW, SUMMARY
from tests.campaign.judge import MARK
from tests.conftest import REPOSITORY
from tests.standins import recorder
from tests.unit.timeline.example import EVENTS

STANDINS = REPOSITORY / "tests" / "standins"
MAIN = "import sys; from llm_perf_opt.cli.main import main; main()"
QUICK = ("measure.repeats=2", "measure.warmup=0", "infer.max_new_tokens=3", "dataset.sampling.num_samples_per_epoch=1")
STEPS = ("push:prefill", "kernel:f", "sleep:0.3", "pop", "push:decode", "kernel:g", "sleep:0.3", "pop")
WORKLOAD = (sys.executable, str(STANDINS / "workload.py"), *STEPS)
PLAIN = {"NO_COLOR": "1", "COLUMNS": "120", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
RUN = "run"
"""Where a command leaves its run, in the folder of the case."""


@dataclass(frozen=True)
class Command:
    """One command line.

    Attributes:
        argv: relative to the folder of the case.
        weight: how often it is taken; those that start torch take ten times as long.
        leaves: below which folder there are runs afterwards; None where a command makes none.
        given: what is copied into the folder first.
        resume: what goes on after a kill, and ends with 0.
        roles: of the processes that it starts, those that a signal can go to.
    """

    name: str
    argv: tuple[str, ...]
    weight: int = 1
    leaves: str | None = RUN
    given: tuple[str, ...] = ()
    resume: tuple[str, ...] | None = ("run", "--resume", RUN)
    roles: tuple[str, ...] = ("parent",)
    standins: bool = False


OUTPUT = ("--output", RUN)
SWEEP = ("sweep", "--no-torch", "infer.batch_size=1,2", "--output", "sweep")
CHILD = ("parent", "parent", "supervisor", "child")
TOOL = ("parent", "parent", "supervisor", "tool", "child")
COMMANDS = (
    Command("run (static)", ("run", "--no-torch", *OUTPUT), weight=6),
    Command("run", ("run", *QUICK, "pipeline.torch_profiler.warmup_rounds=0", *OUTPUT), weight=2, roles=CHILD),
    Command("infer", ("infer", *QUICK, *OUTPUT), weight=3, roles=CHILD),
    Command("torch", ("torch", *QUICK, "pipeline.torch_profiler.warmup_rounds=0", *OUTPUT), weight=1, roles=CHILD),
    Command("nsys", ("nsys", *QUICK, *OUTPUT), weight=1, roles=TOOL, standins=True),
    Command("nsys -- command", ("nsys", *OUTPUT, "--", *WORKLOAD), weight=6, roles=TOOL, standins=True),
    Command("ncu -- command", ("ncu", *OUTPUT, "--", *WORKLOAD), weight=6, roles=TOOL, standins=True),
    Command("import", ("import", "trace.json", "raw.csv", *OUTPUT), weight=4, given=("trace.json", "raw.csv"),
            resume=None),
    Command(
        "import of ranks", ("import", "ranks", "--jobs", "2", *OUTPUT), weight=4, given=("ranks",),
        resume=("import", "--resume", RUN), roles=("parent", "worker"),
    ),
    Command("report", ("report", "done"), weight=3, given=("done",), leaves="done", resume=("report", "done")),
    Command("compare", ("compare", "done", "done", "--output", "compared"), weight=2, given=("done",), leaves="done",
            resume=("compare", "done", "done")),
    Command("kernels top", ("kernels", "top", "kern_sum.csv"), given=("kern_sum.csv",), leaves=None, resume=None),
    Command("kernels analyze", ("kernels", "analyze", "raw.csv", "--output", "analysed"), weight=2, given=("raw.csv",),
            leaves=None, resume=None),
    Command("kernels profile", ("kernels", "profile", "top.yaml", "--output", "profiles", "--", *WORKLOAD), weight=3,
            given=("top.yaml",), leaves="profiles", resume=None, roles=TOOL, standins=True),
    Command("static", ("static", "model", "--method", "traced", "--output", "counted"), given=("model",), leaves=None,
            resume=None, roles=CHILD),
    Command("sweep", SWEEP, weight=3, leaves="sweep", resume=SWEEP, roles=("parent", "parent", "point")),
    Command("ab", ("ab", *QUICK, "--time-budget", "1s", "--output", "ab"), leaves="ab", roles=CHILD,
            resume=("ab", "--resume", "ab")),
    Command("trend", ("trend", "done", "--output", "followed"), given=("done",), leaves=None, resume=None),
    Command("runs", ("runs", "."), given=("done",), leaves=None, resume=None),
    Command("doctor", ("doctor",), leaves=None, resume=None),
    Command("config show", ("config", "show", "--origins"), leaves=None, resume=None),
)  # fmt: skip


class NotUndisturbedError(Exception):
    """A command fails without any fault: nothing can be tried on it."""


class Bench:
    """A place to run commands of one checkout in, and what they need."""

    def __init__(self, package: Path, folder: Path) -> None:
        self.package = package
        self.folder = folder
        self.given = folder / "given"
        self.given.mkdir()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LLMPERF_")},
            "PYTHONPATH": str(package), **PLAIN,
            "LLMPERF_NSYS": str(STANDINS / "nsys"), "LLMPERF_NCU": str(STANDINS / "ncu"),
            "NSIGHT_STANDIN_PYTHON": sys.executable,
        }  # fmt: skip
        self.has_standins = recorder.why_not() is None
        if self.has_standins:
            self.environment["NSIGHT_STANDIN_RECORDER"] = str(recorder.build(folder))
        self._prepare()

    def _prepare(self) -> None:
        given = self.given
        (given / "raw.csv").write_text(RAW)
        (given / "kern_sum.csv").write_text("\n".join(SUMMARY.splitlines()[::2]) + "\n")  # what is launched once
        (given / "trace.json").write_text(json.dumps({"traceEvents": EVENTS}))
        (given / "ranks").mkdir()
        for rank in range(4):
            job = {"distributedInfo": {"rank": rank, "world_size": 4, "backend": "nccl"}, "traceEvents": EVENTS * 2000}
            (given / "ranks" / f"rank{rank}.json").write_text(json.dumps(job))
        (given / "model").mkdir()
        (given / "model" / "config.json").write_text(json.dumps(LLAMA))
        top = self.run(("kernels", "top", "kern_sum.csv"), given)
        (given / "top.yaml").write_text(top.stdout)
        done = self.run(("infer", *QUICK, "--output", "done"), given)
        if done.returncode:
            raise NotUndisturbedError(f"llmperf infer ends with {done.returncode} undisturbed: {done.stderr}")

    def run(self, argv: tuple[str, ...], cwd: Path, **extra: str) -> subprocess.CompletedProcess[str]:
        """To its end; the output is all that a caller looks at."""
        command = [sys.executable, "-c", MAIN, *argv]
        environment = {**self.environment, **extra}
        return subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=180, check=False
        )

    def lay_out(self, command: Command, folder: Path) -> None:
        """What the command needs, in the folder of its case."""
        folder.mkdir()
        for name in command.given:
            source = self.given / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)

    def start(
        self, argv: tuple[str, ...], folder: Path, mark: str, *, most_file_bytes: int | None = None
    ) -> subprocess.Popen[bytes]:
        """In a session of its own; its output goes to `folder`/output.txt."""

        def limit() -> None:
            if most_file_bytes is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (most_file_bytes, most_file_bytes))

        with (folder / "output.txt").open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-c", MAIN, *argv],
                cwd=folder,
                env={**self.environment, MARK: mark},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=limit,  # noqa: PLW1509 - there is one thread
            )

    def measured_s(self, command: Command) -> tuple[float, dict[str, int]]:
        """Seconds of an undisturbed command, and sizes of what it leaves."""
        folder = self.folder / f"whole {command.name}".replace(" ", "-")
        self.lay_out(command, folder)
        before = set(folder.rglob("*"))
        started = time.monotonic()
        finished = self.run(command.argv, folder)
        seconds = time.monotonic() - started
        if finished.returncode not in (0, 5):
            shutil.rmtree(folder)
            raise NotUndisturbedError(f"{command.name} ends with {finished.returncode}: {finished.stderr}")
        made = {path for path in folder.rglob("*") if path.is_file()} - before
        sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in made}
        shutil.rmtree(folder)
        return seconds, sizes


def role_of(argv: list[bytes]) -> str:
    """What a process below the parent is there for."""
    text = b" ".join(argv)
    if any(word.endswith(b"supervisor.py") for word in argv[:5]):
        return "supervisor"
    if any(word.endswith(b"standins/program.py") for word in argv[:3]):
        return "tool"
    if b"multiprocessing" in text:
        return "worker" if b"spawn_main" in text else "tracker"
    if any(word.endswith((b"llmperf", b"llm_perf_opt.cli")) or word == MAIN.encode() for word in argv[:4]):
        return "point"
    return "child"


def processes_below(parent: int) -> dict[int, str]:
    """Live process below `parent` → its role (Linux)."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, above = (entry / "stat").read_bytes().rpartition(b")")[2].split()[:2]
        except OSError:
            continue
        if state != b"Z":
            parents[int(entry.name)] = int(above)
    found: dict[int, str] = {}
    frontier = {parent}
    while frontier:
        frontier = {pid for pid, above in parents.items() if above in frontier and pid not in found}
        for pid in frontier:
            try:
                argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except OSError:
                argv = []
            found[pid] = role_of(argv)
    return found
