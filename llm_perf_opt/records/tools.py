"""What the Nsight tools are, what they left behind, and why they left nothing."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from llm_perf_opt.records.base import Record
from llm_perf_opt.records.kernels import KernelArithmetic, RuleResult


class Tool(Record):
    """An installed tool."""

    name: Literal["nsys", "ncu"]
    path: str
    version: str
    """As it prints it, without the build (`2025.6.3.541`); empty where it prints none."""
    source: str
    """How it was found: a variable (`LLMPERF_NSYS`), `PATH`, or the folder it is installed in."""


class Failure(Record):
    """Why a capture failed, and what can be done about it."""

    code: str
    """Stable identifier; also the heading of its section in docs/nsight/failures.md."""
    message: str
    remedy: str
    exit_code: int = 1
    """1, or 3 where something needed is missing."""

    @property
    def docs(self) -> str:
        return f"docs/nsight/failures.md#{self.code}"


class NvtxRange(Record):
    """All occurrences of one range in one report."""

    name: str
    domain: str | None
    """None is the default domain."""
    kind: Literal["push_pop", "start_end"]
    registered: bool
    """Sent as a registered string, which is what nsys triggers on unless told otherwise."""
    count: int
    unfinished: int
    """Of those, the ones still open when the capture ended; they have no duration."""
    total_ns: int
    """Durations added up; nested and parallel occurrences count every time."""


class NsysProcess(Record):
    """One process that launched kernels."""

    pid: int
    name: str | None
    kernels: int


class NsysFacts(Record):
    """What one nsys report holds, as far as a verdict needs it."""

    schema_version: Literal[1] = 1
    exporter_version: str | None
    """Version of the nsys that made the SQLite export."""
    kernels: int
    """Rows of the kernel table; 0 also where there is no such table."""
    kernel_ns: int
    """Durations of all kernels added up, over all streams."""
    runtime_calls: int
    """CUDA API calls."""
    graph_launches: int
    """Rows of the CUDA graph table: graphs traced whole leave these instead of kernels."""
    copies: int = 0
    """Rows of the tables of copies and sets on the device."""
    nvtx_events: int
    nvtx_ranges: tuple[NvtxRange, ...]
    """The ranges with the longest total time first; see `nvtx_ranges_left_out`."""
    nvtx_ranges_left_out: int
    processes: tuple[NsysProcess, ...]
    duration_ns: int | None
    """Length of the trace; None where the export does not say."""
    diagnostics: tuple[str, ...]
    """What nsys itself warned of while it collected."""


class NcuMetric(Record):
    """One metric column of a raw export."""

    name: str
    unit: str
    """As ncu prints it (`byte`, `ns`, `%`, …); empty for a plain number."""


class NcuProcess(Record):
    """One process that ncu profiled something of."""

    pid: int
    name: str | None
    """None where the export names none."""
    results: int


class NcuFacts(Record):
    """What one ncu report holds, from its raw CSV export."""

    schema_version: Literal[1] = 1
    results: int
    """Profiled kernel launches, or ranges."""
    kernels: tuple[str, ...]
    """Distinct names, in order of first appearance."""
    processes: tuple[NcuProcess, ...]
    """Those with results, most results first."""
    metrics: tuple[NcuMetric, ...]
    empty_metrics: tuple[str, ...]
    """Metrics without a value in any row: ncu did not know them or could not collect them."""
    remarks: tuple[str, ...] = ()
    """Values that were left out, or are not as they should be."""


class KernelTime(Record):
    """All launches of one kernel name; the deviation is that of a sample (n - 1), 0 for one launch."""

    name: str
    instances: int
    total_ns: int
    mean_ns: float
    median_ns: float
    min_ns: int
    max_ns: int
    std_ns: float


class NsysReport(Record):
    """One report file of a capture."""

    name: str
    facts: NsysFacts


class RangeCheck(Record):
    """The NVTX ranges that llmperf's workload sent, against those that the reports hold."""

    sent: int | None
    """None where the workload was ended before it said how many, or sent none."""
    held: int | None
    """Ranges of the default domain in all reports; None where none could be read."""
    differences: tuple[str, ...] = ()
    """In words, the largest first; empty where the reports hold what they should."""
    differences_left_out: int = 0


class NsysCapture(Record):
    """`nsys/facts.json`: what one capture left."""

    SUMMARY: ClassVar[str] = "nsys"

    schema_version: Literal[1] = 1
    tool: Tool | None
    """None for imported files: how they were captured is not known."""
    trigger: str | None
    """What opened the capture, in words; None when it was open from the start, or that is not known."""
    device: str | None
    """What the workload ran on; None where it is not llmperf's own."""
    range_sender: str | None = None
    """What sent the workload's NVTX ranges (`workload.json` has the names); None when none were sent, or the workload
    is not llmperf's own."""
    range_sender_reason: str | None = None
    """Why it is not the nvtx package as it is."""
    ranges: RangeCheck | None = None
    """None where the workload is not llmperf's own."""
    reports: tuple[NsysReport, ...]
    """Those that could be exported and read, in the order of their ranges."""
    kernels: tuple[KernelTime, ...]
    """Over all reports, longest total time first; see `kernels_left_out`."""
    kernels_left_out: int
    failure: Failure | None = None
    not_cleaned: tuple[str, ...] = ()
    """Stored `.nsys-rep` files: they hold environments of processes, which nothing can take out."""

    def summary(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"kernels"})


class NcuResult(Record):
    """One profiled launch, or one profiled range."""

    id: int
    name: str
    values: dict[str, float | None]
    """Metric → value in the unit that `NcuFacts.metrics` names; None where ncu has none."""
    rules: tuple[RuleResult, ...] = ()
    """What ncu's own rules said, where the source holds it: reports and details pages do, raw pages do not."""


class NcuRegion(Record):
    """What was profiled within one of several NVTX expressions (`ncu/regions/<folder>/report.json`)."""

    schema_version: Literal[1] = 1
    written: str
    """As in the configuration."""
    sent: str
    """As ncu got it."""
    folder: str
    facts: NcuFacts | None
    results: tuple[NcuResult, ...] = ()
    reason: str | None = None
    """Why there are no facts, or no results."""


class NcuCapture(Record):
    """`ncu/facts.json`: what one run of ncu left."""

    SUMMARY: ClassVar[str] = "ncu"

    schema_version: Literal[1] = 1
    tool: Tool | None
    """None for an imported report: how it was captured is not known."""
    replay_mode: str | None
    """As ncu got it; None where that is not known."""
    replay_reason: str | None
    """Why `auto` became that mode; None where the configuration names one."""
    filters: tuple[str, ...]
    """NVTX expressions as ncu got them."""
    steady_step: bool
    """Nothing bounded the launches, so one decode step of llmperf's own choice was profiled."""
    device: str | None
    """What the workload ran on; None where it is not llmperf's own."""
    range_sender: str | None = None
    """What sent the workload's NVTX ranges; None when none were sent, or the workload is not llmperf's own."""
    range_sender_reason: str | None = None
    """Why it is not the nvtx package as it is."""
    passes: tuple[int, ...]
    """How often each result was replayed, as ncu said; empty where it did not."""
    facts: NcuFacts | None
    results: tuple[NcuResult, ...] = ()
    """In the order of their launch, the first of them; see `results_left_out`."""
    results_left_out: int = 0
    arithmetic: tuple[KernelArithmetic, ...] = ()
    """Of the kernels whose FLOPs and DRAM traffic were counted; the longest first, those after the first hundred left
    out."""
    regions: tuple[str, ...] = ()
    """Folders below `regions/`."""
    dropped_metrics: tuple[str, ...] = ()
    """Asked for, and unknown to ncu on this GPU."""
    dropped_sections: tuple[str, ...] = ()
    failure: Failure | None = None

    def summary(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"results", "arithmetic"})
