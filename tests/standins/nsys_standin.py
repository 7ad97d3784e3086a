"""A strict stand-in for nsys: documented options only, a real child, captures that open where nsys opens them.

Ways to fail (NSIGHT_STANDIN_FAIL): no-report, importer-missing, disk-full, profiler-busy, driver-mismatch, hang,
tool-crash, fails-after, report-broken, export-fails, loses-ranges (those called decode). What it prints was seen in
recorded output of the real tool where the tests' `recorded` folder has it; nothing else about its texts is meant to be
exact.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from llm_perf_opt.tools.options import parse_version
from tests.standins.common import (
    NO_EXTENSIONS,
    PROFILER_CALLS,
    Arguments,
    Child,
    fail_mode,
    hang,
    kernel_of,
    parse,
    start_child,
)
from tests.standins.recorder import Event

DEFAULT_VERSION = "2026.1.1.204"
APIS = frozenset(
    """
    cuda cuda-sw nvtx cublas cublas-verbose cusparse cusparse-verbose cudnn cudla cudla-verbose cusolver
    cusolver-verbose opengl opengl-annotations openacc openmp osrt mpi nccl nvvideo vulkan vulkan-annotations
    openxr openxr-annotations oshmem ucx python-gil gds none
    """.split()  # noqa: SIM905
)
SIGNALS = {"sigterm": signal.SIGTERM, "sigkill": signal.SIGKILL}


def version() -> str:
    return os.environ.get("NSIGHT_STANDIN_VERSION", DEFAULT_VERSION)


def refuse(problem: str) -> NoReturn:
    print(f"unrecognised option or value: {problem}\n\nusage: nsys profile [<args>] [application] [<application args>]")
    raise SystemExit(1)


@dataclass
class Collection:
    """One report in the making."""

    events: list[dict[str, Any]] = field(default_factory=list)
    kernels: list[dict[str, Any]] = field(default_factory=list)
    start_ns: int = 0
    end_ns: int = 0


class Session:
    """Follows the child's events, opening and closing collections as the options say."""

    def __init__(self, arguments: Arguments, child: Child) -> None:
        self.child = child
        self.range = arguments.one("capture-range", "none")
        self.end = arguments.one("capture-range-end", "stop-shutdown") if self.range != "none" else "none"
        trigger, at, domain = arguments.one("nvtx-capture").rpartition("@")
        self.trigger = trigger if at else domain
        self.domain: str | None = domain if at else None
        env = dict(item.split("=", 1) for option in arguments.all("env-var") for item in option.split(",") if item)
        registered_only = {**os.environ, **env}.get("NSYS_NVTX_PROFILER_REGISTER_ONLY", "1")
        self.plain_strings = registered_only == "0"
        self.kill_signal = self._signal(arguments.one("kill", "sigterm"))
        self.traces_cuda = "cuda" in arguments.one("trace", "cuda").split(",")
        self.collections: list[Collection] = []
        self.current: Collection | None = None
        self.depth: dict[tuple[int, int, str | None], int] = {}
        self.opened_at: tuple[tuple[int, int, str | None], int] | None = None
        self.most = self._most()
        if self.range == "none":
            self._open(time.monotonic_ns())

    @staticmethod
    def _signal(name: str) -> int:
        if name == "none":
            return 0
        return int(name) if name.isdigit() else int(SIGNALS[name])

    def _most(self) -> int | None:
        words = self.end.split(":")
        if words[0] in ("stop", "stop-shutdown"):
            return 1
        return int(words[1]) if words[0].startswith("repeat") and len(words) > 1 and words[1].isdigit() else None

    def handle(self, event: Event) -> None:
        key = (event.pid, event.tid, event.domain)
        if event.event == "push":
            self.depth[key] = self.depth.get(key, 0) + 1
        if self.current is None and self._opens(event):
            self._open(event.ns)
            print("Capture range started in the application.", flush=True)
            self.opened_at = (key, event.id or self.depth.get(key, 0))
        if self.current is not None:
            self.current.events.append(asdict(event))
            kernel = kernel_of(event)
            if kernel is not None and self.traces_cuda:
                self.current.kernels.append({"name": kernel, "start": event.ns, "pid": event.pid})
        if self.current is not None and self.range != "none" and self._closes(event, key):
            self._range_ended(event.ns)
        if event.event == "pop":
            self.depth[key] = max(0, self.depth.get(key, 0) - 1)

    def _opens(self, event: Event) -> bool:
        if self.most is not None and len(self.collections) >= self.most:
            return False
        if self.range == "cudaProfilerApi":
            return event.event == "mark" and event.name == PROFILER_CALLS[0]
        if self.range != "nvtx" or not self.trigger or event.event not in ("push", "start"):
            return False
        right_domain = self.domain in ("*", event.domain)
        return event.name == self.trigger and right_domain and (event.registered or self.plain_strings)

    def _closes(self, event: Event, key: tuple[int, int, str | None]) -> bool:
        if self.range == "cudaProfilerApi":
            return event.event == "mark" and event.name == PROFILER_CALLS[1]
        if self.opened_at is None:
            return False
        if event.event == "end":
            return (event.pid, event.id) == (self.opened_at[0][0], self.opened_at[1])
        return event.event == "pop" and key == self.opened_at[0] and self.depth.get(key, 0) == self.opened_at[1]

    def _open(self, ns: int) -> None:
        self.current = Collection(start_ns=ns, end_ns=ns)

    def _range_ended(self, ns: int) -> None:
        if self.end == "none":
            return
        print("Capture range ended in the application.", flush=True)
        self._finish(ns)
        last = self.most is not None and len(self.collections) >= self.most
        if last and self.end.split(":")[0] in ("stop-shutdown", "repeat-shutdown") and self.kill_signal:
            self.child.kill(self.kill_signal)

    def _finish(self, ns: int) -> None:
        assert self.current is not None
        self.current.end_ns = ns
        self.collections.append(self.current)
        self.current = None
        self.opened_at = None

    def close(self) -> None:
        """The application ended: what is still open ends with it."""
        if self.current is not None:
            self._finish(time.monotonic_ns())


def profile(words: list[str]) -> int:
    arguments = parse("nsys", "profile", words, version(), refuse)
    for api in arguments.one("trace", "cuda").split(","):
        if api not in APIS:
            refuse(f"--trace does not document {api!r}")
    if not arguments.rest:
        refuse("no application given")
    mode = fail_mode()
    if mode == "hang":
        hang()
    if mode == "tool-crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    env = dict(item.split("=", 1) for option in arguments.all("env-var") for item in option.split(",") if item)
    if parse_version(version())[:2] <= NO_EXTENSIONS:
        env.setdefault("NVTX_RECORDER_FAULT", os.environ.get("NVTX_RECORDER_FAULT", "no-extensions"))
    child = start_child(arguments.rest, env)
    session = Session(arguments, child)
    status = child.follow(session.handle)
    session.close()
    if mode == "fails-after":
        print("Error: the agent did not answer", file=sys.stderr)
        return 1
    written = write_reports(arguments, session, mode)
    print("Generated:")
    for path in written:
        print(f"    {path}")
    if not written:
        print("\tNo reports were generated")
    return status if status >= 0 else 128 - status


def write_reports(arguments: Arguments, session: Session, mode: str) -> list[Path]:
    base = Path(arguments.one("output", "report1"))
    # As releases 2022.4 and 2023.4 do: a single report has no number, whatever the end is.
    repeated = session.end.startswith("repeat") and len(session.collections) > 1
    overwrite = arguments.one("force-overwrite", "false") == "true"
    written: list[Path] = []
    if mode == "no-report":
        return []
    for number, collection in enumerate(session.collections, 1):
        path = base.with_name(base.name + (f".{number}" if repeated else "") + ".nsys-rep")
        if mode == "disk-full":
            print("Error: write failed: No space left on device", file=sys.stderr)
            raise SystemExit(1)
        if mode == "importer-missing":
            print("Importer error status: The importer binary and its dependencies were not found.")
            print("Unable to retrieve the importer version: skipping importation of the QDSTRM file.")
            path = path.with_suffix(".qdstrm")
        if path.exists() and not overwrite:
            print(f"Error: {path} exists; use --force-overwrite=true", file=sys.stderr)
            raise SystemExit(1)
        report = {"version": version(), "command": arguments.rest, "mode": mode, **asdict(collection)}
        path.write_text("broken" if mode == "report-broken" else json.dumps(report))
        written.append(path)
    return written


# The columns that the recorded exports of 2025.1 to 2026.2 have in common, as far as anything here is put into them.
SCHEMA = """
CREATE TABLE StringIds (id INTEGER NOT NULL PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE META_DATA_EXPORT (name TEXT NOT NULL, value TEXT);
CREATE TABLE META_DATA_CAPTURE (name TEXT NOT NULL, value TEXT);
CREATE TABLE ANALYSIS_DETAILS (globalVid INTEGER NOT NULL, duration INTEGER NOT NULL, startTime INTEGER NOT NULL,
    stopTime INTEGER NOT NULL);
CREATE TABLE DIAGNOSTIC_EVENT (timestamp INTEGER NOT NULL, timestampType INTEGER NOT NULL, source INTEGER NOT NULL,
    severity INTEGER NOT NULL, text TEXT NOT NULL, globalPid INTEGER);
CREATE TABLE PROCESSES (globalPid INTEGER, pid INTEGER, name TEXT);
"""
NVTX_SCHEMA = """
CREATE TABLE NVTX_EVENTS (start INTEGER NOT NULL, end INTEGER, eventType INTEGER NOT NULL, rangeId INTEGER,
    category INTEGER, color INTEGER, text TEXT, globalTid INTEGER, endGlobalTid INTEGER, textId INTEGER,
    domainId INTEGER, uint64Value INTEGER, int64Value INTEGER, doubleValue REAL, uint32Value INTEGER,
    int32Value INTEGER, floatValue REAL, jsonTextId INTEGER, jsonText TEXT, binaryData TEXT);
"""
KERNEL_SCHEMA = """
CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER NOT NULL, end INTEGER NOT NULL, deviceId INTEGER NOT NULL,
    contextId INTEGER NOT NULL, greenContextId INTEGER, streamId INTEGER NOT NULL, correlationId INTEGER,
    globalPid INTEGER, demangledName INTEGER NOT NULL, shortName INTEGER NOT NULL, mangledName INTEGER,
    launchType INTEGER, cacheConfig INTEGER, registersPerThread INTEGER NOT NULL, gridX INTEGER NOT NULL,
    gridY INTEGER NOT NULL, gridZ INTEGER NOT NULL, blockX INTEGER NOT NULL, blockY INTEGER NOT NULL,
    blockZ INTEGER NOT NULL, staticSharedMemory INTEGER NOT NULL, dynamicSharedMemory INTEGER NOT NULL,
    localMemoryPerThread INTEGER NOT NULL, localMemoryTotal INTEGER NOT NULL, gridId INTEGER NOT NULL,
    sharedMemoryExecuted INTEGER, graphNodeId INTEGER);
CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INTEGER NOT NULL, end INTEGER NOT NULL, eventClass INTEGER NOT NULL,
    globalTid INTEGER, correlationId INTEGER, nameId INTEGER NOT NULL, returnValue INTEGER NOT NULL,
    callchainId INTEGER);
"""
KERNEL_NS = 1000


class Export:
    """Writes one report as SQLite, tables created only where there is something to put in them, as nsys does."""

    def __init__(self, connection: sqlite3.Connection, report: dict[str, Any]) -> None:
        self.connection = connection
        self.report = report
        self.strings: dict[str, int] = {}
        self.domains: dict[str, int] = {}

    def string(self, value: str) -> int:
        if value not in self.strings:
            self.strings[value] = len(self.strings)
            self.connection.execute("INSERT INTO StringIds VALUES (?, ?)", (self.strings[value], value))
        return self.strings[value]

    def write(self) -> None:
        report = self.report
        self.connection.executescript(SCHEMA)
        facts = [("EXPORT_PRODUCT_NAME", "NVIDIA Nsight Systems"), ("EXPORT_PRODUCT_VERSION", report["version"])]
        self.connection.executemany("INSERT INTO META_DATA_EXPORT VALUES (?, ?)", facts)
        span = (report["end_ns"] - report["start_ns"], report["start_ns"], report["end_ns"])
        self.connection.execute("INSERT INTO ANALYSIS_DETAILS VALUES (281474976710656, ?, ?, ?)", span)
        pids = sorted({event["pid"] for event in report["events"]})
        self.connection.executemany(
            "INSERT INTO PROCESSES VALUES (?, ?, 'python')", [(self._global_pid(pid), pid) for pid in pids]
        )
        if report["mode"] == "driver-mismatch":
            self._diagnostic(
                "Installed CUDA driver version (13.3) is not supported by this build of Nsight Systems. "
                "CUDA trace will be collected using libraries for driver version 12.9"
            )
        elif report["mode"] == "profiler-busy":
            self._diagnostic("CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED: CUDA tracing is not available")
        else:
            self._kernels()
        self._ranges()
        self._environments()

    def _environments(self) -> None:
        """Environments of the processes above, as releases 2023.4 to 2026.1 store those of all processes."""
        pid = os.getpid()
        while pid > 1 and (folder := Path(f"/proc/{pid}")).exists():
            with contextlib.suppress(OSError):
                self.string((folder / "environ").read_bytes().decode(errors="replace"))
            pid = int((folder / "stat").read_text().rpartition(")")[2].split()[1])

    @staticmethod
    def _global_pid(pid: int) -> int:
        return (0x1000000 | 0) << 24 | pid << 24

    def _diagnostic(self, text: str) -> None:
        self.connection.execute("INSERT INTO DIAGNOSTIC_EVENT VALUES (0, 0, 1, 2, ?, NULL)", (text,))

    def _kernels(self) -> None:
        if not self.report["kernels"]:
            return
        self.connection.executescript(KERNEL_SCHEMA)
        for correlation, kernel in enumerate(self.report["kernels"], 1):
            name = self.string(kernel["name"])
            pid = self._global_pid(kernel["pid"])
            start = kernel["start"]
            row = [start, start + KERNEL_NS, 0, 1, None, 7, correlation, pid, name, name, name, 1, 1]
            row += [32, 1, 1, 1, 128, 1, 1, 0, 0, 0, 0, correlation, None, None]
            places = ", ".join("?" * len(row))
            self.connection.execute(f"INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES ({places})", row)
            launch = (start - 500, start - 100, 0, pid, correlation, self.string("cudaLaunchKernel"), 0, None)
            self.connection.execute("INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (?, ?, ?, ?, ?, ?, ?, ?)", launch)

    def _ranges(self) -> None:
        rows: list[list[Any]] = []
        open_pushes: dict[tuple[int, int, str | None], list[list[Any]]] = {}
        open_starts: dict[tuple[int, int], list[Any]] = {}
        for event in self.report["events"]:
            key = (event["pid"], event["tid"], event["domain"])
            if event["name"] == "decode" and self.report["mode"] == "loses-ranges":
                continue
            if event["event"] == "push" or event["event"] == "start":
                row = self._range(event)
                rows.append(row)
                if event["event"] == "push":
                    open_pushes.setdefault(key, []).append(row)
                else:
                    open_starts[event["pid"], event["id"]] = row
            elif event["event"] == "pop" and open_pushes.get(key):
                open_pushes[key].pop()[1] = event["ns"]
            elif event["event"] == "end" and (event["pid"], event["id"]) in open_starts:
                open_starts.pop((event["pid"], event["id"]))[1] = event["ns"]
        if not rows:
            return
        self.connection.executescript(NVTX_SCHEMA)
        for name, number in self.domains.items():
            rows.append([0, None, 75, None, None, None, name, None, None, None, number, *[None] * 9])
        self.connection.executemany(f"INSERT INTO NVTX_EVENTS VALUES ({', '.join('?' * 20)})", rows)

    def _range(self, event: dict[str, Any]) -> list[Any]:
        domain = 0
        if event["domain"] is not None:
            domain = self.domains.setdefault(event["domain"], len(self.domains) + 1)
        text, text_id = (None, self.string(event["name"])) if event["registered"] else (event["name"], None)
        kind = 59 if event["event"] == "push" else 60
        thread = self._global_pid(event["pid"]) | event["tid"]
        return [event["ns"], None, kind, None, None, None, text, thread, None, text_id, domain, *[None] * 9]


def export(words: list[str]) -> int:
    arguments = parse("nsys", "export", words, version(), refuse)
    if len(arguments.rest) != 1:
        refuse("export takes one report")
    source = Path(arguments.rest[0])
    if arguments.one("type", "sqlite") != "sqlite":
        refuse("this stand-in exports SQLite only")
    target = Path(arguments.one("output") or source.with_suffix(".sqlite"))
    try:
        report = json.loads(source.read_text())
    except (OSError, ValueError):
        print(f"ERROR: {source} is not a valid report file", file=sys.stderr)
        return 1
    if fail_mode() == "export-fails":
        print("ERROR: failed to open the report", file=sys.stderr)
        return 1
    if target.exists() and arguments.one("force-overwrite", "false") != "true":
        print(f"ERROR: {target} exists", file=sys.stderr)
        return 1
    target.unlink(missing_ok=True)
    connection = sqlite3.connect(target)
    with connection:
        Export(connection, report).write()
    connection.close()
    print(f"Processing {len(report['events'])} events: \n{target}")
    return 0


def main(words: list[str]) -> int:
    if words in (["--version"], ["-v"]):
        print(f"NVIDIA Nsight Systems version {version()}-261338342291v0")
        return 0
    if words[:1] == ["profile"]:
        return profile(words[1:])
    if words[:1] == ["export"]:
        return export(words[1:])
    return refuse(f"unknown command {words[:1]}")
