"""What the PyTorch profiler holds in memory, as columns."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from llm_perf_opt.formats.torch_events import DEVICE, copy_of, group_of
from llm_perf_opt.records.columns import (
    NONE,
    About,
    Calls,
    Device,
    DeviceWork,
    Events,
    Process,
    Ranges,
    Thread,
    constant,
)

_NODE = re.compile(r'"graph node id":\s*([1-9]\d*)')


def live_events(
    events: Sequence[Any], *, by_shape: bool = False, annotations: Mapping[int, Any] | None = None
) -> Events:
    """Kineto events as columns.

    Our ranges mirrored on the device's time line are no device work.

    Args:
        annotations: of nodes of CUDA graphs, as `torch.cuda.graph_annotations` has them.
    """
    names, threads = _Numbered(), _Numbered()
    device, calls, ranges, kinds = _sorted_out(events)
    # A correlation id is that of an operator or that of a call of the device's API: two series of numbers. Without
    # device work nobody asks for them.
    ids = _ids if device else _no_ids
    found = Events(
        work=_device_columns(device, names, annotations or {}),
        calls=Calls(
            *_times(calls),
            _numbers(calls, "start_thread_id", threads),
            _numbers(calls, "name", names),
            ids(calls, "correlation_id"),
            constant(NONE, len(calls), np.int32),
            constant(NONE, len(calls), np.int64),
        ),
        ranges=Ranges(
            *_times(ranges),
            kinds,
            _numbers(ranges, "start_thread_id", threads),
            _numbers(ranges, "name", names),
            constant(NONE, len(ranges), np.int32),
            ids(ranges, "correlation_id"),
            np.array([names[str(shapes)] for shapes in _each(ranges, "shapes")], np.int32)
            if by_shape
            else constant(NONE, len(ranges), np.int32),
            constant(0, len(ranges), np.int8),
        ),
        names=list(names),
        processes=[Process(os.getpid())],
        threads=[Thread(0, thread) for thread in threads],
        about=About(tool="torch.profiler", tool_version=torch.__version__, cuda=torch.version.cuda),
    )
    ordinals, positions = np.unique(found.work.device, return_inverse=True)
    found.work.device = positions.astype(np.int32)
    found.devices = [Device(ordinal, 0, None, _gpu_name(ordinal)) for ordinal in ordinals.tolist()]
    return found


class _Numbered(dict[Any, int]):
    """The number of each thing that was asked for, in the order of the first time."""

    def __missing__(self, key: Any) -> int:
        number = self[key] = len(self)
        return number


def _each(events: Sequence[Any], method: str) -> Iterator[Any]:
    """What a method says of each event: half a million calls cost seconds unless C makes them."""
    return map(getattr(type(events[0]), method), events) if events else iter(())


def _numbers(events: Sequence[Any], method: str, known: _Numbered) -> NDArray[np.int32]:
    return np.fromiter(map(known.__getitem__, _each(events, method)), np.int32, len(events))


def _sorted_out(events: Sequence[Any]) -> tuple[list[Any], list[Any], Sequence[Any], NDArray[np.int8]]:
    """Device work, calls, ranges, and of each range its kind, all by the activity of an event."""
    activities = _Numbered()
    activity = _numbers(events, "activity_type", activities)
    groups = [group_of(name) for name in activities]

    def of(group: str) -> NDArray[np.intp]:
        return np.flatnonzero(np.isin(activity, [number for number, (found, _) in enumerate(groups) if found == group]))

    hosts = of("host")
    kinds = np.array([kind for _, kind in groups], np.int8)[activity[hosts]]
    device, calls = ([events[row] for row in of(group).tolist()] for group in ("device", "call"))
    ranges = events if len(hosts) == len(events) else [events[row] for row in hosts.tolist()]
    return device, calls, ranges, kinds


def _no_ids(events: Sequence[Any], _: str) -> NDArray[np.int64]:
    return constant(NONE, len(events), np.int64)


def _device_columns(events: Sequence[Any], names: _Numbered, annotations: Mapping[int, Any]) -> DeviceWork:
    rows = len(events)
    nothing = constant(NONE, rows, np.int64)
    copies = [copy_of(event.name()) for event in events]
    nodes = _nodes(events) if annotations else nothing
    said = [_annotation(annotations.get(node)) for node in nodes.tolist()] if annotations else []
    annotated = np.array([names[text] if text else NONE for text in said], np.int32)
    return DeviceWork(
        *_times(events),
        kind=np.array([DEVICE[event.activity_type()] for event in events], np.int8),
        device=np.array([event.device_index() for event in events], np.int32),
        stream=_ids(events, "device_resource_id"),
        process=constant(0, rows, np.int32),
        name=_numbers(events, "name", names),
        correlation=_ids(events, "correlation_id"),
        external=_ids(events, "linked_correlation_id"),
        graph=nothing,
        node=nodes,
        annotation=annotated if annotations else constant(NONE, rows, np.int32),
        bytes=nothing,
        copy_kind=np.array([copy[0] for copy in copies], np.int8),
        source=np.array([copy[1] for copy in copies], np.int8),
        target=np.array([copy[2] for copy in copies], np.int8),
    )


def _nodes(events: Sequence[Any]) -> NDArray[np.int64]:
    """The node of a graph that each ran as; -1 without one. It stands in text alone."""
    found = [_NODE.search(event.metadata_json()) for event in events]
    return np.array([NONE if node is None else int(node[1]) for node in found], np.int64)


def _annotation(said: Any) -> str | None:
    """The name in what one node was annotated with: a list of mappings."""
    mappings = [item for item in said or () if isinstance(item, dict)]
    return next((str(item["name"]) for item in mappings if "name" in item), None)


def _times(events: Sequence[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    start = _ids(events, "start_ns")
    return start, start + _ids(events, "duration_ns")


def _ids(events: Sequence[Any], method: str) -> NDArray[np.int64]:
    return np.fromiter(_each(events, method), np.int64, len(events))


def _gpu_name(ordinal: int) -> str | None:
    return torch.cuda.get_device_name(ordinal) if 0 <= ordinal < torch.cuda.device_count() else None
