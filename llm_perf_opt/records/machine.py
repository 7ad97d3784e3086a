"""`machine.json`: the state of the machine before, between and after the timed repeats of a launch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from llm_perf_opt.records.base import Record

MomentName = Literal["start", "middle", "end"]
PressureOf = Literal["cpu", "memory", "io"]


class MachineMoment(Record):
    """What the system said while nothing was timed. Counters run since it was started; `missing` says what is null."""

    moment: MomentName
    at_s: float
    """The host's monotonic clock, that repeats are timed with."""
    load_1m: float | None = None
    """Threads that ran or waited to, average of the last minute."""
    busy_core_s: float | None = None
    """CPU time of all processes on all cores, this one's included."""
    stolen_core_s: float | None = None
    """CPU time that the hypervisor gave to others."""
    own_core_s: float | None = None
    """CPU time of this process."""
    pressure_s: dict[PressureOf, float] = Field(default_factory=dict)
    """Time in which some thread waited for it."""
    cpu_mhz: float | None = None
    """Of the fastest core that this process may run on."""
    governors: tuple[str, ...] = ()
    """Of the cores that this process may run on, each once."""


class MachineState(Record):
    """The moments of one launch; the GPU's are in `hardware.json`."""

    schema_version: Literal[1] = 1
    recorded: bool
    reason: str | None = None
    """Why nothing was recorded."""
    cores: int | None = None
    """Logical ones of the machine."""
    turbo: bool | None = None
    smt: bool | None = None
    moments: tuple[MachineMoment, ...] = ()
    """In order; without a middle where there was one timed repeat."""
    missing: dict[str, str] = Field(default_factory=dict)
    """What the system does not tell → why."""


ChangeEffect = Literal["withheld", "qualified"]
EFFECTS: tuple[ChangeEffect, ...] = ("withheld", "qualified")


class MachineChange(Record):
    """Something of the machine that is not the same in A and B."""

    what: str
    effect: ChangeEffect
    """The verdict is withheld, or it stands and says so."""
    a: str
    b: str


class MachineComparison(Record):
    """Whether the machine was the same for A and B."""

    changes: tuple[MachineChange, ...] = ()
    unknown: tuple[str, ...] = ()
    """What was not recorded on one side or on both, so that nothing is said of it."""

    def said(self, effect: ChangeEffect) -> str | None:
        """The changes of one effect in words; None without any."""
        found = [f"{item.what} {item.a} in A, {item.b} in B" for item in self.changes if item.effect == effect]
        return "; ".join(found) or None
