"""All that the tables of one file are made from, computed once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.analysis.kernel_names import communicates
from llm_perf_opt.analysis.timeline.breakdown import DeviceTime, device_time
from llm_perf_opt.analysis.timeline.intervals import Int
from llm_perf_opt.analysis.timeline.launches import Launches, find_launches, nesting_ranges
from llm_perf_opt.analysis.timeline.nesting import Nest, range_nest
from llm_perf_opt.analysis.timeline.trust import TRUSTED, distrusted, reach_of, stream_numbers
from llm_perf_opt.records.columns import ABSENT, KERNEL, Events, Note, Small


@dataclass(frozen=True, slots=True)
class State:
    """One file, analysed."""

    events: Events
    nested: Small
    """The ranges that can be around a launch, and `nest`'s own numbering of them."""
    nest: Nest
    launches: Launches
    reason: NDArray[np.int8]
    """Why the times of each piece of device work cannot be; 0 where they can."""
    trusted: NDArray[np.bool_]
    communicates: NDArray[np.bool_]
    streams: Int
    """A number for each stream of a process and device."""
    time: DeviceTime


def analysed(events: Events) -> State:
    """The state of one file; nothing of it depends on the order of rows."""
    events = with_closed_ranges(within_reach(events))
    nested = nesting_ranges(events)
    nest = range_nest(events, None if len(nested) == len(events.ranges) else nested)
    launches = find_launches(events, nest, nested)
    streams = stream_numbers(events)
    reason = distrusted(events, streams)
    trusted = reason == TRUSTED
    talks = np.zeros(len(events.names), np.bool_)
    for name in np.unique(events.work.name).tolist():
        talks[name] = communicates(events.names[name])
    talking = talks[events.work.name] & (events.work.kind == KERNEL) if len(talks) else np.zeros(0, np.bool_)
    return State(
        events=events,
        nested=nested,
        nest=nest,
        launches=launches,
        reason=reason,
        trusted=trusted,
        communicates=talking,
        streams=streams,
        time=device_time(
            events, launches, trusted, talking, streams, nest=nest if len(nested) == len(events.ranges) else None
        ),
    )


def within_reach(events: Events) -> Events:
    """Without events of the host whose times cannot be of the same recording as the others."""
    reach = reach_of(events)
    if reach is None:
        return events
    ranges, calls = events.ranges, events.calls
    ends = np.where(ranges.end_ns == ABSENT, ranges.start_ns, ranges.end_ns)
    kept_ranges = (ranges.start_ns >= reach[0]) & (ends <= reach[1])
    kept_calls = (calls.start_ns >= reach[0]) & (calls.end_ns <= reach[1])
    count = len(ranges) - int(kept_ranges.sum()) + len(calls) - int(kept_calls.sum())
    notes = list(events.notes)
    if count:
        notes.append(Note("events of the host that lie days apart from the others: left out", count))
    return dataclasses.replace(events, ranges=ranges.take(kept_ranges), calls=calls.take(kept_calls), notes=notes)


def with_closed_ranges(events: Events) -> Events:
    """Ranges that were open when the recording ended, ended with its last event."""
    ranges, work, calls = events.ranges, events.work, events.calls
    still_open = ranges.end_ns == ABSENT
    if not still_open.any():
        return events
    columns = (work.end_ns, calls.end_ns, ranges.start_ns, ranges.end_ns)
    last = max(int(column.max()) for column in columns if len(column))
    ends = np.where(still_open, np.maximum(last, ranges.start_ns), ranges.end_ns)
    return dataclasses.replace(events, ranges=dataclasses.replace(ranges, end_ns=ends))
