"""A strict stand-in for ncu: documented options only, a real child, kernels profiled only where its filters let them.

Ways to fail (NSIGHT_STANDIN_FAIL): no-report, counters-permission, driver-missing, driver-mismatch, profiler-busy,
disk-full, range-replay-unsupported, hang, tool-crash, fails-after, report-broken. The texts of these were seen in
recorded output of the real tool where the tests' `recorded` folder has them.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from tests.standins.common import PROFILER_CALLS, Arguments, fail_mode, hang, kernel_of, parse, start_child
from tests.standins.nvtx_state import BadExpressionError, Ranges, matches
from tests.standins.recorder import Event

DEFAULT_VERSION = "2025.3.1.0"
METRICS = {
    "gpu__time_duration": "ns",
    "sm__throughput": "%",
    "gpu__compute_memory_throughput": "%",
    "dram__throughput": "%",
    "dram__bytes_read": "byte",
    "dram__bytes_write": "byte",
    "smsp__inst_executed": "inst",
}
SECTIONS = (
    "SpeedOfLight",
    "SpeedOfLight_RooflineChart",
    "MemoryWorkloadAnalysis",
    "ComputeWorkloadAnalysis",
    "Occupancy",
    "SchedulerStats",
    "WarpStateStats",
    "LaunchStats",
    "InstructionStats",
    "WorkloadDistribution",
)
SETS = {"basic": 45, "detailed": 212, "full": 229, "nvlink": 12, "pmsampling": 30, "roofline": 50}
ERRORS = {
    "counters-permission": "ERR_NVGPUCTRPERM - The user does not have permission to access NVIDIA GPU Performance "
    "Counters on the target device 0. For instructions on enabling permissions and to get more information see "
    "https://developer.nvidia.com/ERR_NVGPUCTRPERM",
    "driver-missing": "Nsight Compute failed to connect to the CUDA driver (stub libcuda.so[.1] on path?).",
    "driver-mismatch": "Cuda driver is not compatible with Nsight Compute.",
    "profiler-busy": "Profiling failed because a driver resource was unavailable. Ensure that no other tool (like "
    "DCGM) is concurrently collecting profiling data. See "
    "https://docs.nvidia.com/nsight-compute/ProfilingGuide/index.html#faq for more details.",
    "disk-full": "Failed to write the report: No space left on device",
    "range-replay-unsupported": "Unsupported API call in the range",  # not a recorded text
}


def version() -> str:
    return os.environ.get("NSIGHT_STANDIN_VERSION", DEFAULT_VERSION)


def error(text: str) -> None:
    print(f"==ERROR== {text}", flush=True)


def refuse(problem: str) -> NoReturn:
    error(f"unrecognised option or value: {problem}")
    raise SystemExit(1)


@dataclass
class OpenRange:
    """A range that lasts: the expressions it was inside of so far, and how many kernels ran."""

    inside: dict[str, None] = field(default_factory=dict)
    kernels: int = 0


@dataclass
class Pass:
    """One run of the application: the launches (or ranges) that the filters let through."""

    arguments: Arguments
    ranges: Ranges
    profiling: bool
    root: int
    """PID of the application that ncu itself started."""
    results: list[dict[str, Any]] = field(default_factory=list)
    seen: dict[str, None] = field(default_factory=dict)
    open: dict[int, OpenRange] = field(default_factory=dict)
    """By process."""
    matched: int = 0

    def handle(self, event: Event) -> None:
        within = self._expressions(event) if self.by_range else []
        self.ranges.apply(event)
        if self.by_range:
            self._follow_range(event, within)
        if event.event == "mark" and event.name in PROFILER_CALLS:
            self.profiling = event.name == PROFILER_CALLS[0]
        kernel = kernel_of(event)
        only_root = self.arguments.one("target-processes", "all") == "application-only"
        if kernel is None or (only_root and event.pid != self.root):
            return
        self.seen.setdefault(kernel)
        if not self.profiling and not self.by_range:
            return
        if self.by_range:
            if event.pid in self.open:
                self.open[event.pid].kernels += 1
        elif self._wanted(kernel, event):
            self._take(kernel, event.pid, [item for item in self.includes if matches(item, self.ranges, event)])

    @property
    def by_range(self) -> bool:
        return self.arguments.one("replay-mode", "kernel") in ("range", "app-range")

    @property
    def includes(self) -> list[str]:
        return self.arguments.all("nvtx-include") if self.arguments.has("nvtx") else []

    def _wanted(self, kernel: str, event: Event) -> bool:
        if self.includes and not any(matches(expression, self.ranges, event) for expression in self.includes):
            return False
        excludes = self.arguments.all("nvtx-exclude") if self.arguments.has("nvtx") else []
        if any(matches(expression, self.ranges, event) for expression in excludes):
            return False
        wanted = self.arguments.one("kernel-name")
        if not wanted:
            return True
        base = self.arguments.one("kernel-name-base", "function")
        name = kernel if base != "function" else re.split(r"[<(]", kernel.removeprefix("void "))[0].split("::")[-1]
        if wanted.startswith("regex:"):
            return re.search(wanted.removeprefix("regex:"), name) is not None
        return wanted == name

    def _take(self, name: str, pid: int, inside: Sequence[str]) -> None:
        self.matched += 1
        if self.matched <= int(self.arguments.one("launch-skip", "0")):
            return
        count = self.arguments.one("launch-count")
        if count and len(self.results) >= int(count):
            return
        self.results.append({"name": name, "pid": pid, "inside": list(inside)})

    def _expressions(self, event: Event) -> list[str]:
        """The expressions that what happens at `event` is inside of; without any, the profiler calls delimit."""
        if self.includes:
            return [expression for expression in self.includes if matches(expression, self.ranges, event)]
        return [""] if self.profiling else []

    def _follow_range(self, event: Event, before: Sequence[str]) -> None:
        """A range lasts while any of the expressions matches; one in which kernels ran is one result."""
        if event.event == "mark" and event.name in PROFILER_CALLS:
            now = [] if self.includes or event.name == PROFILER_CALLS[1] else [""]
        else:
            now = self._expressions(event)
        if now:
            self.open.setdefault(event.pid, OpenRange()).inside.update(dict.fromkeys(now))
        elif before and event.pid in self.open:
            ended = self.open.pop(event.pid)
            if ended.kernels:
                self._take("range", event.pid, list(ended.inside))


def profile(arguments: Arguments) -> int:
    mode = fail_mode()
    _check_profile(arguments)
    if mode == "hang":
        hang()
    if mode == "tool-crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    replays = 2 if arguments.one("replay-mode", "kernel") in ("application", "app-range") else 1
    passes = []
    for _ in range(replays):
        status, done = _run_once(arguments, mode)
        passes.append(done)
        if status:
            error(f"The application returned an error code ({abs(status)}).")
            break
    if mode == "fails-after":
        error("An error occurred while trying to profile.")
        return 1
    first = passes[0]
    if any([item["name"] for item in other.results] != [item["name"] for item in first.results] for other in passes):
        error("The application did not run the same kernels in every pass.")
        return 1
    return _report(arguments, first, status, mode)


def _check_profile(arguments: Arguments) -> None:
    if not arguments.rest:
        refuse("no application given")
    _check_replay(arguments)
    if arguments.has("nvtx-include") and not arguments.has("nvtx"):
        refuse("--nvtx-include without --nvtx")
    for expression in arguments.all("nvtx-include") + arguments.all("nvtx-exclude"):
        try:
            matches(expression, Ranges(), Event("mark", 0, 0, 0, None))
        except (BadExpressionError, re.error) as problem:
            refuse(f"--nvtx-include {expression}: {problem}")
    for section in arguments.all("section"):
        if section not in SECTIONS:
            refuse(f"--section {section}: no such section")
    if arguments.has("set") and arguments.one("set") not in SETS:
        refuse(f"--set {arguments.one('set')}: no such set")


def _check_replay(arguments: Arguments) -> None:
    """What release 2024.1.1 refuses in a replay mode, in its words."""
    replay = arguments.one("replay-mode", "kernel")
    if replay in ("range", "app-range"):
        for name in ("app-replay-buffer", "app-replay-match", "app-replay-mode"):
            if arguments.has(name):
                error(f"Option '--{name}' is not supported with range-based replay modes.")
                raise SystemExit(1)
        selecting = ("kernel-name", "kernel-id", "nvtx-exclude")
        for name in (*selecting, "profile-from-start", "disable-profiler-start-stop", "import-source"):
            if arguments.has(name):
                print("==WARNING== Please consult the documentation for current range-based replay mode limitations.")
                error(f"Option {name} is not supported during range replay.")
                raise SystemExit(1)
    if replay != "kernel" and arguments.one("graph-profiling") == "graph":
        error("Graph-based profiling is only supported with kernel replay.")
        raise SystemExit(1)


def _run_once(arguments: Arguments, mode: str) -> tuple[int, Pass]:
    child = start_child(arguments.rest)
    print(f"==PROF== Connected to process {child.process.pid} ({arguments.rest[0]})", flush=True)
    if mode in ERRORS and mode != "disk-full":
        error(ERRORS[mode])
    from_start = arguments.one("profile-from-start", "on") in ("on", "yes", "1")
    by_range = arguments.one("replay-mode", "kernel") in ("range", "app-range")
    scope = arguments.one("nvtx-push-pop-scope", "thread") == "process"
    done = Pass(arguments, Ranges(scope), profiling=from_start and not by_range, root=child.process.pid)
    status = child.follow(done.handle)
    if mode in ERRORS and mode != "disk-full":
        done.results.clear()
    for number, result in enumerate(done.results):
        print(f'==PROF== Profiling "{result["name"]}" - {number}: 0%....50%....100% - 9 passes')
    print(f"==PROF== Disconnected from process {child.process.pid}", flush=True)
    return status, done


def _report(arguments: Arguments, done: Pass, status: int, mode: str) -> int:
    if not done.results:
        by_range = arguments.one("replay-mode", "kernel") in ("range", "app-range")
        print(f"==WARNING== No {'ranges' if by_range else 'kernels'} were profiled.")
        if done.seen and arguments.has("kernel-name"):
            print("Available Kernels:")
            for number, name in enumerate(done.seen, 1):
                print(f"{number}. {name}")
        return 1 if mode in ERRORS else abs(status)
    if mode == "disk-full":
        error(ERRORS[mode])
        return 1
    output = arguments.one("export")
    if mode == "no-report" or not output:
        return abs(status)
    path = Path(output if output.endswith(".ncu-rep") else f"{output}.ncu-rep")
    if path.exists() and not arguments.has("force-overwrite"):
        error(f"The report {path} exists; use --force-overwrite.")
        return 1
    metrics = [name for option in arguments.all("metrics") for name in option.split(",")]
    report = {"version": version(), "results": done.results, "metrics": metrics or ["gpu__time_duration.sum"]}
    path.write_text("broken" if mode == "report-broken" else json.dumps(report))
    print(f"==PROF== Report: {path}")
    return abs(status)


def import_report(arguments: Arguments) -> int:
    if arguments.has("nvtx"):  # as release 2022.3 says
        print("Invalid option --nvtx specified for --mode import\nUse --help for further details.")
        return 1
    try:
        report = json.loads(Path(arguments.one("import")).read_text())
    except (OSError, ValueError):
        error(f"Failed to open the report file {arguments.one('import')}.")
        return 1
    if wanted := set(arguments.all("nvtx-include")):
        report["results"] = [item for item in report["results"] if wanted & set(item["inside"])]
        if not report["results"]:
            return 0  # as release 2022.3 does: nothing is printed
    if arguments.one("page", "details") == "raw" and arguments.has("csv"):
        print(raw_csv(report), end="")
    else:
        for number, result in enumerate(report["results"]):
            print(f"  {result['name']} (1, 1, 1)x(128, 1, 1), Context 1, Stream 7, Device 0, CC 9.0")
            print("    Section: GPU Speed Of Light Throughput\n    Duration us " + str(number + 1))
    return 0


def raw_csv(report: dict[str, Any]) -> str:
    """One row a result; the units are a row of their own, without an ID."""
    identity = ["ID", "Process ID", "Process Name", "Host Name", "Kernel Name", "Context", "Stream", "Block Size"]
    identity += ["Grid Size", "Device", "CC"]
    units = [METRICS.get(name.split(".")[0], "") for name in report["metrics"]]
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow([*identity, *report["metrics"]])
    writer.writerow(["", "", "", "", "", "", "", "block", "grid", "", "", *units])
    for number, result in enumerate(report["results"]):
        shape = ["(128, 1, 1)", "(1, 1, 1)"]
        row = [number, result["pid"], "python", "127.0.0.1", result["name"], 1, 7, *shape, 0, "9.0"]
        writer.writerow([*row, *(counted(name, 1000 * (number + 1)) for name in report["metrics"])])
    return text.getvalue()


def counted(metric: str, count: int) -> str:
    unit = METRICS.get(metric.split(".", maxsplit=1)[0])
    if unit is None:
        return "n/a"
    return "75.00" if unit == "%" else f"{count:,}"


def query_metrics(_arguments: Arguments) -> int:
    print('"Device","Metric Name","Metric Type","Metric Unit","Metric Description"')
    for name, unit in METRICS.items():
        print(f'"NVIDIA H100","{name}","Counter","{unit}","a metric"')
    return 0


def list_sections(_arguments: Arguments) -> int:
    print('"Identifier","Display Name","Enabled","Filename"')
    for name in SECTIONS:
        print(f'"{name}","{name}","no","{name}.section"')
    return 0


def list_sets(_arguments: Arguments) -> int:
    print('"Identifier","Sections","Enabled","Estimated Metrics"')
    for name, count in SETS.items():
        print(f'"{name}","SpeedOfLight, Occupancy","no","{count}"')
    return 0


def main(words: list[str]) -> int:
    if words in (["--version"], ["-v"]):
        print("NVIDIA (R) Nsight Compute Command Line Profiler\nCopyright (c) 2018-2025 NVIDIA Corporation")
        print(f"Version {version()} (build 36398880) (public-release)")
        return 0
    arguments = parse("ncu", "", words, version(), refuse)
    special: dict[str, Callable[[Arguments], int]] = {
        "query-metrics": query_metrics,
        "list-sections": list_sections,
        "list-sets": list_sets,
        "import": import_report,
    }
    for name, action in special.items():
        if arguments.has(name):
            return action(arguments)
    return profile(arguments)
