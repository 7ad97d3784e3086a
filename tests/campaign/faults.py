"""Faults done to running commands, each at a moment of its own, and what the command came to.

A fault counts as injected only where its target was alive. Processes are found in /proc: Linux only.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.campaign.commands import COMMANDS, RUN, STANDINS, Bench, Command, NotUndisturbedError
from tests.campaign.judge import DOCUMENTED, LIMIT_S, Findings, check_output, check_run, digests, end_all, marked
from tests.campaign.running import STEP_S, Fault, Running, check_orphans, runs_below
from tests.conftest import REPOSITORY

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TOO_LATE_S = 3.0
"""Who goes on for longer after an interrupt has not heard it."""
AT_ONCE = 12
TOGETHER = 3
FAILED = frozenset({0, 1, 3})
"""Of a command of which a part was killed, or for which the disk had no room."""


@dataclass(frozen=True)
class Bout:
    """An undisturbed command: how long it takes, and the sizes of what it leaves."""

    seconds: float
    sizes: dict[str, int]


class Campaign:
    """Faults drawn from one seed, on one checkout."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self.seed = seed
        self._measured: dict[str, Bout] = {}
        self._commands = [command for command in COMMANDS if bench.has_standins or not command.standins]

    def bout(self, command: Command) -> Bout:
        """Measured once.

        Raises:
            NotUndisturbedError: it fails by itself.
        """
        if command.name not in self._measured:
            self._measured[command.name] = Bout(*self.bench.measured_s(command))
        return self._measured[command.name]

    def one(self, number: int) -> Fault:
        """The fault of that number; one that met nobody is not injected, and says so."""
        chance = random.Random(f"{self.seed} fault {number}")
        (name,) = chance.choices(list(KINDS), [kind.weight for kind in KINDS.values()])
        fitting = [command for command in self._commands if KINDS[name].fits(command)]
        (command,) = chance.choices(fitting, [command.weight for command in fitting])
        folder = self.bench.folder / f"fault-{number}"
        fault = Fault(number, name, command.name)
        try:
            self.bout(command)
        except NotUndisturbedError as error:
            if self.bench.package == REPOSITORY:
                raise
            self._commands.remove(command)  # an earlier checkout has no such command
            fault.what = f"not tried: {error}"
            return fault
        self.bench.lay_out(command, folder)
        try:
            KINDS[name].do(self, fault, command, folder, chance)
        finally:
            end_all(marked(fault.mark))
            shutil.rmtree(folder, ignore_errors=True)
        return fault


def interrupt(campaign: Campaign, fault: Fault, command: Command, folder: Path, chance: random.Random) -> None:
    """SIGINT, SIGTERM or SIGHUP to llmperf itself, sometimes twice."""
    number, bout = chance.choice(ENDS), campaign.bout(command)
    twice = chance.random() < 0.25
    fault.what = f"{number.name} to parent{', twice' if twice else ''}"
    running = Running(campaign.bench, fault, command.argv, folder)
    if running.wait_until(chance.uniform(0, bout.seconds)) and running.listens() and running.alive():
        running.process.send_signal(number)
        fault.injected = True
        if twice:
            time.sleep(chance.uniform(0, 0.5))
            running.process.send_signal(chance.choice(ENDS))
    running.end(LIMIT_S if fault.injected else 600)
    # One that comes while the process ends is too late to change how it went; what ended is said truthfully.
    in_time = fault.injected and running.ended_s > TOO_LATE_S
    running.judge(command, {130} if in_time else {0, 130})


def kill(campaign: Campaign, fault: Fault, command: Command, folder: Path, chance: random.Random) -> None:
    """SIGKILL to llmperf itself; what is left says how far it got, nothing completed is gone, and it goes on."""
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
    again = campaign.bench.run(command.resume, folder)
    # Killed in the moment between its manifest and its configuration, it has nothing to go on with, and says so.
    nothing = not any(kept.values()) and "was ended before it began" in again.stderr
    fault.found.unless(
        again.returncode in (0, 5) or nothing,
        "lost",
        f"{command.resume} ends with {again.returncode}: {again.stderr[-600:]}",
    )
    check_output(fault.found, again.returncode, again.stderr, DOCUMENTED)
    for run, files in kept.items():
        there = digests(run)
        for name, sha in files.items():
            fault.found.unless(there.get(name) == sha, "lost", f"{name} of a completed stage was made again")


def _completed(run: Path) -> dict[str, str]:
    """Records of stages that were completed: going on does not touch them."""
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
    gone = [
        name for name in before if name not in after or (after[name] != before[name] and not name.startswith("done/"))
    ]
    gone += [
        name for name in before if name.startswith("done/") and _is_record(name) and after.get(name) != before[name]
    ]
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
    if pid is not None and running.listens() and running.alive():
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


def misbehave(campaign: Campaign, fault: Fault, command: Command, folder: Path, chance: random.Random) -> None:
    """A profiled program that hangs, floods, forks or dies."""
    kind, tool = chance.choice(("hang", "flood", "fork", "die", "leave")), command.argv[0]
    fault.what = f"a program that does: {kind}"
    program = (sys.executable, str(STANDINS / "misbehaving.py"), kind, fault.mark, str(chance.uniform(0, 0.5)))
    argv = (tool, f"pipeline.{tool}.timeout_s=3.0", "--output", RUN, "--", *program)
    running = Running(campaign.bench, fault, argv, folder)
    fault.injected = running.target("child", chance) is not None
    running.end(30 + LIMIT_S)
    running.judge(command, FAILED)
    if kind == "hang" and fault.injected:
        fault.found.unless(fault.code == 1, "wrong exit codes", f"{fault.code} after a program that hung")


def together(campaign: Campaign, fault: Fault, command: Command, folder: Path, chance: random.Random) -> None:
    """Many runs that start at once: into one folder of runs, or some into one directory."""
    same = chance.random() < 0.3
    count, expected = (TOGETHER, 1) if same else (AT_ONCE, AT_ONCE)
    fault.what, fault.injected = f"{count} at once into one {'directory' if same else 'folder of runs'}", True
    argv = ("import", str(folder / "raw.csv"), *(("--output", str(folder / "one")) if same else ()))
    all_running = []
    for place in range(count):
        own = folder / f"of-{place}"
        own.mkdir()
        (own / "tmp").symlink_to(folder)  # the folder of runs is the same for all
        all_running.append(Running(campaign.bench, fault, argv, own))
    codes = [running.end(60) for running in all_running]
    for code, running in zip(codes, all_running, strict=True):
        output = (running.folder / "output.txt").read_text()
        check_output(fault.found, -1 if code is None else code, output, (0, 2) if same else (0,))
    runs = [folder / "one"] if same else sorted((folder / "profile-output").iterdir())
    right = codes.count(0) == expected and len(runs) == expected
    fault.found.unless(right, "lost", f"exit codes {codes}, {len(runs)} runs")
    for run in runs:
        check_run(fault.found, run, 0)
    check_orphans(fault.found, fault.mark)


@dataclass(frozen=True)
class Kind:
    """A kind of fault: how often it is drawn, the commands that it is done to, and how."""

    weight: int
    fits: Callable[[Command], bool]
    do: Callable[[Campaign, Fault, Command, Path, random.Random], None]


def _any(_command: Command) -> bool:
    return True


def _parts(command: Command) -> bool:
    return len(set(command.roles)) > 1


def _writes(command: Command) -> bool:
    return command.leaves is not None and "done" not in command.given


KINDS = {
    "interrupted": Kind(8, _any, interrupt),
    "killed": Kind(5, _any, kill),
    "a part killed": Kind(7, _parts, strike),
    "a part hangs": Kind(2, lambda command: "child" in command.roles or "worker" in command.roles, stop),
    "disk full": Kind(6, _writes, fill_disk),
    "directory removed": Kind(3, _writes, remove),
    "misbehaving program": Kind(4, lambda command: command.name in ("nsys -- command", "ncu -- command"), misbehave),
    "started together": Kind(2, lambda command: command.name == "import", together),
}


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
