"""Damaged files through the real command line: which cases there are, and what each came to."""

from __future__ import annotations

import json
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.campaign import corpus
from tests.campaign.commands import PLAIN, QUICK
from tests.campaign.judge import (
    LIMIT_S,
    MARK,
    MOST_BYTES,
    Findings,
    check_output,
    check_run,
    digests,
    end_all,
    marked,
)
from tests.campaign.mutations import damaged
from tests.conftest import REPOSITORY

SERVER = Path(__file__).with_name("server.py")
ALLOWED = (0, 1, 2, 3)
REPORTS = (".md", ".html", "summary.json", "metrics.json", "run.json", "llmperf.log")
"""How names of files of a run end that a command may write again."""


@dataclass(frozen=True)
class Case:
    """One damaged file and one command line."""

    number: int
    seed: corpus.Seed
    command: tuple[str, ...]


@dataclass(frozen=True)
class Ended:
    """What came of it."""

    case: Case
    code: int
    found: Findings
    peak_bytes: int
    own_s: float


class Server:
    """A process that has imported the llmperf of `package`, and what it can be told."""

    def __init__(self, package: Path, work: Path) -> None:
        self.mark = f"{MARK}={os.getpid()}-{id(self)}"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LLMPERF_")},
            "PYTHONPATH": str(package), **PLAIN,
            "LLMPERF_NSYS": str(work / "no-nsys"), "LLMPERF_NCU": str(work / "no-ncu"), MARK: self.mark.split("=")[1],
        }  # fmt: skip
        command = [sys.executable, "-P", str(SERVER)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(command, cwd=work, env=environment, text=True, **pipes)  # type: ignore[call-overload]
        self.package = Path(self._answer()["package"])

    def _answer(self) -> dict[str, Any]:
        out: IO[str] = self._process.stdout
        line = out.readline()
        if not line:
            raise RuntimeError(f"the server ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(self, argv: Sequence[str], cwd: Path, output: Path, limit_s: float = LIMIT_S) -> dict[str, Any]:
        job = {"argv": list(argv), "cwd": str(cwd), "output": str(output), "limit_s": limit_s}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def left(self) -> list[int]:
        """Processes of ended commands."""
        return [pid for pid in marked(self.mark) if pid != self._process.pid]

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def prepare(server: Server, work: Path, *, timed: bool) -> None:
    """Runs to damage: of static analysis, of imported files, and, where asked, one that timed a model."""
    runs = work / "runs"
    runs.mkdir()
    made = {seed.file: seed for seed in reversed(list(corpus.made(work)))}
    for name in ("trace.json", "raw.csv", "kern_sum.csv"):
        (work / name).write_bytes(made[name].data)
    commands = [["run", "--no-torch", "--output", str(runs / "static")]]
    for name in ("trace.json", "raw.csv", "kern_sum.csv"):
        commands.append(["import", name, "--output", str(runs / name.split(".")[0])])
    if timed:
        commands.append(["infer", *QUICK, "--output", str(runs / "infer")])
    for argv in commands:
        ended = server.run(argv, work, work / "prepared.txt", 120)
        if ended["code"] and server.package.parent == REPOSITORY:  # an earlier checkout may not know the file
            raise RuntimeError(f"{argv} ends with {ended['code']}: {(work / 'prepared.txt').read_text()}")


def cases(seeds: Sequence[corpus.Seed], count: int, seed: int) -> Iterator[Case]:
    """Cases of every format in turn, so that one with many files does not crowd out the others."""
    by_kind: dict[tuple[str, bool], list[corpus.Seed]] = {}
    for item in seeds:
        by_kind.setdefault((item.kind, item.run), []).append(item)
    kinds = list(by_kind.values())
    for number in range(count):
        chance = random.Random(f"{seed} case {number}")
        of_kind = kinds[number % len(kinds)]
        (item,) = chance.choices(of_kind, [often(item) for item in of_kind])
        yield Case(number, item, chance.choice(item.commands))


def often(seed: corpus.Seed) -> float:
    """Small files more often: a large one takes seconds, and what is small is read by the same code."""
    unpacked = len(seed.data) * (10 if seed.kind == "json.gz" else 1)
    return 1 / max(50_000, unpacked)


def carry_out(case: Case, seed: int, server: Server, work: Path, keep: Path | None) -> Ended:
    """Damage the file, run the command, judge what came of it."""
    chance = random.Random(f"{seed} damage {case.number}")
    folder = work / f"case-{case.number}"
    folder.mkdir()
    try:
        data = damaged(case.seed.kind, case.seed.data, chance, folder)
        file = corpus.lay_out(case.seed, data, folder / "in", chance)
        ended = _judged(case, file, folder, server)
        if ended.found.wrong and keep is not None:
            shutil.copytree(folder / "in", keep / str(case.number), dirs_exist_ok=True)
        return ended
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _judged(case: Case, file: Path, folder: Path, server: Server) -> Ended:
    out, output = folder / "out", folder / "output.txt"
    given, before = folder / "in", digests(folder / "in")
    words = {"file": str(file), "out": str(out), "folder": str(given)}
    argv = [word.format(**words) for word in case.command]
    ended = server.run(argv, folder, output)
    found = Findings()
    if ended["hung"]:
        found.add("hangs over 10 s", f"{ended['cpu_s']:.1f} CPU s")
    else:
        check_output(found, ended["code"], output.read_text(errors="replace"), ALLOWED)
    found.unless(ended["peak_bytes"] <= MOST_BYTES, "memory over 1 GB", f"{ended['peak_bytes']:,} B")
    if left := server.left():
        found.add("orphans", str(left))
        end_all(left)
    if (out / "run.json").exists() and not ended["hung"]:
        check_run(found, out, ended["code"])
    after = digests(given)
    changed = [name for name in before if after.get(name) != before[name] and not name.endswith(REPORTS)]
    found.unless(not changed or not case.seed.run, "lost", f"of what was given: {changed[:5]}")
    return Ended(case, ended["code"], found, ended["peak_bytes"], ended["own_s"])


def all_inputs(
    package: Path,
    count: int,
    seed: int,
    jobs: int,
    keep: Path | None = None,
    *,
    most_bytes: int = corpus.MOST_BYTES,
) -> Iterator[Ended]:
    """Every case, as it ends.

    Args:
        keep: where the damaged files of cases that went wrong are left.
        most_bytes: larger files are left out.
    """
    with tempfile.TemporaryDirectory(prefix="campaign-") as name:
        work = Path(name)
        servers: queue.Queue[Server] = queue.Queue()
        first = Server(package, work)
        prepare(first, work, timed=most_bytes == corpus.MOST_BYTES)
        servers.put(first)
        for _ in range(jobs - 1):
            servers.put(Server(package, work))
        found = [item for item in corpus.seeds(work) if len(item.data) <= most_bytes]

        def one(case: Case) -> Ended:
            server = servers.get()
            try:
                return carry_out(case, seed, server, work, keep)
            finally:
                servers.put(server)

        try:
            with ThreadPoolExecutor(jobs) as pool:
                yield from pool.map(one, cases(found, count, seed))
        finally:
            while not servers.empty():
                servers.get().close()
