"""The kernels that take the time (TOP.yaml), and what limits each (`kernels.json`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from llm_perf_opt.records.base import Record


class TopKernel(Record):
    """All launches of one kernel, and how ncu is told to profile one of them."""

    name: str
    kernel_name: Annotated[str, Field(min_length=1)]
    """ncu's `--kernel-name`, matched against demangled names."""
    launches: Annotated[int, Field(ge=1)] | None = None
    total_ms: float | None = None
    share: float | None = None
    """Of the time of all kernels and whole graphs that were asked for; None where the source does not say that time."""
    mean_us: float | None = None
    max_us: float | None = None
    short_name: str | None = None
    """To read: the function, and what a generic one was instantiated with."""
    category: str | None = None
    """GEMM, attention, …"""
    identity: str | None = None
    """The same for this kernel under nsys, ncu and torch."""
    launch_skip: Annotated[int, Field(ge=0)] = 0
    """Matching launches that pass before the one that is profiled."""


class WholeGraphs(Record):
    """CUDA graphs that were traced whole: the kernels in them are unknown."""

    launches: int
    total_ms: float
    share: float
    """Of the time of all kernels and whole graphs that were asked for."""
    mean_us: float
    max_us: float


@dataclass(frozen=True, slots=True)
class Choice:
    """Which launches are asked for; None stands for all."""

    device: int | None = None
    """Position in the devices of the time line."""
    phase: str | None = None
    """Innermost phase around the launch."""
    range: str | None = None
    """Launched in a range or operator of this name, in others inside it too."""
    rank: int | None = None

    def __bool__(self) -> bool:
        return self != Choice()

    def __str__(self) -> str:
        asked = (("device", self.device), ("phase", self.phase), ("range", self.range), ("rank", self.rank))
        return "".join(f", {name} {value}" for name, value in asked if value is not None)


EVERYTHING = Choice()


@dataclass(frozen=True, slots=True)
class KernelTotal:
    """All launches of one name."""

    name: str
    launches: int
    total_ns: int
    max_ns: int


class TopKernels(Record):
    """TOP.yaml: what `kernels top` prints and `kernels profile` reads."""

    schema_version: Literal[1] = 1
    source: str = ""
    """The file that the times are from, and what was chosen of it."""
    spelling: Literal["nsys", "torch"] = "nsys"
    """Whose demangled names these are: ncu's are as nsys has them, torch's differ where a kernel is a template."""
    kernels: tuple[TopKernel, ...]
    """Longest total time first."""
    kernels_left_out: Annotated[int, Field(ge=0)] = 0
    whole_graphs: WholeGraphs | None = None
    """None where there are none."""


class RuleResult(Record):
    """What one of ncu's own rules said of a launch."""

    section: str
    """Identifier of the section (`SpeedOfLight`)."""
    name: str
    """Identifier of the rule (`SOLBottleneck`)."""
    kind: str
    """`OPT`, `WRN`, `INF` or `ERR`, as ncu prints it."""
    message: str
    speedup_kind: Literal["local", "global"] | None = None
    """What ncu's estimate is of: `global` the duration of the kernel, `local` the use of the unit the rule is about."""
    speedup_pct: float | None = None
    """ncu's estimate; None where it makes none."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One profiled launch (or range) as ncu exported it."""

    source: str
    """The file, or the folder of files, that it is from."""
    process_id: str
    id: str
    kernel: str
    grid: str
    block: str
    device: str
    """Index; empty where the export does not say, as every text here."""
    compute_capability: str
    metrics: dict[str, float]
    """ncu's metric name → value in base units (ns, bytes, Hz, bytes/s, %, …)."""
    gpu: str | None = None
    """Name of the GPU; None where nothing says it."""
    rules: list[RuleResult] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    """Values that were left out, or are not as they should be, and where they stand."""


BoundClass = Literal["compute_bound", "memory_bound", "balanced", "latency_bound", "small_grid", "unknown"]
"""By ncu's own rule for its Speed Of Light section; `small_grid` is its "grid too small to fill the device"."""
ThroughputClass = Literal["compute_bound", "memory_bound", "balanced", "unknown"]
"""By SM against DRAM throughput alone."""


class Value(Record):
    """A figure, or why there is none."""

    value: float | None
    reason: str | None = None
    derived: str | None = None
    """The metrics it was worked out of, where the export has not the metric itself."""


class RooflinePoint(Record):
    """The arithmetic of one kind that a launch did, against what the GPU allows at its intensity."""

    kind: str
    """`fp64`, `fp32`, `fp16` on the ordinary units; `tensor bf16→fp32`, … on tensor cores."""
    flops: float
    """Executed."""
    flops_per_s: float
    intensity_flops_per_byte: float | None
    """Per byte of DRAM traffic."""
    peak_flops_per_s: float | None
    bandwidth_bytes_per_s: float | None
    roof_flops_per_s: float | None
    """The lower of the peak and intensity × bandwidth."""
    share_of_roof: float | None
    ceiling: str | None
    """Where the ceilings are from."""
    reason: str | None = None
    """Why something is null."""


class KernelArithmetic(Record):
    """What all profiled launches of one kernel computed of one kind, together."""

    kernel: str
    kind: str
    """As of a `RooflinePoint`."""
    launches: int
    flops: float
    dram_bytes: float
    duration_ns: float
    """Under ncu."""


class KernelLaunch(Record):
    """One profiled launch and what limits it."""

    source: str
    id: str
    kernel: str
    """As ncu spells it."""
    short_name: str = ""
    """To read: the function, and what a generic one was instantiated with."""
    category: str = ""
    """GEMM, attention, …"""
    identity: str = ""
    """The same for this kernel under nsys, ncu and torch."""
    grid: str | None
    block: str | None
    device: str | None
    compute_capability: str | None
    gpu: str | None
    bound: BoundClass
    why: str
    """The figures and the rule that gave `bound`."""
    sm_dram: ThroughputClass
    sm_dram_why: str
    figures: dict[str, Value]
    """See `llm_perf_opt.analysis.kernels.figures.FIGURES`."""
    flops: dict[str, Value]
    """Executed, by kind; a kind whose counters are not in the file is null."""
    points: tuple[RooflinePoint, ...]
    """Kinds with any arithmetic, most of it first."""
    stalls: dict[str, float]
    """Reason → warps that it kept from issuing, per instruction issued (cycles of a warp per instruction); the highest
    first, empty where the export has none."""
    rules: tuple[RuleResult, ...] = ()
    """What ncu's own rules said, as far as the file holds it."""
    remarks: tuple[str, ...] = ()
    """Values that were left out, or are not as they should be."""


class Unreadable(Record):
    """A file, or a run, that should have held kernels and gave none, or not all."""

    path: str
    reason: str
    exit_code: int = 1


class KernelAnalysis(Record):
    """`kernels.json`."""

    schema_version: Literal[1] = 1
    launches: tuple[KernelLaunch, ...]
    captured_ns: dict[str, int] = Field(default_factory=dict)
    """Kernel → time of all its launches in nsys captures of the same runs; kernels that are in none are left out."""
    problems: tuple[Unreadable, ...] = ()
    note: str
    """What its times are not for."""
