"""Faults done to running commands, each at a moment of its own, and what the command came to.

A fault counts as injected only where its target was alive. Processes are found in /proc: Linux only.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaign.commands import COMMANDS, RUN, STANDINS, Bench, Command, processes_below
from tests.campaign.judge import DOCUMENTED, LIMIT_S, Findings, check_output, check_run, digests, end_all, marked
from tests.campaign.server import waited_for_a_core_s

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ORPHANS_S = 6.0
"""What outlives a killed llmperf is gone by then: it is first asked to end."""
STEP_S = 0.005
AT_ONCE = 12
TOGETHER = 3
FAILED = frozenset({0, 1, 3})
"""Of a command of which a part was killed, or for which the disk had no room."""


@dataclass
class Fault:
    """One fault, and what came of it.

    Attributes:
        injected: its target was alive.
    """

    number: int
    command: str
    what: str
    injected: bool = False
    found: Findings = field(default_factory=Findings)
    code: int | None = None


@dataclass
class Bout:
    """One undisturbed length of a command, in which faults are placed."""

    seconds: float
    sizes: dict[str, int]


class Campaign:
    """Faults drawn from one seed, on one checkout."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self.seed = seed
        self.measured: dict[str, Bout] = {}
        self.commands = [command for command in COMMANDS if bench.has_standins or not command.standins]

    def bout(self, command: Command) -> Bout:
        if command.name not in self.measured:
            self.measured[command.name] = Bout(*self.bench.measured_s(command))
        return self.measured[command.name]

    def one(self, number: int) -> Fault:
        """The fault of that number; one that met nobody is not injected, and says so."""
        chance = random.Random(f"{self.seed} fault {number}")
        (kind,) = chance.choices(list(KINDS), [weight for weight, _ in KINDS.values()])
        _, needs = KINDS[kind]
        if not isinstance(needs, str):
            return needs(self, number, chance)
        fitting = [command for command in self.commands if _fits(command, needs)]
        (command,) = chance.choices(fitting, [command.weight for command in fitting])
        folder = self.bench.folder / f"fault-{number}"
        fault = Fault(number, command.name, kind)
        self.bench.lay_out(command, folder)
        try:
            _DO[kind](self, fault, command, folder, chance)
        finally:
            end_all(marked(_mark(fault)))
            shutil.rmtree(folder, ignore_errors=True)
        return fault


def _fits(command: Command, needs: str) -> bool:
    if needs == "parts":
        return len(set(command.roles)) > 1
    return needs == "any" or (needs == "runs" and command.leaves is not None and not command.given[:1] == ("done",))


def _mark(fault: Fault) -> str:
    return f"campaign-{os.getpid()}-fault-{fault.number}"


class Running:
    """A command under way."""

    def __init__(self, bench: Bench, fault: Fault, argv: Sequence[str], folder: Path, **options: int) -> None:
        self.fault, self.folder = fault, folder
        self.process = bench.start(tuple(argv), folder, _mark(fault), **options)
        self.started = time.monotonic()

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

    def listens(self, number: int) -> bool:
        """Whether the parent has begun to take that signal for an interrupt; waits until it has, or has made a run."""
        deadline = time.monotonic() + 1.0
        while self.alive():
            caught = next(line for line in _status(self.process.pid) if line.startswith("SigCgt"))
            if int(caught.split()[1], 16) >> (number - 1) & 1 or any(self.folder.rglob("run.json")):
                return True
            if time.monotonic() > deadline:
                return number != signal.SIGINT
            time.sleep(STEP_S)
        return False

    def end(self, limit_s: float) -> int | None:
        """Its exit code; None where it had to be killed, not counting the time in which others had the core."""
        began = time.monotonic()
        while self.alive():
            if time.monotonic() - began - waited_for_a_core_s(self.process.pid) > limit_s:
                self.fault.found.add("hangs over 10 s", f"{self.fault.what}: {limit_s:.0f} s after it")
                end_all(marked(_mark(self.fault)))
                self.process.wait()
                return None
            time.sleep(STEP_S)
        self.fault.code = self.process.returncode
        return self.process.returncode

    def judge(self, command: Command, allowed: Sequence[int] | frozenset[int], *, killed: bool = False) -> None:
        """Its exit code, its output, its runs, and what is left of it."""
        found, code = self.fault.found, self.fault.code
        check_orphans(found, _mark(self.fault))
        if code is None:
            return
        output = (self.folder / "output.txt").read_text(errors="replace")
        check_output(found, code, output, {*allowed} | ({-signal.SIGKILL} if killed else set()))
        if command.leaves is not None:
            for run in runs_below(self.folder / command.leaves):
                alone = run == self.folder / RUN
                check_run(found, run, code if alone else _own_code(run), killed=killed)


def _status(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/status").read_text().splitlines()
    return ["SigCgt: 0"]


def _own_code(run: Path) -> int:
    """What a run among several says itself: the command's own exit code is that of all of them."""
    import json

    code = json.loads((run / "run.json").read_bytes()).get("exit_code")
    return -1 if code is None else int(code)


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


def interrupt(campaign: Campaign, fault: Fault, command: Command, folder: Path, chance: random.Random) -> None:
    """SIGINT, SIGTERM or SIGHUP to llmperf itself, sometimes twice."""
    number, bout = chance.choice(ENDS), campaign.bout(command)
    twice = chance.random() < 0.25
    fault.what = f"{number.name} to parent{', twice' if twice else ''}"
    running = Running(campaign.bench, fault, command.argv, folder)
    if running.wait_until(chance.uniform(0, bout.seconds)) and running.listens(number) and running.alive():
        running.process.send_signal(number)
        fault.injected = True
        if twice:
            time.sleep(chance.uniform(0, 0.5))
            running.process.send_signal(chance.choice(ENDS))
    running.end(LIMIT_S if fault.injected else 600)
    # One that comes while the process ends is too late to change how it went; what ended is said truthfully.
    running.judge(command, {0, 130})


def kill(campaign: Campaign, fault: Fault, command: Command, folder: Path, chance: random.Random) -> None:
    """SIGKILL to llmperf itself; what is left says how far it got, nothing that was completed is gone, and it goes on."""
    bout = campaign.bout(command)
    fault.what = "SIGKILL to parent"
    before = digests(folder)
    running = Running(campaign.bench, fault, command.argv, folder)
    if running.wait_until(chance.uniform(0.05, bout.seconds)):
        running.process.kill()
        fault.injected = True
    running.end(LIMIT_S if fault.injected else 600)
    running.judge(command, {0}, killed=fault.injected)
    _check_given(fault.found, before, folder)
    if not fault.injected or command.resume is None or not any(folder.rglob("run.json")):
        return
    kept = {run: _completed(run) for run in runs_below(folder / str(command.leaves))}
    again = campaign.bench.run(command.resume, folder, **{})
    fault.found.unless(again.returncode in (0, 5), "lost", f"{command.resume} ends with {again.returncode}: {again.stderr[-600:]}")
    check_output(fault.found, again.returncode, again.stderr, DOCUMENTED)
    for run, files in kept.items():
        there = digests(run)
        for name, sha in files.items():
            fault.found.unless(there.get(name) == sha, "lost", f"{name} of a completed stage was made again")


def _completed(run: Path) -> dict[str, str]:
    """Records of stages that were completed: going on does not touch them."""
    import json

    with contextlib.suppress(OSError, ValueError):
        manifest = json.loads((run / "run.json").read_bytes())
        done = [f"{name}/" for name, entry in manifest["stages"].items() if entry["status"] == "completed"]
        signed: dict[str, str] = manifest["artifacts"]
        return {name: sha for name, sha in signed.items() if name.startswith(tuple(done)) and _is_record(name)}
    return {}


def _is_record(name: str) -> bool:
    return name.endswith((".json", ".jsonl", ".parquet", ".sqlite", ".gz")) and not name.endswith("metrics.json")


def _check_given(found: Findings, before: dict[str, str], folder: Path) -> None:
    """What was there before is there still; reports of a run may be new."""
    after = digests(folder)
    gone = [name for name in before if name not in after or (after[name] != before[name] and not name.startswith("done/"))]
    gone += [name for name in before if name.startswith("done/") and _is_record(name) and after.get(name) != before[name]]
    gone = [name for name in gone if not name.endswith(("run.json", "summary.json"))]
    found.unless(not gone, "lost", f"of what was there before: {gone[:5]}")


def strike(campaign: Campaign, fault: Fault, command: Command, folder: Path, chance: random.Random) -> None:
    """A signal to a process that llmperf started, or to one below it."""
    number = chance.choice((signal.SIGKILL, signal.SIGKILL, *ENDS, signal.SIGSEGV))
    role = chance.choice([role for role in command.roles if role != "parent"])
    bout = campaign.bout(command)
    fault.what = f"{number.name} to {role}"
    running = Running(campaign.bench, fault, command.argv, folder)
    running.wait_until(chance.uniform(0, bout.seconds))
    pid = running.target(role, chance)
    if pid is not None:
        time.sleep(chance.uniform(0, 0.3))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            fault.injected = True
    running.end(3 * bout.seconds + LIMIT_S)
    running.judge(command, FAILED)


def stop(campaign: Campaign, fault: Fault, command: Command, folder: Path, chance: random.Random) -> None:
    """A part that hangs (SIGSTOP), then SIGTERM to llmperf."""
    role = chance.choice([role for role in command.roles if role not in ("parent", "supervisor")])
    bout = campaign.bout(command)
    fault.what = f"SIGSTOP to {role}, SIGTERM to parent"
    running = Running(campaign.bench, fault, command.argv, folder)
    running.wait_until(chance.uniform(0, bout.seconds))
    pid = running.target(role, chance)
    if pid is not None and running.listens(signal.SIGTERM) and running.alive():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            fault.injected = True
        running.process.terminate()
    running.end(LIMIT_S + 5 if pid is not None else 600)  # of which 5 s are left to what does not answer
    running.judge(command, {0, 130})


def fill_disk(campaign: Campaign, fault: Fault, command: Command, folder: Path, chance: random.Random) -> None:
    """A file system with room for a part of what the command leaves; elsewhere a limit below the size of one file."""
    bout = campaign.bout(command)
    assert command.leaves is not None
    below = {name: size for name, size in bout.sizes.items() if name.startswith(f"{command.leaves}/")}
    disk = folder / command.leaves
    disk.mkdir(exist_ok=True)
    room = 4096 * chance.randint(1, max(2, sum(-(-size // 4096) for size in below.values()) + len(below)))
    options: dict[str, int] = {}
    mounted = chance.random() < 0.7 and _mount(disk, room)
    if not mounted:
        largest = sorted(below.values())[-max(1, len(below) // 3) :]
        options["most_file_bytes"] = max(4096, chance.choice(largest) - 1)
        disk.rmdir()
    fault.what = f"disk of {room:,} B" if mounted else f"no file above {options['most_file_bytes']:,} B"
    try:
        running = Running(campaign.bench, fault, command.argv, folder, **options)
        running.end(3 * bout.seconds + LIMIT_S)
        output = (folder / "output.txt").read_text(errors="replace")
        fault.injected = running.fault.code != 0 or "No space left" in output or "File too large" in output
        running.judge(command, FAILED)
    finally:
        if mounted:
            subprocess.run(["umount", "-l", disk], check=True)


def _mount(folder: Path, size: int) -> bool:
    options = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    return os.getuid() == 0 and subprocess.run(options, check=False, capture_output=True).returncode == 0


def remove(campaign: Campaign, fault: Fault, command: Command, folder: Path, chance: random.Random) -> None:
    """The directory that is written, moved away in one step, and in some cases another in its place."""
    bout = campaign.bout(command)
    fault.what = "directory removed"
    assert command.leaves is not None
    run = folder / command.leaves
    running = Running(campaign.bench, fault, command.argv, folder)
    running.wait_until(chance.uniform(0, bout.seconds))
    while running.alive() and not any(run.rglob("run.json")):
        time.sleep(STEP_S)
    if running.alive():
        run.rename(folder / "gone")
        fault.injected = running.alive()
        shutil.rmtree(folder / "gone", ignore_errors=True)
    running.end(3 * bout.seconds + LIMIT_S)
    running.judge(command, FAILED)


def misbehave(campaign: Campaign, number: int, chance: random.Random) -> Fault:
    """A profiled program that hangs, floods, forks or dies."""
    kind, tool = chance.choice(("hang", "flood", "fork", "die", "leave")), chance.choice(("nsys", "ncu"))
    fault = Fault(number, f"{tool} -- command", f"a program that does: {kind}")
    folder = campaign.bench.folder / f"fault-{number}"
    folder.mkdir()
    program = (sys.executable, str(STANDINS / "misbehaving.py"), kind, _mark(fault), str(chance.uniform(0, 0.5)))
    command = Command(fault.command, (tool, f"pipeline.{tool}.timeout_s=3.0", "--output", RUN, "--", *program))
    running = Running(campaign.bench, fault, command.argv, folder)
    fault.injected = running.target("child", chance) is not None
    running.end(30 + LIMIT_S)
    running.judge(command, FAILED)
    if kind == "hang" and fault.injected:
        fault.found.unless(fault.code == 1, "wrong exit codes", f"{fault.code} after a program that hung")
    shutil.rmtree(folder, ignore_errors=True)
    return fault


def together(campaign: Campaign, number: int, chance: random.Random) -> Fault:
    """Many runs that start at once: into one folder of runs, or some into one directory."""
    same = chance.random() < 0.3
    fault = Fault(number, "import", f"{TOGETHER if same else AT_ONCE} at once", injected=True)
    folder = campaign.bench.folder / f"fault-{number}"
    folder.mkdir()
    shutil.copy(campaign.bench.given / "raw.csv", folder)
    argv = ("import", str(folder / "raw.csv"), *(("--output", str(folder / "one")) if same else ()),
            *(() if same else ()))  # fmt: skip
    all_running = []
    for place in range(TOGETHER if same else AT_ONCE):
        own = folder / f"of-{place}"
        own.mkdir()
        (own / "tmp").symlink_to(folder)  # the folder of runs is the same for all
        all_running.append(Running(campaign.bench, fault, argv, own))
    codes = [running.end(60) for running in all_running]
    outputs = [(folder / f"of-{place}" / "output.txt").read_text() for place in range(len(codes))]
    for code, output in zip(codes, outputs, strict=True):
        check_output(fault.found, -1 if code is None else code, output, {0, 2} if same else {0})
    runs = [folder / "one"] if same else sorted((folder / "profile-output").iterdir())
    expected = 1 if same else AT_ONCE
    right = codes.count(0) == expected and len(runs) == expected
    fault.found.unless(right, "lost", f"exit codes {codes}, {len(runs)} runs")
    for run in runs:
        check_run(fault.found, run, 0)
    check_orphans(fault.found, _mark(fault))
    shutil.rmtree(folder, ignore_errors=True)
    return fault


Whole = Callable[[Campaign, int, random.Random], Fault]
Part = Callable[[Campaign, Fault, Command, Path, random.Random], None]
_DO: dict[str, Part] = {
    "interrupt": interrupt, "kill": kill, "strike": strike, "stop": stop, "disk": fill_disk, "remove": remove,
}  # fmt: skip
KINDS: dict[str, tuple[int, str | Whole]] = {
    "interrupt": (8, "any"),
    "kill": (5, "any"),
    "strike": (7, "parts"),
    "stop": (2, "parts"),
    "disk": (6, "runs"),
    "remove": (3, "runs"),
    "misbehave": (4, misbehave),
    "together": (1, together),
}
"""Kind → how often, and the commands that it is done to, or what does it alone."""


def all_faults(package: Path, count: int, seed: int) -> Iterator[Fault]:
    """Faults until `count` were injected; those that met nobody come too."""
    with tempfile.TemporaryDirectory(prefix="campaign-") as name:
        campaign = Campaign(Bench(package, Path(name)), seed)
        number = injected = 0
        while injected < count:
            fault = campaign.one(number)
            injected += fault.injected
            number += 1
            yield fault
