"""One command under way: finding its processes, waiting for its end, judging what it left. Linux only."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaign.commands import RUN, Bench, Command, processes_below
from tests.campaign.judge import Findings, check_output, check_run, end_all, marked
from tests.campaign.server import waited_for_a_core_s

ORPHANS_S = 6.0
"""What outlives a killed llmperf is gone by then: it is first asked to end."""
STEP_S = 0.005


@dataclass
class Fault:
    """One fault, and what came of it.

    Attributes:
        injected: its target was alive.
        code: exit code of the command; None where it had to be killed.
    """

    number: int
    kind: str
    command: str
    what: str = ""
    injected: bool = False
    found: Findings = field(default_factory=Findings)
    code: int | None = None

    @property
    def mark(self) -> str:
        """Is in the environment of all its processes."""
        return f"campaign-{os.getpid()}-fault-{self.number}-"


class Running:
    """A command under way."""

    def __init__(self, bench: Bench, fault: Fault, argv: Sequence[str], folder: Path, **options: int) -> None:
        self.fault, self.folder = fault, folder
        self.process = bench.start(tuple(argv), folder, fault.mark, **options)
        self.started = time.monotonic()
        self.ended_s = 0.0
        """How long it went on after the fault."""

    def alive(self) -> bool:
        return self.process.poll() is None

    def wait_until(self, seconds: float) -> bool:
        """So long after its start, and it is still there."""
        while self.alive() and time.monotonic() - self.started < seconds:
            time.sleep(STEP_S)
        return self.alive()

    def target(self, role: str, chance: random.Random) -> int | None:
        """A process of that role, which is waited for; None where the command ended without one."""
        while self.alive():
            if role == "parent":
                return self.process.pid
            found = [pid for pid, name in processes_below(self.process.pid).items() if name == role]
            if found:
                return chance.choice(found)
            time.sleep(STEP_S)
        return None

    def listens(self) -> bool:
        """Whether the parent has begun to take signals for interrupts: waits until it has, or is old.

        Python itself catches SIGINT from its start; SIGHUP is the last of those that llmperf catches.
        """
        deadline = time.monotonic() + 1.0
        while self.alive():
            caught = next(line for line in _status(self.process.pid) if line.startswith("SigCgt"))
            if int(caught.split()[1], 16) >> (signal.SIGHUP - 1) & 1:
                return True
            if time.monotonic() > deadline:
                return True
            time.sleep(STEP_S)
        return False

    def end(self, limit_s: float) -> int | None:
        """Its exit code; None where it had to be killed, not counting the time in which others had the core."""
        began, before = time.monotonic(), waited_for_a_core_s(self.process.pid)
        while self.alive():
            waited = waited_for_a_core_s(self.process.pid)
            self.ended_s = time.monotonic() - began - max(0.0, waited - before)
            if self.ended_s > limit_s:
                self.fault.found.add("hangs over 10 s", f"{self.fault.what}: {limit_s:.0f} s after it")
                end_all(marked(self.fault.mark))
                self.process.wait()
                return None
            time.sleep(STEP_S)
        self.fault.code = self.process.returncode
        return self.process.returncode

    def judge(self, command: Command, allowed: Collection[int], *, killed: bool = False) -> None:
        """Its exit code, its output, its runs, and what is left of it."""
        found, code = self.fault.found, self.fault.code
        check_orphans(found, self.fault.mark)
        if code is None:
            return
        output = (self.folder / "output.txt").read_text(errors="replace")
        check_output(found, code, output, {*allowed} | ({-signal.SIGKILL} if killed else set()))
        if command.leaves is not None:
            for run in runs_below(self.folder / command.leaves):
                alone = run == self.folder / RUN
                noted = not alone and is_noted(self.folder / command.leaves, run)
                check_run(found, run, code if alone else _own_code(run), killed=killed or noted)


def _status(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/status").read_text().splitlines()
    return ["SigCgt: 0"]


def _own_code(run: Path) -> int:
    """What a run among several says itself: the command's own exit code is that of all of them."""
    code = json.loads((run / "run.json").read_bytes()).get("exit_code")
    return -1 if code is None else int(code)


def is_noted(sweep: Path, run: Path) -> bool:
    """Whether the sweep says of a point's run that it ended before it could say so itself."""
    return (sweep / "control" / f"{run.name}.json").exists() and _own_code(run) == -1


def runs_below(folder: Path) -> list[Path]:
    return sorted({path.parent for path in folder.rglob("run.json")} | ({folder} if folder.name == RUN else set()))


def check_orphans(found: Findings, mark: str) -> None:
    deadline = time.monotonic() + ORPHANS_S
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(10 * STEP_S)
    if left:
        lines = [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")[:200] for pid in left]
        found.add("orphans", str(lines))
        end_all(left)
