"""Stand-ins for `sbatch`, `srun`, `sacct`, `scancel` and `scontrol`: a cluster of one machine, strict about options.

Options are those of Slurm's manual pages, in `slurm_options.yaml`; whatever else is given ends the command. Jobs are
real processes. What belongs to a job is told by its environment, where Slurm has control groups: a signal reaches every
process of its steps, in whatever session.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import yaml

ASKED, ENDED = 1, 2
"""Of a job that is to be requeued: whether what it was is gone."""
NAMES = ("sbatch", "srun", "sacct", "scancel", "scontrol")
HOME = "SLURM_STANDIN_HOME"
KILL_WAIT_S = 1.0

OPTIONS: dict[str, dict[str, list[str]]] = yaml.safe_load(Path(__file__).with_name("slurm_options.yaml").read_text())
SHORT = {
    "sbatch": {"o": "output", "e": "error", "J": "job-name", "p": "partition", "t": "time", "a": "array", "N": "nodes"},
    "srun": {"o": "output", "e": "error", "u": "unbuffered", "n": "ntasks", "N": "nodes"},
    "sacct": {"o": "format", "j": "jobs", "P": "parsable2", "n": "noheader", "X": "allocations"},
    "scancel": {"s": "signal", "b": "batch", "f": "full"},
}


def refuse(command: str, text: str) -> NoReturn:
    print(f"{command}: {text}", file=sys.stderr)
    sys.exit(1)


def parse(command: str, words: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Options in order and what is left; a word that no manual page has ends the command.

    `srun` and `sbatch` stop at the first word that is no option; `scancel` takes options behind it too.
    """
    valued, maybe, plain = (OPTIONS[command][kind] for kind in ("value", "optional", "none"))
    found: list[tuple[str, str]] = []
    rest = list(words)
    left: list[str] = []
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            if command in ("srun", "sbatch"):
                return found, [word, *rest]
            left.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not word.startswith("--"):
            name = SHORT[command].get(name, "?")
        if name in valued:
            if not equals:
                if not rest:
                    refuse(command, f"option '{word}' requires an argument")
                value = rest.pop(0)
        elif name in plain and equals:
            refuse(command, f"option '--{name}' doesn't allow an argument")
        elif name not in plain and name not in maybe:
            refuse(command, f"unrecognized option '{word}'")
        found.append((name, value))
    return found, left


@contextlib.contextmanager
def database() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(Path(os.environ[HOME]) / "jobs.sqlite", timeout=30)
    try:
        with connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS jobs (id TEXT PRIMARY KEY, number INTEGER, element INTEGER, state TEXT, "
                "script TEXT, cwd TEXT, submitted REAL, requeued INTEGER DEFAULT 0, starts INTEGER DEFAULT 0)"
            )
            yield connection
    finally:
        connection.close()


def setting(name: str, default: float) -> float:
    """Of the test that runs: `settings.json` in the stand-in's home."""
    file = Path(os.environ[HOME]) / "settings.json"
    return float(json.loads(file.read_text()).get(name, default)) if file.exists() else default


def set_state(job: str, state: str) -> None:
    with database() as connection:
        connection.execute("UPDATE jobs SET state = ? WHERE id = ?", (state, job))


def sbatch(words: Sequence[str]) -> None:
    options, rest = parse("sbatch", words)
    if len(rest) != 1 or not Path(rest[0]).is_file():
        refuse("sbatch", f"error: Unable to open file {rest[0] if rest else ''}")
    script = Path(rest[0]).read_text()
    if not script.startswith("#!"):
        refuse("sbatch", "error: This does not look like a batch script.  The first line must start with #!")
    for line in script.splitlines():
        if line.startswith("#SBATCH"):
            more, extra = parse("sbatch", shlex.split(line.removeprefix("#SBATCH")))
            if extra:
                refuse("sbatch", f"error: Unexpected argument {extra[0]}")
            options += more
        elif line.strip() and not line.startswith("#"):
            break
    given = dict(options)
    if given.get("partition", "gpu") not in ("gpu", "cpu"):
        refuse("sbatch", f"error: invalid partition specified: {given['partition']}")
    if not re.fullmatch(r"\d+|\d+:\d+(:\d+)?|\d+-\d+(:\d+){0,2}", given.get("time", "1")):
        refuse("sbatch", "error: Invalid --time specification")
    elements: list[int | None] = [None]
    if "array" in given:
        matched = re.fullmatch(r"(\d+)-(\d+)(%\d+)?", given["array"])
        if matched is None:
            refuse("sbatch", f"error: Invalid job array specification {given['array']}")
        elements = list(range(int(matched[1]), int(matched[2]) + 1))
    with database() as connection:
        number = 1 + (connection.execute("SELECT max(number) FROM jobs").fetchone()[0] or 100)
        for element in elements:
            job = str(number) if element is None else f"{number}_{element}"
            values = (job, number, element, "PENDING", script, str(Path.cwd()), time.time())
            connection.execute(
                "INSERT INTO jobs (id, number, element, state, script, cwd, submitted) VALUES (?,?,?,?,?,?,?)",
                values,
            )
    print(f"Submitted batch job {number}")
    sys.stdout.flush()
    for element in elements:
        job = str(number) if element is None else f"{number}_{element}"
        subprocess.Popen(
            [sys.executable, __file__, "node", job],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def node(job: str) -> None:
    """Run a job when there is a place for it, and again as often as it is requeued."""
    while True:
        with database() as connection:
            connection.execute("BEGIN IMMEDIATE")
            row = connection.execute(
                "SELECT state, script, cwd, number, element FROM jobs WHERE id = ?", (job,)
            ).fetchone()
            if row is None or row[0] != "PENDING":
                return
            running = connection.execute("SELECT count(*) FROM jobs WHERE state = 'RUNNING'").fetchone()[0]
            if running < setting("nodes", 2):
                connection.execute("UPDATE jobs SET state = 'RUNNING', starts = starts + 1 WHERE id = ?", (job,))
        if running >= setting("nodes", 2):
            time.sleep(0.4)
            continue
        _, script, cwd, number, element = row
        env = {**os.environ, "SLURM_JOB_ID": str(number if element is None else 10_000 + number * 100 + element)}
        env |= {
            "SLURM_STANDIN_JOB": job,
            "SLURM_NTASKS": "1",
            "SLURM_JOB_NUM_NODES": "1",
            "SLURM_JOB_NODELIST": "node1",
        }
        if element is not None:
            env |= {"SLURM_ARRAY_JOB_ID": str(number), "SLURM_ARRAY_TASK_ID": str(element)}
        shell = ["bash", "-c", script]
        code = subprocess.run(shell, cwd=cwd, env=env, start_new_session=True, stdin=subprocess.DEVNULL).returncode
        kill_all(job, signal.SIGKILL)
        while requeued(job) == ASKED:  # no job begins again before slurmctld has ended it
            time.sleep(0.05)
        with database() as connection:
            row = connection.execute("SELECT state, requeued FROM jobs WHERE id = ?", (job,)).fetchone()
            if row is None:
                return
            if row[1]:
                connection.execute("UPDATE jobs SET state = 'PENDING', requeued = 0 WHERE id = ?", (job,))
            elif row[0] == "RUNNING":
                connection.execute(
                    "UPDATE jobs SET state = ? WHERE id = ?", ("COMPLETED" if code == 0 else "FAILED", job)
                )
        if not row[1]:
            return


def requeued(job: str) -> int:
    with database() as connection:
        row = connection.execute("SELECT requeued FROM jobs WHERE id = ?", (job,)).fetchone()
    return 0 if row is None else int(row[0])


def end_requeued(job: str) -> None:
    end(job)
    with database() as connection:
        connection.execute("UPDATE jobs SET requeued = ? WHERE id = ?", (ENDED, job))


def processes(job: str, *, steps_only: bool = False) -> list[int]:
    """Everything whose environment says that it is of the job; other clusters number theirs alike."""
    marks = {f"SLURM_STANDIN_JOB={job}".encode(), f"{HOME}={os.environ[HOME]}".encode()}
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            with contextlib.suppress(OSError):
                environ = (process / "environ").read_bytes().split(b"\0")
                of_a_step = any(entry.startswith(b"SLURM_STEP_ID=") for entry in environ)
                if marks <= set(environ) and (of_a_step or not steps_only):
                    found.append(int(process.name))
    return found


def kill_all(job: str, number: int, *, steps_only: bool = False) -> None:
    for pid in processes(job, steps_only=steps_only):
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def srun(words: Sequence[str]) -> None:
    options, command = parse("srun", words)
    given = dict(options)
    number = os.environ["SLURM_JOB_ID"]
    array, element = os.environ.get("SLURM_ARRAY_JOB_ID", number), os.environ.get("SLURM_ARRAY_TASK_ID", "0")
    output = given.get("output", os.devnull)
    for sign, value in (("%j", number), ("%A", array), ("%a", element), ("%t", "0")):
        output = output.replace(sign, value)
    env = {**os.environ, "SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    with Path(output).open("ab") as log:
        step = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    code = step.wait()
    sys.exit(code if code >= 0 else 128 - code)


def sacct(words: Sequence[str]) -> None:
    options, rest = parse("sacct", words)
    if rest:
        refuse("sacct", f"Unknown arguments: {rest[0]}")
    names = dict(options).get("format", "JobID,State").split(",")
    wanted = {part for name, value in options if name == "jobs" for part in value.split(",")}
    with database() as connection:
        rows = connection.execute(
            "SELECT id, number, element, state, submitted FROM jobs ORDER BY number, element"
        ).fetchall()
    print("|".join(names))
    pending: dict[int, list[int]] = {}

    def show(job: str, state: str) -> None:
        known = {"JobID": job, "State": state, "NodeList": "None assigned" if state == "PENDING" else "node1"}
        print("|".join(known[name] for name in names))

    for job, number, element, state, submitted in rows:
        if str(number) not in wanted and job not in wanted:
            continue
        if time.time() - submitted < setting("silent_s", 0):
            continue  # the database of accounting has not heard of it yet
        if state == "PENDING" and element is not None:
            pending.setdefault(number, []).append(element)
            continue
        show(job, state)
        if state != "PENDING":
            show(f"{job}.batch", state.split(" ")[0])
            show(f"{job}.0", state.split(" ")[0])
    for number, elements in pending.items():
        show(f"{number}_[{','.join(map(str, elements))}]", "PENDING")


def scancel(words: Sequence[str]) -> None:
    options, jobs = parse("scancel", words)
    if not jobs:
        refuse("scancel", "error: No job identification provided")
    sent = dict(options).get("signal")
    for job in jobs:
        if sent is not None:
            kill_all(job, signal.Signals[f"SIG{sent.removeprefix('SIG')}"], steps_only=True)
            continue
        set_state(job, "CANCELLED by 1000")
        end(job)


def end(job: str) -> None:
    """As Slurm ends a job: SIGCONT, SIGTERM to its steps, a while later SIGKILL to all."""
    kill_all(job, signal.SIGCONT, steps_only=True)
    kill_all(job, signal.SIGTERM, steps_only=True)
    deadline = time.monotonic() + KILL_WAIT_S
    while processes(job) and time.monotonic() < deadline:
        time.sleep(0.05)
    kill_all(job, signal.SIGKILL)


def scontrol(words: Sequence[str]) -> None:
    if len(words) != 2 or words[0] != "requeue":
        refuse("scontrol", f"invalid keyword: {words[0] if words else ''}")
    job = words[1]
    with database() as connection:
        changed = connection.execute(
            "UPDATE jobs SET requeued = ? WHERE id = ? AND state = 'RUNNING'", (ASKED, job)
        ).rowcount
    if not changed:
        refuse("scontrol", f"Invalid job id specified for job {job}")
    # slurmctld ends it from outside of the job, which may itself have asked.
    subprocess.Popen(
        [sys.executable, __file__, "end", job],
        env={name: value for name, value in os.environ.items() if name not in ("SLURM_STANDIN_JOB", "SLURM_STEP_ID")},
        start_new_session=True,
    )


def end_all() -> None:
    """Forget every job and end what is left of it."""
    with database() as connection:
        jobs = [job for (job,) in connection.execute("SELECT id FROM jobs")]
        connection.execute("DELETE FROM jobs")
    for job in jobs:
        kill_all(job, signal.SIGKILL)


def install(folder: Path) -> Path:
    """The five commands in a folder for PATH, and their home; the folder."""
    commands, home = folder / "bin", folder / "slurm-home"
    commands.mkdir(parents=True)
    home.mkdir()
    for name in NAMES:
        file = commands / name
        file.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(__file__)} {name} "$@"\n')
        file.chmod(0o755)
    return commands


if __name__ == "__main__":
    kind, *arguments = sys.argv[1:]
    if kind in ("node", "end"):
        {"node": node, "end": end_requeued}[kind](arguments[0])
    else:
        {"sbatch": sbatch, "srun": srun, "sacct": sacct, "scancel": scancel, "scontrol": scontrol}[kind](arguments)
