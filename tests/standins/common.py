"""What both stand-ins share: strict options, the child under the recorder, and the ways to fail.

Told by environment variables:
    NSIGHT_STANDIN_RECORDER   the compiled NVTX recorder (needed)
    NSIGHT_STANDIN_VERSION    the version to be, and whose options to accept
    NSIGHT_STANDIN_FAIL       how to fail; each stand-in lists its ways
    NVTX_RECORDER_FAULT       how the recorder under the program is at fault (`nvtx_recorder.c`)
    NSIGHT_STANDIN_KERNELS    `marks` (default): marks in the domain `standin` are kernels; `ranges`: every push/pop
                              range also launches one kernel of its name, for workloads that cannot pretend
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from llm_perf_opt.tools.options import ToolName, Version, check, parse_version, used_options
from tests.standins import recorder
from tests.standins.recorder import Event

DOMAIN = "standin"
PROBE = "llmperf probe"
NO_EXTENSIONS: Version = (2023, 4)
"""Up to this release of nsys, NVTX extensions are refused; where that ends was not looked up."""
PROFILER_CALLS = ("cudaProfilerStart", "cudaProfilerStop")


def fail_mode() -> str:
    return os.environ.get("NSIGHT_STANDIN_FAIL", "")


@dataclass
class Arguments:
    """A command line taken apart: option values by long name (several where it was repeated), and the rest."""

    options: dict[str, list[str]] = field(default_factory=dict)
    rest: list[str] = field(default_factory=list)

    def one(self, name: str, default: str = "") -> str:
        return self.options.get(name, [default])[-1]

    def all(self, name: str) -> list[str]:
        return self.options.get(name, [])

    def has(self, name: str) -> bool:
        return name in self.options


def parse(
    tool: ToolName, command: str, words: Sequence[str], version: str, refuse: Callable[[str], NoReturn]
) -> Arguments:
    """Take a command line apart; anything that this version does not document is refused."""
    arguments = Arguments()
    consumed = 0
    for used in used_options(tool, command, words):
        attached = "=" in used.text
        takes_next = used.option is not None and not used.option.flag and not attached
        consumed += 2 if takes_next else 1
        if used.option is not None:
            arguments.options.setdefault(used.option.name, []).append(used.value or "")
    for problem in check(tool, command, words, parse_version(version)):
        refuse(problem)
    arguments.rest = list(words[consumed:])
    if arguments.rest[:1] == ["--"]:
        arguments.rest.pop(0)
    return arguments


@dataclass
class Child:
    """The profiled program under the recorder; `follow` hands out its events while it runs."""

    process: subprocess.Popen[bytes]
    log: Path
    killed: bool = False
    _offset: int = 0
    _probes: set[int] = field(default_factory=set)

    def follow(self, handle: Callable[[Event], None]) -> int:
        """Pass every event to `handle` as it comes until the program has ended; returns its exit status."""
        while True:
            ended = self.process.poll() is not None
            self._read(handle)
            if ended:
                return int(self.process.returncode)
            time.sleep(0.002)

    def _read(self, handle: Callable[[Event], None]) -> None:
        if not self.log.exists():
            return
        with self.log.open("rb") as stream:
            stream.seek(self._offset)
            data = stream.read()
        complete = data[: data.rfind(b"\n") + 1]
        self._offset += len(complete)
        for line in complete.decode().splitlines():
            event = recorder.parse(line)
            # What a process that leaves without cleaning up had sent is mostly lost under nsys 2023.4.4.
            if event.name == PROBE:
                self._probes.add(event.pid)
            if event.pid not in self._probes:
                handle(event)

    def kill(self, number: int) -> None:
        """Signal the program's process group, as nsys does when it shuts a session down."""
        self.killed = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


def start_child(command: Sequence[str], extra_env: dict[str, str] | None = None) -> Child:
    library = os.environ.get("NSIGHT_STANDIN_RECORDER")
    if not library:
        raise SystemExit("stand-in: set NSIGHT_STANDIN_RECORDER to the compiled NVTX recorder")
    log = Path(tempfile.mkdtemp(prefix="nsight-standin-")) / "events.jsonl"
    env = recorder.environment(Path(library), log, {**os.environ, **(extra_env or {})})
    try:
        process = subprocess.Popen(list(command), env=env, process_group=0)
    except OSError as error:
        print(f"error: cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        raise SystemExit(1) from error
    return Child(process, log)


def kernel_of(event: Event) -> str | None:
    """The kernel that this event launches, or None."""
    if event.event == "mark" and event.domain == DOMAIN and event.name not in PROFILER_CALLS:
        return event.name
    if event.event == "push" and os.environ.get("NSIGHT_STANDIN_KERNELS") == "ranges":
        return f"kernel_in_{event.name}"
    return None


def hang() -> NoReturn:
    """Never end, not even on SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("Collecting data...", flush=True)
    while True:
        time.sleep(60)
