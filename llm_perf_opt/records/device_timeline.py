"""Where the time of the devices of one capture went: `timeline` in `--json`, `timeline.json` in a run.

Durations are whole nanoseconds. A part that is about windows of time (devices, phases, steps, ranges) counts what the
device did in them, whoever launched it; a part that is about operators, ranges and kernels counts by launch. The two
are never added.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from llm_perf_opt.records.base import Record
from llm_perf_opt.records.ranks import RankComparison, RankSkew

SCHEMA_VERSION = 1


class Parts(Record):
    """A time of one device. Compute, exposed communication, exposed copies and idle add up to the wall time."""

    wall_ns: int
    busy_ns: int
    """While anything ran on it: the union over streams."""
    compute_ns: int
    """While a kernel or graph ran that is no communication."""
    communication_ns: int
    """While a kernel ran that is communication."""
    exposed_communication_ns: int
    """Of that, while nothing was computed."""
    copy_ns: int
    """While a copy or set ran."""
    exposed_copy_ns: int
    """Of that, while nothing was computed or communicated."""
    idle_ns: int
    idle_by_cause: dict[str, int]
    """Adds up to the idle time."""


class Distrusted(Record):
    """Device work whose times cannot be; it is part of no other figure."""

    reason: str
    count: int
    total_ns: int
    """Their durations as far as they have one, added up."""


class GapStatistics(Record):
    """Times between the first and the last work of a device in which it was idle."""

    count: int
    total_ns: int
    median_ns: int
    p95_ns: int
    longest_ns: int


class LaunchStatistics(Record):
    """From the calls that launched something to what they launched."""

    launches: int
    """Whose call was recorded."""
    latency_median_ns: int | None
    """From the start of the call to the start of the work, where the device had nothing else to do."""
    latency_p95_ns: int | None
    latency_launches: int
    """Those that this is of."""
    queued_mean: float
    """Work that was launched and had not started when the next was launched."""
    queued_most: int


class DeviceTime(Parts):
    """One GPU, from the start of its first work to the end of its last."""

    device: int
    """Position in this list; other tables refer to it."""
    rank: int | None = None
    """Where the files of several ranks were read together."""
    gpu: str | None
    """Which physical GPU, where the file says so; else GPUs are told apart by process and number."""
    process: int | str | None
    """Whose numbering `ordinal` is of; None where it is that of the machine."""
    ordinal: int
    name: str | None
    start_ns: int
    """On the clock of the file."""
    kernels: int
    kernel_ns: int
    """Durations of kernels added up, over all streams."""
    graphs: int
    graph_ns: int
    """Likewise, of CUDA graphs that were traced whole."""
    copies: int
    """Copies and sets."""
    streams: int
    concurrent_ns: int
    """While at least two streams were busy."""
    gaps: GapStatistics | None
    launches: LaunchStatistics


class RankTime(Parts, RankSkew):
    """One rank: its devices' parts added up, and its collectives against those of the other ranks."""

    devices: tuple[int, ...]


class PhaseTime(Parts):
    """What one device did during a phase of the host: all its occurrences, those inside another counted once."""

    name: str
    device: int
    occurrences: int


class StepGroup(Parts):
    """Steps of one kind, and what one device did during them."""

    name: str
    phase: str | None
    """That such steps belong to, where their name says so."""
    device: int | None
    """None where the file holds no device work."""
    steps: int
    mean_ns: int
    """Of the host's range."""
    median_ns: int
    p95_ns: int
    shortest_ns: int
    longest_ns: int
    outliers: int
    """Longer than twice the median."""
    outliers_ns: int


class CounterMeans(Record):
    """Counters of one device in a window of time: means of the samples taken in it. A counter that was not sampled, or
    not in this window, is None."""

    window: Literal["device", "phase", "steps"]
    name: str
    """Of the phase or the kind of step; of a whole device `capture`."""
    device: int
    samples: int
    """Of the counter that was sampled most."""
    sm_active_percent: float | None
    """Cycles in which an SM had a warp, over all SMs."""
    tensor_active_percent: float | None
    """Cycles in which the tensor pipes worked."""
    dram_percent: float | None
    """Cycles in which the memory interface read or wrote."""


class ThreadDoing(Record):
    """What a thread of the host was in during a gap."""

    thread: str
    doing: str
    share: float
    """Of the gap."""


class Gap(Record):
    """One of the longest times in which a device was idle."""

    device: int
    start_ns: int
    duration_ns: int
    ended_by: str
    """The work that ended it."""
    idle_by_cause: dict[str, int]
    threads: tuple[ThreadDoing, ...]


class HostDoing(Record):
    """What the launching thread was in while a device waited for it, by the middle of each wait."""

    name: str
    total_ns: int


class CategoryTime(Record):
    """Kernels of one category on one device."""

    device: int
    category: str
    kernels: int
    total_ns: int
    share: float
    """Of the durations of all kernels and graphs of the device."""


class CopyTime(Record):
    """Copies of one direction between two kinds of memory, or sets."""

    device: int
    direction: str
    source: str
    target: str
    count: int
    bytes: int | None
    """None where the file does not say for all."""
    total_ns: int
    gb_per_s: float | None


class KernelTime(Record):
    """All launches of one kernel in one phase. A copy is no kernel; a graph that was traced whole is one row."""

    phase: str
    """Innermost phase around the launch, or `outside`."""
    name: str
    short_name: str
    category: str
    calls: int
    total_ns: int
    max_ns: int


class OperatorTime(Record):
    """All calls of one operator in one phase. Host and device time are never added."""

    phase: str
    name: str
    input_shapes: str
    calls: int
    self_host_ns: int
    """Less the time of what it called."""
    total_host_ns: int
    """A call inside one of the same name counts once."""
    device_ns: int
    """Of the work that it launched itself."""


class RangeTime(Record):
    """All occurrences of one range."""

    name: str
    domain: str | None
    occurrences: int
    host_ns: int
    """One inside another of the same name counts once."""
    kernels: int
    """Launched within it, in ranges inside it too."""
    kernel_ns: int
    own_kernel_ns: int
    """Of those launched in no range inside it: over all ranges these and the unattributed time add up to the total."""


class Unattributed(Record):
    """Kernels and graphs, copies and sets that no operator or range launched, as far as the file says."""

    reason: str
    count: int
    total_ns: int


class ModuleTime(Record):
    """Kernels that were launched in one module of the model, or in all modules of one kind."""

    name: str
    """The class with a number, as torch.profiler counts them, the name of a range, or what a graph was annotated with;
    of a kind without its numbers."""
    instances: int
    """Modules of this name; of a kind, those that differ by a number."""
    kernels: int
    """Launched within it, in modules inside it too."""
    kernel_ns: int
    own_kernels: int
    own_kernel_ns: int
    """Of those launched in no module inside it: over all modules these and `outside_modules_ns` add up to the total."""
    graph_kernel_ns: int
    """Of `kernel_ns`, in CUDA graphs, by where they were captured."""
    longest_kernel: str | None
    """The one with most own time in it."""


class Abstention(Record):
    """Kernels in CUDA graphs that were joined to nothing."""

    reason: str
    where: str | None
    """The first of them that contradicts, where one does."""
    kernels: int
    total_ns: int
    """Of those whose times can be."""


class CapturedTime(Record):
    """Kernels in CUDA graphs that were captured in one operator or range."""

    name: str
    kernels: int
    total_ns: int


class GraphCounts(Record):
    """Kernels inside CUDA graphs, and how many of them were joined to what was captured."""

    whole: int
    """Launches of graphs that were traced whole: the kernels in them are unknown."""
    kernels: int
    """Kernels in graphs, as far as the file says: `joined` and `abstained` add up to it."""
    joined: int = 0
    abstained: int = 0
    abstentions: tuple[Abstention, ...] = ()
    captured_in: tuple[CapturedTime, ...] = ()
    """The innermost operators and ranges around the captures of those that were joined."""


class FileFacts(Record):
    """What the file says of itself."""

    tool: str | None
    tool_version: str | None
    driver: str | None
    cuda: str | None
    command: tuple[str, ...]
    rank: int | None
    world_size: int | None


class FileNote(Record):
    """Something that a reader of the figures has to know."""

    text: str
    count: int


class DeviceTimeline(Record):
    """One capture."""

    SUMMARY: ClassVar[str] = "timeline"

    schema_version: int = SCHEMA_VERSION
    source: str
    """What was analysed: the report, or the trace."""
    answer: str
    """Where the time went, in a sentence."""
    facts: FileFacts
    devices: tuple[DeviceTime, ...]
    phases: tuple[PhaseTime, ...]
    phase_host_ns: dict[str, int]
    """Of the host, by phase; an occurrence inside another counts once."""
    steps: tuple[StepGroup, ...]
    counters: tuple[CounterMeans, ...] = ()
    """Where the file samples any."""
    gaps: tuple[Gap, ...]
    """The longest ones; `devices[].gaps` is of all."""
    waited_for: tuple[HostDoing, ...]
    categories: tuple[CategoryTime, ...]
    copies: tuple[CopyTime, ...]
    kernels: tuple[KernelTime, ...]
    kernels_left_out: int
    operators: tuple[OperatorTime, ...]
    operators_left_out: int
    ranges: tuple[RangeTime, ...]
    ranges_left_out: int
    modules: tuple[ModuleTime, ...] = ()
    modules_left_out: int = 0
    module_kinds: tuple[ModuleTime, ...] = ()
    """The same time, by kind of module."""
    outside_modules_ns: int = 0
    """Of trusted kernels and graphs, what was launched in no module."""
    attributed_device_ns: int
    """Of all trusted device work, what an operator or range launched; with `unattributed` it adds up to the total."""
    unattributed: tuple[Unattributed, ...]
    distrusted: tuple[Distrusted, ...]
    graphs: GraphCounts
    notes: tuple[FileNote, ...]
    ranks: tuple[RankTime, ...] = ()
    """Empty where one rank alone was recorded."""
    rank_comparison: RankComparison | None = None

    def summary(self) -> dict[str, Any]:
        """Without the tables of names, which have their own places."""
        return self.model_dump(mode="json", exclude={"operators", "operators_left_out"})

    def note_words(self) -> list[str]:
        """The notes, with their counts."""
        return [f"{note.text} ({note.count:,})." if note.count else note.text for note in self.notes]
