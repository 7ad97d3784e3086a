"""Small time lines from plain rows, and a way to mix up everything that must not matter."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.records.columns import (
    COPY,
    KERNEL,
    NONE,
    OPERATOR,
    WAIT_STREAM_EVENT,
    Calls,
    Device,
    DeviceWork,
    Events,
    GraphNodes,
    Process,
    Ranges,
    Thread,
    Waits,
)


@dataclass(frozen=True)
class Piece:
    """Device work."""

    start: int
    end: int
    device: int = 0
    stream: int = 7
    name: str = "gemm"
    kind: int = KERNEL
    process: int = 0
    correlation: int = -1
    external: int = -1
    bytes: int = -1
    graph: int = -1
    node: int = -1
    annotation: str | None = None


@dataclass(frozen=True)
class Call:
    start: int
    end: int
    thread: int = 0
    name: str = "cudaLaunchKernel"
    correlation: int = -1
    kernel: str | None = None
    stream: int = -1


@dataclass(frozen=True)
class Span:
    start: int
    end: int
    thread: int = 0
    name: str = "aten::mm"
    kind: int = OPERATOR
    domain: str | None = None
    external: int = -1


@dataclass(frozen=True)
class Wait:
    start: int
    end: int
    device: int = 0
    stream: int = 7
    process: int = 0


@dataclass(frozen=True)
class Node:
    """A node of a graph as it was made."""

    node: int
    original: int = -1
    made: int = 0
    thread: int = 0


@dataclass
class Rows:
    """A time line; `threads` says which process each thread belongs to."""

    work: list[Piece] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    threads: list[int] = field(default_factory=lambda: [0])
    devices: int = 1

    def events(self, seed: int | None = None) -> Events:
        """As columns; with `seed` rows and names in another order."""
        mixed = random.Random(seed)
        work, calls, spans, waits = list(self.work), list(self.calls), list(self.spans), list(self.waits)
        if seed is not None:
            for rows in (work, calls, spans, waits):
                mixed.shuffle(rows)
        texts = [row.name for row in work] + [row.name for row in calls] + [row.name for row in spans]
        names: dict[str, int] = {}
        texts += [span.domain for span in spans if span.domain] + [call.kernel for call in calls if call.kernel]
        for text in (*texts, *(piece.annotation for piece in work if piece.annotation)):
            names.setdefault(text, len(names))
        return Events(
            work=DeviceWork(
                start_ns=_column(work, "start"),
                end_ns=_column(work, "end"),
                kind=_small(row.kind for row in work).astype(np.int8),
                device=_small(row.device for row in work),
                stream=_column(work, "stream"),
                process=_small(row.process for row in work),
                name=_small(names[row.name] for row in work),
                correlation=_column(work, "correlation"),
                external=_column(work, "external"),
                graph=_column(work, "graph"),
                node=_column(work, "node"),
                annotation=_small(NONE if row.annotation is None else names[row.annotation] for row in work),
                bytes=_column(work, "bytes"),
                copy_kind=np.array([1 if row.kind == COPY else 0 for row in work], np.int8),
                source=np.array([0] * len(work), np.int8),
                target=np.array([2] * len(work), np.int8),
            ),
            calls=Calls(
                start_ns=_column(calls, "start"),
                end_ns=_column(calls, "end"),
                thread=_small(row.thread for row in calls),
                name=_small(names[row.name] for row in calls),
                correlation=_column(calls, "correlation"),
                kernel=_small(NONE if row.kernel is None else names[row.kernel] for row in calls),
                stream=_column(calls, "stream"),
            ),
            ranges=Ranges(
                start_ns=_column(spans, "start"),
                end_ns=_column(spans, "end"),
                kind=_small(row.kind for row in spans).astype(np.int8),
                thread=_small(row.thread for row in spans),
                name=_small(names[row.name] for row in spans),
                domain=_small(NONE if row.domain is None else names[row.domain] for row in spans),
                external=_column(spans, "external"),
                shapes=np.full(len(spans), NONE, np.int32),
                registered=np.zeros(len(spans), np.int8),
            ),
            waits=Waits(
                start_ns=_column(waits, "start"),
                end_ns=_column(waits, "end"),
                kind=np.full(len(waits), WAIT_STREAM_EVENT, np.int8),
                device=_small(row.device for row in waits),
                stream=_column(waits, "stream"),
                process=_small(row.process for row in waits),
            ),
            nodes=GraphNodes(
                node=_column(self.nodes, "node"),
                original=_column(self.nodes, "original"),
                made_ns=_column(self.nodes, "made"),
                thread=_small(row.thread for row in self.nodes),
            ),
            names=list(names),
            processes=[Process(100 + number) for number in range(max(self.threads, default=0) + 1)],
            threads=[Thread(process, 1000 + number) for number, process in enumerate(self.threads)],
            devices=[Device(number, NONE, None) for number in range(self.devices)],
        )

    def shifted(self, by: int) -> Rows:
        """All correlation ids moved, each process by another number."""

        def moved(number: int, process: int) -> int:
            return number if number < 0 else number + by * (process + 1)

        return dataclasses.replace(
            self,
            work=[dataclasses.replace(row, correlation=moved(row.correlation, row.process)) for row in self.work],
            calls=[
                dataclasses.replace(row, correlation=moved(row.correlation, self.threads[row.thread]))
                for row in self.calls
            ],
        )


def _column(rows: Sequence[Any], name: str) -> NDArray[np.int64]:
    return np.array([getattr(row, name) for row in rows], np.int64)


def _small(values: Iterable[int]) -> NDArray[np.int32]:
    return np.array(list(values), np.int32)
