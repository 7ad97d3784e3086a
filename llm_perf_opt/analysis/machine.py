"""Whether the machine was the same for A and B, and whether it stayed the same within a launch.

What a machine *is* (processor, GPU, driver, kernel, governor, power limit) qualifies a verdict where it differs: B is
faster, on another machine. What was going on *on* it (load, pressure, others on the GPU, clocks) says that A and B were
not measured alike, and withholds it. Two exceptions, both for clocks: between launches in turn they differ only if the
sides' work makes them, and a GPU that its power limit holds down is held down by the work that it does.

State is compared by medians over the launches of each side. Launches in turn share what comes and goes, so there it has
to lie apart in all of them.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from llm_perf_opt.records.hardware import HardwareState
from llm_perf_opt.records.machine import ChangeEffect, MachineChange, MachineComparison, MachineMoment, MachineState

LOAD_CORES, LOAD_SHARE = 0.5, 0.1
"""Cores kept busy by others that count as load: so many, and so large a share of all."""
PRESSURE_SHARE = 0.1
"""Of the time, in which threads waited for a processor, memory or a disk."""
CPU_CLOCK_SHARE, GPU_CLOCK_SHARE = 0.1, 0.03
WARMER_C = 10
SHORTEST_S = 0.2
"""Between two moments, below which the system's ticks of 10 ms tell no load."""


@dataclass(frozen=True)
class LaunchState:
    """What was going on on the machine during one launch; None where it is not known."""

    cores: int | None = None
    others_cores: float | None = None
    """Kept busy by other processes and other virtual machines, on average."""
    pressure: float | None = None
    """The largest share of time in which threads waited for a processor, memory or a disk."""
    cpu_mhz: float | None = None
    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    power_capped: bool = False
    """The GPU was held down by its power limit, and by nothing else."""
    throttled: bool | None = None
    """By anything else than the power limit."""
    gpu_processes: int | None = None
    """Others on the GPU, the most that were seen."""


@dataclass(frozen=True)
class Side:
    """The launches of A or of B."""

    identity: Sequence[Mapping[str, str | None]]
    """Of each run: what the machine is, by name."""
    states: Sequence[LaunchState]


def launch_state(machine: MachineState | None, gpu: HardwareState) -> LaunchState:
    """What the records of one launch say."""
    moments = machine.moments if machine is not None else ()
    reasons = set(gpu.throttle_reasons)
    processes = [moment.other_processes for moment in gpu.moments if moment.other_processes is not None]
    return LaunchState(
        cores=machine.cores if machine is not None else None,
        others_cores=others_cores(moments[0], moments[-1]) if len(moments) > 1 else None,
        pressure=pressure_share(moments[0], moments[-1]) if len(moments) > 1 else None,
        cpu_mhz=_median([moment.cpu_mhz for moment in moments]),
        sm_clock_mhz=gpu.sm_clock_mhz.median if gpu.sm_clock_mhz is not None else None,
        memory_clock_mhz=gpu.memory_clock_mhz.median if gpu.memory_clock_mhz is not None else None,
        power_capped=reasons == {"sw_power_cap"},
        throttled=None if gpu.throttled is None else bool(reasons - {"sw_power_cap"}),
        gpu_processes=max(processes, default=None),
    )


def others_cores(first: MachineMoment, last: MachineMoment) -> float | None:
    """Cores that others kept busy on average between two moments; None where it was not recorded, or for too short."""
    span_s = last.at_s - first.at_s
    if span_s < SHORTEST_S or first.busy_core_s is None or last.busy_core_s is None:
        return None
    busy = last.busy_core_s - first.busy_core_s + (last.stolen_core_s or 0.0) - (first.stolen_core_s or 0.0)
    own = (last.own_core_s or 0.0) - (first.own_core_s or 0.0)
    return max(0.0, (busy - own) / span_s)


def pressure_share(first: MachineMoment, last: MachineMoment) -> float | None:
    """The largest share of the time between two moments in which some thread waited."""
    span_s = last.at_s - first.at_s
    both = [kind for kind in first.pressure_s if kind in last.pressure_s]
    if span_s < SHORTEST_S or not both:
        return None
    return max(0.0, min(1.0, max(last.pressure_s[kind] - first.pressure_s[kind] for kind in both) / span_s))


def compare_machines(a: Side, b: Side, *, in_turn: bool) -> MachineComparison:
    """What is not the same, and what becomes of a verdict for it.

    Args:
        in_turn: launches of both sides were made in turn, in one block.
    """
    changes = list(_identity(a, b))
    unknown: list[str] = []
    for quantity in QUANTITIES:
        values = [[value for state in side.states if (value := quantity.value(state)) is not None] for side in (a, b)]
        if not values[0] or not values[1]:
            if quantity.always:
                unknown.append(quantity.what)
            continue
        if quantity.differ(values[0], values[1], _cores(a, b), in_turn):
            effect: ChangeEffect = "qualified" if quantity.made_by_work(a, b, in_turn) else "withheld"
            shown = [quantity.show(statistics.median(found)) for found in values]
            changes.append(MachineChange(what=quantity.what, effect=effect, a=shown[0], b=shown[1]))
    return MachineComparison(changes=tuple(changes), unknown=tuple(unknown))


def _identity(a: Side, b: Side) -> Iterator[MachineChange]:
    """Of what is not known on one side nothing is said."""
    for name in dict.fromkeys(name for side in (a, b) for facts in side.identity for name in facts):
        found = [
            sorted({str(facts[name]) for facts in side.identity if facts.get(name) is not None}) for side in (a, b)
        ]
        if found[0] and found[1] and found[0] != found[1]:
            yield MachineChange(what=name, effect="qualified", a=" or ".join(found[0]), b=" or ".join(found[1]))


def _apart(a: Sequence[float], b: Sequence[float], in_turn: bool) -> tuple[float, float]:
    """The two values that have to differ: of launches in turn, those of both sides that are nearest to each other."""
    middle = statistics.median(a), statistics.median(b)
    if not in_turn:
        return middle
    if middle[0] <= middle[1]:
        return (max(a), min(b)) if max(a) < min(b) else (0.0, 0.0)
    return (min(a), max(b)) if max(b) < min(a) else (0.0, 0.0)


Differ = Callable[[Sequence[float], Sequence[float], int, bool], bool]


def _by_cores(a: Sequence[float], b: Sequence[float], cores: int, in_turn: bool) -> bool:
    one, other = _apart(a, b, in_turn)
    return abs(one - other) > max(LOAD_CORES, LOAD_SHARE * cores)


def _by(amount: float) -> Differ:
    def differ(a: Sequence[float], b: Sequence[float], cores: int, in_turn: bool) -> bool:
        one, other = _apart(a, b, in_turn)
        return abs(one - other) > amount

    return differ


def _by_share(share: float) -> Differ:
    def differ(a: Sequence[float], b: Sequence[float], cores: int, in_turn: bool) -> bool:
        one, other = _apart(a, b, in_turn)
        return abs(one - other) > share * max(one, other)

    return differ


def _nobody(a: Side, b: Side, in_turn: bool) -> bool:
    return False


def _clocks(a: Side, b: Side, in_turn: bool) -> bool:
    return in_turn or any(state.power_capped for state in (*a.states, *b.states))


def _in_turn(a: Side, b: Side, in_turn: bool) -> bool:
    return in_turn


@dataclass(frozen=True)
class Quantity:
    """Something that goes on on a machine."""

    what: str
    value: Callable[[LaunchState], float | None]
    differ: Differ
    """(of A, of B, cores of the machine, in turn)"""
    show: Callable[[float], str]
    made_by_work: Callable[[Side, Side, bool], bool] = _nobody
    """Whether a difference is what the sides' own work does to the machine."""
    always: bool = False
    """Every machine that is watched has it."""


QUANTITIES = (
    Quantity("cores kept busy by others", lambda s: s.others_cores, _by_cores, lambda v: f"{v:.1f}", always=True),
    Quantity(
        "time spent waiting for CPU, memory or disk",
        lambda s: s.pressure,
        _by(PRESSURE_SHARE),
        lambda v: f"{100 * v:.0f} %",
        _in_turn,
    ),
    Quantity("other processes on the GPU", lambda s: s.gpu_processes, _by(0.5), lambda v: f"{v:g}"),
    Quantity("CPU clock", lambda s: s.cpu_mhz, _by_share(CPU_CLOCK_SHARE), lambda v: f"{v:,.0f} MHz", _in_turn),
    Quantity("SM clock", lambda s: s.sm_clock_mhz, _by_share(GPU_CLOCK_SHARE), lambda v: f"{v:,.0f} MHz", _clocks),
    Quantity(
        "memory clock", lambda s: s.memory_clock_mhz, _by_share(GPU_CLOCK_SHARE), lambda v: f"{v:,.0f} MHz", _in_turn
    ),
    Quantity(
        "launches in which the GPU was throttled by more than its power limit",
        lambda s: None if s.throttled is None else float(s.throttled),
        _by(0.5),
        lambda v: f"{100 * v:.0f} %",
        _in_turn,
    ),
)


def _cores(a: Side, b: Side) -> int:
    return max((state.cores for state in (*a.states, *b.states) if state.cores is not None), default=1)


def drift_within(machine: MachineState | None, gpu: HardwareState) -> list[str]:
    """What did not stay as it was between the start and the end of one launch's timed repeats, in words."""
    said: list[str] = []
    moments = machine.moments if machine is not None else ()
    if len(moments) == 3:
        start, middle, end = moments
        halves = [others_cores(start, middle), others_cores(middle, end)]
        cores = machine.cores or 1 if machine is not None else 1
        if None not in halves and _by_cores([halves[0] or 0], [halves[1] or 0], cores, False):
            said.append(f"others kept {halves[0]:.1f} cores busy in the first half and {halves[1]:.1f} in the second")
    if len(moments) > 1 and moments[0].governors != moments[-1].governors:
        said.append(f"the governor went from {_listed(moments[0].governors)} to {_listed(moments[-1].governors)}")
    if len(gpu.moments) > 1:
        said += _gpu_drift(gpu)
    return said


def _gpu_drift(gpu: HardwareState) -> Iterator[str]:
    first, last = gpu.moments[0], gpu.moments[-1]
    if first.power_limit_w != last.power_limit_w:
        yield f"the power limit went from {first.power_limit_w} W to {last.power_limit_w} W"
    warm = (first.temperature_c, last.temperature_c)
    if warm[0] is not None and warm[1] is not None and warm[1] - warm[0] >= WARMER_C:
        yield f"the GPU warmed from {warm[0]} to {warm[1]} °C"
    middle = [moment.sm_clock_mhz for moment in gpu.moments[1:] if moment.sm_clock_mhz is not None]
    if len(middle) == 2 and _by_share(GPU_CLOCK_SHARE)([middle[0]], [middle[1]], 1, False):
        yield f"the SM clock went from {middle[0]:,} to {middle[1]:,} MHz between the middle and the end"
    if len({moment.other_processes for moment in gpu.moments if moment.other_processes is not None}) > 1:
        seen = ", ".join(str(moment.other_processes) for moment in gpu.moments)
        yield f"the number of other processes on the GPU changed: {seen}"


def odd_launches(states: Sequence[tuple[int, LaunchState]]) -> list[str]:
    """Launches (number, state) whose machine was not that of the others, in words; with fewer than four none is odd."""
    said: list[str] = []
    if len(states) < 4:
        return said
    cores = max((state.cores for _, state in states if state.cores is not None), default=1)
    for quantity in QUANTITIES:
        known = [(number, value) for number, state in states if (value := quantity.value(state)) is not None]
        if len(known) < 4:
            continue
        usual = statistics.median(value for _, value in known)
        odd = [(number, value) for number, value in known if quantity.differ([usual], [value], cores, False)]
        for number, value in odd:
            said.append(f"launch {number}: {quantity.what} {quantity.show(value)}, {quantity.show(usual)} in most")
    return said


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names) or "none"
