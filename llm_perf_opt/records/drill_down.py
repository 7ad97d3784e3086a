"""`drill_down.json`: what lies in what in one capture, and the events worth drawing; small, whatever its size."""

from __future__ import annotations

from typing import Literal

from llm_perf_opt.records.base import Record

PATH_KINDS = ("range", "operator", "kernel", "smaller")
"""Kinds of paths, by number; `smaller` stands for the paths beside it that are not listed."""
KIND_RANGE, KIND_OPERATOR, KIND_KERNEL, KIND_SMALLER = range(4)


class Paths(Record):
    """All calls with the same names around them, as columns; a path comes after the one that it is in."""

    parent: tuple[int, ...]
    """Position of the path around it; -1 for the outermost."""
    name: tuple[int, ...]
    """Into `names`; a number at its end (`step[17]`) is left out."""
    kind: tuple[int, ...]
    """Into `PATH_KINDS`."""
    calls: tuple[int, ...]
    """Of `smaller`: the calls of all that it stands for."""
    host_ns: tuple[int, ...]
    """With what they called; over several threads added up."""
    device_ns: tuple[int, ...]
    """Of the work that they launched, with that of what they called; never added to time of the host."""


class Track(Record):
    """One thread of the host, or one stream of a device."""

    name: str
    kind: Literal["host", "device"]
    events: int
    """Drawn or not."""


class Drawn(Record):
    """The longest events, as columns, by track and start."""

    track: tuple[int, ...]
    depth: tuple[int, ...]
    """Events around it on its thread."""
    start_ns: tuple[int, ...]
    """From the first event."""
    duration_ns: tuple[int, ...]
    name: tuple[int, ...]


class DrillDown(Record):
    """One capture."""

    schema_version: Literal[1] = 1
    source: str
    """What was analysed: the report, or the trace."""
    names: tuple[str, ...]
    paths: Paths
    paths_left_out: int
    """Paths that rows of the kind `smaller` stand for."""
    tracks: tuple[Track, ...]
    drawn: Drawn
    phases: tuple[tuple[str, int, int], ...]
    """(phase, start, end) of the first occurrences, ns from the first event."""
