"""Recognising why a capture failed, from what the tool printed and what it left.

Pure functions: text and facts in, a `Failure` or None out. A capture is judged by its report: an exit status says
little, since nsys may end the workload itself and both tools pass the workload's status on. Texts are matched by the
shortest part that tells them apart; tests/unit/tools/recorded and docs/nsight/sources.md say where each was seen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from llm_perf_opt.records.tools import Failure, NcuFacts, NsysFacts


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run of a tool ended, as far as the verdict depends on it.

    Attributes:
        output: everything the tool and the workload printed (the log; its tail is enough when it was cut).
        how: a clause, as `Finished.how_it_ended` gives it.
        ok: the tool ended by itself with status 0.
        timed_out: it was stopped at its time limit.
        workload_ok: whether the workload says it finished its work; None when it cannot be told.
        log: where the whole output is, for the message.
    """

    output: str
    how: str
    ok: bool
    timed_out: bool = False
    workload_ok: bool | None = None
    log: str = "the log"


@dataclass(frozen=True, slots=True)
class _Pattern:
    code: str
    text: re.Pattern[str]
    message: str
    remedy: str
    tools: tuple[Literal["nsys", "ncu"], ...] = ("nsys", "ncu")
    exit_code: int = 1


def _pattern(text: str) -> re.Pattern[str]:
    # Tools break their lines at any space. What takes a whole line begins at its start, and a gap between two words is
    # bounded: a search from every place in every line of a program's output has no end.
    return re.compile(text.replace("GAP", r"[^\n]{0,200}").replace(" ", r"\s+"), re.IGNORECASE | re.MULTILINE)


# In the order they are looked for: the first one says what the others follow from. `{found}` is what matched.
_PATTERNS = (
    _Pattern(
        "disk-full",
        _pattern(r"no space left on device|disk quota exceeded"),
        "the disk is full: {found}",
        "free some space where the run directory and TMPDIR are (reports are written to TMPDIR first), or capture "
        "less: a shorter range, fewer APIs in pipeline.nsys.trace, a launch_count",
    ),
    _Pattern(
        "counters-permission",
        _pattern(r"ERR_NVGPUCTRPERM"),
        "this user may not read the GPU's performance counters (ERR_NVGPUCTRPERM)",
        "as root: echo 'options nvidia NVreg_RestrictProfilingToAdminUsers=0' > /etc/modprobe.d/nvidia-profiling.conf "
        "and reboot; in a container add --cap-add SYS_ADMIN; or run as root. "
        "See https://developer.nvidia.com/ERR_NVGPUCTRPERM",
        ("ncu",),
        3,
    ),
    _Pattern(
        "driver-missing",
        _pattern(r"nsight compute failed to connect to the cuda driver|driver could not be loaded"),
        "ncu found no NVIDIA driver: {found}",
        "run on a machine with an NVIDIA GPU and its driver; in a container give it the GPU (--gpus all)",
        ("ncu",),
        3,
    ),
    _Pattern(
        "driver-mismatch",
        _pattern(r"cuda driver is not compatible with nsight compute|failed to load nsight compute cuda modules"),
        "the installed driver and this ncu do not fit together: {found}",
        "install the Nsight Compute of the driver's CUDA version (nvidia-smi shows it), or a newer driver; "
        "LLMPERF_NCU chooses among several installed ones",
        ("ncu",),
        3,
    ),
    _Pattern(
        "profiler-busy",
        _pattern(
            r"driver resource was unavailable|concurrently collecting profiling data"
            r"|another profiler is already attached"
            r"|CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED|CUPTI_ERROR_HARDWARE_BUSY"
        ),
        "another profiler holds the GPU's counters or the process: {found}",
        "stop what else profiles (DCGM: dcgmi profile --pause; a second nsys or ncu; torch.profiler or another CUPTI "
        "client inside the workload) and run again",
    ),
    _Pattern(
        "range-replay-unsupported",
        _pattern(
            r"^[^\n]*unsupported (?:cuda )?api[^\n]*"
            r"|^[^\n]*not supported (?:during|with|in) range(?:-based)? replay[^\n]*"
            r"|^[^\n]*only supported with kernel replay[^\n]*"
        ),
        "this replay mode cannot do what was asked of it: {found}",
        "for a call that cannot be replayed set pipeline.ncu.ncu_cli.replay_mode: app-range, which runs the workload "
        "again instead; for an option (kernel_name, extra_args) leave it out with ranges, or set replay_mode: kernel",
        ("ncu",),
    ),
    _Pattern(
        "importer-missing",
        _pattern(r"importer binary and its dependencies were not found|unable to retrieve the importer version"),
        "nsys collected its data but could not make a report of it: its importer (QdstrmImporter) is missing",
        "install the host part of the same version too (the nsight-systems package, not only its target part), then "
        "convert what was collected: QdstrmImporter --input-file=RUN.qdstrm; `llmperf import` reads the result",
        ("nsys",),
        3,
    ),
    _Pattern(
        "tool-failed",
        _pattern(r"connection to agent lost"),
        "the part of nsys that collects has crashed ({found}), with nothing to show for it",
        "run it again: releases were seen to do so now and then; where it stays so, install another one",
        ("nsys",),
    ),
    _Pattern(
        "option-refused",
        _pattern(
            r"unrecogni[sz]ed option[^\n]*|illegal --[^\n]*|ambiguous option[^\n]*"
            r"|^[^\n]*option GAP is invalid[^\n]*"
            r"|option GAP (?:cannot be specified more than once|did not match any section|is not supported with[^\n]*)"
            r"|the --\S+ option is only allowed [^\n]*"
            r"|invalid configuration for nvtx-(?:in|ex)clude[^\n]*"
        ),
        "the tool refused an option: {found}",
        "correct extra_args (an option that has a key of its own is set by that), or install a version that knows the "
        "option (llmperf doctor shows what is installed)",
    ),
)

SEARCHED_CHARS = 1 << 18
"""At either end of a log."""
_LONG_LINE = re.compile(r"^([^\n]{500})[^\n]{100,}([^\n]{500})$", re.MULTILINE)
_NOTHING_PROFILED = _pattern(r"no (kernels|ranges) were profiled")
_AVAILABLE_KERNELS = re.compile(r"Available Kernels:\n((?:\s*\d+\.[^\n]*\n?)+)")
_APPLICATION_ERROR = _pattern(r"the application returned an error code \((\d+)\)")
_POINTS_ELSEWHERE = re.compile(r"https?://\S+$|please refer to\b|use --help\b", re.IGNORECASE)
_NSYS_AT_ITS_END = re.compile(r"^Generated:", re.MULTILINE)
_RANGE_STARTED = "Capture range started in the application"


def _searched(output: str) -> str:
    """What a tool's words are looked for in: it speaks at the ends of a log and in short lines, its program anyhow."""
    if len(output) > 2 * SEARCHED_CHARS:
        output = f"{output[:SEARCHED_CHARS]}\n{output[-SEARCHED_CHARS:]}"
    # One space between words and no empty line, so that a pattern's space is one character.
    lines = (" ".join(line.split()) for line in output.split("\n"))
    return _LONG_LINE.sub(r"\1 … \2", "\n".join(line for line in lines if line))


def find_message(tool: Literal["nsys", "ncu"], output: str, *, but: str | None = None) -> Failure | None:
    """The failure that the tool's own words name (one other than `but`), or None."""
    searched = _searched(output)
    for pattern in _PATTERNS:
        found = pattern.text.search(searched) if tool in pattern.tools and pattern.code != but else None
        if found is not None:
            words = " ".join(found[0].split()).removeprefix("==ERROR== ")
            message = pattern.message.replace("{found}", words)
            return Failure(code=pattern.code, message=message, remedy=pattern.remedy, exit_code=pattern.exit_code)
    return None


def judge_nsys(
    ending: Ending,
    *,
    trigger: str | None,
    reports: Sequence[str],
    streams: Sequence[str] = (),
    facts: Sequence[NsysFacts] = (),
    expects_kernels: bool = True,
) -> Failure | None:
    """Why this nsys capture is no good, or None when it holds what was asked for.

    Args:
        trigger: what opened the capture, in words (`the NVTX range "decode"`, `cudaProfilerStart`); None without one.
        reports: names of the report files it left.
        streams: names of `.qdstrm` files it left: data that was not made a report.
        facts: of each report whose export could be read.
        expects_kernels: False when CUDA was not traced or the workload runs on a CPU.
    """
    if ending.timed_out:
        return _timeout("nsys", ending)
    if not reports:
        return _no_nsys_report(ending, trigger, streams)
    if len(facts) < len(reports):
        # What was printed by the export explains it where it can be explained.
        return find_message("nsys", ending.output) or Failure(
            code="report-broken",
            message=f"nsys left {_listed(reports)}, of which {len(reports) - len(facts)} could not be read",
            remedy=f"run nsys export on it and look at {ending.log}; a report cut short by a kill cannot be repaired",
        )
    if expects_kernels and not any(device_work(item) for item in facts):
        return _no_nsys_kernels(ending, facts, trigger)
    return None


def device_work(facts: NsysFacts) -> int:
    """How much ran on a GPU: kernels, graphs traced whole, copies and sets."""
    return facts.kernels + facts.graph_launches + facts.copies


def workload_remark(tool: Literal["nsys", "ncu"], ending: Ending, *, ended_by_tool: bool = False) -> str | None:
    """What must be said of a good capture whose workload failed all the same, one rank of several for instance.

    Args:
        ended_by_tool: the tool may end the workload itself, so that its status says nothing.
    """
    failed = _workload_failed(ending) if tool == "nsys" else _failed_under_ncu(ending)
    if ended_by_tool or not failed:
        return None
    return f"the workload failed under {tool} ({tool} {ending.how}): the capture ends where it did; see {ending.log}"


def _workload_failed(ending: Ending) -> bool:
    # nsys that got to its end passes the status of the workload on.
    passed_on = ending.workload_ok is None and not ending.ok and _NSYS_AT_ITS_END.search(ending.output) is not None
    return ending.workload_ok is False or passed_on


def _failed_under_ncu(ending: Ending) -> bool:
    crashed = _APPLICATION_ERROR.search(ending.output) is not None
    return ending.workload_ok is False or (ending.workload_ok is None and crashed)


def _no_nsys_report(ending: Ending, trigger: str | None, streams: Sequence[str]) -> Failure:
    # A second CUPTI client (the workload may well complain of one) costs kernels, not the report.
    named = find_message("nsys", ending.output, but="profiler-busy")
    if named is not None:
        return named
    if ending.workload_ok is False or (_workload_failed(ending) and not streams):
        return _workload_crashed("nsys", ending, trigger)
    if streams:
        return Failure(
            code="importer-missing",
            message=f"nsys left {_listed(streams)} but no report: the data was collected and not imported",
            remedy=f"convert it with QdstrmImporter --input-file={streams[0]} of the same version; see {ending.log}",
        )
    if trigger is not None and _RANGE_STARTED not in ending.output and (ending.ok or ending.workload_ok):
        return Failure(
            code="trigger-never-matched",
            message=f"nsys waited for {trigger}, which never came, so it captured nothing",
            remedy="check the name and its domain (range@domain, range@* for any domain) against the ranges the "
            "workload pushes, and measure.ranges, which decides which those are; a workload that ends before it gets "
            "there, or whose ranges are pushed by another process, misses it too",
        )
    if not ending.ok:
        return _tool_failed("nsys", ending)
    return Failure(
        code="no-report",
        message="nsys ended without an error and without a report",
        remedy=f"look at {ending.log}; a workload that kills its process group also kills nsys before it writes",
    )


def _no_nsys_kernels(ending: Ending, facts: Sequence[NsysFacts], trigger: str | None) -> Failure:
    diagnostics = [line for item in facts for line in item.diagnostics]
    named = find_message("nsys", "\n".join([*diagnostics, ending.output]))
    if named is not None:
        return named
    driver = next((line for line in diagnostics if "driver version" in line and "not supported" in line), None)
    if driver is not None:
        return Failure(
            code="driver-mismatch",
            message=f"the report holds no kernels; nsys says: {driver}",
            remedy="install an Nsight Systems at least as new as the driver (nvidia-smi shows its CUDA version)",
            exit_code=3,
        )
    # At the end of a range nsys may have ended the workload itself.
    if trigger is None and _workload_failed(ending):
        return _workload_crashed("nsys", ending)
    calls = sum(item.runtime_calls for item in facts)
    heard = f"; nsys warned: {diagnostics[0]}" if diagnostics else ""
    return Failure(
        code="no-kernels",
        message=f"the report holds {calls} CUDA calls and no work of a GPU: no kernel, graph or copy{heard}",
        remedy="check that the workload ran on the GPU inside the captured range, that pipeline.nsys.trace has cuda, "
        "and, for CUDA graphs, cuda_graph_trace: node",
    )


def judge_ncu(
    ending: Ending,
    *,
    filters: Sequence[str],
    reports: Sequence[str],
    facts: NcuFacts | None,
    kernel_name: str | None = None,
) -> Failure | None:
    """Why this ncu run is no good, or None when it profiled something.

    Args:
        filters: the NVTX expressions that were sent.
        reports: names of the report files it left.
        facts: of the raw export; None when there was none or it could not be read.
        kernel_name: the kernel filter that was sent.
    """
    if ending.timed_out:
        return _timeout("ncu", ending)
    if facts is not None and facts.results:
        return None
    named = find_message("ncu", ending.output)
    if named is not None:
        return named
    if _failed_under_ncu(ending):
        return _workload_crashed("ncu", ending)
    if (nothing := _NOTHING_PROFILED.search(ending.output)) is not None:
        return _nothing_profiled(nothing[1].lower(), ending, filters, kernel_name)
    return _no_ncu_result(ending, reports)


def _no_ncu_result(ending: Ending, reports: Sequence[str]) -> Failure:
    if not ending.ok:
        return _tool_failed("ncu", ending)
    if not reports:
        return Failure(
            code="no-report",
            message="ncu ended without an error and without a report",
            remedy=f"look at {ending.log}",
        )
    return Failure(
        code="report-broken",
        message=f"ncu left {_listed(reports)}, which holds no result that could be read",
        remedy=f"run ncu --import on it and look at {ending.log}",
    )


def _nothing_profiled(what: str, ending: Ending, filters: Sequence[str], kernel_name: str | None) -> Failure:
    waited = [f"in NVTX range {item}" for item in filters]
    if kernel_name is not None:
        waited.append(f"of name {kernel_name}")
    if not waited:
        return Failure(
            code="no-kernels",
            message=f"ncu connected to the workload and saw no {what} to profile",
            remedy="check that the workload ran on the GPU, and target_processes: all when it starts other processes",
        )
    available = _AVAILABLE_KERNELS.search(ending.output)
    seen = ""
    if available is not None:
        names = [line.split(".", 1)[1].strip() for line in available[1].strip().splitlines()]
        seen = f"; kernels it saw: {_listed(names)}"
    return Failure(
        code="filter-never-matched",
        message=f"ncu profiled nothing: no {what.removesuffix('s')} matched ({'; '.join(waited)}){seen}",
        remedy="check the names against the ranges the workload pushes (a push/pop range needs a slash: decode/; * is "
        "no glob: regex:decode.*/) and the kernel name against kernel_name_base; kernels launched from another thread "
        "than the range need extra_args: [--nvtx-push-pop-scope, process]",
    )


def ranges_not_sent(tool: str, reason: str) -> Failure:
    """Of a capture that needs NVTX ranges, and a workload that could send none under this tool."""
    return Failure(
        code="ranges-not-sent",
        message=f"{tool} was to capture an NVTX range, and the workload sent none: {reason}",
        remedy=f"install another release of {tool}, or capture without NVTX (pipeline.{tool}.gating_nvtx: false)",
        exit_code=3,
    )


def _timeout(tool: str, ending: Ending) -> Failure:
    return Failure(
        code="timeout",
        message=f"{tool} {ending.how}; what it had collected may be incomplete",
        remedy=f"raise pipeline.{tool}.timeout_s, or capture less: a range, fewer repeats, a launch_count",
    )


def _workload_crashed(tool: str, ending: Ending, trigger: str | None = None) -> Failure:
    code = _APPLICATION_ERROR.search(ending.output)
    status = f" (status {code[1]})" if code else ""
    waited = f"; {trigger}, which opens the capture, had not come by then" if trigger is not None else ""
    return Failure(
        code="workload-crashed",
        message=f"the workload failed under {tool}{status}; {tool} {ending.how}{waited}",
        remedy=f"look at {ending.log}; run it without the tool (llmperf infer) to tell a fault of the workload from "
        "one that only the tool provokes, such as running out of memory",
    )


def _tool_failed(tool: str, ending: Ending) -> Failure:
    said = (line.strip() for line in ending.output.splitlines())
    lines = [line for line in said if line and not _POINTS_ELSEWHERE.match(line)]
    errors = [line for line in lines if line.startswith("==ERROR==") or re.match(r"(?i)(fatal )?error\b", line)]
    last = (errors or lines or ["it printed nothing"])[-1]
    well = "; the workload itself finished" if ending.workload_ok else ""
    return Failure(
        code="tool-failed",
        message=f"{tool} {ending.how}{well}: {last[:300]}",
        remedy=f"look at {ending.log}",
    )


def _listed(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
