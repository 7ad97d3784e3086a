"""The waterfall of a phase: static bound, kernels above it, exposed communication, exposed copies, idle by cause.

The parts add up to the wall time of the captured steps, to the nanosecond; what cannot be said is null with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llm_perf_opt.records.device_timeline import DeviceTimeline, PhaseTime
from llm_perf_opt.records.waterfall import Waterfall, WaterfallParts

PHASES = ("decode", "prefill")
INFLATED = 0.1
"""Where profiling costs more than this share of a step, what the host did is mostly the profiler's doing."""
MOSTLY_WITHIN = 0.5
"""Where less of what a phase launched ran within it, its range is not the time of its steps on the device."""
NO_DEVICE_WORK = "the capture holds no device work in this phase: on a CPU nothing waits for a launch"


@dataclass(frozen=True)
class StepWork:
    """What the captured steps of one phase were, from everything but the capture itself."""

    steps: int | str
    """In all captured occurrences, counted once for each device; or why they are not known."""
    bound_s: float | str
    """Least time of all captured occurrences together; or why it is not known."""
    unprofiled_step_s: float | str
    """Of the same steps without a profiler; or why it is not known."""
    source: str | None = None
    """Of the bound."""


@dataclass(frozen=True)
class Window:
    """A phase of a capture."""

    devices: int
    occurrences: int | None
    wall_ns: int
    """Of the host's ranges, once for each device; where none worked, once."""
    launched_kernel_ns: int | None = None
    """Kernels and graphs that were launched in the phase, whenever they ran."""
    kernel_ns: int | None = None
    communication_ns: int | None = None
    copy_ns: int | None = None
    idle_by_cause: dict[str, int] | None = None


def window_of(record: DeviceTimeline, phase: str) -> Window | None:
    """The phase on all devices together; None where the capture has no such range."""
    rows = [row for row in record.phases if row.name == phase]
    host = record.phase_host_ns.get(phase)
    if not rows:
        counted = [row.occurrences for row in record.ranges if row.name == phase and row.domain is None]
        return None if host is None else Window(0, counted[0] if counted else None, host)
    return Window(
        devices=len(rows),
        occurrences=max(row.occurrences for row in rows),
        wall_ns=sum(row.wall_ns for row in rows),
        launched_kernel_ns=sum(row.total_ns for row in record.kernels if row.phase == phase),
        kernel_ns=sum(row.compute_ns for row in rows),
        communication_ns=sum(row.exposed_communication_ns for row in rows),
        copy_ns=sum(row.exposed_copy_ns for row in rows),
        idle_by_cause=_causes(rows),
    )


def _causes(rows: Sequence[PhaseTime]) -> dict[str, int]:
    return {cause: sum(row.idle_by_cause[cause] for row in rows) for cause in rows[0].idle_by_cause}


def waterfall(window: Window | None, phase: str, work: StepWork) -> Waterfall:
    """Hold what was captured of a phase against what its work takes at the least, and takes unprofiled."""
    if window is None:
        return nothing(f"the capture has no range called {phase}")
    reasons: dict[str, str] = {}
    bound = _bound(window, work, reasons)
    above = _above(window, bound, reasons)
    if not window.devices:
        reasons |= dict.fromkeys(
            ("kernel_ns", "launched_kernel_ns", "exposed_communication_ns", "exposed_copy_ns", "idle_by_cause"),
            NO_DEVICE_WORK,
        )
    if window.occurrences is None:
        reasons["occurrences"] = "the table of ranges does not have it"
    captured = None
    if isinstance(work.steps, str):
        reasons |= dict.fromkeys(("steps", "captured_step_ns"), work.steps)
    else:
        captured = round(window.wall_ns / work.steps)
    unprofiled = None
    if isinstance(work.unprofiled_step_s, str):
        reasons["unprofiled_step_ns"] = work.unprofiled_step_s
    else:
        unprofiled = round(work.unprofiled_step_s * 1e9)
    cost = captured - unprofiled if captured is not None and unprofiled is not None else None
    if cost is None:
        why = reasons.get("unprofiled_step_ns") or reasons["captured_step_ns"]
        reasons |= dict.fromkeys(("cost_of_profiling_ns", "cost_of_profiling_share", "host_causes_inflated"), why)
    share = cost / unprofiled if cost is not None and unprofiled else None
    found = Waterfall(
        wall_ns=window.wall_ns,
        devices=window.devices,
        occurrences=window.occurrences,
        steps=None if isinstance(work.steps, str) else work.steps,
        kernel_ns=window.kernel_ns,
        launched_kernel_ns=window.launched_kernel_ns,
        parts=WaterfallParts(
            static_bound_ns=bound,
            kernels_above_bound_ns=above,
            exposed_communication_ns=window.communication_ns,
            exposed_copy_ns=window.copy_ns,
            idle_by_cause=window.idle_by_cause,
        ),
        captured_step_ns=captured,
        unprofiled_step_ns=unprofiled,
        cost_of_profiling_ns=cost,
        cost_of_profiling_share=share,
        host_causes_inflated=None if share is None else share > INFLATED,
        bound_source=None if bound is None else work.source,
        answer="",
        reasons=reasons,
    )
    return found.model_copy(update={"answer": answer(found, phase)})


def nothing(reason: str) -> Waterfall:
    """A waterfall of which nothing is known."""
    names = [name for name in Waterfall.model_fields if name not in ("devices", "parts", "answer", "reasons")]
    parts = dict.fromkeys(WaterfallParts.model_fields)
    return Waterfall.model_validate(
        {
            **dict.fromkeys(names),
            "devices": 0,
            "parts": parts,
            "answer": f"Not known: {reason}.",
            "reasons": dict.fromkeys((*names, *parts), reason),
        }
    )


def _bound(window: Window, work: StepWork, reasons: dict[str, str]) -> int | None:
    why = work.bound_s if isinstance(work.bound_s, str) else None
    if why is None and window.devices > 1:
        why = f"{window.devices} GPUs worked, and how the work was split between them is not known"
    if why is not None:
        reasons |= dict.fromkeys(("static_bound_ns", "bound_source"), why)
        return None
    assert not isinstance(work.bound_s, str)
    return round(work.bound_s * 1e9)


def _above(window: Window, bound: int | None, reasons: dict[str, str]) -> int | None:
    if window.kernel_ns is None:
        reasons["kernels_above_bound_ns"] = NO_DEVICE_WORK
        return None
    if bound is None:
        reasons["kernels_above_bound_ns"] = reasons["static_bound_ns"]
        return None
    if window.kernel_ns < bound:
        reasons["kernels_above_bound_ns"] = (
            f"kernels ran {_ms(window.kernel_ns)}, below the bound of {_ms(bound)}: kernels are missing in the "
            "capture, the peak or the count of the work is not that of this GPU and model, or weights stayed in its "
            "cache"
        )
        return None
    return window.kernel_ns - bound


def answer(found: Waterfall, phase: str) -> str:
    """What a waterfall says, in a sentence or two."""
    wall, parts = found.wall_ns, found.parts
    assert wall is not None
    what = phase
    if phase == "decode" and found.steps is not None:
        what = "one captured decode step" if found.steps == 1 else f"{found.steps:,} captured decode steps"
    if parts.idle_by_cause is None:
        said = f"{what[0].upper()}{what[1:]} took {_ms(wall)} on the host; parts of it are not known: {NO_DEVICE_WORK}."
    else:
        said = f"Of {_ms(wall)} of {what}, {_listed(found, wall)}."
    below = below_bound(found)
    if below is not None:
        said += f" What kernels took above the bound cannot be said: {below}."
    return said + _ran_later(found) + _cost(found, phase)


def _ran_later(found: Waterfall) -> str:
    """That the windows miss what they launched: engines that do not wait for the device in their ranges."""
    launched = found.launched_kernel_ns
    if launched is None or found.kernel_ns is None:
        return ""
    ran = found.kernel_ns + (found.parts.exposed_communication_ns or 0)
    if ran >= MOSTLY_WITHIN * launched:
        return ""
    return (
        f" Kernels that it launched took {_ms(launched)}, and {_ms(ran)} of kernels ran within its range: the host ran "
        "ahead of the device, whose steps last longer than these ranges."
    )


def below_bound(found: Waterfall) -> str | None:
    """What is wrong where kernels took less than the bound; None where they did not."""
    known = found.kernel_ns is not None and found.parts.static_bound_ns is not None
    return found.reasons.get("kernels_above_bound_ns") if known else None


def _listed(found: Waterfall, wall: int) -> str:
    parts = found.parts
    assert parts.idle_by_cause is not None
    amounts: list[tuple[str, int | None]] = [("kernels are", found.kernel_ns)]
    if parts.kernels_above_bound_ns is not None:
        amounts = [("the static bound is", parts.static_bound_ns), ("kernels above it", parts.kernels_above_bound_ns)]
    amounts += [
        ("exposed communication", parts.exposed_communication_ns),
        ("exposed copies", parts.exposed_copy_ns),
        ("idle time", sum(parts.idle_by_cause.values())),
    ]
    return ", ".join(f"{words} {_share(ns, wall)}" for words, ns in amounts if ns)


def _cost(found: Waterfall, phase: str) -> str:
    if found.cost_of_profiling_ns is None or found.cost_of_profiling_share is None:
        return ""
    assert found.unprofiled_step_ns is not None
    one = "a step" if phase == "decode" else "a prefill"
    sign = "+" if found.cost_of_profiling_ns >= 0 else "−"
    said = (
        f" Cost of profiling: {sign}{_ms(abs(found.cost_of_profiling_ns))} {one} "
        f"({sign}{abs(found.cost_of_profiling_share) * 100:.0f} % of {_ms(found.unprofiled_step_ns)} unprofiled)"
    )
    return said + (": what the host did is inflated by it." if found.host_causes_inflated else ".")


def _share(ns: int, wall: int) -> str:
    return f"{100 * ns / wall:.1f} %" if wall else "0 %"


def _ms(ns: int) -> str:
    return f"{ns / 1e6:,.3f} ms"
