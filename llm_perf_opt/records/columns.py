"""Events of a profile as columns: what every reader fills and every analysis reads.

Times are whole nanoseconds on the clock of the file. Ids of threads, processes, devices and names are positions in
the tables of `Events`; -1 means that the file does not say. Correlation ids count per process, so they are only ever
looked up together with one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]
Small = NDArray[np.int32]
Kind = NDArray[np.int8]

NONE = -1
ABSENT = np.iinfo(np.int64).min
"""A time that the file does not hold."""

KERNEL, GRAPH, COPY, SET = range(4)
"""Kinds of device work; a graph is a CUDA graph that was traced whole."""
WORK_KINDS = ("kernel", "graph", "copy", "set")

PUSH_POP, START_END, ANNOTATION, OPERATOR, PYTHON = range(5)
"""Kinds of ranges. All but `START_END` nest on their thread."""
RANGE_KINDS = ("push_pop", "start_end", "annotation", "operator", "python")

WAIT_UNKNOWN, WAIT_EVENT, WAIT_STREAM_EVENT, WAIT_STREAM, WAIT_CONTEXT = range(5)
"""As ENUM_CUPTI_SYNC_TYPE numbers them."""

COPY_KINDS = (
    "unknown", "host to device", "device to host", "host to array", "array to host", "array to array",
    "array to device", "device to array", "device to device", "host to host", "peer to peer",
    "unified host to device", "unified device to host", "unified device to device",
)  # fmt: skip
"""As ENUM_CUDA_MEMCPY_OPER numbers them."""
MEMORY_KINDS = (
    "pageable", "pinned", "device", "array", "managed", "device static", "managed static", "unknown",
)  # fmt: skip
"""As ENUM_CUDA_MEM_KIND numbers them."""
MEMORY_UNKNOWN = 7


SM_ACTIVE, TENSOR_ACTIVE, DRAM_READ, DRAM_WRITE = range(4)
"""Counters of a GPU that are kept, each in percent of its peak."""


class Columns:
    """A table whose fields are arrays of one length."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))  # type: ignore[arg-type]

    def take(self, rows: NDArray[Any] | slice) -> Self:
        """These rows (positions or a mask), as a table of its own."""
        return type(self)(*(getattr(self, item.name)[rows] for item in fields(self)))  # type: ignore[arg-type]

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The rows of all parts, one after the other."""
        if not parts:
            return cls()
        if len(parts) == 1:
            return parts[0]
        names = [item.name for item in fields(cls)]  # type: ignore[arg-type]
        return cls(*(_together([getattr(part, name) for part in parts]) for name in names))


def _together(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """One column after the other; of one value where each of them is a constant of it."""
    filled = [part for part in parts if len(part)]
    if filled and all(part.strides == (0,) for part in filled) and len({int(part[0]) for part in filled}) == 1:
        return np.broadcast_to(filled[0][0], sum(map(len, filled)))
    return np.concatenate(parts)


def constant(value: int, rows: int, kind: type[np.signedinteger[Any]]) -> NDArray[Any]:
    """A column of one value, which takes no memory; it cannot be written to."""
    return np.broadcast_to(kind(value), rows)


def _ints() -> NDArray[np.int64]:
    return np.empty(0, np.int64)


def _smalls() -> NDArray[np.int32]:
    return np.empty(0, np.int32)


def _kinds() -> NDArray[np.int8]:
    return np.empty(0, np.int8)


@dataclass(slots=True)
class DeviceWork(Columns):
    """What ran on devices."""

    start_ns: Int = field(default_factory=_ints)
    end_ns: Int = field(default_factory=_ints)
    kind: Kind = field(default_factory=_kinds)
    device: Small = field(default_factory=_smalls)
    stream: Int = field(default_factory=_ints)
    """Numbered by process and device."""
    process: Small = field(default_factory=_smalls)
    name: Small = field(default_factory=_smalls)
    correlation: Int = field(default_factory=_ints)
    """Of the call that launched it."""
    external: Int = field(default_factory=_ints)
    """Of the operator that launched it; only of use where no call was recorded."""
    graph: Int = field(default_factory=_ints)
    node: Int = field(default_factory=_ints)
    """Of the graph; numbered by process."""
    annotation: Small = field(default_factory=_smalls)
    """What its node was annotated with when the graph was captured, as a name; -1 where the file says nothing."""
    bytes: Int = field(default_factory=_ints)
    copy_kind: Kind = field(default_factory=_kinds)
    source: Kind = field(default_factory=_kinds)
    target: Kind = field(default_factory=_kinds)


@dataclass(slots=True)
class Calls(Columns):
    """Calls of the device's API."""

    start_ns: Int = field(default_factory=_ints)
    end_ns: Int = field(default_factory=_ints)
    thread: Small = field(default_factory=_smalls)
    name: Small = field(default_factory=_smalls)
    correlation: Int = field(default_factory=_ints)
    kernel: Small = field(default_factory=_smalls)
    """What it launches, as a name; -1 where it does not say."""
    stream: Int = field(default_factory=_ints)
    """Where it launches that; -1 where it does not say. A handle of the process, no number of a stream."""


@dataclass(slots=True)
class Ranges(Columns):
    """Ranges, operators and Python functions of the host."""

    start_ns: Int = field(default_factory=_ints)
    end_ns: Int = field(default_factory=_ints)
    """`ABSENT` where it was still open when the recording ended."""
    kind: Kind = field(default_factory=_kinds)
    thread: Small = field(default_factory=_smalls)
    name: Small = field(default_factory=_smalls)
    domain: Small = field(default_factory=_smalls)
    """Name of the NVTX domain; -1 is the default one."""
    external: Int = field(default_factory=_ints)
    shapes: Small = field(default_factory=_smalls)
    """Input shapes, as a name, where operators are told apart by them; else -1."""
    registered: Kind = field(default_factory=_kinds)
    """Whether NVTX got its name as a registered string."""


@dataclass(slots=True)
class Waits(Columns):
    """Recorded waits of the device for an event, of the host for a stream or a device."""

    start_ns: Int = field(default_factory=_ints)
    end_ns: Int = field(default_factory=_ints)
    kind: Kind = field(default_factory=_kinds)
    device: Small = field(default_factory=_smalls)
    stream: Int = field(default_factory=_ints)
    process: Small = field(default_factory=_smalls)


@dataclass(slots=True)
class GraphNodes(Columns):
    """Nodes of CUDA graphs as they were made: by a call in a capture, or as copies when a graph was instantiated."""

    node: Int = field(default_factory=_ints)
    """Numbered by process."""
    original: Int = field(default_factory=_ints)
    """The node that it is a copy of; -1 where it is none."""
    made_ns: Int = field(default_factory=_ints)
    thread: Small = field(default_factory=_smalls)


@dataclass(slots=True)
class Counters(Columns):
    """Samples of counters of devices."""

    time_ns: Int = field(default_factory=_ints)
    device: Small = field(default_factory=_smalls)
    counter: Kind = field(default_factory=_kinds)
    percent: Int = field(default_factory=_ints)


@dataclass(slots=True)
class Collectives(Columns):
    """What the file says of device work that is communication; other communication is told by its name alone."""

    work: Int = field(default_factory=_ints)
    """Position in the table of device work."""
    name: Small = field(default_factory=_smalls)
    """What it was called as (`allreduce`, …), as a name."""
    communicator: Small = field(default_factory=_smalls)
    """The same for all ranks that take part, as a name."""
    sequence: Int = field(default_factory=_ints)
    """Number of the call on its communicator."""


@dataclass(frozen=True, slots=True)
class Process:
    pid: int | str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Thread:
    process: int
    tid: int | str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU as far as the file tells them apart."""

    ordinal: int
    """As the process that used it first numbers its GPUs."""
    process: int
    """That numbering is of this process; -1 where it is that of the machine."""
    gpu: str | None
    """Which physical GPU; None where the file does not say."""
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """Something about a file that a reader of its figures has to know."""

    text: str
    count: int = 0
    """Events that it is about."""


@dataclass(slots=True)
class About:
    """What a file says of itself."""

    tool: str | None = None
    tool_version: str | None = None
    driver: str | None = None
    cuda: str | None = None
    command: tuple[str, ...] = ()
    host: str | None = None
    """The name of the machine."""
    rank: int | None = None
    world_size: int | None = None
    graph_trace: str | None = None
    """`graph` where CUDA graphs were traced whole, `node` where their kernels were."""


@dataclass(slots=True)
class Events:
    """One file."""

    work: DeviceWork = field(default_factory=DeviceWork)
    calls: Calls = field(default_factory=Calls)
    ranges: Ranges = field(default_factory=Ranges)
    waits: Waits = field(default_factory=Waits)
    counters: Counters = field(default_factory=Counters)
    collectives: Collectives = field(default_factory=Collectives)
    nodes: GraphNodes = field(default_factory=GraphNodes)
    names: Sequence[str] = ()
    processes: list[Process] = field(default_factory=list)
    threads: list[Thread] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)
    about: About = field(default_factory=About)
    recording_ns: tuple[int, int] | None = None
    """When it began and ended, where the file says."""
    duration_ns: int | None = None
    """Length of the recording, where the file says."""
    notes: list[Note] = field(default_factory=list)

    def thread_process(self) -> Small:
        """The process of each thread, and NONE at the end: what has no thread (-1) has no process either."""
        found = [*(thread.process for thread in self.threads), NONE]
        return np.array(found, np.int32)
