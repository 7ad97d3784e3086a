"""Draws `idle.svg` and `waterfall.svg` beside this file: `uv run python docs/images/timeline.py`.

Both are of one made-up decode step. What the device waited for, and what the step is made of, the engine itself says.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np

from llm_perf_opt.analysis.timeline.breakdown import CAUSES
from llm_perf_opt.analysis.timeline.state import State, analysed
from llm_perf_opt.analysis.timeline.summary import summary
from llm_perf_opt.analysis.waterfall import StepWork, waterfall, window_of
from llm_perf_opt.records.columns import (
    ANNOTATION,
    COPY,
    KERNEL,
    NONE,
    OPERATOR,
    PYTHON,
    WAIT_STREAM_EVENT,
    Calls,
    Device,
    DeviceWork,
    Events,
    Process,
    Ranges,
    Thread,
    Waits,
)

US = 1000
END = 100
SYNC = "cudaStreamSynchronize"
# (name, kind, start, end, number of the call that launched it), µs.
WORK = (
    ("A", KERNEL, 10, 20, 1),
    ("B", KERNEL, 40, 50, 2),
    ("all_reduce", KERNEL, 48, 52, 5),
    ("C", KERNEL, 55, 60, 3),
    ("D", KERNEL, 70, 76, 4),
    ("copy", COPY, 76, 80, 6),
    ("E", KERNEL, 84, 90, 99),
)
CALLS = (
    ("A", 4, 8, 1),
    (SYNC, 18, 24, -1),
    ("B", 36, 38, 2),
    ("R", 41, 42, 5),
    ("C", 43, 45, 3),
    ("D", 46, 48, 4),
    ("copy", 49, 51, 6),
    (SYNC, 88, 100, -1),
)
HOST = (
    ("op", OPERATOR, 0, 4),
    ("op", OPERATOR, 24, 28),
    ("Py", PYTHON, 28, 31),
    ("NVTX", ANNOTATION, 31, 34),
)
STEP = ("decode", ANNOTATION, 0, END)
NAMES = {"all_reduce": "ncclDevKernel_AllReduce"}
DEPENDENCY = (62, 70)
BOUND_US, UNPROFILED_US = 14, 82

LEFT, SCALE, HEIGHT = 110, 8, 24
COLOURS = {
    "launch_not_recorded": "#000000", "host_blocking_call": "#D55E00", "host_operator": "#E69F00",
    "host_range": "#F0C755", "host_python": "#F5DFA0", "host_unrecorded": "#BBBBBB", "launch_call": "#CC79A7",
    "launch_latency": "#56B4E9", "device_turnaround": "#0072B2", "dependency": "#009E73", "no_later_work": "#DDDDDD",
}  # fmt: skip
PARTS = {
    "static bound": "#0072B2", "kernels above the bound": "#56B4E9", "exposed communication": "#009E73",
    "exposed copies": "#CC79A7",
}  # fmt: skip


def events(ranges: tuple[tuple[str, int, int, int], ...]) -> Events:
    """The step as columns, with these ranges."""
    names = [*(row[0] for row in WORK), *(row[0] for row in CALLS), *(row[0] for row in ranges)]
    places = {name: number for number, name in enumerate(dict.fromkeys(names))}
    nothing = np.full(len(WORK), NONE)
    small = np.zeros(len(WORK), np.int32)

    def times(rows: tuple[tuple[object, ...], ...], at: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.array([(int(str(row[at])) + 1) * US for row in rows], np.int64)

    def named(rows: tuple[tuple[object, ...], ...]) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        return np.array([places[str(row[0])] for row in rows], np.int32)

    return Events(
        work=DeviceWork(
            start_ns=times(WORK, 2), end_ns=times(WORK, 3), kind=np.array([row[1] for row in WORK], np.int8),
            device=small, stream=np.array([8 if row[0] == "all_reduce" else 7 for row in WORK]), process=small,
            name=named(WORK), correlation=np.array([row[4] for row in WORK]), external=nothing, graph=nothing,
            node=nothing, annotation=nothing.astype(np.int32), bytes=nothing,
            copy_kind=small.astype(np.int8), source=small.astype(np.int8),
            target=small.astype(np.int8),
        ),
        calls=Calls(
            times(CALLS, 1), times(CALLS, 2), np.zeros(len(CALLS), np.int32), named(CALLS),
            np.array([row[3] for row in CALLS]), np.full(len(CALLS), NONE, np.int32), np.full(len(CALLS), NONE),
        ),
        ranges=Ranges(
            start_ns=times(ranges, 2), end_ns=times(ranges, 3), kind=np.array([row[1] for row in ranges], np.int8),
            thread=np.zeros(len(ranges), np.int32), name=named(ranges), domain=np.full(len(ranges), NONE, np.int32),
            external=np.full(len(ranges), NONE), shapes=np.full(len(ranges), NONE, np.int32),
            registered=np.zeros(len(ranges), np.int8),
        ),
        waits=Waits(
            np.array([(DEPENDENCY[0] + 1) * US]), np.array([(DEPENDENCY[1] + 1) * US]),
            np.array([WAIT_STREAM_EVENT], np.int8), np.zeros(1, np.int32), np.array([7]), np.zeros(1, np.int32),
        ),
        names=[NAMES.get(name, name) for name in places],
        processes=[Process(1)], threads=[Thread(0, 1)], devices=[Device(0, 0, None)],
    )  # fmt: skip


def causes() -> list[tuple[str | None, int, int]]:
    """(cause, start, end) of each stretch of the step, as the engine has it; None where the device was busy."""
    state: State = analysed(events(HOST))
    start = (np.arange(END) + 1) * US
    which = np.zeros(END, np.int64)
    found = state.time.causes(which, start, start + US)
    at = [CAUSES[column.argmax()] if column.any() else None for column in found.T]
    stretches, place = [], 0
    for cause, same in groupby(at):
        length = len(list(same))
        stretches.append((cause, place, place + length))
        place += length
    return stretches


def box(start: float, end: float, y: float, colour: str, text: str = "", *, title: str = "") -> str:
    """A box from one time to another, its text in it."""
    x, width = LEFT + start * SCALE, (end - start) * SCALE
    shape = f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{HEIGHT}" fill="{colour}" stroke="white">'
    words = f'<text x="{x + width / 2:g}" y="{y + 16:g}" text-anchor="middle">{text}</text>' if text else ""
    return f"{shape}<title>{title or text}</title></rect>{words}"


def page(height: int, parts: list[str]) -> str:
    width = LEFT + END * SCALE + 20
    style = "text{font:10px sans-serif;fill:#222}.lane{font-size:12px}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
    ground = f'<rect width="{width}" height="{height}" fill="white"/>'
    return "\n".join([head, f"<style>{style}</style>", ground, *parts, "</svg>\n"])


def lane(y: float, text: str) -> str:
    return f'<text x="{LEFT - 8}" y="{y + 16:g}" text-anchor="end" class="lane">{text}</text>'


def idle_picture() -> str:
    """Host, device, and why the device was idle."""
    parts = [lane(20, "host, calls"), lane(50, "host, else"), lane(80, "device"), lane(122, "idle")]
    for name, start, end, _ in CALLS:
        shown = "sync" if name == SYNC else name if end - start > 1 and name != "copy" else ""
        parts.append(box(start, end, 20, "#E4E4E4", shown, title=name))
    parts += [box(start, end, 50, "#F1E6CC", name) for name, _, start, end in HOST]
    for name, kind, start, end, _ in WORK:
        y = 92 if name == "all_reduce" else 80
        parts.append(box(start, end, y, "#C9E4DA" if kind == COPY else "#BFD9EC", name if y == 80 else "", title=name))
    parts += [box(start, end, 122, COLOURS[cause], title=cause) for cause, start, end in causes() if cause is not None]
    for number, (cause, colour) in enumerate(COLOURS.items()):
        x, y = LEFT + (number % 4) * 200, 168 + number // 4 * 22
        parts.append(f'<rect x="{x}" y="{y}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{x + 18}" y="{y + 10}">{cause}</text>')
    return page(236, parts)


def waterfall_picture() -> str:
    """The parts of the step one below the other."""
    record = summary(events((STEP, *HOST)))
    found = waterfall(window_of(record, "decode"), "decode", StepWork(1, BOUND_US / 1e6, UNPROFILED_US / 1e6, "a GPU"))
    known, idle = found.parts, found.parts.idle_by_cause
    assert idle is not None
    amounts = dict(
        zip(
            PARTS,
            (
                known.static_bound_ns,
                known.kernels_above_bound_ns,
                known.exposed_communication_ns,
                known.exposed_copy_ns,
            ),
            strict=True,
        )
    )
    rows = [(name, ns or 0, PARTS[name]) for name, ns in amounts.items()]
    rows += [(cause, ns, COLOURS[cause]) for cause, ns in idle.items() if ns]
    parts, place = [], 0.0
    for number, (name, ns, colour) in enumerate(rows):
        y = 16 + number * 26
        x = LEFT + (place + ns / US) * SCALE + 6
        anchor, x = ("start", x) if place < END / 2 else ("end", LEFT + place * SCALE - 6)
        parts.append(box(place, place + ns / US, y, colour, title=name))
        parts.append(f'<text x="{x:g}" y="{y + 16}" text-anchor="{anchor}">{name}, {ns / US:g} µs</text>')
        place += ns / US
    bottom = 16 + len(rows) * 26
    parts.append(box(0, END, bottom, "#EEEEEE", f"the captured step, {END} µs"))
    parts.append(box(0, UNPROFILED_US, bottom + 26, "#F7F7F7", f"unprofiled, {UNPROFILED_US} µs"))
    assert found.cost_of_profiling_ns is not None
    cost = found.cost_of_profiling_ns / US
    parts.append(box(UNPROFILED_US, END, bottom + 26, "#F3C6B4", f"cost of profiling, {cost:g} µs"))
    return page(bottom + 62, parts)


if __name__ == "__main__":
    for name, text in (("idle.svg", idle_picture()), ("waterfall.svg", waterfall_picture())):
        Path(__file__).with_name(name).write_text(text, encoding="utf-8")
