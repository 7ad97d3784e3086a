"""Reading the state of the machine, in the child."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.artifacts.layout import MACHINE
from llm_perf_opt.hardware.machine import MachineReader
from llm_perf_opt.stages.machine import Machine
from llm_perf_opt.workload.watching import PhaseSpan, WatchContext


class MachineWatch:
    """Reads before, between and after the timed repeats."""

    def __init__(self, context: WatchContext[Machine], reader: MachineReader) -> None:
        self._reader = reader
        self._output_dir: Path = context.output_dir
        context.in_the_middle(lambda: reader.read("middle"))

    def start(self) -> None:
        self._reader.read("start")

    def stop(self, spans: Sequence[PhaseSpan]) -> None:
        self._reader.read("end")
        write_text(self._output_dir / MACHINE, self._reader.state().model_dump_json(indent=2) + "\n")


def watch(context: WatchContext[Machine]) -> MachineWatch:
    return MachineWatch(context, MachineReader())
