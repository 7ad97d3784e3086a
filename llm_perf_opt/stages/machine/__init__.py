"""The machine: load, pressure, frequencies and governors at three moments of the timed repeats."""

from __future__ import annotations

from llm_perf_opt.artifacts.layout import MACHINE
from llm_perf_opt.config.base import StageSettings
from llm_perf_opt.stages.base import Observer


class Machine(StageSettings):
    """Load, pressure, CPU frequency and governor at the start, in the middle and at the end of the timed repeats."""

    enable: bool = True
    """Read them; none is read while a repeat is timed."""


STAGE = Observer(
    settings=Machine,
    records={MACHINE: "llm_perf_opt.records.machine:MachineState"},
    watch="llm_perf_opt.stages.machine.child:watch",
)
